"""The looks of the classes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gl10m.scene.class_map import ClassMap
from pipelines.world.ground import BACKGROUNDS, BRIGHTEST, DARKEST, GROUNDS, atlas, ground_of, smooth_noise

PATCH = 32


def seen_at_1_m(winter: float) -> NDArray[np.float64]:
    """One period of each class, shape (66, 128, 128, 4)."""
    table = atlas([[ground] for ground in GROUNDS.values()], winter).table[len(BACKGROUNDS) :]
    return table[:, ::2, ::2].copy().view(np.uint8).reshape(len(GROUNDS), 128, 128, 4).astype(float)


def described(patch: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean colour, contrast and direction of a patch."""
    steps = [np.abs(np.diff(patch, axis=axis)).mean() for axis in (0, 1)]
    return np.array([*patch.mean(axis=(0, 1)), *patch.std(axis=(0, 1)), *steps])


def test_every_class_of_the_paper_has_a_ground(class_map: ClassMap) -> None:
    assert list(GROUNDS) == [concept.slug for concept in class_map.concepts]


def test_classes_are_told_apart_by_patches_of_32_m() -> None:
    periods = seen_at_1_m(winter=0.3)
    corners = [(y, x) for y in range(0, 128, PATCH) for x in range(0, 128, PATCH)]
    patches = np.array(
        [[described(period[y : y + PATCH, x : x + PATCH]) for y, x in corners] for period in periods]
    )
    known = patches[:, ::2].mean(axis=1)
    asked = patches[:, 1::2]
    distance = np.linalg.norm(asked[:, :, None] - known[None, None], axis=-1)
    right = distance.argmin(axis=-1) == np.arange(len(periods))[:, None]
    assert right.mean() > 0.97
    assert right.mean(axis=1).min() >= 0.5


def test_no_ground_is_black_or_saturated() -> None:
    for winter in (0.0, 1.0):
        periods = seen_at_1_m(winter)
        assert periods.min() >= DARKEST
        assert periods.max() <= BRIGHTEST


def test_a_coarser_atlas_keeps_the_mean_colour() -> None:
    fine = atlas([[ground] for ground in GROUNDS.values()], 0.0)
    coarse = fine.coarser(4)
    assert coarse.texel == 2.0
    means = [
        look.table.view(np.uint8).reshape(len(look.table), -1, 4).mean(axis=1) for look in (fine, coarse)
    ]
    assert np.abs(means[0] - means[1]).max() < 0.5


def test_a_polygon_of_two_classes_shows_both() -> None:
    lake, dam = GROUNDS["lake"], GROUNDS["dam"]
    alone_lake, alone_dam, both = atlas([[lake], [dam], [lake, dam]], 0.0).table[len(BACKGROUNDS) :]
    assert 0.4 < (both == alone_lake).mean() < 0.6
    assert 0.4 < (both == alone_dam).mean() < 0.6


def test_vegetation_changes_with_the_season_and_asphalt_does_not() -> None:
    summer, winter = seen_at_1_m(0.0), seen_at_1_m(1.0)
    change = np.abs(summer - winter).mean(axis=(1, 2, 3))
    names = list(GROUNDS)
    assert change[names.index("meadow")] > 10
    assert change[names.index("parking")] < 1


@given(st.from_regex(r"[a-z][a-z_]{0,20}", fullmatch=True))
def test_a_class_of_ones_own_gets_a_ground_from_its_name(slug: str) -> None:
    ground = ground_of(slug)
    assert ground == ground_of(slug)
    assert 128 % ground.spacing == 0
    assert DARKEST <= min(ground.base) <= max(ground.base) <= BRIGHTEST


def test_noise_repeats_without_a_seam() -> None:
    noise = smooth_noise(128, 1.5, seed=3)
    inside = np.abs(np.diff(noise, axis=0)).mean()
    seam = np.abs(noise[0] - noise[-1]).mean()
    assert seam < 2 * inside
