"""Matching against a brute-force reading of the rule, on random catalogues."""

from datetime import UTC, date, datetime, timedelta
from itertools import combinations
from typing import Any

import pyarrow as pa
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gl10m.manifest.schema import CANDIDATES, ITEMS, MATCHED
from gl10m.scene.acquisition import Window
from gl10m.scene.footprint import Footprint
from gl10m.scene.rejection import Reason
from pipelines.stages.matching import MatchParameters, match
from tests.pipelines.ruler import candidate

CENTRE = Footprint(-121.0, 37.0)
WEST, SOUTH, EAST, NORTH = CENTRE.bounds
WHOLE = shapely.box(WEST - 0.02, SOUTH - 0.02, EAST + 0.02, NORTH + 0.02)
HALVES = {
    "west": shapely.box(WEST - 0.02, SOUTH - 0.02, WEST + 0.014, NORTH + 0.02),
    "east": shapely.box(WEST + 0.012, SOUTH - 0.02, EAST + 0.02, NORTH + 0.02),
    "north": shapely.box(WEST - 0.02, SOUTH + 0.01, EAST + 0.02, NORTH + 0.02),
    "south": shapely.box(WEST - 0.02, SOUTH - 0.02, EAST + 0.02, SOUTH + 0.0125),
    "middle": shapely.box(WEST + 0.01, SOUTH + 0.01, EAST - 0.01, NORTH - 0.01),
    "elsewhere": shapely.box(WEST + 1, SOUTH, EAST + 1, NORTH),
}
QUARTERS = {
    f"quarter {row}{column}": shapely.box(
        WEST - 0.02 + column * 0.03,
        SOUTH - 0.02 + row * 0.03,
        WEST + 0.014 + column * 0.03,
        SOUTH + 0.014 + row * 0.03,
    )
    for row in (0, 1)
    for column in (0, 1)
}
GROUNDS = {"whole": WHOLE, **HALVES, **QUARTERS}
FLOWN_OVER = ["whole", *["west", "east"] * 3, "north", "south", "middle", "elsewhere", *QUARTERS]
DAYS_AWAY = st.sampled_from([-184, -183, -182, -5, 0, 0, 0, 5, 182, 183, 184])


def naip(name: str, day: date, ground: shapely.Polygon, vintage: str | None = None) -> dict[str, Any]:
    return {
        "collection": "naip",
        "item_id": name,
        "sensor": "naip",
        "acquired": datetime(day.year, day.month, day.day, 16, tzinfo=UTC),
        "gsd": 0.6,
        "epsg": 26910,
        "vintage": vintage or str(day.year),
        "bounds": list(ground.bounds),
        "geometry": shapely.to_wkb(ground),
    }


def sentinel2(
    name: str,
    day: date,
    ground: shapely.Polygon = WHOLE,
    *,
    cloud: float = 0.5,
    baseline: str = "05.09",
    tile: str = "10SFG",
    epsg: int = 32610,
    generated: str = "2023",
) -> dict[str, Any]:
    return {
        "collection": "sentinel-2-l2a",
        "item_id": name,
        "sensor": "sentinel-2",
        "acquired": datetime(day.year, day.month, day.day, 18, 50, tzinfo=UTC),
        "gsd": 10.0,
        "epsg": epsg,
        "cloud_cover": cloud,
        "baseline": baseline,
        "generated": generated,
        "mgrs_tile": tile,
        "scale": 1e-4,
        "offset": -0.1,
        "bounds": list(ground.bounds),
        "geometry": shapely.to_wkb(ground),
    }


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=ITEMS.schema)


def matched(*rows: dict[str, Any]) -> dict[str, Any]:
    outcome = match(candidate(CENTRE), table(list(rows)), "CA", MatchParameters())
    assert outcome.kept.schema.equals(MATCHED.schema)
    (row,) = outcome.kept.to_pylist()
    return dict(row)


def reason(*rows: dict[str, Any]) -> str:
    (row,) = match(candidate(CENTRE), table(list(rows)), "CA", MatchParameters()).dropped.to_pylist()
    return str(row["reason"])


SPRING = date(2023, 4, 10)
FLOWN = naip("n", SPRING, WHOLE)
SEEN = sentinel2("s", SPRING)


def test_the_newest_vintage_that_covers_is_taken() -> None:
    older = naip("older", date(2022, 7, 1), WHOLE)
    newest_but_partial = naip("partial", date(2024, 2, 1), HALVES["west"])
    row = matched(older, FLOWN, newest_but_partial, SEEN)
    assert row["naip_items"] == ["n"]
    assert row["naip_date"] == SPRING


@pytest.mark.parametrize(
    ("day", "inside"),
    [
        (date(2021, 12, 31), False),
        (date(2022, 1, 1), True),
        (date(2024, 3, 31), True),
        (date(2024, 4, 1), False),
    ],
)
def test_the_naip_window_ends_before_april_2024(day: date, inside: bool) -> None:  # noqa: FBT001 - a case
    outcome = match(candidate(CENTRE), table([naip("n", day, WHOLE), SEEN]), "CA", MatchParameters())
    assert outcome.kept.num_rows == int(inside)


def test_two_halves_make_a_scene_and_the_larger_one_gives_the_date() -> None:
    later = SPRING + timedelta(days=3)
    row = matched(naip("a-west", SPRING, HALVES["west"]), naip("b-east", later, HALVES["east"]), SEEN)
    assert row["naip_items"] == ["a-west", "b-east"]
    assert row["naip_date"] == SPRING


def test_halves_of_two_seasons_are_not_one_image() -> None:
    autumn = SPRING + timedelta(days=180)
    halves = [naip("a", SPRING, HALVES["west"]), naip("b", autumn, HALVES["east"])]
    assert reason(*halves, SEEN) == Reason.NO_NAIP


def test_four_quarters_suffice() -> None:
    quads = [naip(name, SPRING, ground) for name, ground in QUARTERS.items()]
    assert sorted(matched(*quads, SEEN)["naip_items"]) == sorted(QUARTERS)


def test_fewest_items_cover() -> None:
    quads = [naip(name, SPRING, ground) for name, ground in (QUARTERS | HALVES).items()]
    assert matched(*quads, SEEN)["naip_items"] == ["north", "south"]  # equal to the west, and first by id


def test_naip_of_early_2022_falls_back_to_the_whole_year() -> None:
    row = matched(naip("n", date(2022, 7, 1), WHOLE), sentinel2("s", date(2023, 12, 30)))
    assert row["fallback"] is True
    assert row["days_between"] == 547
    assert matched(naip("n", date(2022, 7, 2), WHOLE), sentinel2("s", date(2023, 1, 1)))["fallback"] is False


def test_a_partial_image_in_the_window_does_not_stop_the_fallback() -> None:
    spring = naip("n", date(2022, 8, 1), WHOLE)
    row = matched(
        spring, sentinel2("edge", date(2023, 1, 5), HALVES["west"]), sentinel2("s", date(2023, 9, 9))
    )
    assert (row["fallback"], row["sentinel2_items"]) == (True, ["s", "edge"])


def test_cloud_must_lie_under_two_percent() -> None:
    assert reason(FLOWN, sentinel2("s", SPRING, cloud=2.0)) == Reason.NO_SENTINEL2
    assert matched(FLOWN, sentinel2("s", SPRING, cloud=1.99))["cloud_cover"] == pytest.approx(1.99)


def test_a_reprocessed_image_replaces_the_older_even_if_it_is_cloudier() -> None:
    old = sentinel2("old", SPRING, baseline="02.12", cloud=0.1)
    new = sentinel2("new", SPRING, baseline="05.10", cloud=1.0)
    assert matched(FLOWN, old, new)["sentinel2_items"] == ["new"]
    assert reason(FLOWN, old, {**new, "cloud_cover": 3.0}) == Reason.NO_SENTINEL2


def test_the_native_zone_wins_on_one_day_and_days_do_not_repeat() -> None:
    native = sentinel2("native", SPRING, cloud=1.5)
    neighbour = sentinel2("neighbour", SPRING, tile="11SKB", epsg=32611, cloud=0.1)
    later = sentinel2("later", SPRING + timedelta(days=5))
    assert matched(FLOWN, neighbour, later, native)["sentinel2_items"] == ["native", "later"]


def test_at_most_four_images_are_kept() -> None:
    many = [sentinel2(f"s{day}", SPRING + timedelta(days=day)) for day in range(0, 60, 5)]
    assert matched(FLOWN, *many)["sentinel2_items"] == ["s0", "s5", "s10", "s15"]


def test_kept_and_rejected_rows_are_all_rows() -> None:
    far = Footprint(-100.0, 40.0)
    candidates = pa.concat_tables([candidate(CENTRE), candidate(far, "CA-w2")])
    outcome = match(candidates, table([FLOWN, SEEN]), "CA", MatchParameters())
    assert outcome.kept["scene_id"].to_pylist() == ["CA-w1"]
    assert outcome.dropped["subject"].to_pylist() == ["CA-w2"]
    empty = match(CANDIDATES.empty(), ITEMS.empty(), "CA", MatchParameters())
    assert (empty.read, empty.kept.num_rows) == (0, 0)


# The rule of A.2 once more, read slowly: every choice is enumerated, and the best is taken.


def days_of(window: Window) -> st.SearchStrategy[date]:
    return st.dates(window.first, window.last)


@st.composite
def catalogues(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Few flights and many quads, so that some cover; passes about the flights and all through the year."""
    flights = draw(st.lists(days_of(Window(date(2021, 12, 1), date(2024, 4, 20))), min_size=1, max_size=3))
    later = st.one_of(st.integers(0, 5), st.integers(0, 100))
    flown = st.tuples(st.sampled_from(flights), later, st.sampled_from(FLOWN_OVER))
    rows = [
        naip(f"n{number}", day + timedelta(days=days), GROUNDS[ground], str(day.year))
        for number, (day, days, ground) in enumerate(draw(st.lists(flown, min_size=2, max_size=9)))
    ]
    about = st.builds(lambda day, days: day + timedelta(days=days), st.sampled_from(flights), DAYS_AWAY)
    seen = st.tuples(
        st.one_of(about, days_of(Window(date(2022, 12, 25), date(2024, 1, 5)))),
        st.sampled_from(["whole", "whole", "whole", "west", "elsewhere"]),
        st.sampled_from([0.0, 0.5, 0.5, 1.99, 2.0, 19.0, 60.0]),
        st.sampled_from(["02.12", "04.00", "05.09", "05.10"]),
        st.sampled_from([("10SFG", 32610), ("10SGG", 32610), ("11SKB", 32611)]),
    )
    rows += [
        sentinel2(f"s{number}", day, GROUNDS[ground], cloud=cloud, baseline=baseline, tile=tile, epsg=epsg)
        for number, (day, ground, cloud, baseline, (tile, epsg)) in enumerate(
            draw(st.lists(seen, min_size=2, max_size=12))
        )
    ]
    return draw(st.permutations(rows))


Answer = tuple[list[str], list[str], bool] | Reason


def read_slowly(rows: list[dict[str, Any]]) -> Answer:
    flown = slow_naip([row for row in rows if row["sensor"] == "naip"])
    if not flown:
        return Reason.NO_NAIP
    day = flown[0]["acquired"].date()
    seen = [row for row in rows if row["sensor"] == "sentinel-2" and row["acquired"].year == 2023]
    seen = [row for row in seen if row["cloud_cover"] < 20]
    seen = [
        row
        for row in seen
        if not any(
            (other["mgrs_tile"], other["acquired"]) == (row["mgrs_tile"], row["acquired"])
            and (other["baseline"], other["item_id"]) > (row["baseline"], row["item_id"])
            for other in seen
        )
    ]
    footprint = shapely.box(*CENTRE.bounds)
    seen = [row for row in seen if row["cloud_cover"] < 2 and shapely.intersects(ground_of(row), footprint)]
    valid = [row for row in seen if shapely.covers(ground_of(row), footprint)]
    near = [row for row in valid if abs((row["acquired"].date() - day).days) <= 183]
    if not valid:
        return Reason.NO_SENTINEL2
    fallback = not near
    pool = seen if fallback else [row for row in seen if abs((row["acquired"].date() - day).days) <= 183]
    chosen: list[dict[str, Any]] = []
    while pool and len(chosen) < 4:
        best = min(
            pool,
            key=lambda row: (
                row not in valid,
                abs((row["acquired"].date() - day).days),
                row["epsg"] != 32610,
                row["cloud_cover"],
                -float(row["baseline"]),
                row["item_id"],
            ),
        )
        chosen.append(best)
        pool = [row for row in pool if row["acquired"] != best["acquired"]]
    return [row["item_id"] for row in flown], [row["item_id"] for row in chosen], fallback


def ground_of(row: dict[str, Any]) -> shapely.Geometry:
    return shapely.from_wkb(bytes(row["geometry"]))


def overlap(row: dict[str, Any]) -> int:
    """Billionths of the footprint: equal shares are equal, whatever the rounding of an overlay."""
    footprint = shapely.box(*CENTRE.bounds)
    return round(1e9 * shapely.area(shapely.intersection(ground_of(row), footprint)) / footprint.area)


def slow_naip(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    footprint = shapely.box(*CENTRE.bounds)
    shown = [
        row
        for row in rows
        if date(2022, 1, 1) <= row["acquired"].date() < date(2024, 4, 1) and overlap(row) > 0
    ]

    def season(row: dict[str, Any]) -> date:
        """The last day reached from this one without a gap of more than 90 days."""
        last: date = row["acquired"].date()
        for other in sorted(
            (r for r in shown if r["vintage"] == row["vintage"]), key=lambda r: r["acquired"]
        ):
            if timedelta(0) <= other["acquired"].date() - last <= timedelta(days=90):
                last = other["acquired"].date()
        return last

    for key in sorted({(row["vintage"], season(row)) for row in shown}, reverse=True):
        flown = [row for row in shown if (row["vintage"], season(row)) == key]
        ranked = sorted(
            flown,
            key=lambda row: (
                -overlap(row),
                -row["acquired"].timestamp(),
                row["item_id"],
            ),
        )
        for count in range(1, 5):
            for choice in combinations(ranked, count):
                left = footprint.difference(shapely.union_all([ground_of(row) for row in choice]))
                if left.area < 1e-6 * footprint.area:
                    return list(choice)
    return []


def read_fast(rows: list[dict[str, Any]]) -> Answer:
    outcome = match(candidate(CENTRE), table(rows), "CA", MatchParameters())
    if outcome.kept.num_rows == 0:
        return Reason(str(outcome.dropped["reason"].to_pylist()[0]))
    (row,) = outcome.kept.to_pylist()
    return row["naip_items"], row["sentinel2_items"], row["fallback"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(catalogues())
def test_any_catalogue_is_read_as_the_rule_says(rows: list[dict[str, Any]]) -> None:
    assert read_fast(rows) == read_slowly(rows)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(catalogues())
def test_ten_thousand_catalogues_are_read_as_the_rule_says(rows: list[dict[str, Any]]) -> None:
    assert read_fast(rows) == read_slowly(rows)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(catalogues(), st.lists(st.tuples(st.integers(-30, 30), st.integers(-30, 30)), min_size=2, max_size=9))
def test_all_candidates_at_once_are_matched_as_one_by_one(
    rows: list[dict[str, Any]], steps: list[tuple[int, int]]
) -> None:
    """Over the edges of quads, of swaths and of the cells in which they are worked on."""
    places = {
        f"CA-w{number + 1}": Footprint(-121 + east / 2000, 37 + north / 2000)
        for number, (east, north) in enumerate(steps)
    }
    each = [candidate(place, name) for name, place in places.items()]
    together = match(pa.concat_tables(each), table(rows), "CA", MatchParameters())
    alone = [match(one, table(rows), "CA", MatchParameters()) for one in each]
    assert together.kept.equals(pa.concat_tables([outcome.kept for outcome in alone]))
    assert together.dropped.equals(pa.concat_tables([outcome.dropped for outcome in alone]))


def test_an_image_far_above_the_limit_hides_no_older_processing() -> None:
    old = sentinel2("old", SPRING, baseline="02.12", cloud=0.1)
    new = sentinel2("new", SPRING, baseline="05.10", cloud=20.0)
    assert matched(FLOWN, old, new)["sentinel2_items"] == ["old"]
    with pytest.raises(ValueError, match="searched_cloud_percent"):
        MatchParameters(most_cloud_percent=30.0)
