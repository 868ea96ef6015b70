"""Stage "classes": from OSM tags to the classes of the map (paper A.1, A.3)."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gl10m.manifest.outcome import Ledger, Outcome
from gl10m.manifest.schema import LABELLED_POLYGONS
from gl10m.scene.class_map import ClassMap, Match
from gl10m.scene.rejection import Reason

Indices = NDArray[np.int64]


def map_classes(polygons: pa.Table, state: str, class_map: ClassMap) -> Outcome:
    """Give each polygon the classes that accept it.

    The class map is asked once for all polygons that it cannot tell apart: those with the same deciding tags,
    between the same two limits of area.

    Args:
        polygons: schema POLYGONS.
        state: region code of the polygons.
        class_map: what the tags mean.

    Returns:
        Kept rows in schema LABELLED_POLYGONS and in the order they came. Rejected: UNMAPPED,
        AREA_OUT_OF_RANGE, and NOT_AN_AREA where the polygons were read with another class map.
    """
    example, kind = _kinds(polygons, class_map)
    matches = _matches(polygons.take(pa.array(example, pa.int64())), class_map)
    accepted = np.array([match.reason is None for match in matches], np.bool_)[kind]
    kept = polygons.filter(pa.array(accepted))
    columns: dict[str, Any] = {name: kept[name] for name in kept.column_names}
    columns |= _classes(matches, kind[accepted], class_map)
    refused = np.flatnonzero(~accepted)
    return Outcome(
        stage="classes",
        read=polygons.num_rows,
        kept=pa.table(columns, schema=LABELLED_POLYGONS.schema),
        dropped=_refusals(
            polygons.take(pa.array(refused, pa.int64())),
            [matches[n] for n in kind[refused]],
            state,
            class_map,
        ),
    )


def _matches(polygons: pa.Table, class_map: ClassMap) -> list[Match]:
    """What the class map says about each polygon."""
    names = ("tags", "closed_way", "area_m2")
    rows = zip(*(polygons[name].to_pylist() for name in names), strict=True)
    return [class_map.match(dict(tags), closed_way=closed, area_m2=area) for tags, closed, area in rows]


def _classes(matches: list[Match], kind: Indices, class_map: ClassMap) -> dict[str, Any]:
    """The columns that a label adds."""
    schema = LABELLED_POLYGONS.schema
    ids = pa.array([match.class_ids for match in matches], schema.field("class_ids").type)
    rarest = [class_map.rarest(match.class_ids) if match.class_ids else None for match in matches]
    anchors = pa.array(rarest, schema.field("anchor_class").type)
    return {"class_ids": ids.take(pa.array(kind)), "anchor_class": anchors.take(pa.array(kind))}


def _refusals(polygons: pa.Table, matches: list[Match], state: str, class_map: ClassMap) -> pa.Table:
    """The rejections, in order; a polygon too small or too large is told its own area."""
    sized = [n for n, match in enumerate(matches) if match.reason == Reason.AREA_OUT_OF_RANGE]
    own = dict(zip(sized, _matches(polygons.take(pa.array(sized, pa.int64())), class_map), strict=True))
    ledger = Ledger("classes", state)
    names: list[Any] = polygons["osm_id"].to_pylist()
    for place, (name, match) in enumerate(zip(names, matches, strict=True)):
        if match.reason is not None:
            ledger.reject(name, match.reason, own.get(place, match).detail)
    return ledger.table


def _kinds(polygons: pa.Table, class_map: ClassMap) -> tuple[Indices, Indices]:
    """Polygons that the class map cannot tell apart.

    Returns:
        One row of each kind, and the kind of each row.
    """
    tags = _tag_sets(polygons["tags"].combine_chunks(), class_map)
    limits = np.array(class_map.area_limits)
    band = np.searchsorted(limits, polygons["area_m2"].to_numpy(), side="right")
    closed = polygons["closed_way"].to_numpy()
    alike = (tags * 2 + closed) * (len(limits) + 1) + band
    _, example, kind = np.unique(alike, return_index=True, return_inverse=True)
    return example, kind


def _tag_sets(tags: Any, class_map: ClassMap) -> Indices:  # noqa: ANN401 - a map array, for which no stub stands
    """A number for the deciding tags of each row: the same for the same tags, another for others."""
    ends = tags.offsets.to_numpy().astype(np.int64)
    here = slice(ends[0], ends[-1])
    told = pc.is_in(tags.keys[here], value_set=pa.array(sorted(class_map.deciding_keys)))
    deciding = np.flatnonzero(told.to_numpy(zero_copy_only=False))
    row = np.repeat(np.arange(len(tags)), np.diff(ends))[deciding]
    key, value = (
        column[here].take(pa.array(deciding)).dictionary_encode().indices.to_numpy().astype(np.int64)
        for column in (tags.keys, tags.items)
    )
    _, tag = np.unique(key * (value.max(initial=0) + 1) + value, return_inverse=True)
    numbers, used = np.zeros(len(tags), np.int64), 0  # 0: no deciding tag
    turn = np.arange(len(row)) - np.searchsorted(row, row)  # the first, second ... of its row
    for now in range(turn.max(initial=-1) + 1):
        rows = row[turn == now]
        longer = numbers[rows] * (tag.max() + 1) + tag[turn == now]
        _, number = np.unique(longer, return_inverse=True)
        numbers[rows] = used + 1 + number
        used += 1 + int(number.max())
    return numbers
