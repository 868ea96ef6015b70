"""Imagery from memory: what the retrieval stages do with pixels, without any raster."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from gl10m.manifest.schema import ITEMS, LR_FETCHED, MATCHED
from gl10m.scene.acquisition import Window
from gl10m.scene.footprint import Footprint
from pipelines.sources.imagery import HighResolution, LowResolution, Sensor
from tests.pipelines.ruler import candidate

PLACE = Footprint(-121.0, 37.0)


@dataclass
class Painted:
    """A source whose images are set by item id; an exception in an image's place is raised."""

    lr: dict[str, LowResolution | Exception] = field(default_factory=dict)
    hr: dict[str, HighResolution | Exception] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)

    def search(self, sensor: Sensor, area: shapely.Geometry, window: Window) -> pa.Table:
        raise NotImplementedError

    def read_sentinel2(self, item: pa.Table, footprint: Footprint) -> LowResolution:
        assert footprint == PLACE
        (name,) = map(str, item["item_id"].to_pylist())
        self.read.append(name)
        image = self.lr[name]
        if isinstance(image, Exception):
            raise image
        return image

    def read_naip(self, items: pa.Table, footprint: Footprint) -> HighResolution:
        assert footprint == PLACE
        name = "+".join(map(str, items["item_id"].to_pylist()))
        self.read.append(name)
        image = self.hr[name]
        if isinstance(image, Exception):
            raise image
        return image


def items(sensor: Sensor, *names: str) -> pa.Table:
    ground = shapely.box(*PLACE.bounds)
    row = {
        "collection": sensor.value,
        "sensor": sensor.value,
        "acquired": datetime(2023, 6, 1, tzinfo=UTC),
        "assets": [],
        "bounds": list(ground.bounds),
        "geometry": shapely.to_wkb(ground),
    }
    return pa.Table.from_pylist([row | {"item_id": name} for name in names], schema=ITEMS.schema)


def matched(sentinel2: list[str], naip: list[str], *scenes: str) -> pa.Table:
    """Rows of schema MATCHED that name these items."""
    found = {
        "naip_items": naip,
        "naip_date": date(2023, 6, 1),
        "naip_gsd": 0.6,
        "sentinel2_items": sentinel2,
        "sentinel2_date": date(2023, 6, 1),
        "cloud_cover": 0.0,
        "days_between": 0,
        "fallback": False,
    }
    rows: list[dict[str, Any]] = [candidate(PLACE, name).to_pylist()[0] | found for name in scenes]
    return pa.Table.from_pylist(rows, schema=MATCHED.schema)


def lr_fetched(naip: list[str], *scenes: str) -> pa.Table:
    """Rows of schema LR_FETCHED that name these items."""
    added = {"black_lr": 0.0, "cloud_lr": 0.0, "filled_lr": 0.0, "lr": b"a picture"}
    rows = [row | added for row in matched(["s"], naip, *scenes).to_pylist()]
    return pa.Table.from_pylist(rows, schema=LR_FETCHED.schema)


def acquisition(reflectance: float, classes: int | np.ndarray[Any, Any] = 4) -> LowResolution:
    """One Sentinel-2 image of one reflectance; class 0 is not observed."""
    classification = np.broadcast_to(np.asarray(classes, np.uint8), (268, 268)).copy()
    observed = classification != 0
    return LowResolution(
        reflectance=np.full((3, 268, 268), reflectance, np.float32) * observed,
        observed=observed,
        classification=classification,
    )
