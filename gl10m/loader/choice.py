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

Numbers = Sequence[int] | NDArray[np.integer[Any] | np.bool_] | Tensor
"""Tiles of one scene: their numbers, or bool (100,), True where one is wanted."""

Policy = Callable[[int, np.random.Generator], Numbers]
"""Takes the scene's place in the data set and a generator seeded for it; says which tiles."""

Tiles = Literal["all"] | int | Numbers | Policy | None
"""What `GL10MDataset` takes as `tiles`."""


class TileChoiceError(ValueError):
    """What was given as `tiles` names no choice of tiles."""


class ObservationError(TileChoiceError):
    """What was given to `observe` names no tiles of the batch's scenes."""


def parsed(tiles: Tiles) -> "Choice":
    """The choice that a value of `tiles` stands for.

    Args:
        tiles: None or 0 for none, "all", so many drawn anew for each scene (ascending, none twice), numbers
            of tiles in the order wanted or a mask of them, or a policy.

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
    if isinstance(tiles, (Sequence, np.ndarray, Tensor)) and not isinstance(tiles, str):
        return FixedTiles(tuple(numbers_of(tiles)))
    raise TileChoiceError(
        f'tiles is None, "all", a number of tiles, a list of them or a function; got {type(tiles).__name__}'
    )


def numbers_of(tiles: Numbers) -> list[int]:
    """Numbers of the tiles of one scene, in the order wanted; of a mask ascending.

    Args:
        tiles: numbers, none twice, or bool (100,).

    Raises:
        TileChoiceError: a mask of another shape, a number that is not whole, or a tile that is named twice,
            as all are by a mask that is not bool.
        IndexError: there is no such tile.
    """
    if isinstance(tiles, (Tensor, np.ndarray)):
        if _is_mask(tiles):
            if tuple(tiles.shape) != (TILES,):
                raise TileChoiceError(f"a mask of tiles has shape ({TILES},); got {tuple(tiles.shape)}")
            return np.flatnonzero(_plain(tiles)).tolist()
        tiles = tiles.tolist()
    try:
        numbers = checked_tiles(tiles)
    except TypeError as error:
        raise TileChoiceError(
            f"tiles are whole numbers, 0..{TILES - 1}, or a mask of type bool; {error}"
        ) from error
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise TileChoiceError(
            f"a tile is named once; {twice} is named {numbers.count(twice)} times. A mask is of type bool: "
            "call .bool() on a tensor, .astype(bool) on an array."
        )
    return numbers


def _is_mask(tiles: Tensor | NDArray[Any]) -> bool:
    return tiles.dtype in {torch.bool, np.dtype(bool)}


def _plain(tiles: Tensor | NDArray[Any]) -> NDArray[Any]:
    return tiles.cpu().numpy() if isinstance(tiles, Tensor) else tiles


def chosen_tiles(tiles: Tensor | NDArray[np.bool_] | Sequence[Numbers], scenes: int) -> list[list[int]]:
    """Numbers of the tiles chosen for each scene of a batch.

    Args:
        tiles: bool (scenes, 100), or for each scene what `numbers_of` takes.
        scenes: how many scenes the batch has.

    Raises:
        ObservationError: another shape.
        TileChoiceError: as of `numbers_of`.
        IndexError: there is no such tile.
    """
    if isinstance(tiles, (Tensor, np.ndarray)) and _is_mask(tiles):
        if tuple(tiles.shape) != (scenes, TILES):
            raise ObservationError(
                f"a mask of tiles has shape ({scenes}, {TILES}), a row a scene; got {tuple(tiles.shape)}"
            )
        return [np.flatnonzero(row).tolist() for row in _plain(tiles)]
    if len(tiles) != scenes:
        raise ObservationError(f"the batch has {scenes} scenes; got tiles of {len(tiles)}")
    return [numbers_of(numbers) for numbers in tiles]


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
            TileChoiceError: a policy names no tiles; see `numbers_of`.
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
        return numbers_of(self.policy(index, generator))
