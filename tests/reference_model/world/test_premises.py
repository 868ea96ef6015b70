"""What must be true of the world for an experiment in it to mean anything. Nothing here looks at a method."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from gl10m.scene.grid import GRID
from reference_model.world.knobs import Knobs
from reference_model.world.layout import COMPOUND, LAND, NONE, PAD, RUBBLE_TILE
from reference_model.world.scenes import World
from tests.reference_model.world.probes import (
    REACH,
    Floats,
    area_under_curve,
    chance,
    ground_about,
    hr_spectrum,
    lr_patch,
    probe,
)

SCENES = 200

pytestmark = pytest.mark.slow


@dataclass
class Tiles:
    """All tiles of a world with anything on them, and a land tile for each."""

    kind: NDArray[np.int64]
    glyph: NDArray[np.int64]
    zone: NDArray[np.int64]
    soft: NDArray[np.bool_]
    lr: Floats
    hr: Floats


@pytest.fixture(scope="module")
def tiles() -> Tiles:
    world, rng = World(11, {"train": SCENES}, Knobs()), np.random.default_rng(0)
    rows: list[tuple[int, int, int]] = []
    columns: dict[str, list[int]] = {"kind": [], "glyph": [], "zone": [], "soft": []}
    for scene in range(SCENES):
        layout = world.layout(scene)
        objects, land = np.argwhere(layout.kind != LAND), np.argwhere(layout.kind == LAND)
        chosen = [*objects, *land[rng.permutation(len(land))[: len(objects)]]]
        for row, column in chosen:
            rows.append((scene, int(row), int(column)))
            for name, values in columns.items():
                values.append(int(getattr(layout, name)[row, column]))
    return Tiles(
        **{name: np.array(columns[name]) for name in ("kind", "glyph", "zone")},
        soft=np.array(columns["soft"], bool),
        lr=np.stack([lr_patch(world, *row) for row in rows]),
        hr=np.stack([hr_spectrum(world.mosaic(scene)[GRID * row + column]) for scene, row, column in rows]),
    )


def _middles(tiles: Tiles) -> Floats:
    """The LR pixel in the middle of each tile, (n, 3)."""
    width = 2 * REACH + 1
    return tiles.lr.reshape(len(tiles.lr), 3, width, width)[:, :, REACH, REACH]


def test_hr_reads_the_glyph_and_lr_does_not_even_at_the_true_place(tiles: Tiles) -> None:
    readable = tiles.glyph != NONE
    plain = readable & ~tiles.soft
    assert probe(tiles.hr[plain], tiles.glyph[plain]) >= 0.95
    leaked = probe(tiles.lr[readable], tiles.glyph[readable], steps=400)
    assert leaked <= chance(tiles.glyph[readable]) + 0.05


def test_lr_reads_the_zone_of_a_compound_and_its_hr_tile_does_not(tiles: Tiles) -> None:
    compound = tiles.kind == COMPOUND
    zone = tiles.zone[compound]
    assert probe(ground_about(tiles.lr[compound], _middles(tiles)[compound].mean(0)), zone) >= 0.9
    assert probe(tiles.hr[compound], zone) <= chance(zone) + 0.05


def test_lr_finds_pads_and_confuses_them_with_rubble_now_and_then(tiles: Tiles) -> None:
    middle = _middles(tiles)
    grey = -np.abs(middle - middle[tiles.kind == COMPOUND].mean(0)).sum(1)
    pads = np.isin(tiles.kind, (COMPOUND, PAD))
    land = tiles.kind == LAND
    assert area_under_curve(grey[pads | land], pads[pads | land]) >= 0.9
    assert probe(tiles.lr[pads | land], pads[pads | land].astype(np.int64)) >= 0.95
    rubble = tiles.kind == RUBBLE_TILE
    assert 0.6 <= area_under_curve(grey[pads | rubble], pads[pads | rubble]) <= 0.95


def test_an_empty_pad_looks_like_a_compound_at_lr(tiles: Tiles) -> None:
    """What no sampler can know: its error here cannot be reduced beyond the shape of the neighbourhood."""
    middle = _middles(tiles)
    pad, compound = tiles.kind == PAD, tiles.kind == COMPOUND
    both = pad | compound
    assert 0.4 <= area_under_curve(middle[both].mean(1), pad[both]) <= 0.6


def test_the_glyph_of_an_unreadable_tile_can_be_told_from_a_neighbour() -> None:
    world = World(11, {"train": SCENES}, Knobs())
    right, all_of_them = 0, 0
    for scene in range(SCENES):
        layout = world.layout(scene)
        for row, column in np.argwhere((layout.kind == COMPOUND) & (layout.glyph == NONE)):
            near = [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
            seen = [int(layout.glyph[cell]) for cell in near if min(cell) >= 0 and max(cell) < GRID]
            seen = [one for one in seen if one != NONE]
            if seen:
                all_of_them += 1
                right += seen[0] == layout.classes[row, column] // world.knobs.zones
    assert all_of_them > 50
    assert right / all_of_them >= 0.9


def test_rubble_has_more_structure_than_any_glyph_and_a_camouflaged_glyph_less_than_a_plain_one(
    tiles: Tiles,
) -> None:
    structure = np.expm1(tiles.hr).sum(1)
    shown = tiles.glyph != NONE
    soft, plain = structure[shown & tiles.soft].mean(), structure[shown & ~tiles.soft].mean()
    assert structure[tiles.kind == RUBBLE_TILE].mean() > plain > 1.2 * soft
