"""Which scenes, and which of their tiles, an export holds."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from gl10m.manifest import parquet
from gl10m.manifest.columns import values, where
from gl10m.manifest.provenance import digest
from gl10m.manifest.schema import SCENES
from gl10m.manifest.split import SPLIT_NAME
from gl10m.report.facts import UNSPLIT, Facts, splits_of
from gl10m.scene.draw import drawn_tiles
from gl10m.scene.grid import TILES
from gl10m.scene.states import SCENE_ID
from gl10m.storage.place import Place
from gl10m.store.byte_source import byte_source
from gl10m.store.encoded import EncodedImages
from gl10m.store.layout import StoreError, index_path
from gl10m.store.reader import checked_tiles
from gl10m.store.region_index import RegionIndex, open_index, regions_of


class ExportSelectionError(ValueError):
    """No scene, or no tile, goes by what was asked for."""


@dataclass(frozen=True, slots=True)
class TileChoice:
    """HR tiles of each scene: the same of all, or so many drawn as `GL10MDataset(tiles=N, seed=S)` does."""

    fixed: tuple[int, ...] | None
    count: int
    seed: int = 0

    def of(self, scene_id: str) -> list[int]:
        """The tiles of one scene."""
        if self.fixed is not None:
            return list(self.fixed)
        return drawn_tiles(self.count, self.seed, 0, scene_id)

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> "TileChoice":
        """Read "all", "none", how many to draw ("12"), or numbers of tiles ("3,47"; one is "3,").

        Raises:
            ExportSelectionError: none of these.
            IndexError: there is no such tile.
        """
        if text in {"all", "none"}:
            fixed = tuple(range(TILES)) if text == "all" else ()
            return cls(fixed, len(fixed), seed)
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts or not all(part.isascii() and part.isdigit() for part in parts):
            raise ExportSelectionError(
                f"--tiles is all, none, how many to draw (12), or numbers (3,47); got {text!r}"
            )
        numbers = [int(part[:9]) for part in parts]
        if "," in text:
            tiles = tuple(checked_tiles(numbers))
            if len(set(tiles)) < len(tiles):
                raise ExportSelectionError(f"--tiles names each tile once; got {text!r}")
            return cls(tiles, len(tiles), seed)
        if numbers[0] > TILES:
            raise ExportSelectionError(f"a scene has {TILES} tiles to draw from; asked for {numbers[0]}")
        return cls(() if numbers[0] == 0 else None, numbers[0], seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Scenes of a data set, by split."""

    root: Place
    splits: Mapping[str, pa.Table]
    """Rows of table SCENES, sorted by id, of each split, in alphabetical order; the split `unsplit` where the
    data set has none."""
    regions: Mapping[str, RegionIndex]
    class_names: tuple[str, ...]
    facts: Facts
    """Of the chosen scenes alone."""
    digest: str
    """Of all that the exported bytes depend on but the options: shards, manifests."""

    @property
    def scenes(self) -> int:
        """How many scenes there are."""
        return sum(rows.num_rows for rows in self.splits.values())

    def images(self) -> dict[str, EncodedImages]:
        """The images, by region."""
        source = byte_source(self.root)
        return {region: EncodedImages(index, source) for region, index in self.regions.items()}


def select(root: Place, splits: Collection[str] = (), states: Collection[str] = ()) -> Selection:
    """Choose scenes.

    Args:
        root: the data set.
        splits: their splits; all if empty.
        states: their regions; all if empty.

    Raises:
        DataSetNotFoundError: no data set stands there.
        ManifestError: a manifest is damaged.
        StoreError: an index is damaged, or does not fit the manifest.
        ExportSelectionError: no scene is in all that, or a scene has no split.
    """
    regions = {region: open_index(index_path(root, region)) for region in _regions(root, states)}
    names = _class_names(list(regions.values()))
    path = root / "manifests" / "scenes.parquet"
    scenes = where(parquet.read(path, SCENES), "state", set(regions)).sort_by("scene_id")
    _check_ids(scenes, regions)
    of_scene = _splits(root, scenes, splits)
    if of_scene is not None and splits:
        scenes = where(scenes, "scene_id", {name for name, split in of_scene.items() if split in splits})
    if not scenes.num_rows:
        asked = [f"split {', '.join(splits)}"] if splits else []
        raise ExportSelectionError(f"no scene of {root} is in {' and '.join([*asked, ', '.join(regions)])}")
    about = parquet.metadata_of(path)
    return Selection(
        root=root,
        splits=_by_split(scenes, of_scene),
        regions=regions,
        class_names=names,
        facts=Facts.of(scenes, of_scene, names, about),
        digest=_digest(scenes, of_scene, regions, about),
    )


def portions(rows: pa.Table, most: int) -> list[pa.Table]:
    """Rows cut into as many as go into one file each."""
    return [rows.slice(start, most) for start in range(0, rows.num_rows, most)]


def file_name(split: str, number: int, count: int, suffix: str) -> str:
    """Name of one of a split's files: train-00000-of-00003.tar."""
    return f"{split}-{number:05d}-of-{count:05d}{suffix}"


def _regions(root: Place, states: Collection[str]) -> list[str]:
    present = regions_of(root)
    missing = sorted(set(states) - set(present))
    if missing:
        raise ExportSelectionError(f"{root} has no state {', '.join(missing)}; it has {', '.join(present)}")
    return [region for region in present if not states or region in states]


def _class_names(indexes: Sequence[RegionIndex]) -> tuple[str, ...]:
    names = {index.class_names for index in indexes}
    if len(names) > 1:
        raise StoreError(
            "the regions were built with different class maps. Build one of them again, or export them one "
            "by one with --states."
        )
    return names.pop()


def _check_ids(scenes: pa.Table, regions: Mapping[str, RegionIndex]) -> None:
    """Names that come to stand in files and paths are names, and the scenes have images.

    Raises:
        StoreError: they are not, or have none.
    """
    indexed = {(region, name) for region, index in regions.items() for name in index.scene_ids}
    for state, name in zip(values(scenes, "state"), values(scenes, "scene_id"), strict=True):
        if not SCENE_ID.fullmatch(str(name)) or (state, name) not in indexed:
            raise StoreError(f"the scenes manifest names {name!r}, which is in no index. Run `gl10m verify`.")


def _splits(root: Place, scenes: pa.Table, wanted: Collection[str]) -> dict[str, str] | None:
    found = splits_of(root)
    if found is None:
        if wanted:
            raise parquet.ManifestNotFoundError(
                f"split {', '.join(wanted)} was asked for, but {root} is not split yet. Run `gl10m split`."
            )
        return None
    without = [name for name in values(scenes, "scene_id") if name not in found]
    if without:
        raise ExportSelectionError(
            f"{len(without)} scenes of {root}, as {without[0]}, have no split. Run `gl10m split` again."
        )
    unknown = sorted(set(wanted) - set(found.values()))
    if unknown:
        raise ExportSelectionError(
            f"{root} has no split {', '.join(unknown)}; it has {', '.join(sorted(set(found.values())))}"
        )
    return {name: checked_split(found[name]) for name in values(scenes, "scene_id")}


def checked_split(name: str) -> str:
    """A split's name, if it can stand in the name of a file: the manifest may have been altered.

    Raises:
        ExportSelectionError: it cannot; `gl10m split` writes no such name.
    """
    if not SPLIT_NAME.fullmatch(name):
        raise ExportSelectionError(
            f"a split is named with letters, digits, '_', '-' and '.'; manifests/splits.parquet has {name!r}."
            " Run `gl10m split` again."
        )
    return name


def _by_split(scenes: pa.Table, of_scene: Mapping[str, str] | None) -> dict[str, pa.Table]:
    if of_scene is None:
        return {UNSPLIT: scenes}
    members: dict[str, list[str]] = {}
    for name in values(scenes, "scene_id"):
        members.setdefault(of_scene[name], []).append(name)
    return {split: where(scenes, "scene_id", members[split]) for split in sorted(members)}


def _digest(
    scenes: pa.Table,
    of_scene: Mapping[str, str] | None,
    regions: Mapping[str, RegionIndex],
    about: Mapping[str, str],
) -> str:
    """Of the shards' own digests, the rows and what the manifest says of its making."""
    shards = [[shard.name, shard.sha256] for index in regions.values() for shard in index.shards]
    rows = digest(scenes.drop_columns(["geometry", "tile_labels"]).to_pylist())
    told = {name: value for name, value in about.items() if name.startswith("gl10m.")}
    return digest([shards, rows, of_scene, told])
