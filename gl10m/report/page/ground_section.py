"""Where the scenes are, and what ground the sensors show."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from gl10m.manifest import parquet
from gl10m.manifest.columns import texts
from gl10m.manifest.schema import COVERAGE
from gl10m.report.page.facts import (
    NOT_SPLIT,
    label_matrix,
    largest_class,
    names_of_classes,
    scenes,
    split_order,
    splits_of,
)
from gl10m.report.page.numbers import count
from gl10m.report.page.packed import base64_of, coded_splits, coded_states
from gl10m.report.page.projection import plane_of, project, project_geometry, state_outlines
from gl10m.report.page.section import Cell, DataTable, Figure, Section
from gl10m.storage.place import Place

STEPS = 65_535
"""Places are told in so many steps across the map: 70 m on a map of the United States."""

COVERAGE_POINTS = 6_000
"""Corners of one coverage at most; a finer one is drawn more coarsely."""


def ground_section(root: Place) -> Section:
    """The map of scenes and coverage, and its counts.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: the manifest is damaged, or lacks a column.
        StoreError: the index is damaged.
    """
    table = scenes(root, ["scene_id", "state", "longitude", "latitude", "class_ids"])
    splits = splits_of(root, table["scene_id"])
    notices = []
    if splits is None:
        notices.append(f"The data set is not split yet: run `gl10m split --root {root}`.")
        splits = np.full(table.num_rows, NOT_SPLIT, dtype=object)
    try:
        coverage = parquet.read(root / "manifests" / "coverage.parquet", COVERAGE)
    except (parquet.ManifestError, parquet.ManifestNotFoundError) as error:
        notices.append(f"No coverage on the map. {error}")
        coverage = COVERAGE.empty()
    payload = _payload(root, table, splits, coverage)
    return Section(
        anchor="map",
        title="Map",
        about="Each mark is the centre of a scene, a square of 0.024°. Colour and shape tell its split; "
        "where many scenes make the marks too small for shapes, the boxes show one split alone. Lines show "
        "the ground of each sensor's items.",
        notices=tuple(notices),
        figures=(
            Figure(
                title="Scenes by state and split",
                drawing=None,
                table=_by_state(table, splits),
                wide=True,
            ),
            *_coverage_figures(coverage),
        ),
        payload=payload,
    )


def _by_state(table: pa.Table, splits: NDArray[np.object_]) -> DataTable:
    names = split_order(splits.tolist())
    counted = Counter(zip(table["state"].to_pylist(), splits.tolist(), strict=True))
    states = sorted({str(state) for state, _ in counted})
    rows: list[Sequence[Cell]] = [
        (state, *(counted[state, name] for name in names), sum(counted[state, name] for name in names))
        for state in states
    ]
    totals = [sum(counted[state, name] for state in states) for name in names]
    rows.append(("all", *totals, sum(totals)))
    return DataTable(caption="Scenes by state and split", head=("state", *names, "all"), rows=rows, open=True)


def _coverage_figures(coverage: pa.Table) -> tuple[Figure, ...]:
    if not coverage.num_rows:
        return ()
    rows = [
        (
            row["state"],
            row["sensor"],
            row["items"],
            None if row["area_km2"] is None else round(row["area_km2"]),
            str(row["first_day"] or ""),
            str(row["last_day"] or ""),
            row["source"],
        )
        for row in coverage.select([name for name in COVERAGE.names if name != "geometry"]).to_pylist()
    ]
    return (
        Figure(
            title="Ground that the sensors show",
            drawing=None,
            note="Items inside the windows and under the cloud limit of the build; the area reaches beyond "
            "the state.",
            table=DataTable(
                caption="Coverage by state and sensor",
                head=("state", "sensor", "items", "km²", "first day", "last day", "catalogue"),
                rows=rows,
            ),
            wide=True,
        ),
    )


def _payload(
    root: Place, table: pa.Table, splits: NDArray[np.object_], coverage: pa.Table
) -> dict[str, object]:
    degrees = np.stack([table["longitude"].to_numpy(), table["latitude"].to_numpy()], axis=1)
    crs, is_american = plane_of(degrees[:, 0], degrees[:, 1])
    places = project(crs, degrees)
    low, size = _frame(places)
    steps = np.clip((places - low) / size * STEPS, 0, STEPS).round().astype("<u2")
    names = names_of_classes(root, largest_class(table["class_ids"])).names
    labels = label_matrix(table["class_ids"], len(names))
    split_names, split = coded_splits(splits)
    states, state = coded_states(texts(table, "state"))
    return {
        "scenes": table.num_rows,
        "low": low.tolist(),
        "size": size,
        "xy": base64_of(steps),
        "split": split,
        "state": state,
        "labels": base64_of(np.packbits(labels, axis=1)),
        "classes": list(names),
        "counts": labels.sum(axis=0).tolist(),
        "splits": split_names,
        "states": states,
        "outlines": state_outlines() if is_american else {},
        "coverage": [_outline(row, crs) for row in coverage.to_pylist()],
        "summary": f"{count(table.num_rows)} scenes in {len(states)} states",
    }


def _frame(places: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """South-west corner and side, kilometres, of the square that holds all places."""
    if not len(places):
        return np.zeros(2), 1.0
    low, high = places.min(axis=0), places.max(axis=0)
    return low, max(float((high - low).max()), 1.0)


def _outline(row: dict[str, Any], crs: str) -> dict[str, object]:
    """One coverage as rings of kilometres, coarse enough for a page."""
    shape = project_geometry(crs, shapely.from_wkb(row["geometry"], on_invalid="ignore") or shapely.Polygon())
    tolerance = 0.02
    while shapely.get_num_coordinates(shape) > COVERAGE_POINTS:
        tolerance *= 2
        shape = shapely.simplify(shape, tolerance)
    rings = []
    for polygon in shapely.get_parts(shape):
        if polygon.geom_type == "Polygon":
            points = shapely.get_coordinates(polygon.exterior)
            if np.isfinite(points).all():
                rings.append(points.round(2).reshape(-1).tolist())
    return {"state": row["state"], "sensor": row["sensor"], "rings": rings}
