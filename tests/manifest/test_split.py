"""Splits: the paper's, drawn ones, and what two splits have in common."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from gl10m.manifest import leakage, parquet, split, split_file
from gl10m.manifest.neighbours import borders
from gl10m.manifest.novel import novel_concepts
from gl10m.manifest.rectangles import bounds_of, gaps
from gl10m.manifest.schema import SPLITS
from gl10m.scene.class_map import ClassMap
from gl10m.scene.footprint import Footprint
from gl10m.scene.identity import lots

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
EVERY_RULE = [split.split_random, split.split_by_block, split.split_by_group]


def scenes(*places: tuple[float, float], **columns: "list[Any] | pa.Array[Any]") -> pa.Table:
    """Scenes about (longitude, latitude), with columns of their own where a test asks for them."""
    count = len(places)
    values: dict[str, Any] = {
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


@given(world=WORLDS, seed=st.integers(0, 10))
@pytest.mark.parametrize("rule", [*EVERY_RULE, lambda world, *_: split.split_by_state(world)])
def test_no_rule_parts_ground_once_borders_are_set_aside(
    rule: Callable[..., pa.Table], world: pa.Table, seed: int
) -> None:
    apart = splits_of(split.set_border_aside(world, rule(world, seed, {"a": 0.5, "b": 0.3, "c": 0.2})))
    boxes = [shapely.box(*(bounds or ())) for bounds in world["bounds"].to_pylist()]
    for a, b in itertools.combinations(range(len(boxes)), 2):
        if apart[a] != apart[b] and "border" not in {apart[a], apart[b]}:
            assert boxes[a].intersection(boxes[b]).area <= 1e-9 * boxes[a].area


@given(world=WORLDS, seed=st.integers(0, 10))
def test_nor_pixels(world: pa.Table, seed: int) -> None:
    world = world.set_column(6, "sentinel2_items", pa.array([["one"]] * world.num_rows))
    parted = split.set_border_aside(world, split.split_random(world, seed, {"a": 0.5, "b": 0.5}))
    assert not leakage.check(world, parted, {"border"}).same_pixels


def test_a_border_takes_the_scene_of_the_larger_split() -> None:
    row = scenes((-100, 40), (-99.99, 40), (-99.9, 40))
    parted = split.table_of(row, ["train", "val", "train"])
    assert splits_of(split.set_border_aside(row, parted)) == ["border", "val", "train"]


@given(
    world=WORLDS,
    items=st.lists(st.lists(st.sampled_from("abcde"), max_size=3), min_size=25, max_size=25),
    shared=st.sets(st.sampled_from(sorted(leakage.SHARED)), min_size=1),
)
def test_a_group_is_what_a_walk_from_scene_to_scene_reaches(
    world: pa.Table, items: list[list[str]], shared: set[str]
) -> None:
    mine = items[: world.num_rows]
    world = world.set_column(5, "naip_items", pa.array(mine, pa.list_(pa.string())))
    world = world.set_column(6, "sentinel2_items", pa.array(mine, pa.list_(pa.string())))
    boxes = [shapely.box(*(bounds or ())) for bounds in world["bounds"].to_pylist()]

    def tied(a: int, b: int) -> bool:
        ground = boxes[a].intersection(boxes[b]).area > 1e-9 * boxes[a].area
        naip, first = set(mine[a]) & set(mine[b]), mine[a][:1] == mine[b][:1] != []
        return bool(
            ("ground" in shared and ground)
            or ("naip" in shared and naip)
            or ("sentinel-2" in shared and first)
        )

    expected = list(range(len(boxes)))
    for start in range(len(boxes)):
        reached, fresh = {start}, [start]
        while fresh:
            here = fresh.pop()
            found = [there for there in range(len(boxes)) if there not in reached and tied(here, there)]
            reached.update(found)
            fresh += found
        expected[start] = min(reached)
    assert leakage.groups(world, shared).tolist() == expected
    dealt = splits_of(split.split_by_group(world, 0, SHARES, shared))
    assert len({(group, name) for group, name in zip(expected, dealt, strict=True)}) == len(set(expected))


@given(order=st.permutations(range(12)))
def test_the_order_of_rows_moves_no_group(order: list[int]) -> None:
    row = scenes(*[(-100 + 0.02 * number, 40) for number in (0, 1, 3, 5, 6, 7, 9, 11, 13, 15, 17, 18)])
    whole = dict(
        zip(row["scene_id"].to_pylist(), splits_of(split.split_by_group(row, 1, SHARES)), strict=True)
    )
    other = split.split_by_group(row.take(order), 1, SHARES)
    assert dict(zip(other["scene_id"].to_pylist(), splits_of(other), strict=True)) == whole


def test_groups_reach_the_shares_to_within_the_largest() -> None:
    row = scenes(*[(-100 + 0.05 * (number // 2) + 0.01 * (number % 2), 40) for number in range(400)])
    dealt = splits_of(split.split_by_group(row, 0, SHARES))
    assert [abs(dealt.count(name) - 400 * share) <= 2 for name, share in SHARES.items()] == [True] * 3


def test_only_what_reads_the_same_pixels_of_one_item_shares_them() -> None:
    metre = 1 / 111_195
    row = scenes(
        (-100, 40),
        (-100, 40 + 0.024 + 1 * metre),
        (-100, 40 - 0.024 - 10 * metre),
        (-100, 40 + 0.048 + 40 * metre),
        naip_items=[["n"]] * 4,
        sentinel2_items=[["s"], ["t", "s"], ["s"], ["s"]],
    )
    one, other = leakage.sharing_pixels(row)
    assert list(zip(one.tolist(), other.tolist(), strict=True)) == [(0, 1), (0, 2)]
    strangers = row.set_column(6, "sentinel2_items", pa.array([["a"], ["b"], ["c"], ["d"]]))
    one, other = leakage.sharing_pixels(strangers)
    assert list(zip(one.tolist(), other.tolist(), strict=True)) == [(0, 1)]


@given(
    places=st.lists(st.tuples(st.floats(-110, -108), st.floats(43.5, 46.5)), min_size=2, max_size=40),
    codes=st.lists(st.integers(-1, 2), min_size=40, max_size=40),
)
def test_the_nearest_of_another_split_is_the_nearest_of_all(
    places: list[tuple[float, float]], codes: list[int]
) -> None:
    bounds, code = bounds_of(scenes(*places)), np.array(codes[: len(places)])
    for border in borders(bounds, code, ["a", "b", "c"]):
        own, others = (np.flatnonzero(code == "abc".index(name)) for name in (border.split, border.other))
        expected = {}
        for row in own.tolist():
            metres = gaps(np.broadcast_to(bounds[row], (len(others), 4)), bounds[others])
            if metres.min() <= 100_000:
                expected[row] = pytest.approx(metres.min(), abs=1e-6)
        assert dict(zip(border.rows.tolist(), border.metres.tolist(), strict=True)) == expected
        assert border.within(100) == len(expected)


def test_no_scene_of_train_or_val_shows_a_novel_concept() -> None:
    row = scenes(
        *[(-100 + number, 40) for number in range(5)],
        state=["CA", "CA", "WA", "WA", "ME"],
        class_ids=pa.array([[1], [2, 7], [7], [], [7]], pa.list_(pa.uint8())),
    )
    assert splits_of(split.split_by_concept(row, {7, 9})) == ["train", "novel", "novel", "val", "test"]
    with pytest.raises(split.SplitError, match="at least one concept"):
        split.split_by_concept(row, ())


def test_our_novel_concepts_are_one_of_each_band_of_frequency() -> None:
    ascending = sorted(
        ClassMap.bundled().concepts, key=lambda concept: (concept.paper_count or 0, concept.id)
    )
    drawn = []
    for number, band in enumerate(np.array_split(np.arange(len(ascending)), 16)):
        level = "scene" if number % 3 == 2 else "object"
        names = [ascending[place].name for place in band if ascending[place].level == level]
        drawn.append(names[int(lots("novel concepts 0", names).argmin())])
    assert novel_concepts() == tuple(drawn)
