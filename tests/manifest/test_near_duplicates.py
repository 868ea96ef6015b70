"""Near-duplicates: which kept scene shares the most ground, and whether the images are the same."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from gl10m.manifest.near_duplicates import with_neighbours
from gl10m.manifest.schema import PLACED
from gl10m.scene.footprint import Footprint


def scenes(places: dict[str, tuple[float, float]], days: dict[str, str] | None = None) -> pa.Table:
    """Scenes by name, so many footprints east and north of a town."""
    rows = []
    for name, (east, north) in places.items():
        place = Footprint(-121 + 0.024 * east, 37 + 0.024 * north)
        items = {"naip_items": ["n"], "sentinel2_items": [(days or {}).get(name, "s")]}
        rows.append({"scene_id": name, "bounds": list(place.bounds), **items})
    return pa.Table.from_pylist(rows, schema=PLACED.schema)


def told(table: pa.Table) -> dict[str, tuple[str | None, float, bool]]:
    return {
        row["scene_id"]: (row["nearest_scene"], round(row["shared_ground"], 4), row["same_imagery"])
        for row in with_neighbours(table).to_pylist()
    }


def test_the_largest_share_is_named_and_a_common_border_is_none() -> None:
    found = told(scenes({"CA-w1": (0, 0), "CA-w2": (0.5, 0), "CA-w3": (0.75, 0.5), "CA-w4": (1.75, 0.5)}))
    assert found == {
        "CA-w1": ("CA-w2", 0.5, True),
        "CA-w2": ("CA-w1", 0.5, True),
        "CA-w3": ("CA-w2", 0.375, True),
        "CA-w4": (None, 0.0, False),
    }


def test_two_that_share_as_much_are_told_by_id_and_other_images_are_told() -> None:
    places = {"CA-w2": (0.0, 0.0), "CA-w1": (0.5, 0.0), "CA-w3": (-0.5, 0.0)}
    assert told(scenes(places, {"CA-w1": "later"}))["CA-w2"] == ("CA-w1", 0.5, False)


@given(st.permutations([f"CA-w{number}" for number in range(6)]))
def test_the_order_of_the_rows_does_not_matter(names: list[str]) -> None:
    places = {name: (0.3 * int(name[-1]), 0.1 * (int(name[-1]) % 3)) for name in names}
    assert told(scenes(places)) == told(scenes(dict(sorted(places.items()))))
