"""`GL10MDataset`: the scenes of a split as tensors, HR tiles on demand."""

import operator
import os
import zlib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from gl10m.loader import buffers
from gl10m.loader.choice import Tiles, parsed
from gl10m.loader.sample import Sample
from gl10m.loader.selection import SelectionError, class_ids, manifest_columns, rows_of, split_members
from gl10m.storage.place import BucketPath, Place, place_of
from gl10m.store.byte_source import byte_source
from gl10m.store.layout import StoreError, index_path
from gl10m.store.reader import (
    RegionIndex,
    RegionReader,
    checked_tiles,
    open_index,
    regions_of,
)

Transform = Callable[[Any], Any]
"""Takes a sample and gives what the loader shall hand out; see `gl10m.loader.transforms`."""


class GL10MDataset(Dataset[Any]):
    """Scenes of a data set, sorted by state and scene id.

    An item is a dict, see `gl10m.loader.sample.Sample`. Only the bytes of the LR image and of the tiles asked
    for are read. Instances are picklable and work in DataLoader workers started by fork or by spawn.

    Example:
        >>> dataset = GL10MDataset("gl10m-data", "train", tiles=12)  # doctest: +SKIP
        >>> dataset[0]["hr"].shape  # doctest: +SKIP
        torch.Size([12, 3, 268, 268])
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | BucketPath,
        split: str | None = None,
        *,
        states: Collection[str] | None = None,
        classes: Collection[str] | None = None,
        columns: Sequence[str] = (),
        tiles: Tiles = None,
        transform: Transform | None = None,
        verify: bool = True,
        seed: int = 0,
        gap: int | None = None,
    ) -> None:
        """Open a data set.

        Args:
            root: the data set, as given to `gl10m build --root`: a folder, or s3://BUCKET/PREFIX, gs://, az://.
            split: train, val, test or a name of the user's own; all scenes if None.
            states: region codes to read; all if None.
            classes: names of classes; only scenes that show at least one of them. Labels keep all classes.
            columns: more columns of the scenes manifest for each sample, as naip_date or cloud_cover.
            tiles: HR tiles of each sample: none (None or 0), "all", so many drawn at random, a list of
                numbers, or a function of the scene's place and a `numpy.random.Generator`.
            transform: applied to each sample.
            verify: compare the checksum of every image read, at 0.2 % of the time of decoding it. Without it
                a flipped bit inside an image may go unseen. The index is always checked as a whole.
            seed: of the draw of tiles. The draw of a scene depends on the seed, the epoch and the scene's
                name alone, on no worker and no order.
            gap: tiles of a scene that are at most so many bytes apart come with one request; None for what
                suits the place, 16 in a folder and 40,000 in a bucket.

        Raises:
            DataSetNotFoundError: there is no data set (a FileNotFoundError).
            ManifestNotFoundError: a split was asked for before `gl10m split` (a FileNotFoundError).
            SelectionError: no such split, state, class or column, or no scene has all that (a ValueError).
            TileChoiceError: `tiles` is none of the above (a ValueError).
            ShardNotFoundError: a shard is missing (a FileNotFoundError).
            StoreError: an index or shard is damaged (a ValueError).
        """
        self.root = place_of(root)
        self.split = split
        self.transform = transform
        self.seed = seed
        self._policy = parsed(tiles)
        # Shared memory: workers that live on from epoch to epoch see the number change.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]  # PyTorch's own
        indexes = _open(self.root, states)
        self.class_names: tuple[str, ...] = indexes[0].class_names
        """Names of the classes by id: of the columns of `label`."""
        members = None if split is None else split_members(self.root, split, indexes)
        wanted = None if classes is None else class_ids(self.class_names, classes)
        rows = [rows_of(index, members, wanted) for index in indexes]
        self._row = np.concatenate(rows)
        self._region = np.repeat(np.arange(len(rows), dtype=np.int32), [len(part) for part in rows])
        if not len(self):
            raise SelectionError(_nothing(self.root, split, [index.region for index in indexes], classes))
        source = byte_source(self.root, gap)
        self._readers = [RegionReader(index, source, verify=verify) for index in indexes]
        for reader in self._readers:
            reader.check_shards()
        self._columns = manifest_columns(self.root, columns, self.scene_ids) if columns else {}

    @property
    def scene_ids(self) -> list[str]:
        """Scene ids in the order of the data set."""
        by_region = [reader.index.scene_ids for reader in self._readers]
        return [by_region[region][row] for region, row in zip(self._region, self._row, strict=True)]

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Labels of all scenes: shape (scenes, N), by class id. No image is read."""
        parts = [reader.index.column("label") for reader in self._readers]
        rows = [self._row[self._region == region] for region in range(len(parts))]
        return np.concatenate([part[own] for part, own in zip(parts, rows, strict=True)]).astype(np.bool_)

    def set_epoch(self, epoch: int) -> None:
        """Draw other tiles from now on, in living workers too."""
        self._epoch[0] = epoch

    def scene(self, index: int) -> "Scene":
        """One scene whose images are read when asked for: look at LR, then choose tiles.

        Raises:
            IndexError: the data set has fewer scenes.
            TypeError: `index` is no integer.
        """
        count, index = len(self), operator.index(index)
        if not -count <= index < count:
            raise IndexError(f"the data set has scenes 0..{count - 1}; asked for {index}")
        place = int(index) % count
        return Scene(self._readers[self._region[place]], int(self._row[place]), place)

    def __len__(self) -> int:
        return len(self._row)

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401 - a Sample, or what the transform makes of it
        """One sample; see `gl10m.loader.sample.Sample`.

        Raises:
            IndexError: the data set has fewer scenes, or the policy names a tile that is not there.
            FileNotFoundError: a shard is missing.
            StoreError: a shard or an image is damaged.
        """
        scene = self.scene(index)
        tiles = np.asarray(self._policy(scene.index, self._generator(scene.scene_id)), np.int64)
        sample: Sample = {
            "image": scene.lr(),
            "hr": scene.hr(tiles),
            "tiles": torch.from_numpy(tiles.copy()),
            "label": scene.label,
            "bounds": torch.tensor(scene.bounds, dtype=torch.float64),
            "index": scene.index,
            "scene_id": scene.scene_id,
            "state": scene.state,
        }
        more = {name: values[scene.index] for name, values in self._columns.items()}
        full = {**sample, **more}
        return self.transform(full) if self.transform else full

    def _generator(self, scene_id: str) -> np.random.Generator:
        return np.random.default_rng((self.seed, int(self._epoch[0]), zlib.crc32(scene_id.encode())))


class Scene:
    """One scene. Nothing is read until it is asked for."""

    def __init__(self, reader: RegionReader, row: int, index: int) -> None:
        self._reader, self._row = reader, row
        self.index = index
        """Place in the data set."""

    @property
    def scene_id(self) -> str:
        """Stable name: CA-w123."""
        return str(self._reader.index.rows["scene_id"][self._row])

    @property
    def state(self) -> str:
        """Region code: CA."""
        return self._reader.index.region

    @property
    def label(self) -> Tensor:
        """Bool (N,): which classes are in the footprint, by class id."""
        return torch.from_numpy(self._reader.index.column("label")[self._row] != 0)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north, degrees, EPSG:4326."""
        west, south, east, north = self._reader.index.column("bounds")[self._row].tolist()
        return west, south, east, north

    def lr(self) -> Tensor:
        """The LR image: uint8 (3, 268, 268), north-west first.

        Raises:
            FileNotFoundError: the shard is missing.
            StoreError: the shard or the image is damaged.
        """
        pixels = buffers.take(1)
        self._reader.lr(self._row, pixels[0])
        return buffers.as_tensor(pixels)[0]

    def hr(self, tiles: Sequence[int] | NDArray[np.int64] | Tensor) -> Tensor:
        """HR tiles: uint8 (len(tiles), 3, 268, 268), in the order asked for; no other tile is read.

        Args:
            tiles: numbers in 0..99; tile = 10 * row + column, north-west first.

        Raises:
            IndexError: there is no such tile.
            FileNotFoundError: the shard is missing.
            StoreError: the shard or a tile is damaged.
        """
        numbers = checked_tiles(tiles.tolist() if isinstance(tiles, Tensor) else tiles)
        pixels = buffers.take(len(numbers))
        self._reader.hr(self._row, numbers, pixels)
        return buffers.as_tensor(pixels)

    def tile_labels(self) -> Tensor:
        """Bool (100, N): which classes meet which tile. No image is read."""
        return torch.from_numpy(self._reader.tile_labels(self._row))


def _open(root: Place, states: Collection[str] | None) -> list[RegionIndex]:
    present = regions_of(root)
    if isinstance(states, str):
        raise SelectionError(f"states is a list of codes, as states=[{states!r}]; got the text {states!r}")
    missing = sorted(set(states or ()) - set(present))
    if missing:
        raise SelectionError(
            f"{root} has no state {', '.join(missing)}; it has {', '.join(present)}. Build it with "
            f"`gl10m build --states {','.join(missing)} --root {root}`."
        )
    wanted = present if states is None else sorted(set(states))
    if not wanted:
        raise SelectionError(f"states names at least one state, or is None for all; {root} has {present}")
    indexes = [open_index(index_path(root, region)) for region in wanted]
    for index in indexes[1:]:
        if index.class_names != indexes[0].class_names:
            raise StoreError(
                f"{indexes[0].region} and {index.region} in {root} were built with different class maps. "
                "Build one of them again, or name one of them as states."
            )
    return indexes


def _nothing(root: Place, split: str | None, states: Sequence[str], classes: Collection[str] | None) -> str:
    asked = [f"split {split!r}"] if split is not None else []
    asked.append(f"states {', '.join(states)}")
    asked += [f"classes {', '.join(sorted(classes))}"] if classes is not None else []
    return f"no scene of {root} is in {' and '.join(asked)}; ask for less, or build more"
