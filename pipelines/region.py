"""One region from its OSM file to matched candidates: the stages before any pixel is read."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import shapely

from gl10m.manifest.columns import values, where
from gl10m.manifest.outcome import Ledger, Outcome
from gl10m.manifest.provenance import made_from
from gl10m.scene.class_map import ClassMap
from gl10m.scene.identity import lots
from gl10m.scene.rejection import Reason
from gl10m.storage.place import Place
from pipelines.config import BuildParameters
from pipelines.execution.journal import Journal, key_of
from pipelines.execution.software import PLACES, versions
from pipelines.execution.workplace import OutOfReachError, Workplace
from pipelines.sources.imagery import Imagery, Sensor
from pipelines.sources.item_index import area_of, find_items
from pipelines.sources.retrying import announce_retries
from pipelines.stages.classes import map_classes
from pipelines.stages.coverage import coverage_footprints, within_coverage
from pipelines.stages.footprints import make_footprints
from pipelines.stages.matching import match
from pipelines.stages.polygons import read_polygons
from pipelines.stages.subsampling import subsample

VERSIONS = {
    "polygons": 2,
    "classes": 2,
    "footprints": 2,
    "items": 2,
    "coverage": 2,
    "subsampling": 1,
    "matching": 1,
}
"""Version of the code of each stage; raised when its rows change, so that a rerun does them again."""


class EmptyExtractError(ValueError):
    """An OSM file in which no scene can stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where each sensor's imagery comes from, with the name that stands for it in keys and provenance."""

    lr: Imagery
    lr_name: str
    lr_catalogue: str
    """Where its items come from: the source's own catalogue, or a file with its digest."""
    hr: Imagery
    hr_name: str
    hr_catalogue: str
    """Likewise."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RegionJob:
    """All that the stages of one region need; travels to a worker."""

    region: str
    osm: Path
    osm_sha256: str
    class_map: ClassMap
    sources: Sources
    parameters: BuildParameters
    limit: int | None
    """Scenes to keep at most, chosen by identity; all if None."""
    journal: Journal
    workplace: Workplace

    def __repr__(self) -> str:
        # As of `pipelines.fetch.Batch`: what Dask logs tells nothing of the sources.
        return f"RegionJob({self.region}, {self.osm.name})"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionPlan:
    """A region's account up to matching. Holds paths, not rows: it travels back from a worker."""

    region: str
    counts: tuple[dict[str, Any], ...]
    """One row of schema FUNNEL for each stage, in order."""
    dropped: tuple[Place, ...]
    """Rows that each stage dropped, schema REJECTIONS."""
    candidates: Place
    """Indexed candidates, schema CANDIDATES."""
    items: Place
    """Schema ITEMS: the frozen catalogue of both sensors over the region."""
    matched: Place
    """Schema MATCHED."""
    coverage: Place
    """Schema COVERAGE."""


def prepare(job: RegionJob) -> RegionPlan:
    """Run the stages of one region, or read back what the journal holds of them.

    Raises:
        OsmFileError: the OSM file cannot be read.
        EmptyExtractError: no object of the file can anchor a scene.
        SourceUnavailableError: a catalogue does not answer.
        ForeignWorkerError: this worker's versions are not the build's.
        OutOfReachError: it does not see the OSM file or the journal.
    """
    job.workplace.check()
    if not (job.osm.exists() and job.workplace.sees(job.journal)):
        raise OutOfReachError(f"{job.osm.name} or the journal of the data set is not on this machine")
    announce_retries()
    parameters, class_map, region, journal = job.parameters, job.class_map, job.region, job.journal
    counts: list[dict[str, Any]] = []
    dropped: list[Place] = []

    def keep(stage: str, key: str, compute: Callable[[], Outcome]) -> pa.Table:
        outcome = journal.stage(stage, region, key, compute)
        counts.append(count(outcome, region))
        dropped.append(journal.outcome_paths(stage, region, key)[1])
        return outcome.kept

    key = key_of(VERSIONS["polygons"], versions(PLACES), region, job.osm_sha256, class_map.digest)
    polygons = keep("polygons", key, lambda: read_polygons(job.osm, region, class_map))
    key = key_of(VERSIONS["classes"], key)
    labelled = keep("classes", key, lambda: _labelled(polygons, job))
    footprints_key = key = key_of(VERSIONS["footprints"], key, asdict(parameters.footprints))
    candidates = keep(
        "footprints", key, lambda: make_footprints(labelled, region, class_map, parameters.footprints)
    )
    if candidates.num_rows == 0:
        raise EmptyExtractError(
            f"{job.osm.name} holds no area that can anchor a scene: {counts[0]['read']} tagged objects, "
            f"{counts[1]['kept']} polygons with a class, 0 candidates. `gl10m candidates --osm FILE` says "
            "why; give another extract, class map or configuration."
        )
    names = (job.sources.lr_name, job.sources.hr_name)
    area = area_of(shapely.bounds(shapely.from_wkb(candidates["geometry"].to_numpy())))
    windows = (parameters.matching.naip_window, parameters.matching.sentinel2_window)
    # Of the parameters only what is asked for: another day limit or class map asks the catalogue nothing.
    items_key = key_of(
        VERSIONS["items"],
        (job.sources.lr_catalogue, job.sources.hr_catalogue),
        shapely.to_wkt(area, rounding_precision=-1),
        [asdict(window) for window in windows],
        parameters.searched_cloud_percent,
    )
    items = journal.table("items", region, items_key, lambda: _find_items(job, area))
    # From here on the rows depend on what the catalogue held, not only on how it was asked.
    key = key_of(VERSIONS["coverage"], key, item_marks(items), asdict(parameters.coverage))
    covered = keep("coverage", key, lambda: within_coverage(candidates, items, region, parameters.coverage))
    ground_key = key_of(VERSIONS["coverage"], key, names)
    journal.table("ground", region, ground_key, lambda: _ground(job, items))
    key = key_of(VERSIONS["subsampling"], key, asdict(parameters.subsampling), job.limit)
    chosen = keep("subsampling", key, lambda: _choose(covered, region, class_map, parameters, job.limit))
    key = key_of(VERSIONS["matching"], key, asdict(parameters.matching))
    keep("matching", key, lambda: match(chosen, items, region, parameters.matching))
    return RegionPlan(
        region=region,
        counts=tuple(counts),
        dropped=tuple(dropped),
        candidates=journal.outcome_paths("footprints", region, footprints_key)[0],
        items=journal.table_path("items", region, items_key),
        matched=journal.outcome_paths("matching", region, key)[0],
        coverage=journal.table_path("ground", region, ground_key),
    )


def _labelled(polygons: pa.Table, job: RegionJob) -> Outcome:
    """The labelled polygons, which tell what they were made from: the viewer knows no key of a stage."""
    outcome = map_classes(polygons, job.region, job.class_map)
    told = made_from(job.region, job.class_map.digest, job.osm_sha256)
    about = {**(outcome.kept.schema.metadata or {}), **told}
    return replace(outcome, kept=outcome.kept.replace_schema_metadata(about))


def count(outcome: Outcome, region: str) -> dict[str, Any]:
    """An outcome as a row of schema FUNNEL."""
    outcomes = values(outcome.dropped, "outcome")
    return {
        "stage": outcome.stage,
        "state": region,
        "read": outcome.read,
        "kept": outcome.kept.num_rows,
        "rejected": outcomes.count("rejected"),
        "failed": outcomes.count("failed"),
    }


def item_marks(items: pa.Table) -> dict[str, str]:
    """Item id to a digest of what of the item decides rows and pixels; the addresses of its rasters do not.

    Args:
        items: schema ITEMS.
    """
    facts = items.drop_columns(["assets"]).to_pylist()
    return {str(row["item_id"]): key_of(row) for row in facts}


def _ground(job: RegionJob, items: pa.Table) -> pa.Table:
    """What the sensors show of the region, schema COVERAGE."""
    names = {Sensor.SENTINEL2: job.sources.lr_name, Sensor.NAIP: job.sources.hr_name}
    return coverage_footprints(items, job.region, names, job.parameters.coverage)


def _find_items(job: RegionJob, area: shapely.Geometry) -> pa.Table:
    """The items of both sensors over the ground of a region, schema ITEMS."""
    sources, windows = job.sources, job.parameters.matching
    return find_items(
        {
            Sensor.NAIP: (sources.hr, sources.hr_catalogue, windows.naip_window),
            Sensor.SENTINEL2: (sources.lr, sources.lr_catalogue, windows.sentinel2_window),
        },
        area,
    )


def _choose(
    covered: pa.Table, region: str, class_map: ClassMap, parameters: BuildParameters, limit: int | None
) -> Outcome:
    """Class-aware subsampling, then at most `limit` scenes of the region by identity."""
    sampled = subsample(covered, region, class_map, parameters.subsampling)
    if limit is None or sampled.kept.num_rows <= limit:
        return sampled
    names = [str(name) for name in values(sampled.kept, "scene_id")]
    ranked = [names[place] for place in lots("limit", names).argsort(kind="stable")]
    chosen = set(ranked[:limit])
    ledger = Ledger("subsampling", region)
    for name in ranked[limit:]:
        ledger.reject(name, Reason.OVER_LIMIT, f"beyond the {limit} scenes asked for with --limit")
    kept = sampled.kept.filter(pa.array([name in chosen for name in names]))
    dropped = pa.concat_tables([sampled.dropped, ledger.table])
    return Outcome(stage="subsampling", read=sampled.read, kept=kept, dropped=dropped)


def named_items(rows: pa.Table, items: pa.Table) -> pa.Table:
    """The items that matched rows or scenes name.

    Args:
        rows: `naip_items` and `sentinel2_items`, as in MATCHED.
        items: schema ITEMS.
    """
    columns = ("naip_items", "sentinel2_items")
    named = {name for column in columns for names in values(rows, column) for name in names}
    return where(items, "item_id", named)
