"""Items out of a stac-geoparquet file: the same rows as by a search, and nothing that a file can do wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from shapely.geometry import shape

from gl10m.scene.acquisition import Window
from pipelines.inputs import BuildRequest, SourceError, _item_files, check_sources
from pipelines.sources import stac_geoparquet
from pipelines.sources.imagery import Imagery, Sensor
from pipelines.sources.items import MalformedItemError
from pipelines.sources.patience import PATIENT
from pipelines.sources.stac import StacImagery
from pipelines.sources.stac_geoparquet import ItemFileError, TabledItems, local_items, remote_items
from tests.pipelines.imagery_server import World, serving
from tests.pipelines.ruler import naip_item, sentinel2_item
from tests.pipelines.test_stac import changed, real

EVERYWHERE = shapely.box(-180, -90, 180, 90)
ALWAYS = Window(date(2010, 1, 1), date(2026, 1, 1))
YEAR = Window(date(2023, 1, 1), date(2023, 12, 31))
GROUND = shapely.box(-121.1, 36.9, -120.9, 37.1)


def written(path: Path, items: list[dict[str, Any]]) -> Path:
    """Items in the layout of stac-geoparquet: properties as columns, geometry as WKB, assets as a struct."""
    rows = []
    for item in items:
        properties = dict(item["properties"])
        properties["datetime"] = datetime.fromisoformat(properties["datetime"]).astimezone(UTC)
        west, south, east, north = item["bbox"]
        rows.append(
            {
                "id": item["id"],
                "collection": item["collection"],
                "geometry": shapely.to_wkb(shape(item["geometry"])) if item["geometry"] else None,
                "bbox": {"xmin": west, "ymin": south, "xmax": east, "ymax": north},
                "assets": item["assets"],
                **properties,
            }
        )
    columns = sorted({name for row in rows for name in row})
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in columns}), path)
    return path


def tabled(path: Path, collection: str = "naip") -> TabledItems:
    source: Imagery = StacImagery(url="http://127.0.0.1:9")
    return TabledItems(source=source, tables=local_items(path), collection=collection)


def naip(name: str = "n", day: str = "2023-06-01") -> dict[str, Any]:
    return naip_item(name, day, 26910, GROUND, href="https://x.org/n.tif")


@pytest.mark.parametrize(
    ("name", "sensor"),
    [
        ("naip_items.ndjson", Sensor.NAIP),
        ("sentinel-2-l2a_items.ndjson", Sensor.SENTINEL2),
        ("earth-search_sentinel-2-c1-l2a_items.ndjson", Sensor.SENTINEL2),
    ],
)
@pytest.mark.parametrize("writer", ["ours", "stac-geoparquet"])
def test_a_file_of_real_items_gives_the_rows_of_a_search(
    name: str, sensor: Sensor, writer: str, tmp_path: Path
) -> None:
    items = real(name)
    collection, path = items[0]["collection"], tmp_path / "items.parquet"
    if writer == "ours":
        written(path, items)
    else:
        arrow = pytest.importorskip(
            "stac_geoparquet.arrow", reason="needs stac-geoparquet, the format's own tool"
        )
        arrow.to_parquet(arrow.parse_stac_items_to_arrow(items), path)
    with serving(World(items=items)) as world:
        imagery = StacImagery(url=world.url, naip_collection=collection, sentinel2_collection=collection)
        searched = imagery.search(sensor, EVERYWHERE, ALWAYS)
    assert tabled(path, collection).search(sensor, EVERYWHERE, ALWAYS).equals(searched)


def test_ground_days_and_collection_are_those_asked_for(tmp_path: Path) -> None:
    far = naip_item("far", "2023-06-01", 26910, shapely.box(-100, 40, -99, 41), href="https://x.org/f.tif")
    items = [
        naip(),
        naip("old", "2022-06-01"),
        far,
        sentinel2_item("s", "2023-06-01", 32610, GROUND, "https://x.org"),
    ]
    path = written(tmp_path / "items.parquet", items)
    assert tabled(path).search(Sensor.NAIP, GROUND, YEAR)["item_id"].to_pylist() == ["n"]
    assert tabled(path).search(Sensor.NAIP, shapely.box(0, 0, 1, 1), YEAR).num_rows == 0
    sentinel2 = tabled(path, "sentinel-2-l2a").search(Sensor.SENTINEL2, GROUND, YEAR)
    assert sentinel2["item_id"].to_pylist() == ["s"]
    with pytest.raises(ItemFileError, match="no item of collection naip-2; it holds naip, sentinel-2-l2a"):
        tabled(path, "naip-2").search(Sensor.NAIP, GROUND, YEAR)


def test_a_folder_of_files_is_one_catalogue(tmp_path: Path) -> None:
    for name in ("b", "a"):
        written(tmp_path / f"{name}.parquet", [naip(name)])
    found = tabled(tmp_path)
    assert found.search(Sensor.NAIP, GROUND, YEAR)["item_id"].to_pylist() == ["a", "b"]
    assert found.tables.source.startswith(f"{tmp_path.name} sha256 ")


def test_a_row_that_cannot_be_used_is_left_out_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = changed(naip("bad"), "assets/image/href", "file:///etc/passwd")
    lost = {**naip("lost"), "geometry": None}
    path = written(tmp_path / "items.parquet", [naip("good"), bad, lost])
    assert tabled(path).search(Sensor.NAIP, GROUND, YEAR)["item_id"].to_pylist() == ["good"]
    assert "item bad" in caplog.text
    assert "item lost" in caplog.text
    with pytest.raises(MalformedItemError, match="none of 1"):
        tabled(written(tmp_path / "bad.parquet", [bad])).search(Sensor.NAIP, GROUND, YEAR)


def with_text(path: Path) -> None:
    path.write_text("PAR1 and no more")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def without_assets(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["assets"]), path)


def with_wrong_wkb(path: Path) -> None:
    table = pq.read_table(path)
    place = table.column_names.index("geometry")
    pq.write_table(table.set_column(place, "geometry", pa.array([b"not WKB"], pa.binary())), path)


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no Parquet": (with_text, "cannot be read as stac-geoparquet"),
    "cut short": (cut, "cannot be read as stac-geoparquet"),
    "no assets": (without_assets, "lacks assets"),
    "geometry that is none": (with_wrong_wkb, "cannot be read as stac-geoparquet"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_is_no_catalogue_is_named(kind: str, tmp_path: Path) -> None:
    damage, said = HOSTILE[kind]
    path = written(tmp_path / "items.parquet", [naip()])
    damage(path)
    with pytest.raises(ItemFileError, match=f"items.parquet .*{said}") as error:
        tabled(path).search(Sensor.NAIP, GROUND, YEAR)
    assert str(tmp_path) not in str(error.value)


BOX = shapely.to_wkb(GROUND)
IMAGE = {"image": {"href": "https://x.org/n.tif"}}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"assets": ["{}"]}, "assets of a stac-geoparquet is a struct"),
        ({"assets": [["image"]]}, "assets of a stac-geoparquet is a struct"),
        ({"geometry": [{"x": 1.0}]}, "geometry of a stac-geoparquet is WKB"),
        ({"geometry": ["POINT (1 1)"]}, "geometry of a stac-geoparquet is WKB"),
        ({"collection": [1]}, "collection of a stac-geoparquet is text"),
        ({"datetime": pa.array([2**31 - 1], pa.date32())}, "cannot be read"),
    ],
    ids=["text assets", "list assets", "struct geometry", "WKT", "number", "day out of range"],
)
def test_a_column_of_another_type_is_named(columns: dict[str, Any], said: str, tmp_path: Path) -> None:
    row: dict[str, Any] = {"id": ["n"], "geometry": [BOX], "collection": ["naip"], "assets": [IMAGE]}
    pq.write_table(pa.table({**row, **columns}), tmp_path / "items.parquet")
    with pytest.raises(ItemFileError, match=said):
        tabled(tmp_path / "items.parquet").search(Sensor.NAIP, GROUND, YEAR)


def test_a_moment_finer_than_microseconds_is_a_moment(tmp_path: Path) -> None:
    table = pq.read_table(written(tmp_path / "items.parquet", [naip()]))
    moment = np.datetime64("2023-06-01T12:00:00.000000001", "ns")
    finer = pa.array(np.array([moment]))
    place = table.column_names.index("datetime")
    pq.write_table(table.set_column(place, "datetime", finer), tmp_path / "items.parquet")
    assert tabled(tmp_path / "items.parquet").search(Sensor.NAIP, GROUND, YEAR).num_rows == 1


def test_a_file_that_claims_too_much_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "items.parquet", [naip()])
    monkeypatch.setattr(stac_geoparquet, "MOST_ROWS", 0)
    with pytest.raises(ItemFileError, match="claims 1 rows"):
        tabled(path).search(Sensor.NAIP, GROUND, YEAR)
    monkeypatch.undo()
    monkeypatch.setattr(stac_geoparquet, "MOST_GROUP_BYTES", 100)
    with pytest.raises(ItemFileError, match="row group 0 claims"):
        tabled(path).search(Sensor.NAIP, GROUND, YEAR)


def test_a_file_at_an_address_is_fetched_once(tmp_path: Path) -> None:
    content = written(tmp_path / "items.parquet", [naip()]).read_bytes()
    with serving(World(files={"items.parquet": content})) as world:
        first = remote_items(f"{world.url}/items.parquet?version=1", tmp_path / "cache")
        again = remote_items(f"{world.url}/items.parquet?version=1", tmp_path / "cache")
        assert first == again
        assert world.sent <= 2 * len(content)
    assert first.source.startswith(f"{world.url}/items.parquet sha256 ")
    assert first.files[0].read_bytes() == content


def test_a_file_for_one_sensor_or_for_both(tmp_path: Path) -> None:
    path = written(tmp_path / "items.parquet", [naip()])

    def sensors(*given: str) -> set[Sensor]:
        return set(_item_files(BuildRequest(root=tmp_path, regions=("CA",), items=given), PATIENT))

    assert sensors() == set()
    assert sensors(str(path)) == {Sensor.NAIP, Sensor.SENTINEL2}
    assert sensors(f"naip={path}") == {Sensor.NAIP}
    with pytest.raises(SourceError, match="naip two files"):
        sensors(f"naip={path}", str(path))
    with pytest.raises(SourceError, match="the sensors are naip, sentinel-2"):
        sensors(f"landsat={path.name}")
    with pytest.raises(FileNotFoundError, match="--items"):
        sensors(f"naip={tmp_path / 'nothing.parquet'}")


def test_files_of_items_are_looked_at_before_anything_is_begun(tmp_path: Path) -> None:
    path, page = written(tmp_path / "items.parquet", [naip()]), tmp_path / "README.md"
    page.write_text("# no items")
    (tmp_path / "empty").mkdir()

    def check(*given: str) -> None:
        for source in ("planetary-computer", "earth-engine", "synthetic"):
            request = BuildRequest(root=tmp_path, regions=("CA",), lr_source=source, hr_source=source)
            check_sources(replace(request, items=given))

    check(str(path))
    check(f"naip={path}", f"sentinel-2={tmp_path}")
    for given, said in {
        (f"naip={path}", str(path)): "naip two files",
        ("x=y",): "names x; the sensors are",
        ("naip=",): "--items naip= names no file",
        (str(page),): "README.md cannot be read as stac-geoparquet: a Parquet file begins with b'PAR1'",
        (f"naip={tmp_path / 'empty'}",): "no stac-geoparquet file at",
        ("ftp://host/items.parquet",): "only http:// and https:// addresses are read",
    }.items():
        with pytest.raises((ValueError, OSError), match=said):
            check(*given)


def test_json_in_a_parquet_name_is_no_catalogue(tmp_path: Path) -> None:
    (tmp_path / "items.parquet").write_text(json.dumps(naip()))
    with pytest.raises(ItemFileError, match="cannot be read"):
        tabled(tmp_path / "items.parquet").search(Sensor.NAIP, GROUND, YEAR)
