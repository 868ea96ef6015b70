"""Catalogues: pages of a STAC API, stac-geoparquet files, and searches that were kept."""

import json
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from gl10m.manifest.schema import ITEMS
from gl10m.scene.acquisition import Window
from pipelines.sources.imagery import Sensor, SourceUnavailableError
from pipelines.sources.items import MalformedItemError, item_table
from pipelines.sources.kept_searches import KeptSearches
from pipelines.sources.patience import Patience
from pipelines.sources.stac import StacImagery
from pipelines.sources.stac_geoparquet import ItemFileError, TabledItems, local_items
from tests.fuzz.changes import STRANGE, Chance, spoiled, spoiled_json, strange
from tests.fuzz.subject import Spoiled
from tests.pipelines.imagery_server import Fault, World, serving
from tests.pipelines.ruler import naip_item, sentinel2_item

GROUND = shapely.box(-121.1, 36.9, -120.9, 37.1)
YEAR = Window(date(2023, 1, 1), date(2023, 12, 31))
HASTY = Patience(
    attempts=1, connect_seconds=0.3, stall_seconds=2, wait_initial=0.01, jitter=0, circuit_failures=10**9
)
EARTH_SEARCH = {
    "assets": {
        band: {"href": f"https://e84.org/{band}.tif", "raster:bands": [{"scale": 0.0001, "offset": -0.1}]}
        for band in ("red", "green", "blue", "scl")
    }
}


def items(sensor: Sensor) -> list[dict[str, Any]]:
    if sensor is Sensor.NAIP:
        return [
            naip_item(name, "2023-06-01", 26910, GROUND, href=f"https://x.org/{name}.tif") for name in "abc"
        ]
    found = [
        sentinel2_item(name, "2023-06-01", 32610, GROUND, f"https://x.org/{name}") for name in ("s1", "s2")
    ]
    found[1] |= EARTH_SEARCH
    return found


def check(rows: pa.Table) -> None:
    """Whatever was read: ids that are no paths, and addresses of the web."""
    for row in rows.to_pylist():
        assert row["item_id"].isprintable()
        for _, href in row["assets"]:
            assert urlsplit(href).scheme in {"http", "https"}, href


class StacPages:
    name = "STAC JSON"
    vouched = False
    errors: tuple[type[Exception], ...] = (SourceUnavailableError, MalformedItemError)

    def prepare(self, folder: Path) -> None:
        del folder
        self.world = World()
        self.running = serving(self.world)
        self.running.__enter__()
        self.pages = {}
        for sensor in Sensor:
            links = [{"rel": "self", "href": self.world.url, "type": "application/json"}]
            page = {"type": "FeatureCollection", "features": items(sensor), "links": links}
            self.pages[sensor.value] = json.dumps(page).encode()
        StacImagery(url=self.world.url, patience=HASTY).search(Sensor.NAIP, GROUND, YEAR)

    def spoil(self, chance: Chance) -> Spoiled:
        name = chance.choice(sorted(self.pages))
        content = spoiled_json(self.pages[name], chance)
        if chance.random() < 0.1:  # another page follows, somewhere
            page = json.loads(self.pages[name])
            page["links"] = [strange({"rel": "next", "href": "/x", "method": "GET"}, chance)]
            content = json.dumps(page).encode("utf-8", "surrogatepass")
        return Spoiled(name, content)

    def read(self, spoiled: Spoiled) -> bool:
        answers = iter([spoiled.content])
        empty = b'{"type": "FeatureCollection", "features": [], "links": []}'
        self.world.fault = lambda request: Fault(
            200, next(answers, empty) if request.method == "POST" else b"{}"
        )
        imagery = StacImagery(url=self.world.url, patience=HASTY)
        found = imagery.search(Sensor(spoiled.name), GROUND, YEAR)
        check(found)
        return False

    def close(self) -> None:
        self.running.__exit__(None, None, None)


class ItemTables:
    name = "stac-geoparquet"
    vouched = False
    errors: tuple[type[Exception], ...] = (ItemFileError, MalformedItemError)

    def prepare(self, folder: Path) -> None:
        from tests.pipelines.test_stac_geoparquet import written

        self.folder = folder
        self.tables = {
            sensor.value: pq.read_table(written(folder / f"{sensor}.parquet", items(sensor)))
            for sensor in Sensor
        }
        self.bytes = {sensor.value: (folder / f"{sensor}.parquet").read_bytes() for sensor in Sensor}

    def spoil(self, chance: Chance) -> Spoiled:
        name = chance.choice(sorted(self.tables))
        if chance.random() < 0.5:
            return Spoiled(name, spoiled(self.bytes[name], chance))
        table = self.tables[name]
        place = chance.randrange(table.num_columns)
        for _ in range(20):
            try:
                column = pa.array([chance.choice(STRANGE)] * table.num_rows)
                break
            except (pa.ArrowException, OverflowError, ValueError, TypeError):
                continue
        changed = table.set_column(place, table.column_names[place], column)
        sink = pa.BufferOutputStream()
        try:
            pq.write_table(changed, sink)
        except pa.ArrowException:  # an empty struct, which Parquet cannot hold
            return Spoiled(name, spoiled(self.bytes[name], chance))
        return Spoiled(name, sink.getvalue().to_pybytes())

    def read(self, spoiled: Spoiled) -> bool:
        path = self.folder / "spoiled.parquet"
        path.write_bytes(spoiled.content)
        sensor = Sensor(spoiled.name)
        collection = "naip" if sensor is Sensor.NAIP else "sentinel-2-l2a"
        source = StacImagery(url="http://127.0.0.1:9")
        tables = TabledItems(source=source, tables=local_items(path), collection=collection)
        check(tables.search(sensor, GROUND, YEAR))
        return False


class _Known:
    """A source that gives the same items whenever it is asked."""

    def __init__(self, found: pa.Table) -> None:
        self.found = found

    def search(self, *_: object) -> pa.Table:
        return self.found


class KeptSearchFiles:
    name = "kept searches"
    vouched = True
    errors: tuple[type[Exception], ...] = ()

    def prepare(self, folder: Path) -> None:
        table, _ = item_table(items(Sensor.NAIP), Sensor.NAIP)
        source: Any = _Known(table.cast(ITEMS.schema))
        self.kept = KeptSearches(source=source, name="fuzz", folder=folder, days_kept=100_000)
        self.expected = self.search()
        (self.path,) = folder.glob("*/*.parquet")
        self.whole = self.path.read_bytes()

    def search(self) -> list[dict[str, Any]]:
        return list(self.kept.search(Sensor.NAIP, GROUND, YEAR).to_pylist())

    def spoil(self, chance: Chance) -> Spoiled:
        return Spoiled(self.path.name, spoiled(self.whole, chance))

    def read(self, spoiled: Spoiled) -> bool:
        self.path.write_bytes(spoiled.content)
        return self.search() == self.expected
