"""What one OSM file gives by itself: candidate scenes, or a rendered world."""

import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from gl10m.manifest import parquet
from gl10m.manifest.columns import values
from gl10m.manifest.outcome import Outcome
from gl10m.manifest.provenance import Provenance
from gl10m.manifest.schema import CANDIDATES
from gl10m.scene.class_map import ClassMap
from gl10m.storage.cache import cache_folder
from pipelines import config
from pipelines.execution.software import software
from pipelines.inputs import check_codes, given_osm, read_class_map
from pipelines.sources.extracts import local_extract, remote_extract
from pipelines.sources.retrying import announce_retries
from pipelines.stages.classes import map_classes
from pipelines.stages.footprints import PRESETS, make_footprints
from pipelines.stages.polygons import read_polygons
from pipelines.world.world import WorldParameters, world_from_osm


class TargetError(OSError):
    """A result cannot be written where it shall stand."""


def candidates(
    osm: str,
    out: Path | None,
    region: str,
    class_map_file: Path | None,
    config_file: Path | None,
    *,
    compare_presets: bool = False,
) -> str:
    """The OSM half alone: polygons, classes, footprints, labels.

    Args:
        osm: path of an OSM file, or its http(s), s3, gs or az address.
        out: where the candidates are written; beside the OSM file, or in the working folder for an address.
        region: two capital letters.
        class_map_file: the user's class map, if any.
        config_file: the user's configuration, if any.
        compare_presets: also say what each preset of the footprints keeps.

    Returns:
        A summary in words.

    Raises:
        OsmFileError: the OSM file cannot be read.
        ExtractUnavailableError: it cannot be downloaded.
        TargetError: the candidates cannot be written there.
    """
    announce_retries()
    check_codes((region,))
    class_map = read_class_map(class_map_file)
    parameters, patience = config.load(config_file), config.load_patience(config_file)
    given = given_osm(osm)
    extract = (
        remote_extract(given, cache_folder(), patience) if isinstance(given, str) else local_extract(given)
    )
    beside = Path() if "://" in osm else extract.path.parent
    target = _writable(out or beside / f"{extract.path.name}.candidates.parquet")
    polygons = read_polygons(extract.path, region, class_map)
    labelled = map_classes(polygons.kept, region, class_map)
    footprints = make_footprints(labelled.kept, region, class_map, parameters.footprints)
    provenance = Provenance(
        configuration={"footprints": asdict(parameters.footprints)},
        inputs={**extract.provenance, "class_map": class_map.digest},
        licences=("osm",),
        software={region: software()},
    )
    parquet.write(target, footprints.kept.sort_by("scene_id"), CANDIDATES, provenance.metadata())
    lines = [f"{'stage':<12} {'read':>9} {'kept':>9} {'rejected':>9}"]
    lines.extend(
        f"{outcome.stage:<12} {outcome.read:>9,} {outcome.kept.num_rows:>9,} {outcome.dropped.num_rows:>9,}"
        f"{_reasons(outcome)}"
        for outcome in (polygons, labelled, footprints)
    )
    if compare_presets:
        lines += ["", *_presets(labelled.kept, region, class_map)]
    return "\n".join([*lines, f"wrote {footprints.kept.num_rows:,} candidates to {target}"])


def _writable(target: Path) -> Path:
    """A file that can be written, as is found out before the hours and not after them.

    Raises:
        TargetError: its folder cannot be made or written.
    """
    try:
        parquet.check_target(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            return target
    except OSError as error:
        raise TargetError(
            f"{target.name} cannot be written into {target.parent} ({error.strerror or error}). Name another "
            "place with --out."
        ) from None


def _reasons(outcome: Outcome) -> str:
    """`  17 BROKEN_RELATION, 2 NOT_AN_AREA`, the most frequent first."""
    found = Counter(values(outcome.dropped, "reason"))
    told = ", ".join(
        f"{number:,} {reason}"
        for reason, number in sorted(found.items(), key=lambda item: (-item[1], item[0]))
    )
    return f"  {told}" if told else ""


def _presets(labelled: pa.Table, region: str, class_map: ClassMap) -> list[str]:
    """What each preset of the footprints keeps of the anchors, a line each."""
    lines = [f"{'preset':<12} {'anchors':>9} {'kept':>9} {'rejected':>9}"]
    for name, parameters in PRESETS.items():
        outcome = make_footprints(labelled, region, class_map, parameters)
        lines.append(
            f"{name:<12} {outcome.read:>9,} {outcome.kept.num_rows:>9,} {outcome.dropped.num_rows:>9,}"
            f"{_reasons(outcome)}"
        )
    return lines


def render_world(
    osm: Path,
    out: Path,
    region: str,
    class_map_file: Path | None,
    *,
    bounds: tuple[float, float, float, float] | None,
    most_quads: int,
) -> str:
    """Imagery and a STAC catalogue rendered from any OSM file.

    Returns:
        A summary in words.

    Raises:
        OsmFileError: the OSM file cannot be read.
        WorldTooLargeError: the polygons spread over more ground than allowed.
    """
    check_codes((region,))
    local_extract(osm)
    started = time.monotonic()
    stood = _rasters(out)
    parameters = WorldParameters(bounds=bounds, most_quads=most_quads)
    world_from_osm(osm, out, region, read_class_map(class_map_file), parameters)
    now = _rasters(out)
    written = [path for path, moment in now.items() if stood.get(path) != moment]
    size = sum(path.stat().st_size for path in written)
    kept = len(now) - len(written)
    return (
        f"wrote {len(written)} rasters ({size / 1e6:,.0f} MB) and a STAC catalogue to {out} "
        f"in {time.monotonic() - started:.0f} s" + (f"; {kept} rasters stood there already" if kept else "")
    )


def _rasters(world: Path) -> dict[Path, int]:
    """Rasters of a world by path, with the moment of their writing."""
    return {path: path.stat().st_mtime_ns for path in sorted((world / "imagery").rglob("*.tif"))}
