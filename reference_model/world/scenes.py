"""A world as the `Scenes` that everything else reads."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from gl10m.scene.grid import TILES
from reference_model.scenes import Catalogue, read_catalogue
from reference_model.world.banks import bank
from reference_model.world.knobs import Knobs
from reference_model.world.layout import NONE, Layout, draw
from reference_model.world.render import Bytes, render

BANKS: Mapping[str, int] = {"web": 1, "train": 2, "val": 2, "pretrain": 2, "test": 3}
"""Which bank a split is painted with: web, training and test worlds share none."""

FEWEST_SITES: Mapping[str, int] = {"web": 3, "train": 3, "val": 3, "pretrain": 3, "test": 4}
"""Zones are smaller in the test world: the analogue of states that were not seen."""

DEGREES = 0.024
"""Side of a footprint. Scenes lie apart: none shares ground with another."""

PER_ROW = 60

SPLITS = tuple(BANKS)


class WorldScene:
    """One scene; drawn when it is asked for, the same every time."""

    def __init__(self, world: "World", index: int) -> None:
        self._world, self._index = world, index
        self.layout: Layout = world.layout(index)
        """What stands where: for captions, gates and oracles, never for a method."""

    @property
    def scene_id(self) -> str:
        """Split, seed and number."""
        return f"{self._world.splits[self._index]}-{self._world.seed}-{self._index}"

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north, degrees, EPSG:4326."""
        row, column = divmod(self._index, PER_ROW)
        west, south = -120 + 1.5 * DEGREES * column, -60 + 1.5 * DEGREES * row
        return west, south, west + DEGREES, south + DEGREES

    @property
    def label(self) -> Tensor:
        """Bool (classes,)."""
        return self.tile_labels().any(dim=0)

    def lr(self) -> Tensor:
        """The overview, uint8 (3, tile, tile)."""
        return torch.from_numpy(self._world.overview(self._index))

    def hr(self, tiles: Sequence[int]) -> Tensor:
        """The tiles asked for, uint8 (len(tiles), 3, tile, tile)."""
        return torch.from_numpy(self._world.mosaic(self._index)[list(tiles)])

    def tile_labels(self) -> Tensor:
        """Bool (100, classes): the compound that stands on a tile, shown by the tile or not."""
        classes = torch.from_numpy(self.layout.classes.ravel().astype(np.int64))
        labels = torch.zeros(TILES, len(self._world.class_names), dtype=torch.bool)
        where = (classes != NONE).nonzero(as_tuple=True)[0]
        labels[where, classes[where]] = True
        return labels


class World:
    """All scenes of one seed, split by split."""

    def __init__(self, seed: int, counts: Mapping[str, int], knobs: Knobs | None = None) -> None:
        """Lay a world out; nothing is drawn yet.

        Args:
            seed: another seed, another world; scene i of a split depends on seed, split and i alone.
            counts: scenes of each split, keys of BANKS.
            knobs: what decides it besides.

        Raises:
            ValueError: there is no such split.
        """
        if unknown := sorted(set(counts) - set(BANKS)):
            raise ValueError(f"splits of a world are {', '.join(BANKS)}; asked for {', '.join(unknown)}")
        self.seed, self.knobs = seed, knobs or Knobs()
        self.splits = [split for split, count in counts.items() for _ in range(count)]
        self._numbers = [number for count in counts.values() for number in range(count)]
        self._overviews: dict[int, Bytes] = {}
        self._last = lru_cache(maxsize=8)(self._drawn)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the compositions by id."""
        return self.knobs.class_names

    def __len__(self) -> int:
        return len(self.splits)

    def scene(self, index: int) -> WorldScene:
        """One scene; nothing is drawn until it is asked for."""
        return WorldScene(self, index)

    def catalogue(self) -> Catalogue:
        """Names, places and labels, with the Novel compositions."""
        return read_catalogue(self, self.knobs.novel_names)

    def layout(self, index: int) -> Layout:
        """What stands where in one scene."""
        split = self.splits[index]
        # Captions name no Novel composition, because nothing of the web shows one.
        forbidden = frozenset(self.knobs.novel_ids) if split == "web" else frozenset()
        return draw(self._rng(index, 0), self.knobs, fewest_sites=FEWEST_SITES[split], forbidden=forbidden)

    def mosaic(self, index: int) -> Bytes:
        """HR tiles uint8 (100, 3, tile, tile) of one scene."""
        return self._last(index)[0]

    def overview(self, index: int) -> Bytes:
        """LR uint8 (3, tile, tile) of one scene; kept, since a sampler asks for it at every step."""
        if index not in self._overviews:
            self._overviews[index] = self._last(index)[1]
        return self._overviews[index]

    def _drawn(self, index: int) -> tuple[Bytes, Bytes]:
        paint = bank(BANKS[self.splits[index]], self.knobs.tile_px, self.knobs.zones)
        return render(self._rng(index, 1), self.knobs, self.layout(index), paint)

    def _rng(self, index: int, purpose: int) -> np.random.Generator:
        split = SPLITS.index(self.splits[index])
        return np.random.default_rng([self.seed, split, self._numbers[index], purpose])
