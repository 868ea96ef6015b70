"""`GL10MDataset`: the scenes of a split as tensors, HR tiles on demand."""

import hashlib
import operator
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import accumulate
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from gl10m.loader.choice import Draw, ObservationError, Tiles, chosen_tiles, parsed
from gl10m.loader.collate import packed
from gl10m.loader.sample import Batch, Sample
from gl10m.loader.scene import Encoded, Scene, decode, fetch
from gl10m.loader.selection import SelectionError, class_ids, manifest_columns, rows_of, split_members
from gl10m.storage.place import BucketPath, Place, place_of
from gl10m.store.byte_source import byte_source
from gl10m.store.layout import StoreError, index_path
from gl10m.store.reader import RegionReader
from gl10m.store.region_index import RegionIndex, open_index, regions_of

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
        self._choice = parsed(tiles)
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
        self.source = byte_source(self.root, gap)
        """Where the bytes of shards come from."""
        self._readers = [RegionReader(index, self.source, verify=verify) for index in indexes]
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

    @property
    def epoch(self) -> int:
        """Number of the epoch that tiles are drawn for."""
        return int(self._epoch.item())

    @property
    def shards(self) -> NDArray[np.int64]:
        """Shape (scenes,): number of the shard that each scene lies in, counted over all its regions."""
        sizes = [len(reader.index.shards) for reader in self._readers]
        before = np.cumsum([0, *sizes])
        numbers = np.empty(len(self), np.int64)
        for region, reader in enumerate(self._readers):
            own = self._region == region
            numbers[own] = before[region] + reader.index.column("shard")[self._row[own]]
        return numbers

    def checksum(self) -> str:
        """SHA-256, hexadecimal, over the checksums of all images, in order: of other pixels it is another.

        No image is read: the index has their checksums.
        """
        state = hashlib.sha256()
        for region, row in zip(self._region.tolist(), self._row.tolist(), strict=True):
            state.update(self._readers[region].checksums(row).tobytes())
        return state.hexdigest()

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
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Many samples, whose images are read together and decoded into one piece of memory.

        A DataLoader asks for its batches in this way. `gl10m.loader.collate` then need not copy them.

        Raises:
            IndexError: the data set has fewer scenes, or the policy names a tile that is not there.
            FileNotFoundError: a shard is missing.
            StoreError: a shard or an image is damaged.
        """
        return [self.transformed(sample) for sample in self.decode(self.fetch(indices))]

    def fetch(self, indices: Sequence[int]) -> Encoded:
        """Read the images of some scenes with one call: LR and the tiles that `tiles` chooses.

        Raises:
            IndexError: the data set has fewer scenes, or the policy names a tile that is not there.
            FileNotFoundError: a shard is missing.
            StoreError: a shard is damaged.
        """
        scenes = [self.scene(index) for index in indices]
        seed, epoch = self.seed, self.epoch
        return fetch(
            scenes,
            [self._choice.tiles(scene.index, Draw(seed, epoch, scene.scene_id)) for scene in scenes],
        )

    def decode(self, encoded: Encoded) -> list[dict[str, Any]]:
        """Samples of what was fetched, before any transform; see `gl10m.loader.sample.Sample`.

        Raises:
            StoreError: an image is damaged.
        """
        return self.described(encoded, *decode(encoded))

    def described(self, encoded: Encoded, image: Tensor, hr: Tensor) -> list[dict[str, Any]]:
        """Samples of some scenes whose images were decoded, by whatever decoder.

        Args:
            encoded: what was fetched.
            image: uint8 (B, 3, 268, 268), the LR images.
            hr: uint8 (sum of n, 3, 268, 268), the tiles of the first scene, then those of the second.
        """
        ends = accumulate(map(len, encoded.tiles))
        return [
            self._sample(scene, image[place], hr[end - len(tiles) : end], tiles)
            for place, (scene, tiles, end) in enumerate(zip(encoded.scenes, encoded.tiles, ends, strict=True))
        ]

    def transformed(self, sample: dict[str, Any]) -> Any:  # noqa: ANN401 - what the transform makes of it
        """A sample as the user wants it."""
        return self.transform(sample) if self.transform else sample

    def observe(self, batch: Mapping[str, Any], tiles: Tensor | Sequence[Sequence[int]]) -> Batch:
        """Read the HR tiles that were chosen for each scene of a batch, after its LR images were seen.

        Example:
            >>> batch = collate(dataset.__getitems__(range(16)))  # doctest: +SKIP
            >>> seen = dataset.observe(batch, policy(batch["image"]))  # doctest: +SKIP

        Args:
            batch: of `gl10m.loader.collate`; its `index` says which scenes.
            tiles: bool (B, 100), True where a tile is wanted, or numbers of tiles for each scene, none twice.

        Returns:
            The batch with these tiles instead of any before.

        Raises:
            ObservationError: `tiles` has another shape, or the data set has a transform, after which a tile's
                number may not be what it was.
            TileChoiceError: a scene's tiles are no whole numbers, or one is named twice.
            IndexError: there is no such tile.
            FileNotFoundError: a shard is missing.
            StoreError: a shard or a tile is damaged.
        """
        if self.transform is not None:
            raise ObservationError(
                "observe reads tiles by their numbers on the ground, which a transform may have changed. "
                "Open the data set without a transform, and apply it to what was observed."
            )
        scenes = [self.scene(int(index)) for index in batch["index"]]
        chosen = chosen_tiles(tiles, len(scenes))
        _, hr = decode(fetch(scenes, chosen, lr=False))
        return cast("Batch", {**batch, **packed(hr, chosen)})

    def _sample(self, scene: Scene, image: Tensor, hr: Tensor, tiles: list[int]) -> dict[str, Any]:
        sample: Sample = {
            "image": image,
            "hr": hr,
            # from_numpy has half of the cost of torch.tensor where the processor's cache is full of pixels.
            "tiles": torch.from_numpy(np.array(tiles, np.int64)),
            "label": scene.label,
            "bounds": torch.from_numpy(np.array(scene.bounds, np.float64)),
            "index": scene.index,
            "scene_id": scene.scene_id,
            "state": scene.state,
        }
        return {**sample, **{name: values[scene.index] for name, values in self._columns.items()}}


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
