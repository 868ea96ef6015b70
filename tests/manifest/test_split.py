"""Splits: the paper's, drawn ones, and what two splits have in common."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from gl10m.manifest import leakage, parquet, split, split_file
from gl10m.manifest.schema import SPLITS
from gl10m.scene.footprint import Footprint

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
EVERY_RULE = [split.split_random, split.split_by_block, split.split_by_group]


def scenes(*places: tuple[float, float], **columns: list[Any]) -> pa.Table:
    """Scenes about (longitude, latitude), with columns of their own where a test asks for them."""
    count = len(places)
    values: dict[str, list[Any]] = {
        "scene_id": [f"CA-w{number}" for number in range(count)],
        "state": ["CA"] * count,
        "longitude": [longitude for longitude, _ in places],
        "latitude": [latitude for _, latitude in places],
        "bounds": [Footprint(*place).bounds for place in places],
        "naip_items": [[f"n{number}"] for number in range(count)],
        "sentinel2_items": [[f"s{number}", "in reserve"] for number in range(count)],
    }
    return pa.Table.from_pydict(values | columns)


def splits_of(table: pa.Table) -> list[str]:
    assert table.schema.equals(SPLITS.schema)
    return [str(value) for value in table["split"].to_pylist()]


PLACES = st.tuples(st.floats(-110, -109.8), st.floats(35, 35.2))
WORLDS = st.lists(PLACES, min_size=1, max_size=25).map(lambda places: scenes(*places))


def test_states_go_where_the_paper_puts_them() -> None:
    table = scenes(*[(-100.0, 40.0)] * 5, state=["WA", "AZ", "ME", "CA", "NV"])
    assert splits_of(split.split_by_state(table)) == ["val", "test", "test", "train", "other"]
    assert splits_of(split.split_by_state(table, other="train"))[-1] == "train"


@pytest.mark.parametrize("rule", EVERY_RULE)
@given(world=WORLDS, seed=st.integers(0, 10))
def test_every_scene_is_in_one_split_and_the_draw_repeats(
    rule: Callable[..., pa.Table], world: pa.Table, seed: int
) -> None:
    table = rule(world, seed, SHARES)
    assert table["scene_id"].equals(world["scene_id"].cast(pa.string()))
    assert set(splits_of(table)) <= set(SHARES)
    assert table.equals(rule(world, seed, SHARES))


@pytest.mark.parametrize("rule", [split.split_random, split.split_by_block])
@given(world=WORLDS, data=st.data())
def test_order_and_growth_move_no_scene(
    rule: Callable[..., pa.Table], world: pa.Table, data: st.DataObject
) -> None:
    chosen = data.draw(st.permutations(range(world.num_rows)).map(lambda order: order[: len(order) // 2 + 1]))
    whole = dict(zip(world["scene_id"].to_pylist(), splits_of(rule(world, 7, SHARES)), strict=True))
    part = rule(world.take(chosen), 7, SHARES)
    assert all(whole[row["scene_id"]] == row["split"] for row in part.to_pylist())


@given(world=WORLDS, seed=st.integers(0, 10))
def test_groups_part_no_ground(world: pa.Table, seed: int) -> None:
    report = leakage.check(world, split.split_by_group(world, seed, {"a": 0.5, "b": 0.5}))
    assert report.apart
    assert not report.shared_items


@given(world=WORLDS)
def test_overlaps_are_those_that_shapely_finds_pair_by_pair(world: pa.Table) -> None:
    first, second, shares = leakage.overlapping(world)
    found = dict(zip(zip(first.tolist(), second.tolist(), strict=True), shares.tolist(), strict=True))
    boxes = [shapely.box(*(bounds or ())) for bounds in world["bounds"].to_pylist()]
    for a, b in itertools.combinations(range(len(boxes)), 2):
        share = boxes[a].intersection(boxes[b]).area / boxes[a].area
        assert found.get((a, b), 0) == pytest.approx(share, abs=1e-6)


def test_shares_hold_for_many_scenes() -> None:
    drawn = splits_of(split.split_random(scenes(*[(-100.0, 40.0)] * 4000), 3, SHARES))
    assert drawn.count("train") == pytest.approx(3200, abs=100)
    assert drawn.count("val") == pytest.approx(400, abs=80)


def test_another_seed_is_another_split() -> None:
    table = scenes(*[(-100.0, 40.0)] * 50)
    assert splits_of(split.split_random(table, 0, SHARES)) != splits_of(split.split_random(table, 1, SHARES))


def test_a_block_stays_together() -> None:
    near = scenes((-100.1, 40.1), (-100.2, 40.2), (-100.3, 40.4))
    assert len(set(splits_of(split.split_by_block(near, 0, SHARES)))) == 1


def test_scenes_hang_together_through_others() -> None:
    row = scenes((-100, 40), (-99.98, 40), (-99.96, 40), (-90, 40), (-80, 40), (-70, 40))
    assert leakage.groups(row, {"ground"}).tolist() == [0, 0, 0, 3, 4, 5]
    naip = row.set_column(5, "naip_items", pa.array([["a"], ["b"], ["c"], ["c", "d"], ["d"], ["e"]]))
    assert leakage.groups(naip, {"naip"}).tolist() == [0, 1, 2, 2, 2, 5]
    assert leakage.groups(naip).tolist() == [0, 0, 0, 0, 0, 5]


def test_only_the_first_sentinel2_item_counts() -> None:
    table = scenes((-100, 40), (-90, 40), sentinel2_items=[["a", "b"], ["b", "a"]])
    assert leakage.groups(table, {"sentinel-2"}).tolist() == [0, 1]


def test_a_common_border_is_no_overlap() -> None:
    assert not len(leakage.overlapping(scenes((-100, 40), (-99.976, 40)))[0])


def test_the_check_names_pairs_and_strays() -> None:
    table = scenes((-100, 40), (-99.988, 40), (-90, 40), naip_items=[["a"], ["a"], ["b"]])
    names = ["CA-w0", "CA-w1", "CA-w9"]
    chosen = pa.table({"scene_id": names, "split": ["train", "val", "val"]})
    report = leakage.check(table, chosen)
    assert [str(overlap) for overlap in report.overlaps] == [
        "CA-w0 (train) and CA-w1 (val) share 50.0% of their ground"
    ]
    assert report.unassigned == ("CA-w2",)
    assert report.foreign == ("CA-w9",)
    assert report.scenes == {"train": 1, "val": 1}
    assert report.shared_items == ("naip/a",)
    assert not report.apart


@pytest.mark.parametrize("key", ["scene_id", "state"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_file_says_the_split(tmp_path: Path, key: str, form: str) -> None:
    table = scenes((-100, 40), (-90, 40), state=["CA", "NV"])
    keys = [*table[key].to_pylist(), "somewhere else"]
    path = tmp_path / f"mine.{form}"
    if form == "csv":
        path.write_text("\n".join([f"{key},split", *(f"{name},{n}" for n, name in enumerate(keys))]))
    else:
        pq.write_table(pa.table({key: keys, "split": ["0", "1", "2"]}), path)
    assert splits_of(split_file.split_from_file(path, table)) == ["0", "1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scene_id,split\nCA-w0,a", "no split for 1 of the data set's scene_ids, as CA-w1"),
        ("scene_id,split\nCA-w0,a\nCA-w0,b\nCA-w1,a", "CA-w0 into both a and b"),
        ("scene,part\nCA-w0,a", "has scene, part"),
        ("", "neither CSV nor Parquet"),
        ("scene_id,split\nCA-w0,a b\nCA-w1,a", "named with letters"),
    ],
)
def test_a_file_that_does_not_say_it_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(split.SplitError, match=message):
        split_file.split_from_file(path, scenes((-100, 40), (-90, 40)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"by-region\.csv"):
        split_file.split_from_file(tmp_path / "by-region.csv", scenes((-100, 40)))


@pytest.mark.parametrize(
    "shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": float("nan")}, {"a": 1.0, "b": 0.0}]
)
def test_shares_that_are_none_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(split.SplitError, match="sum to 1"):
        split.split_random(scenes((-100, 40)), 0, shares)


def test_a_block_needs_a_side() -> None:
    with pytest.raises(split.SplitError, match="more than 0 degrees"):
        split.split_by_block(scenes((-100, 40)), 0, SHARES, degrees=0)


def test_a_split_is_written_and_read(tmp_path: Path) -> None:
    table = split.split_by_state(scenes((-100, 40), (-90, 40)))
    split.write_splits(tmp_path, table, {"gl10m.split": "state"})
    path = tmp_path / "manifests/splits.parquet"
    assert parquet.read(path, SPLITS).equals(table)
    assert parquet.metadata_of(path)["gl10m.split"] == "state"
