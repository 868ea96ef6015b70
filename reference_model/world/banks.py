"""What a part of the world is painted with. Web, training and test worlds share no texture and no palette."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from gl10m.scene.grid import GRID

Floats = NDArray[np.float32]

COLOURS = np.array(
    [[0.15, 0.30, 0.50], [0.13, 0.32, 0.15], [0.55, 0.52, 0.25], [0.75, 0.62, 0.42], [0.42, 0.38, 0.44]],
    np.float32,
)
"""Mean colour of each zone."""

SMOOTHNESS = (10.0, 2.0, 4.0, 14.0, 1.2)
"""Of each zone's texture: pixels of the Gaussian that noise is smoothed with."""

CONTRAST = (0.03, 0.09, 0.06, 0.03, 0.08)
"""Of each zone's texture: its standard deviation."""

VARIANTS = 4
"""Textures of each zone."""

RUBBLE_KINDS = 32
"""Tiles of rubble."""

GLYPH_PX = 20
"""Pixels on a side of a glyph."""

FAINT = 0.45
"""Contrast of a camouflaged glyph, as a share of that of a plain one."""

SOFT = 1.3
"""Smoothness of a camouflaged glyph, pixels."""

HUE_SHIFT = 0.05
"""Palettes of two parts of the world differ by up to this much in each channel."""


@dataclass(frozen=True, slots=True)
class Bank:
    """Textures and palette of one part of the world."""

    textures: Floats
    """(zones, variants, mosaic, mosaic), zero mean."""

    rubble: Floats
    """(kinds, tile, tile), zero mean."""

    colours: Floats
    """(zones, 3)."""


@cache
def bank(seed: int, tile_px: int, zones: int) -> Bank:
    """Paint a bank; the same numbers give the same one."""
    rng = np.random.default_rng([seed, 9999])
    side = GRID * tile_px
    textures = np.stack(
        [
            np.stack([contrast * noise(rng, side, smooth) for _ in range(VARIANTS)])
            for smooth, contrast in zip(SMOOTHNESS[:zones], CONTRAST[:zones], strict=True)
        ]
    )
    rubble = np.stack([0.16 * noise(rng, tile_px, 0.7) for _ in range(RUBBLE_KINDS)])
    shift = rng.uniform(-HUE_SHIFT, HUE_SHIFT, (zones, 3)).astype(np.float32)
    return Bank(textures, rubble, COLOURS[:zones] + shift)


def noise(rng: np.random.Generator, side: int, smooth: float) -> Floats:
    """Gaussian noise of unit variance that wraps around, smoothed in the frequency domain."""
    frequency = np.fft.fftfreq(side)
    damping = np.exp(-2 * (np.pi * smooth * frequency) ** 2)
    white = np.fft.fft2(rng.standard_normal((side, side)))
    field = np.fft.ifft2(white * damping[:, None] * damping).real
    scaled: Floats = (field / field.std()).astype(np.float32)
    return scaled


@cache
def glyph_shapes() -> tuple[Floats, Floats]:
    """Plain and camouflaged glyphs, each (glyphs, 20, 20), zero mean; a plain one has unit variance."""
    y, x = np.mgrid[0:GLYPH_PX, 0:GLYPH_PX] - (GLYPH_PX - 1) / 2
    radius = np.hypot(x, y)
    masks = [
        (radius < 9) & (radius > 5.5),  # noqa: PLR2004 - a drawing
        (abs(x) < 2.2) | (abs(y) < 2.2),  # noqa: PLR2004
        ((x + 10) // 3) % 2 == 0,
        (x < -4) | (y > 4),  # noqa: PLR2004
        ((x + 10) // 5 + (y + 10) // 5) % 2 == 0,
        (np.hypot((x + 10) % 7 - 3.5, (y + 10) % 7 - 3.5) < 2.2),  # noqa: PLR2004
    ]
    plain = np.stack([_centred(mask.astype(np.float32)) for mask in masks])
    soft = np.stack([FAINT * _blurred(one) for one in plain])
    return plain, soft


def _centred(shape: Floats) -> Floats:
    centred: Floats = (shape - shape.mean()) / shape.std()
    return centred


def _blurred(shape: Floats) -> Floats:
    reach = np.arange(-4, 5)
    kernel = np.exp(-(reach**2) / (2 * SOFT**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        shape = np.apply_along_axis(lambda line: np.convolve(line, kernel, "same"), axis, shape)
    blurred: Floats = (shape - shape.mean()).astype(np.float32)
    return blurred
