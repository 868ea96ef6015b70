"""Which HR tiles a sample holds: none, all, fixed ones, a seeded draw, or a policy of the user's."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gl10m.scene.draw import drawn_tiles
from gl10m.scene.grid import TILES
from gl10m.store.reader import checked_tiles

Policy = Callable[[int, np.random.Generator], Sequence[int] | NDArray[np.integer[Any]]]
"""Takes the scene's place in the data set and a generator seeded for it; gives tile numbers."""

Tiles = Literal["all"] | int | Sequence[int] | NDArray[np.integer[Any]] | Policy | None
"""What `GL10MDataset` takes as `tiles`."""


class TileChoiceError(ValueError):
    """What was given as `tiles` names no choice of tiles."""


class ObservationError(ValueError):
    """What was given to `observe` names no tiles of the batch's scenes."""


def parsed(tiles: Tiles) -> "Choice":
    """The choice that a value of `tiles` stands for.

    Args:
        tiles: None or 0 for none, "all", so many drawn anew for each scene (ascending, none twice), numbers
            of tiles in the order wanted, or a policy.

    Raises:
        TileChoiceError: none of these.
        IndexError: a number is not in 0..99.
    """
    if tiles is None:
        return FixedTiles(())
    if isinstance(tiles, str):
        if tiles != "all":
            raise TileChoiceError(f'tiles is "all" where it is a text; got {tiles!r}')
        return FixedTiles(tuple(range(TILES)))
    if isinstance(tiles, (int, np.integer)) and not isinstance(tiles, bool):
        if not 0 <= tiles <= TILES:
            raise TileChoiceError(f"a scene has {TILES} tiles to draw from; asked for {tiles}")
        return FixedTiles(()) if tiles == 0 else RandomTiles(int(tiles))
    if callable(tiles):
        return ByPolicy(tiles)
    if isinstance(tiles, (Sequence, np.ndarray, torch.Tensor)):
        numbers: tuple[Any, ...] = tuple(tiles)
        return FixedTiles(tuple(checked_tiles(numbers)))
    raise TileChoiceError(
        f'tiles is None, "all", a number of tiles, a list of them or a function; got {type(tiles).__name__}'
    )


def chosen_tiles(tiles: Tensor | Sequence[Sequence[int]], scenes: int) -> list[list[int]]:
    """Numbers of the tiles chosen for each scene of a batch.

    Args:
        tiles: bool (scenes, 100), or numbers for each scene.
        scenes: how many scenes the batch has.

    Raises:
        ObservationError: another shape.
        IndexError: there is no such tile.
    """
    if isinstance(tiles, Tensor) and tiles.dtype == torch.bool:
        if tiles.shape != (scenes, TILES):
            raise ObservationError(
                f"a mask of tiles has shape ({scenes}, {TILES}), a row a scene; got {tuple(tiles.shape)}"
            )
        return [torch.nonzero(row).flatten().tolist() for row in tiles.cpu()]
    if len(tiles) != scenes:
        raise ObservationError(f"the batch has {scenes} scenes; got tiles of {len(tiles)}")
    return [checked_tiles(numbers.tolist() if isinstance(numbers, Tensor) else numbers) for numbers in tiles]


class Draw(NamedTuple):
    """What a draw of a scene's tiles depends on, and nothing else."""

    seed: int
    epoch: int
    scene_id: str


class Choice(Protocol):
    """Says which tiles of a scene are read. Picklable, unless a policy of the user's is not."""

    def tiles(self, index: int, draw: Draw) -> list[int]:
        """Numbers of tiles.

        Args:
            index: place of the scene in the data set.
            draw: of its tiles.

        Raises:
            IndexError: a policy names a tile that is not there.
        """
        ...


@dataclass(frozen=True, slots=True)
class FixedTiles:
    """The same tiles of every scene, in the order they were given."""

    numbers: tuple[int, ...]

    def tiles(self, index: int, draw: Draw) -> list[int]:
        """See `Choice.tiles`."""
        del index, draw
        return list(self.numbers)


@dataclass(frozen=True, slots=True)
class RandomTiles:
    """So many tiles of each scene, all equally likely, ascending."""

    count: int

    def tiles(self, index: int, draw: Draw) -> list[int]:
        """See `Choice.tiles`."""
        del index
        return drawn_tiles(self.count, *draw)


@dataclass(frozen=True, slots=True)
class ByPolicy:
    """What a function of the user's says."""

    policy: Policy

    def tiles(self, index: int, draw: Draw) -> list[int]:
        """See `Choice.tiles`."""
        generator = np.random.default_rng((draw.seed, draw.epoch, zlib.crc32(draw.scene_id.encode())))
        return checked_tiles(self.policy(index, generator))
