from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gl10m.scene.acquisition import NAIP_WINDOW, SENTINEL2_WINDOW, Window
from gl10m.scene.class_map import pack_tile_labels, unpack_tile_labels
from gl10m.scene.identity import lots
from gl10m.scene.rejection import STAGES, Reason
from gl10m.scene.states import scene_id, states

DAYS = st.dates(date(2021, 1, 1), date(2025, 1, 1))


@given(st.data(), st.integers(1, 256))
def test_tile_labels_come_back_as_they_were(data: st.DataObject, classes: int) -> None:
    labels = data.draw(arrays(np.bool_, (100, classes)))
    packed = pack_tile_labels(labels)
    assert len(packed) == 100 * ((classes + 7) // 8)
    assert (unpack_tile_labels(packed, classes) == labels).all()


def test_the_first_class_is_the_highest_bit() -> None:
    labels = np.zeros((100, 66), np.bool_)
    labels[1, 0] = labels[1, 65] = True
    packed = pack_tile_labels(labels)
    assert packed[:18] == bytes(9) + b"\x80" + bytes(7) + b"\x40"


def test_tile_labels_of_another_map_are_refused() -> None:
    with pytest.raises(ValueError, match="66 classes are 900 bytes long; got 200"):
        unpack_tile_labels(bytes(200), 66)
    with pytest.raises(ValueError, match=r"shape \(100, classes\); got \(99, 66\)"):
        pack_tile_labels(np.zeros((99, 66), np.bool_))


@given(DAYS, DAYS, DAYS, DAYS)
def test_a_day_is_in_a_clipped_window_if_it_is_in_both(a: date, b: date, c: date, day: date) -> None:
    one, other = Window(min(a, b), max(a, b)), Window.around(c)
    both = one.clipped(other)
    assert (both is not None and day in both) == (day in one and day in other)


def test_windows_of_the_paper() -> None:
    assert date(2022, 1, 1) in NAIP_WINDOW
    assert date(2024, 4, 1) not in NAIP_WINDOW
    assert date(2023, 12, 31) in SENTINEL2_WINDOW
    around = Window.around(date(2023, 7, 2))
    assert (around.first, around.last) == (date(2022, 12, 31), date(2024, 1, 1))
    with pytest.raises(ValueError, match="ends on or after its first day"):
        Window(date(2023, 1, 2), date(2023, 1, 1))


def test_the_11_states_and_their_splits() -> None:
    split = {code: state.split for code, state in states().items()}
    assert (
        " ".join(sorted(code for code, name in split.items() if name == "train")) == "CA CO FL GA IL NC PA TX"
    )
    assert {code for code, name in split.items() if name == "val"} == {"WA"}
    assert {code for code, name in split.items() if name == "test"} == {"AZ", "ME"}


def test_a_scene_is_named_after_its_object() -> None:
    assert scene_id("CA", "way/123") == "CA-w123"
    assert scene_id("ME", "relation/98") == "ME-r98"
    for region, name in [
        ("ca", "way/1"),
        ("CA", "node/1"),
        ("CA", "way/x"),
        ("CA", "way/-1"),
        ("CA", "w/../1"),
    ]:
        with pytest.raises(ValueError, match="a scene is named after"):
            scene_id(region, name)


def test_lots_are_the_same_everywhere() -> None:
    pinned = [18426665651564516521, 4693275904342021709]  # other numbers would reshuffle every data set
    assert lots("thinning", ["way/1", "way/2"]).tolist() == pinned


@given(st.lists(st.text(max_size=20), unique=True, max_size=20))
def test_a_lot_depends_on_its_name_alone(names: list[str]) -> None:
    alone = [int(lots("purpose", [name])[0]) for name in names]
    assert lots("purpose", names).tolist() == alone
    assert lots("other", names).tolist() != alone or not names


def test_lots_are_evenly_spread() -> None:
    share = lots("spread", [f"way/{number}" for number in range(20_000)]) / 2.0**64
    assert np.histogram(share, bins=10, range=(0, 1))[0] == pytest.approx(2000, abs=200)


def test_reasons_and_stages_are_closed_lists() -> None:
    assert all(reason.value == reason.name for reason in Reason)
    assert len(set(STAGES)) == len(STAGES)
