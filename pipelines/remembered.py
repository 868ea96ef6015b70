"""What the journal still knows of the build that was published last: enough to publish it again."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from gl10m.manifest import parquet
from gl10m.manifest.columns import paired, values, where
from gl10m.manifest.outcome import Outcome
from gl10m.manifest.provenance import is_made_from
from gl10m.manifest.schema import CANDIDATES, FUNNEL, ITEMS, SCENES
from gl10m.scene.class_map import ClassMap
from gl10m.scene.rejection import PLACE_STAGES
from gl10m.storage.place import Place, below
from gl10m.store.layout import SHARDS
from pipelines.account import Account
from pipelines.execution.fragments import Receipts
from pipelines.execution.journal import DamagedTableError, Journal, read_table
from pipelines.region import RegionPlan, count


class UnknownBuildError(ValueError):
    """The journal does not hold all that the published build was made of."""


def remembered(root: Place, class_map: ClassMap) -> list[Account]:
    """The account of every region of the data set, from the journal alone.

    Args:
        root: the data set.
        class_map: of its build.

    Raises:
        UnknownBuildError: a table is gone, or is of a later build that was not published; or the class map is
            another one.
    """
    journal = Journal(root)
    receipts = Receipts(journal).published()
    regions = sorted({str(state) for state in values(receipts, "state")})
    if not regions:
        raise UnknownBuildError("it has no receipts of a published build")
    return [
        _account(root, journal, region, where(receipts, "state", {region}), class_map) for region in regions
    ]


def _account(root: Place, journal: Journal, region: str, receipts: pa.Table, class_map: ClassMap) -> Account:
    keys = paired(_read(_only(journal, region, "keys-*.parquet")), "scene_id", "scene_key")
    if set(keys.values()) != set(values(receipts, "scene_key")):
        raise UnknownBuildError(f"its tables of {region} are of another build than the published one")
    about = _about(root, region)
    inputs = json.loads(about["gl10m.inputs"])
    if inputs.get("class_map") != class_map.digest:
        raise UnknownBuildError(f"{region} was labelled with another class map: name it with --class-map")
    labelled = _read(_only(journal, region, "classes-*.kept.parquet"))
    # Scenes have the same keys whatever their labels. A journal of earlier versions does not tell.
    if is_made_from(labelled.schema.metadata, inputs) is False:
        raise UnknownBuildError(f"its polygons of {region} are of another build than the published one")
    own = {name.partition(".")[2]: value for name, value in inputs.items() if name.startswith(f"{region}.")}
    return Account(
        plan=_plan(journal, region),
        keys=keys,
        receipts=receipts,
        configuration=json.loads(about["gl10m.configuration"])[region],
        inputs=own,
        licences=tuple(sorted(_licences(root, region, about))),
    )


def _plan(journal: Journal, region: str) -> RegionPlan:
    counts, dropped = [], []
    items, ground = (_only(journal, region, f"{name}-*.parquet") for name in ("items", "ground"))
    for path in (items, ground):
        _read(path)  # published as it stands
    for stage in PLACE_STAGES:
        paths = [_only(journal, region, f"{stage}-*.{part}.parquet") for part in ("kept", "dropped")]
        kept, lost = map(_read, paths)
        outcome = Outcome(stage=stage, read=kept.num_rows + lost.num_rows, kept=kept, dropped=lost)
        counts.append(count(outcome, region))
        dropped.append(paths[1])
    return RegionPlan(
        region=region,
        counts=tuple(counts),
        dropped=tuple(dropped),
        candidates=_only(journal, region, "footprints-*.kept.parquet"),
        items=items,
        matched=_only(journal, region, "matching-*.kept.parquet"),
        coverage=ground,
    )


def _only(journal: Journal, region: str, pattern: str) -> Place:
    """The one table of its kind; the journal forgets older ones."""
    found = below(journal.folder / "stages" / region, pattern)
    if len(found) != 1:
        raise UnknownBuildError(f"it holds {len(found)} tables {pattern} of {region}, not one")
    return found[0]


def _read(path: Place) -> pa.Table:
    try:
        return read_table(path)
    except DamagedTableError as error:
        raise UnknownBuildError(f"its table {path.name} is damaged") from error
    except OSError as error:
        raise UnknownBuildError(f"its table {path.name} cannot be read ({error})") from error


def _about(root: Place, region: str) -> Mapping[str, str]:
    """Provenance of a region: from any manifest that is whole, else from any of its shards.

    Raises:
        UnknownBuildError: nothing tells it.
    """
    for about in _told(root, region):
        if region in json.loads(about.get("gl10m.configuration", "{}")):
            return about
    raise UnknownBuildError(f"no manifest tells how {region} was built")


def _told(root: Place, region: str) -> Iterator[Mapping[str, str]]:
    for declared in (SCENES, CANDIDATES, ITEMS, FUNNEL):
        path = root / "manifests" / f"{declared.name}.parquet"
        try:
            parquet.read(path, declared)  # compares its checksum
            yield parquet.metadata_of(path)
        except (parquet.ManifestError, parquet.ManifestNotFoundError, ValueError):
            continue
    yield from (about for about in _of_shards(root, region) if "gl10m.inputs" in about)


def _of_shards(root: Place, region: str) -> Iterator[dict[str, Any]]:
    for path in below(root / SHARDS, f"{region}-*.parquet"):
        try:
            yield parquet.metadata_of(path)
        except parquet.ManifestError:
            continue


def _licences(root: Place, region: str, about: Mapping[str, str]) -> set[str]:
    """Keys of the licences of one region, as its shards tell; of all regions where it has none."""
    for own in _of_shards(root, region):
        return set(json.loads(own["gl10m.licences"]))
    return set(json.loads(about["gl10m.licences"]))
