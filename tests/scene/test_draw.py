"""Tiles drawn by name: fair, and the same everywhere."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gl10m.scene.draw import drawn_tiles


@given(st.integers(0, 100), st.integers(), st.integers(0, 1000), st.text(max_size=9))
def test_a_draw_is_a_set_of_so_many_tiles(count: int, seed: int, epoch: int, name: str) -> None:
    tiles = drawn_tiles(count, seed, epoch, name)
    assert tiles == sorted(set(tiles))
    assert len(tiles) == count
    assert set(tiles) <= set(range(100))
    assert tiles == drawn_tiles(count, seed, epoch, name)


@pytest.mark.parametrize("count", [12, 88])
def test_all_tiles_and_all_pairs_are_equally_likely(count: int) -> None:
    draws = [drawn_tiles(count, 0, 0, f"CA-w{number}") for number in range(5000)]
    tiles = Counter(tile for drawn in draws for tile in drawn)
    expected = 5000 * count / 100
    chi_square = sum((tiles[tile] - expected) ** 2 / (expected * (1 - count / 100)) for tile in range(100))
    assert 50 < chi_square < 170, "99 degrees of freedom"
    together = sum({3, 4} <= set(drawn) for drawn in draws)
    likely = 5000 * count * (count - 1) / (100 * 99)
    assert abs(together - likely) < 5 * likely**0.5


def test_a_draw_stays_what_it_is() -> None:
    drawn = drawn_tiles(5, 0, 0, "CA-w1")
    assert drawn == [21, 22, 24, 50, 99]
    assert drawn != drawn_tiles(5, 0, 1, "CA-w1")
    assert drawn != drawn_tiles(5, 1, 0, "CA-w1")


def test_more_tiles_than_there_are_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="asked for 101"):
        drawn_tiles(101, 0, 0, "CA-w1")
