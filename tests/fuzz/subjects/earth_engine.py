"""Answers of Earth Engine: listings of images, and pixels in NumPy's format."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.sources.earth_engine import SENTINEL2_BANDS
from pipelines.sources.earth_engine_items import image_row
from pipelines.sources.earth_engine_pixels import Plane, _decoded, _Part
from pipelines.sources.imagery import DamagedRasterError, Sensor
from pipelines.sources.items import MalformedItemError
from tests.fuzz.changes import Chance, spoiled, strange
from tests.fuzz.subject import Spoiled

SIDE = 16
IMAGE: dict[str, Any] = {
    "type": "IMAGE",
    "name": "projects/earthengine-public/assets/COPERNICUS/S2/20230601T1_T10SFG",
    "id": "COPERNICUS/S2/20230601T1_T10SFG",
    "startTime": "2023-06-01T18:10:06.027Z",
    "geometry": {
        "type": "Polygon",
        "coordinates": [[[-121, 36], [-120, 36], [-120, 37], [-121, 37], [-121, 36]]],
    },
    "bands": [
        {"id": name, "grid": {"crsCode": "EPSG:32610", "affineTransform": {"scaleX": 10.0}}}
        for name in ("B4", "R")
    ],
    "properties": {
        "CLOUDY_PIXEL_PERCENTAGE": 0.5,
        "PROCESSING_BASELINE": "05.09",
        "GENERATION_TIME": 1685663406027,
        "MGRS_TILE": "10SFG",
    },
}


class Listings:
    name = "Earth Engine listings"
    vouched = False
    errors: tuple[type[Exception], ...] = (MalformedItemError,)

    def prepare(self, folder: Path) -> None:
        del folder

    def spoil(self, chance: Chance) -> Spoiled:
        changed = strange(IMAGE, chance, 3)
        changed = changed if isinstance(changed, dict) else {"id": changed}
        return Spoiled(chance.choice([*Sensor]).value, json.dumps(changed).encode("utf-8", "surrogatepass"))

    def read(self, spoiled: Spoiled) -> bool:
        image = json.loads(spoiled.content.decode("utf-8", "surrogatepass"))
        row = image_row(image, Sensor(spoiled.name), "COPERNICUS/S2")
        assert ".." not in row["item_id"]
        return False


class Pixels:
    name = "Earth Engine pixels"
    vouched = False  # over https the transport vouches
    errors: tuple[type[Exception], ...] = (DamagedRasterError,)

    def prepare(self, folder: Path) -> None:
        del folder
        pixels = np.zeros((SIDE, SIDE), [(name, np.dtype(kind)) for name, kind in SENTINEL2_BANDS.items()])
        stream = io.BytesIO()
        np.save(stream, pixels)
        self.whole = stream.getvalue()
        self.plane = Plane(what="pixels", image=lambda: None, bands=SENTINEL2_BANDS)  # type: ignore[arg-type,return-value]

    def spoil(self, chance: Chance) -> Spoiled:
        head = self.whole[:400]
        if chance.random() < 0.7:
            return Spoiled("answer", spoiled(head, chance) + self.whole[400:])
        return Spoiled("answer", spoiled(self.whole, chance))

    def read(self, spoiled: Spoiled) -> bool:
        try:
            found = dict(_decoded(spoiled.content, self.plane, _Part(0, 0, SIDE, SIDE)))
        except (ValueError, OSError) as error:  # as `earth_engine_session.call` takes them
            raise DamagedRasterError(f"the pixels of an image are no good: {error}") from None
        assert all(band.shape == (SIDE, SIDE) for band in found.values())
        return all((band == 0).all() for band in found.values())
