"""From a layout to pixels. LR is made from the HR raster itself, never drawn beside it."""

import numpy as np
from numpy.typing import NDArray

from gl10m.scene.grid import GRID
from reference_model.world.banks import GLYPH_PX, Bank, Floats, glyph_shapes
from reference_model.world.knobs import Knobs
from reference_model.world.layout import LAND, NONE, RUBBLE_TILE, Layout, nearest

APRON = np.array([0.50, 0.48, 0.45], np.float32)
"""Colour of a pad: the same in every zone, so that an HR tile tells the glyph and not the zone."""

RUBBLE_TINT = np.array([1.03, 0.985, 0.96], np.float32)

AREA = 10
"""HR pixels on a side of one LR pixel, as 10 m over 1 m."""

Bytes = NDArray[np.uint8]


def render(rng: np.random.Generator, knobs: Knobs, layout: Layout, bank: Bank) -> tuple[Bytes, Bytes]:
    """Draw a scene at both scales.

    Glyphs are drawn into the null space of the LR operator: their mean over every LR pixel is taken off
    them. So they are there at HR and nowhere at LR, to the rounding of a byte.

    Args:
        rng: all chance of the scene.
        knobs: of the world.
        layout: what stands where.
        bank: textures and palette.

    Returns:
        HR tiles uint8 (100, 3, tile, tile), tile = 10 * row + column, and LR uint8 (3, tile, tile).
    """
    mosaic = _ground(rng, layout, bank)
    tile = knobs.tile_px
    objects = np.zeros(mosaic.shape[:2], np.float32)
    for row, column in np.argwhere(layout.kind != LAND):
        spot = (slice(row * tile, (row + 1) * tile), slice(column * tile, (column + 1) * tile))
        if layout.kind[row, column] == RUBBLE_TILE:
            grain = bank.rubble[int(rng.integers(len(bank.rubble)))][..., None]
            mosaic[spot] = APRON * RUBBLE_TINT + grain
            continue
        mosaic[spot] = APRON + rng.normal(0, 0.015, (tile, tile, 1)).astype(np.float32)
        if layout.glyph[row, column] != NONE:
            objects[spot] = _unseen_at_lr(_glyph(rng, layout, (int(row), int(column)), tile), spot)
    mosaic += objects[..., None]
    hr = (np.clip(mosaic, 0, 1) * 255).round().astype(np.uint8)
    return _tiles(hr, tile), _overview(rng, hr, knobs.lr_noise)


def _ground(rng: np.random.Generator, layout: Layout, bank: Bank) -> Floats:
    side = bank.textures.shape[-1]
    zone = layout.site_zones[nearest(layout.sites, (np.arange(side) + 0.5) * GRID / side)]
    relief = np.zeros((side, side), np.float32)
    for one in np.unique(zone):
        variant = bank.textures[one][int(rng.integers(bank.textures.shape[1]))]
        moved = np.roll(variant, tuple(rng.integers(0, side, 2)), (0, 1))
        np.copyto(relief, moved, where=zone == one)
    light = rng.normal(0, 0.03, 3).astype(np.float32)
    ground: Floats = (bank.colours + light)[zone] + relief[..., None]
    return ground


def _glyph(rng: np.random.Generator, layout: Layout, cell: tuple[int, int], tile: int) -> Floats:
    shape = glyph_shapes()[int(layout.soft[cell])][layout.glyph[cell]]
    top, left = rng.integers(2, tile - GLYPH_PX - 2, 2)
    drawn = np.zeros((tile, tile), np.float32)
    turned = np.rot90(shape, int(rng.integers(4)))
    strength = rng.choice((-1.0, 1.0)) * rng.uniform(0.12, 0.2)
    drawn[top : top + GLYPH_PX, left : left + GLYPH_PX] = strength * turned
    return drawn


def _overview(rng: np.random.Generator, hr: Bytes, deviation: float) -> Bytes:
    """The area mean of the raster, blurred a little, with noise."""
    lr = _averaged((hr / 255).astype(np.float32))
    padded = np.pad(lr, ((1, 1), (1, 1), (0, 0)), mode="edge")
    lr = 0.1 * (padded[:-2] + padded[2:])[:, 1:-1] + 0.1 * (padded[:, :-2] + padded[:, 2:])[1:-1] + 0.6 * lr
    noisy = np.clip(lr + rng.normal(0, deviation, lr.shape), 0, 1)
    overview: Bytes = (noisy * 255).round().astype(np.uint8).transpose(2, 0, 1)
    return overview


def _averaged(raster: Floats) -> Floats:
    side = len(raster) // AREA
    mean: Floats = raster.reshape(side, AREA, side, AREA, *raster.shape[2:]).mean(axis=(1, 3))
    return mean


def _unseen_at_lr(glyph: Floats, spot: tuple[slice, slice]) -> Floats:
    """Take the mean over each LR pixel off a glyph, by the part of the pixel that lies in its tile.

    By part, since pixels straddle tiles: the whole pixel's mean would leave a trace on the next tile.
    """
    down, across = (_starts(side) for side in spot)
    tall, wide = np.diff(down, append=len(glyph)), np.diff(across, append=len(glyph))
    sums = np.add.reduceat(np.add.reduceat(glyph, down, axis=0), across, axis=1)
    means = (sums / np.outer(tall, wide)).astype(np.float32)
    centred: Floats = glyph - means.repeat(tall, axis=0).repeat(wide, axis=1)
    return centred


def _starts(side: slice) -> NDArray[np.int64]:
    """Where a new LR pixel begins inside a tile."""
    return np.flatnonzero(np.diff(np.arange(side.start, side.stop) // AREA, prepend=-1))


def _tiles(mosaic: Bytes, tile: int) -> Bytes:
    cut = mosaic.reshape(GRID, tile, GRID, tile, 3).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(cut.reshape(GRID * GRID, 3, tile, tile))
