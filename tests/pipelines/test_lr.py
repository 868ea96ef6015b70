"""The LR image: masked, filled from later days, rendered, screened."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gl10m.manifest.outcome import Outcome
from gl10m.manifest.schema import LR_FETCHED
from gl10m.scene.rejection import Reason
from gl10m.store.codec import decode
from pipelines.sources.imagery import DamagedRasterError, LowResolution, Sensor, SourceUnavailableError
from pipelines.stages.composites import first_valid, median, single
from pipelines.stages.lr import LRParameters, fetch_lr, render
from pipelines.stages.quality import INVALID
from tests.pipelines.painted import Painted, acquisition, items, matched

CLOUD, GROUND, NOTHING, SNOW = 9, 4, 0, 11


def fetch(imagery: Painted, names: list[str], parameters: LRParameters | None = None) -> Outcome:
    catalogue = items(Sensor.SENTINEL2, *reversed(names))
    rows = matched(names, ["n"], "CA-w1")
    return fetch_lr(rows, catalogue, imagery, "CA", parameters or LRParameters())


def half(first: int, second: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Classes of an image whose western half is the first."""
    return np.repeat([[first] * 134 + [second] * 134], 268, axis=0).astype(np.uint8)


def test_a_clear_image_is_read_once_and_rendered() -> None:
    imagery = Painted(lr={"a": acquisition(0.15), "b": acquisition(0.3)})
    outcome = fetch(imagery, ["a", "b"])
    assert outcome.kept.schema.equals(LR_FETCHED.schema)
    (row,) = outcome.kept.to_pylist()
    assert imagery.read == ["a"]
    assert (row["black_lr"], row["cloud_lr"], row["filled_lr"]) == (0, 0, 0)
    assert np.abs(decode(row["lr"]).astype(int) - 128).max() <= 1  # 0.15 of 0.3 is half of 255


def test_clouds_are_filled_from_the_next_days_in_rank() -> None:
    imagery = Painted(
        lr={
            "a": acquisition(0.1, half(CLOUD, GROUND)),
            "b": acquisition(0.2, half(NOTHING, GROUND)),
            "c": acquisition(0.3, half(SNOW, CLOUD)),
            "d": acquisition(0.0),
        }
    )
    (row,) = fetch(imagery, ["a", "b", "c", "d"]).kept.to_pylist()
    assert imagery.read == ["a", "b", "c"]
    assert (row["cloud_lr"], row["filled_lr"], row["black_lr"]) == (0.5, 0.5, 0)
    west, east = decode(row["lr"])[:, :, :120], decode(row["lr"])[:, :, 150:]
    assert np.abs(west.astype(int) - 255).max() <= 1
    assert np.abs(east.astype(int) - 85).max() <= 1


def test_what_stays_clouded_is_black_and_rejects_the_scene() -> None:
    imagery = Painted(lr={"a": acquisition(0.1, half(CLOUD, GROUND))})
    (row,) = fetch(imagery, ["a"]).dropped.to_pylist()
    assert row["reason"] == Reason.CLOUDY_LR
    assert "0.500" in row["detail"]


def test_what_stays_unseen_rejects_the_scene_as_black() -> None:
    imagery = Painted(lr={"a": acquisition(0.1, half(NOTHING, GROUND))})
    (row,) = fetch(imagery, ["a"]).dropped.to_pylist()
    assert (row["stage"], row["reason"], row["subject"]) == ("lr", Reason.BLACK_LR, "CA-w1")


@pytest.mark.parametrize(("columns", "kept"), [(67, True), (68, False)])
def test_the_limit_of_black_is_a_quarter(columns: int, kept: bool) -> None:  # noqa: FBT001 - a case
    classes = np.full((268, 268), GROUND, np.uint8)
    classes[:, :columns] = NOTHING
    assert bool(fetch(Painted(lr={"a": acquisition(0.1, classes)}), ["a"]).kept.num_rows) is kept


@pytest.mark.parametrize("error", [SourceUnavailableError("gone"), DamagedRasterError("torn")])
def test_one_scene_fails_and_the_next_goes_on(error: Exception) -> None:
    imagery = Painted(lr={"a": error, "b": acquisition(0.1)})
    rows = matched(["b"], ["n"], "CA-w2", "CA-w3")
    rows = rows.slice(0, 0).from_batches([*matched(["a"], ["n"], "CA-w1").to_batches(), *rows.to_batches()])
    outcome = fetch_lr(rows, items(Sensor.SENTINEL2, "a", "b"), imagery, "CA", LRParameters())
    assert outcome.kept["scene_id"].to_pylist() == ["CA-w2", "CA-w3"]
    (row,) = outcome.dropped.to_pylist()
    assert (row["subject"], row["outcome"], row["reason"]) == ("CA-w1", "failed", type(error).__name__)


def test_an_item_that_is_not_in_the_catalogue_is_an_error() -> None:
    with pytest.raises(KeyError, match="not there: a"):
        fetch_lr(matched(["a"], ["n"], "CA-w1"), items(Sensor.NAIP, "a"), Painted(), "CA", LRParameters())


def test_no_rows_give_no_rows() -> None:
    outcome = fetch_lr(matched([], []), items(Sensor.SENTINEL2), Painted(), "CA", LRParameters())
    assert (outcome.read, outcome.kept.num_rows) == (0, 0)
    assert outcome.kept.schema.equals(LR_FETCHED.schema)


@given(st.floats(-1, 2, width=32))
def test_valid_pixels_are_never_rendered_as_zero(reflectance: float) -> None:
    usable = np.array([[True, False]])
    shown = render(np.full((3, 1, 2), reflectance, np.float32), usable)
    assert (shown[:, 0, 1] == 0).all()
    assert shown.dtype == np.uint8
    expected = min(max(round(float(np.float32(reflectance) * np.float32(850))), 1), 255)
    assert abs(int(shown[0, 0, 0]) - expected) <= 1


@given(
    st.lists(
        st.lists(st.sampled_from([0, 1, 3, 4, 8, 9, 10, 11]), min_size=4, max_size=4), min_size=1, max_size=4
    )
)
def test_each_pixel_is_the_first_valid_one(classes: list[list[int]]) -> None:
    reads = [
        LowResolution(
            reflectance=np.full((3, 1, 4), rank, np.float32),
            observed=np.array([row]) != 0,
            classification=np.array([row], np.uint8),
        )
        for rank, row in enumerate(classes)
    ]
    composite = first_valid(iter(reads), INVALID)
    for column in range(4):
        ranks = [rank for rank, row in enumerate(classes) if row[column] in {4, 11}]
        assert composite.usable[0, column] == bool(ranks)
        if ranks:
            assert composite.reflectance[0, 0, column] == ranks[0]
    assert composite.clouded.sum() == sum(
        all(row[column] not in {4, 11} for row in classes) and classes[0][column] in {3, 8, 9, 10}
        for column in range(4)
    )


def read_of(values: list[float], classes: list[int]) -> LowResolution:
    """One acquisition of a row of pixels."""
    return LowResolution(
        reflectance=np.broadcast_to(np.array([values], np.float32), (3, 1, len(values))).copy(),
        observed=np.array([classes]) != 0,
        classification=np.array([classes], np.uint8),
    )


def test_single_fills_nothing_and_reads_one_item() -> None:
    imagery = Painted(lr={"a": acquisition(0.1, half(GROUND, CLOUD)), "b": acquisition(0.2)})
    parameters = LRParameters(composite="single", most_black=0.6, most_cloud=0.6)
    (row,) = fetch(imagery, ["a", "b"], parameters).kept.to_pylist()
    assert imagery.read == ["a"]
    assert (row["black_lr"], row["cloud_lr"], row["filled_lr"]) == (0.5, 0.5, 0)
    alone = single(iter([read_of([0.1, 0.2], [GROUND, CLOUD])]), INVALID)
    assert alone.usable.tolist() == [[True, False]]


def test_the_median_of_an_odd_and_of_an_even_number() -> None:
    reads = [
        read_of([0.1, 0.1, 0.9, 0.1], [GROUND, GROUND, CLOUD, CLOUD]),
        read_of([0.5, 0.3, 0.2, 0.1], [GROUND, GROUND, GROUND, NOTHING]),
        read_of([0.2, 0.9, 0.4, 0.1], [GROUND, CLOUD, SNOW, CLOUD]),
    ]
    composite = median(iter(reads), INVALID)
    assert composite.reflectance[0, 0] == pytest.approx([0.2, 0.2, 0.3, 0.0])
    assert composite.usable.tolist() == [[True, True, True, False]]
    assert (composite.cloud_of_first, composite.filled) == (0.5, 0.25)
    assert composite.clouded.tolist() == [[False, False, False, True]]


def test_a_median_reads_all_items_up_to_the_number_asked_for() -> None:
    imagery = Painted(lr={name: acquisition(value) for name, value in (("a", 0.3), ("b", 0.1), ("c", 0.15))})
    (row,) = fetch(imagery, ["a", "b", "c"], LRParameters(composite="median")).kept.to_pylist()
    assert imagery.read == ["a", "b", "c"]
    assert np.abs(decode(row["lr"]).astype(int) - 128).max() <= 1
    imagery.read.clear()
    (row,) = fetch(imagery, ["a", "b", "c"], LRParameters(composite="median", most_items=2)).kept.to_pylist()
    assert imagery.read == ["a", "b"]
    assert np.abs(decode(row["lr"]).astype(int) - 170).max() <= 1


ROWS = st.lists(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=7)


@given(ROWS, st.data())
def test_the_median_is_numpys_in_any_order(values: list[list[float]], data: st.DataObject) -> None:
    classes = [data.draw(st.lists(st.sampled_from([0, 4, 9]), min_size=3, max_size=3)) for _ in values]
    reads = [read_of(*pair) for pair in zip(values, classes, strict=True)]
    shown = median(iter(reads), INVALID).reflectance[0, 0]
    turned = median(iter(reads[::-1]), INVALID).reflectance[0, 0]
    assert (shown == turned).all()
    for column in range(3):
        seen = [row[column] for row, kinds in zip(values, classes, strict=True) if kinds[column] == 4]
        assert shown[column] == pytest.approx(np.median(seen) if seen else 0.0)


def test_snow_counts_unless_asked_otherwise() -> None:
    imagery = Painted(lr={"a": acquisition(0.3, half(SNOW, GROUND)), "b": acquisition(0.1)})
    (row,) = fetch(imagery, ["a", "b"]).kept.to_pylist()
    assert (row["cloud_lr"], row["filled_lr"]) == (0, 0)
    without_snow = LRParameters(invalid_classes=(0, 1, 3, 8, 9, 10, SNOW))
    (row,) = fetch(imagery, ["a", "b"], without_snow).kept.to_pylist()
    assert (row["cloud_lr"], row["filled_lr"]) == (0.5, 0.5)


@pytest.mark.parametrize("wrong", [{"most_items": 0}, {"most_items": 65}, {"invalid_classes": (0, 12)}])
def test_what_a_composite_cannot_be_asked_for(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"got \(?\d"):
        LRParameters(**wrong)
