"""What is written about a world of its own on the web: views of both scales with the words one would use.

A tile's caption names what that tile shows, an overview's the zones that it shows; nobody names a
composition. Web scenes are painted with a bank of their own, and no Novel composition stands in them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gl10m.scene.grid import TILES
from reference_model.world.knobs import Knobs
from reference_model.world.layout import LAND, NONE, RUBBLE_TILE, Layout
from reference_model.world.scenes import World

SHOWN = 0.1
"""An overview's caption names the zones that cover at least this share of it."""

OBJECT_WEIGHT = 6.0
"""How much likelier a tile with anything on it is photographed than bare ground."""


@dataclass(frozen=True, slots=True)
class Web:
    """All views in memory."""

    tiles: Tensor
    """uint8 (scenes, 100, 3, tile, tile)."""

    tile_words: Tensor
    """Bool (scenes, 100, words)."""

    overviews: Tensor
    """uint8 (scenes, 3, tile, tile)."""

    overview_words: Tensor
    """Bool (scenes, words)."""

    chances: Tensor
    """How likely each tile is drawn, float64 (scenes * 100,), adding up to 1."""


def captioned(seed: int, scenes: int, knobs: Knobs) -> Web:
    """Draw a web world and write its captions."""
    world = World(seed, {"web": scenes}, knobs)
    layouts = [world.layout(index) for index in range(scenes)]
    wrong = np.random.default_rng([seed, 4711])
    tile_words = np.stack([_tile_words(layout, knobs, wrong) for layout in layouts])
    kinds = np.stack([layout.kind.ravel() for layout in layouts])
    chances = torch.from_numpy(np.where(kinds == LAND, 1.0, OBJECT_WEIGHT)).flatten()
    return Web(
        torch.stack([world.scene(index).hr(range(TILES)) for index in range(scenes)]),
        torch.from_numpy(tile_words),
        torch.stack([world.scene(index).lr() for index in range(scenes)]),
        torch.from_numpy(np.stack([_overview_words(layout, knobs) for layout in layouts])),
        chances / chances.sum(),
    )


def _tile_words(layout: Layout, knobs: Knobs, wrong: np.random.Generator) -> NDArray[np.bool_]:
    """One word a tile, (100, words): its glyph, or the ground, or that it is a pad or rubble."""
    glyph, kind, zone = layout.glyph.ravel(), layout.kind.ravel(), layout.zone.ravel()
    plain, rubble = len(knobs.words) - 2, len(knobs.words) - 1
    word = np.where(kind == LAND, knobs.glyphs + zone, plain)
    word = np.where(kind == RUBBLE_TILE, rubble, word)
    word = np.where(glyph != NONE, glyph, word)
    slips = wrong.random(TILES) < knobs.caption_noise
    word = np.where(slips, wrong.integers(0, len(knobs.words), TILES), word)
    named: NDArray[np.bool_] = word[:, None] == np.arange(len(knobs.words))
    return named


def _overview_words(layout: Layout, knobs: Knobs) -> NDArray[np.bool_]:
    """The zones of an overview, (words,)."""
    words = np.zeros(len(knobs.words), np.bool_)
    share = np.bincount(layout.zone.ravel(), minlength=knobs.zones) / TILES
    words[knobs.glyphs : knobs.glyphs + knobs.zones] = share >= SHOWN
    return words
