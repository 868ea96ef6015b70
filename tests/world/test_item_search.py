"""Searching items, compared with asking each item by itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from pipelines.world.item_search import BadQueryError, ItemIndex, parse

START = datetime(2023, 1, 1, tzinfo=UTC)


def item(number: int, x: int, y: int, day: int, cloud: float | None) -> dict[str, Any]:
    box = shapely.box(x, y, x + 2, y + 2)
    properties: dict[str, Any] = {
        "datetime": (START + timedelta(days=day)).isoformat().replace("+00:00", "Z")
    }
    if cloud is not None:
        properties["eo:cloud_cover"] = cloud
    return {
        "id": f"item-{number:03d}",
        "collection": "naip" if number % 2 else "sentinel-2-l2a",
        "geometry": shapely.geometry.mapping(box),
        "properties": properties,
    }


worlds = st.lists(
    st.tuples(
        st.integers(-5, 5),
        st.integers(-5, 5),
        st.integers(0, 60),
        st.none() | st.floats(0, 100, allow_nan=False),
    ),
    min_size=1,
    max_size=25,
).map(lambda rows: [item(number, *row) for number, row in enumerate(rows)])


@given(worlds, st.tuples(st.integers(-6, 6), st.integers(-6, 6)), st.integers(0, 60), st.integers(1, 5))
def test_pages_together_hold_what_each_item_says_of_itself(
    world: list[dict[str, Any]], corner: tuple[int, int], day: int, limit: int
) -> None:
    asked = shapely.box(corner[0] + 0.5, corner[1] + 0.5, corner[0] + 2.5, corner[1] + 2.5)
    until = (START + timedelta(days=day)).isoformat()
    given_terms = {
        "bbox": list(asked.bounds),
        "datetime": f"../{until}",
        "query": {"eo:cloud_cover": {"lt": 50}},
        "limit": limit,
    }
    index, found, token = ItemIndex(world), [], 0
    while True:
        page, matched = index.find(parse({**given_terms, "token": str(token)}))
        found += [one["id"] for one in page]
        token += len(page)
        assert len(page) <= limit
        if token >= matched:
            break
    expected = {
        one["id"]
        for one in world
        if asked.intersects(shapely.geometry.shape(one["geometry"]))
        and datetime.fromisoformat(one["properties"]["datetime"]) <= START + timedelta(days=day)
        and one["properties"].get("eo:cloud_cover", 100) < 50
    }
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_terms_of_a_query_string_mean_the_same_as_those_of_a_body() -> None:
    text = parse(
        {"bbox": "1,2,3,4", "collections": "naip,other", "limit": "7", "query": '{"gsd": {"lte": 1}}'}
    )
    body = parse(
        {"bbox": [1, 2, 3, 4], "collections": ["naip", "other"], "limit": 7, "query": {"gsd": {"lte": 1}}}
    )
    assert text == body


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        ({"bbox": [1, 2, 3]}, "4 or 6 finite numbers"),
        ({"bbox": [1, 2, 3, float("nan")]}, "4 or 6 finite numbers"),
        ({"bbox": "a,b,c,d"}, "4 or 6 finite numbers"),
        ({"bbox": {"west": 1}}, "4 or 6 finite numbers"),
        ({"intersects": {"type": "Sphere"}}, "GeoJSON geometry"),
        ({"intersects": "{"}, "GeoJSON geometry"),
        ({"intersects": {"type": "Polygon", "coordinates": "x"}}, "GeoJSON geometry"),
        ({"bbox": [0, 0, 1, 1], "intersects": {"type": "Point", "coordinates": [0, 0]}}, "not both"),
        ({"datetime": "yesterday"}, "2023-07-01T00:00:00Z"),
        ({"datetime": "2023-02-01/2023-01-01"}, "on or after its beginning"),
        ({"datetime": 2023}, "datetime is a text"),
        ({"limit": 0}, "at least 1"),
        ({"limit": "many"}, "whole number"),
        ({"token": "-1"}, "at least 0"),
        ({"ids": 7}, "list of names"),
        ({"query": {"gsd": 1}}, "maps a property"),
        ({"query": {"gsd": {"about": 1}}}, "asked for about"),
        ({"filter": {}}, "asked for filter"),
    ],
)
def test_what_is_not_understood_is_said_in_words(terms: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadQueryError, match=complaint):
        parse(terms)


def test_a_comparison_of_different_kinds_holds_for_nothing() -> None:
    index = ItemIndex([item(1, 0, 0, 0, 5.0)])
    assert index.find(parse({"query": {"eo:cloud_cover": {"lt": "ten"}}})) == ([], 0)
