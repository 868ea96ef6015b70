"""What the reference model needs from a data set, and the one table of it that is held in memory."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import gl10m
from gl10m.manifest import parquet
from gl10m.manifest.novel import novel_concepts
from gl10m.manifest.schema import SPLITS
from gl10m.storage.place import Place


class NovelClassError(ValueError):
    """The Novel classes asked for are none of the data set, or leave no Base class to learn from."""


UNASSIGNED = "none"
"""The split of a scene that the split manifest does not name."""


class SceneReader(Protocol):
    """One scene, read piece by piece: only what is asked for is decoded."""

    @property
    def scene_id(self) -> str:
        """Stable name."""

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north, degrees, EPSG:4326."""

    @property
    def label(self) -> Tensor:
        """Bool (classes,): which classes are in the scene."""

    def lr(self) -> Tensor:
        """The Sentinel-2 overview, uint8 (3, 268, 268)."""

    def hr(self, tiles: Sequence[int]) -> Tensor:
        """The NAIP tiles asked for, uint8 (len(tiles), 3, 268, 268)."""

    def tile_labels(self) -> Tensor:
        """Bool (100, classes), tile = 10 * row + column, north-west first."""


class Scenes(Protocol):
    """What `gl10m.GL10MDataset` is to the reference model."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by id."""

    def __len__(self) -> int:
        """Number of scenes."""

    def scene(self, index: int) -> SceneReader:
        """One scene; nothing is read until it is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Everything about the scenes but their pixels."""

    scene_ids: tuple[str, ...]
    bounds: NDArray[np.float64]
    """(scenes, 4): west, south, east, north in degrees, EPSG:4326."""

    labels: Tensor
    """Bool (scenes, classes)."""

    tile_labels: Tensor
    """Bool (scenes, 100, classes)."""

    class_names: tuple[str, ...]

    images: str = ""
    """`GL10MDataset.checksum`, which tells their pixels from others; empty for scenes that are drawn."""

    novel: tuple[int, ...] = ()
    """Ids of the classes that no stage of training learns of, neither their names nor their labels; held-out
    scenes are ranked for them all the same (Table 1)."""

    @property
    def base(self) -> Tensor:
        """Ids of the classes that are learned from, int64, ascending."""
        held_out = set(self.novel)
        return torch.tensor([one for one in range(len(self.class_names)) if one not in held_out])

    @property
    def is_novel(self) -> NDArray[np.bool_]:
        """Which classes are Novel, (classes,)."""
        return np.isin(np.arange(len(self.class_names)), self.novel)

    @property
    def base_names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.class_names[one] for one in self.base.tolist())

    def base_labels(self, rows: Tensor) -> Tensor:
        """Base labels of some scenes: bool (len(rows), Base classes)."""
        return self.labels[rows][:, self.base]

    def base_tile_labels(self, rows: Tensor) -> Tensor:
        """Base labels of their tiles: bool (len(rows), 100, Base classes)."""
        return self.tile_labels[rows][..., self.base]

    def digest(self) -> str:
        """SHA-256, hexadecimal, of names, places, labels, Novel classes and pixels: the data set of a run."""
        state = hashlib.sha256("\n".join((*self.scene_ids, *self.class_names)).encode())
        state.update(self.images.encode())
        state.update(np.array(self.novel, dtype=np.int64).tobytes())
        for array in (self.bounds, np.packbits(self.tile_labels.numpy()), np.packbits(self.labels.numpy())):
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()


def read_catalogue(scenes: Scenes, novel: Collection[str] | None = None) -> Catalogue:
    """Read names, places and labels of all scenes; no image is decoded.

    Args:
        scenes: the data set.
        novel: names of the Novel classes; if None, those of manifests/novel_concepts.csv that it has.

    Raises:
        NovelClassError: the data set has no class of such a name, or no class besides.
    """
    readers = [scenes.scene(index) for index in range(len(scenes))]
    return Catalogue(
        scene_ids=tuple(reader.scene_id for reader in readers),
        bounds=np.array([reader.bounds for reader in readers], dtype=np.float64).reshape(-1, 4),
        labels=torch.stack([reader.label.bool() for reader in readers]),
        tile_labels=torch.stack([reader.tile_labels().bool() for reader in readers]),
        class_names=tuple(scenes.class_names),
        novel=_novel_ids(tuple(scenes.class_names), novel),
    )


def _novel_ids(names: tuple[str, ...], novel: Collection[str] | None) -> tuple[int, ...]:
    if novel is None:
        novel = set(novel_concepts()) & set(names)
    unknown = sorted(set(novel) - set(names))
    if unknown:
        raise NovelClassError(
            f"Novel classes are classes of the data set; it has no {', '.join(map(repr, unknown))}. "
            f"Name some of {', '.join(names)}."
        )
    if len(set(novel)) == len(names):
        raise NovelClassError(
            f"at least one class must be Base, to learn from; all {len(names)} are named as Novel. "
            "Name fewer."
        )
    return tuple(place for place, name in enumerate(names) if name in novel)


def open_scenes(root: Place) -> gl10m.GL10MDataset:
    """Open all scenes of a built data set, whatever their split.

    Args:
        root: the folder given to `gl10m build` as --root.

    Raises:
        FileNotFoundError: there is no data set.
    """
    return gl10m.GL10MDataset(root)


def read_splits(root: Place, scene_ids: Sequence[str]) -> list[str]:
    """Look up the split of each scene; all are "train" where `gl10m split` has not been run."""
    try:
        table = parquet.read(root / "manifests" / "splits.parquet", SPLITS)
    except parquet.ManifestNotFoundError:
        return ["train"] * len(scene_ids)
    split_of = dict(zip(table["scene_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    return [str(split_of.get(scene_id, UNASSIGNED)) for scene_id in scene_ids]
