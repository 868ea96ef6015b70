"""The world is the same every time, LR is made from HR, and what is held out is not on the web."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gl10m.scene.grid import TILES
from reference_model.world.banks import bank
from reference_model.world.knobs import Knobs
from reference_model.world.layout import COMPOUND, NONE
from reference_model.world.render import render
from reference_model.world.scenes import BANKS, World
from reference_model.world.web import captioned

COUNTS = {"train": 6, "val": 2, "test": 4}


def test_a_scene_depends_on_seed_split_and_number_alone() -> None:
    one, more = World(3, COUNTS), World(3, {"val": 2, "pretrain": 1, "train": 9, "test": 4})
    assert np.array_equal(one.mosaic(0), more.mosaic(3))
    assert np.array_equal(one.overview(8), more.overview(12))
    assert not np.array_equal(one.mosaic(0), World(4, COUNTS).mosaic(0))
    assert not np.array_equal(one.mosaic(0), one.mosaic(6))


def test_scenes_keep_the_contract_of_a_data_set() -> None:
    world = World(3, COUNTS)
    scene, catalogue = world.scene(7), world.catalogue()
    assert scene.lr().shape == (3, 32, 32)
    assert scene.hr([5, 99]).shape == (2, 3, 32, 32)
    assert torch.equal(scene.hr([5, 99]), scene.hr(range(TILES))[[5, 99]])
    assert scene.lr().dtype == scene.hr([0]).dtype == torch.uint8
    assert torch.equal(catalogue.labels[7], scene.tile_labels().any(dim=0))
    assert len(set(catalogue.scene_ids)) == len(world)
    west, south, east, north = catalogue.bounds.T
    apart = (west[:, None] >= east) | (east[:, None] <= west)
    apart |= (south[:, None] >= north) | (north[:, None] <= south)
    assert (apart | np.eye(len(world), dtype=bool)).all()


def test_tiles_put_together_have_no_seam() -> None:
    """The mean difference over tile borders is about that inside tiles: the order of tiles is right."""
    grid = World(3, COUNTS, Knobs(most_rubble=0, most_pads=0)).mosaic(1).reshape(10, 10, 3, 32, 32)
    mosaic = grid.transpose(0, 3, 1, 4, 2).reshape(320, 320, 3).astype(float)
    steps = np.abs(np.diff(mosaic, axis=1)).mean(axis=(0, 2))
    border = np.arange(319) % 32 == 31
    assert steps[border].mean() < 3 * steps[~border].mean()


def test_the_overview_is_the_area_mean_of_the_mosaic() -> None:
    world = World(3, COUNTS, Knobs(lr_noise=0.0))
    mosaic = world.mosaic(2).reshape(10, 10, 3, 32, 32).transpose(0, 3, 1, 4, 2).reshape(32, 10, 32, 10, 3)
    mean = mosaic.astype(float).mean(axis=(1, 3))
    inner = 0.6 * mean[1:-1, 1:-1] + 0.1 * (
        mean[:-2, 1:-1] + mean[2:, 1:-1] + mean[1:-1, :-2] + mean[1:-1, 2:]
    )
    assert np.abs(world.overview(2).transpose(1, 2, 0)[1:-1, 1:-1] - inner).max() <= 1


def test_another_glyph_changes_hr_and_leaves_lr_as_it_was() -> None:
    knobs, layout = Knobs(lr_noise=0.0), World(3, COUNTS).layout(0)
    other = replace(layout, glyph=np.where(layout.glyph == NONE, NONE, (layout.glyph + 1) % 4))
    paint = bank(BANKS["train"], 32, knobs.zones)
    hr, lr = render(np.random.default_rng(1), knobs, layout, paint)
    other_hr, other_lr = render(np.random.default_rng(1), knobs, other, paint)
    shown = layout.glyph.ravel() != NONE
    assert shown.any()
    changed = (hr != other_hr).any(axis=(1, 2, 3))
    assert np.array_equal(changed, shown)
    assert np.abs(lr.astype(int) - other_lr).max() <= 1  # the rounding of 100 bytes


def test_no_caption_shows_a_novel_composition_and_every_other_split_may() -> None:
    knobs = Knobs()
    web = World(5, {"web": 150}, knobs)
    shown = {int(one) for index in range(150) for one in np.unique(web.layout(index).classes)}
    assert not shown & set(knobs.novel_ids)
    assert len(shown - {NONE}) == len(knobs.compositions) - knobs.novel
    train = World(5, {"train": 150}, knobs)
    shown = {int(one) for index in range(150) for one in np.unique(train.layout(index).classes)}
    assert set(knobs.novel_ids) <= shown


def test_web_training_and_test_worlds_share_no_texture_and_no_palette() -> None:
    numbers = {BANKS["web"], BANKS["train"], BANKS["test"]}
    assert len(numbers) == 3
    banks = [bank(number, 32, 4) for number in sorted(numbers)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not np.isclose(banks[one].colours, banks[other].colours, atol=1e-4).all()
        first, second = banks[one].textures[1, 0].ravel(), banks[other].textures[1, 0].ravel()
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
        assert abs(np.corrcoef(banks[one].rubble[0].ravel(), banks[other].rubble[0].ravel())[0, 1]) < 0.2


@settings(max_examples=25, deadline=None)
@given(zones=st.integers(2, 5), glyphs=st.integers(2, 6), share=st.floats(0, 1))
def test_every_word_keeps_a_base_composition(zones: int, glyphs: int, share: float) -> None:
    knobs = Knobs(zones=zones, glyphs=glyphs, novel=round(share * (zones - 1) * (glyphs - 1)))
    assert len(set(knobs.novel_ids)) == knobs.novel
    base = [pair for place, pair in enumerate(knobs.compositions) if place not in knobs.novel_ids]
    assert {glyph for glyph, _ in base} == set(range(glyphs))
    assert {zone for _, zone in base} == set(range(zones))


def test_captions_name_what_a_view_shows() -> None:
    knobs = Knobs(caption_noise=0.0)
    web, world = captioned(5, 3, knobs), World(5, {"web": 3}, knobs)
    for scene in range(3):
        layout = world.layout(scene)
        for tile in range(TILES):
            words = [knobs.words[word] for word in web.tile_words[scene, tile].nonzero().flatten()]
            glyph, kind = layout.glyph.ravel()[tile], layout.kind.ravel()[tile]
            assert len(words) == 1
            if glyph != NONE:
                assert words == [knobs.words[glyph]]
            elif kind == COMPOUND:
                assert words == ["plain"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"zones": 9}, "2 to 5 zones"),
        ({"tile_px": 20}, "multiple of 8 pixels, at least 32"),
        ({"novel": 10}, "at most 9 of 16 compositions"),
        ({"most_compounds": 0}, "most_compounds is at least 1"),
        ({"largest_compound": 1}, "largest_compound is at least 2"),
        ({"readable": 1.2}, "readable is a probability"),
        ({"caption_noise": float("nan")}, "caption_noise is a probability"),
        ({"lr_noise": -0.1}, "lr_noise is a standard deviation"),
    ],
)
def test_knobs_that_make_no_world_are_refused(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Knobs(**asked)
    with pytest.raises(ValueError, match="splits of a world are web, train"):
        World(0, {"trian": 5})
