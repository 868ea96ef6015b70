"""The HR tiles: cut in order, screened one by one, the pair goes with its worst tile."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gl10m.manifest.outcome import Outcome
from gl10m.manifest.schema import FETCHED
from gl10m.scene.grid import cut
from gl10m.scene.rejection import Reason
from gl10m.store.codec import decode
from pipelines.sources.imagery import HighResolution, Sensor, SourceUnavailableError
from pipelines.stages.hr import HRParameters, fetch_hr
from pipelines.stages.quality import black_share, black_tiles
from tests.pipelines.painted import Painted, items, lr_fetched


def fetch(image: HighResolution | Exception) -> Outcome:
    imagery = Painted(hr={"m+n": image})
    rows = lr_fetched(["m", "n"], "CA-w1")
    return fetch_hr(rows, items(Sensor.NAIP, "n", "m"), imagery, "CA", HRParameters())


def mosaic() -> HighResolution:
    """Each tile of another grey: 100 + its number."""
    tiles = np.repeat(np.arange(100, 200, dtype=np.uint8).reshape(10, 10), 268, axis=0).repeat(268, axis=1)
    return HighResolution(pixels=np.stack([tiles] * 3), observed=np.ones((2680, 2680), np.bool_))


def test_a_mosaic_becomes_a_hundred_tiles_in_order() -> None:
    outcome = fetch(mosaic())
    assert outcome.kept.schema.equals(FETCHED.schema)
    (row,) = outcome.kept.to_pylist()
    assert row["black_hr"] == [0.0] * 100
    assert row["lr"] == b"a picture"
    for number, tile in enumerate(row["hr"]):
        assert abs(int(decode(tile)[0, 134, 134]) - (100 + number)) <= 1


@pytest.mark.parametrize(("rows", "kept"), [(67, True), (68, False)])
def test_the_worst_tile_decides_and_is_named(rows: int, kept: bool) -> None:  # noqa: FBT001 - a case
    image = mosaic()
    image.observed[268 * 4 : 268 * 4 + rows, 268 * 7 : 268 * 8] = False
    outcome = fetch(image)
    assert bool(outcome.kept.num_rows) is kept
    if not kept:
        (row,) = outcome.dropped.to_pylist()
        assert row["reason"] == Reason.BLACK_HR
        assert "tile 47 (row 4, column 7)" in row["detail"]
        assert "1 of 100" in row["detail"]


def test_the_share_of_each_tile_is_kept() -> None:
    image = mosaic()
    image.observed[:67, 268:536] = False
    (row,) = fetch(image).kept.to_pylist()
    assert row["black_hr"] == [0.0, 0.25, *[0.0] * 98]


def test_measured_black_counts_as_black() -> None:
    image = mosaic()
    image.pixels[:, :268, :268] = 0
    image.pixels[0, 134:268, :268] = 1  # one channel is enough to be no black
    (row,) = fetch(image).dropped.to_pylist()
    assert "tile 0 (row 0, column 0) is 0.500 black" in row["detail"]


def test_a_raster_that_cannot_be_reached_fails_the_scene() -> None:
    (row,) = fetch(SourceUnavailableError("gone")).dropped.to_pylist()
    assert (row["stage"], row["outcome"], row["detail"]) == ("hr", "failed", "gone")


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_shares_are_those_of_each_tile(seed: int, side: int) -> None:
    black = np.random.default_rng(seed).random((10 * side, 10 * side)) < 0.3
    expected = [black_share(tile) for tile in cut(black[None])[:, 0]]
    assert black_tiles(black) == pytest.approx(expected)
