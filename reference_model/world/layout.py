"""What stands where in a scene, before a pixel is drawn."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gl10m.scene.grid import GRID
from reference_model.world.knobs import Knobs

LAND, COMPOUND, RUBBLE_TILE, PAD = range(4)
"""Kinds of tiles. A pad belongs to no compound."""

NONE = -1
"""No glyph, no class."""

GROWTH_TRIES = 40

Cell = tuple[int, int]
Grid = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Layout:
    """A scene as a plan; grids are (10, 10), row 0 in the north."""

    sites: NDArray[np.float64]
    """Voronoi sites of the zones, (n, 2), in tiles: row, column."""

    site_zones: NDArray[np.int64]
    """Zone of each site, (n,)."""

    kind: Grid
    """LAND, COMPOUND, RUBBLE_TILE or PAD."""

    glyph: Grid
    """The glyph that a tile shows, NONE where it shows none."""

    soft: NDArray[np.bool_]
    """Whether that glyph is camouflaged."""

    classes: Grid
    """The class whose compound stands on a tile, NONE where there is none."""

    zone: Grid
    """Zone at the centre of each tile."""


def draw(rng: np.random.Generator, knobs: Knobs, *, fewest_sites: int, forbidden: frozenset[int]) -> Layout:
    """Draw a scene.

    Args:
        rng: all chance of the scene.
        knobs: of the world.
        fewest_sites: Voronoi sites; up to two more are drawn.
        forbidden: classes that must not occur.
    """
    count = int(rng.integers(fewest_sites, fewest_sites + 3))
    sites = rng.uniform(0, GRID, (count, 2))
    site_zones = rng.integers(0, knobs.zones, count)
    zone = site_zones[nearest(sites, np.arange(GRID, dtype=np.float64) + 0.5)].astype(np.int8)
    empty = np.full((GRID, GRID), NONE, np.int8)
    layout = Layout(
        sites,
        site_zones,
        np.zeros((GRID, GRID), np.int8),
        empty,
        np.zeros((GRID, GRID), np.bool_),
        empty.copy(),
        zone,
    )
    for _ in range(int(rng.integers(1, knobs.most_compounds + 1))):
        _place_compound(rng, knobs, layout, forbidden)
    _scatter(rng, layout, RUBBLE_TILE, int(rng.integers(0, knobs.most_rubble + 1)))
    _scatter(rng, layout, PAD, int(rng.integers(0, knobs.most_pads + 1)))
    return layout


def nearest(sites: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which site each point of a square lattice is nearest to: (len(places), len(places))."""
    down = (places[:, None] - sites[:, 0]) ** 2
    across = (places[:, None] - sites[:, 1]) ** 2
    found: NDArray[np.int64] = (down[:, None] + across[None]).argmin(axis=-1)
    return found


def _place_compound(
    rng: np.random.Generator, knobs: Knobs, layout: Layout, forbidden: frozenset[int]
) -> None:
    size = int(rng.integers(2, knobs.largest_compound + 1))
    start = (int(rng.integers(GRID)), int(rng.integers(GRID)))
    glyph = int(rng.integers(knobs.glyphs))
    which = glyph * knobs.zones + int(layout.zone[start])
    cells = _grown(rng, layout, start, size)
    if layout.kind[start] != LAND or which in forbidden or not _is_inside(layout, start):
        return
    shows = rng.random(len(cells)) < knobs.readable
    shows[-1] |= not shows.any()  # a compound that nothing shows would be a label nobody can read
    soft = rng.random(len(cells)) < knobs.camouflaged
    for cell, shown, faint in zip(cells, shows, soft, strict=True):
        layout.kind[cell], layout.classes[cell] = COMPOUND, which
        layout.glyph[cell] = glyph if shown else NONE
        layout.soft[cell] = shown and faint


def _grown(rng: np.random.Generator, layout: Layout, start: Cell, size: int) -> list[Cell]:
    """Connected land tiles of one zone."""
    cells = [start]
    for _ in range(GROWTH_TRIES):
        if len(cells) == size:
            break
        row, column = cells[int(rng.integers(len(cells)))]
        down, across = ((0, 1), (1, 0), (0, -1), (-1, 0))[int(rng.integers(4))]
        cell = (row + down, column + across)
        inside = 0 <= cell[0] < GRID and 0 <= cell[1] < GRID
        if inside and cell not in cells and _is_free(layout, cell, layout.zone[start]):
            cells.append(cell)
    return cells


def _is_inside(layout: Layout, cell: Cell) -> bool:
    """Whether the tiles about a tile lie in its zone: at a border nobody could tell whose the pad is."""
    row, column = cell
    about = layout.zone[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
    return bool((about == layout.zone[cell]).all())


def _is_free(layout: Layout, cell: Cell, zone: np.int8) -> bool:
    return bool(layout.kind[cell] == LAND and layout.zone[cell] == zone)


def _scatter(rng: np.random.Generator, layout: Layout, kind: int, count: int) -> None:
    for row, column in rng.integers(0, GRID, (count, 2)):
        if layout.kind[row, column] == LAND:
            layout.kind[row, column] = kind
