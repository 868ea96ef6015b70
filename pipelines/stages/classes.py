"""Stage "classes": from OSM tags to the classes of the map (paper A.1, A.3)."""

from typing import Any

import pyarrow as pa

from gl10m.manifest.outcome import Ledger, Outcome
from gl10m.manifest.schema import LABELLED_POLYGONS
from gl10m.scene.class_map import ClassMap


def map_classes(polygons: pa.Table, state: str, class_map: ClassMap) -> Outcome:
    """Give each polygon the classes that accept it.

    Args:
        polygons: schema POLYGONS.
        state: region code of the polygons.
        class_map: what the tags mean.

    Returns:
        Kept rows in schema LABELLED_POLYGONS and in the order they came. Rejected: UNMAPPED,
        AREA_OUT_OF_RANGE, and NOT_AN_AREA where the polygons were read with another class map.
    """
    ledger = Ledger("classes", state)
    places: list[int] = []
    class_ids: list[tuple[int, ...]] = []
    for place, (name, tags, closed_way, area) in enumerate(_rows(polygons)):
        match = class_map.match(dict(tags), closed_way=closed_way, area_m2=area)
        if match.reason is None:
            places.append(place)
            class_ids.append(match.class_ids)
        else:
            ledger.reject(name, match.reason, match.detail)
    kept = polygons.take(pa.array(places, pa.int64()))
    columns: dict[str, Any] = {name: kept[name] for name in kept.column_names}
    columns["class_ids"] = class_ids
    columns["anchor_class"] = [class_map.rarest(ids) for ids in class_ids]
    return Outcome(
        stage="classes",
        read=polygons.num_rows,
        kept=pa.table(columns, schema=LABELLED_POLYGONS.schema),
        dropped=ledger.table,
    )


def _rows(polygons: pa.Table) -> "zip[tuple[Any, ...]]":
    """Identity, tags, closed way or not and area of each row."""
    names = ("osm_id", "tags", "closed_way", "area_m2")
    return zip(*(polygons[name].to_pylist() for name in names), strict=True)
