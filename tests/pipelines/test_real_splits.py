"""Splits of the footprints of a real extract, beside shapely over all pairs."""

import numpy as np
import pyarrow as pa
import pytest
import shapely

from gl10m.manifest import split
from gl10m.manifest.columns import texts
from gl10m.manifest.leakage import check
from gl10m.manifest.rectangles import bounds_of, boxes
from gl10m.scene.class_map import ClassMap
from pipelines.stages.classes import map_classes
from pipelines.stages.footprints import FootprintParameters, make_footprints
from pipelines.stages.polygons import read_polygons
from tests.worlds import REAL_OSM

EXTRACT = REAL_OSM / "felton_california.osm.pbf"
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


@pytest.fixture(scope="module")
def footprints(class_map: ClassMap) -> pa.Table:
    if not EXTRACT.exists():
        pytest.skip(f"no real extract at {EXTRACT}")
    polygons = read_polygons(EXTRACT, "CA", class_map).kept
    labelled = map_classes(polygons, "CA", class_map).kept
    kept = make_footprints(labelled, "CA", class_map, FootprintParameters()).kept
    none = pa.array([[]] * kept.num_rows, pa.list_(pa.string()))
    return kept.append_column("naip_items", none).append_column("sentinel2_items", none)


@pytest.mark.parametrize("kind", ["group", "block", "random"])
def test_no_two_splits_of_a_real_town_share_ground(footprints: pa.Table, kind: str) -> None:
    rules = {
        "group": lambda: split.split_by_group(footprints, 0, SHARES),
        "block": lambda: split.split_by_block(footprints, 0, SHARES, 0.02),
        "random": lambda: split.split_random(footprints, 0, SHARES),
    }
    made = split.set_border_aside(footprints, rules[kind]())
    names = np.array(texts(made, "split"))
    ground = boxes(bounds_of(footprints))
    one, other = np.nonzero((names[:, None] != names) & (names[:, None] != "border") & (names != "border"))
    assert shapely.area(shapely.intersection(ground[one], ground[other])).max(initial=0) < 1e-12
    assert check(footprints, made, {"border"}).apart
