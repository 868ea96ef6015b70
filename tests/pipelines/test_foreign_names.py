"""Names that come from catalogues, manifests and users never become paths outside of their folder."""

from pathlib import Path

import pytest
import shapely

from gl10m.export.selection import select
from gl10m.manifest import parquet
from gl10m.manifest.schema import SCENES
from gl10m.scene.states import SCENE_ID
from gl10m.store.layout import ShardName, StoreError
from gl10m.view.command import site_of
from pipelines.inputs import BuildRequest, osm_files
from pipelines.sources.asset_urls import RefusedAddressError, unsigned
from pipelines.sources.earth_engine_items import asset_id
from pipelines.sources.extracts import remote_extract
from pipelines.sources.imagery import Sensor
from pipelines.sources.items import MalformedItemError, item_row
from pipelines.sources.osm_file import OsmFileError
from pipelines.sources.patience import PATIENT
from tests.pipelines.ruler import naip_item
from tests.store.small_scenes import METADATA, build

EVIL = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a\0b",
    "a\nb",
    "CON",
    "NUL.txt",
    "C:\\Windows\\system.ini",
    "\\\\host\\share",
    "x" * 300,
    "CA-w1/../../x",
    "CA-w1\n",
    "ca-w1",
    "\u202eCA-w1",
    "CA\u2215w1",
]


@pytest.mark.parametrize("name", EVIL)
def test_no_such_name_is_a_scene_a_shard_or_an_asset(name: str) -> None:
    assert not SCENE_ID.fullmatch(name)
    with pytest.raises(StoreError):
        ShardName.parse(name)
    with pytest.raises(RefusedAddressError):
        asset_id(name)
    with pytest.raises(RefusedAddressError):
        unsigned(name)


@pytest.mark.parametrize("name", [one for one in EVIL if one not in {"..", "."}])
def test_a_region_is_two_letters(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a state is two letters"):
        osm_files(BuildRequest(root=tmp_path, regions=(name,)))


@pytest.mark.parametrize("name", EVIL[:12])
def test_a_manifest_with_such_names_is_exported_and_shown_nowhere(name: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    build(root, CA=1)
    path = root / "manifests" / "scenes.parquet"
    rows = parquet.read(path, SCENES)
    forged = rows.set_column(rows.column_names.index("scene_id"), SCENES.schema.field("scene_id"), [[name]])
    parquet.write(path, forged, SCENES, METADATA)
    before = set(tmp_path.rglob("*"))
    with pytest.raises((ValueError, StoreError)):
        select(root)
    site = site_of(root, [], None, [], 0, is_static=True)
    assert all(".." not in own and own.isascii() for own in site.names())
    for own in ("scene-0/about.js", "scene-0/lr.jpg", "scene-0/../../x", "../root/gl10m.json"):
        site.answer(own)
    assert set(tmp_path.rglob("*")) == before


HREFS = [
    "file:///etc/passwd",
    "/vsicurl/http://x.org/a.tif",
    "/vsizip//a.zip",
    "s3://b/k",
    "/etc/passwd",
    "ftp://x.org/a",
    "http:///a",
    "https://u:p@x.org/a",
    "http://x.org/a b",
    "javascript:alert(1)",
    "data:,x",
    "HTTP://x.org:99999999999/a",
    "<GDAL_WMS>",
]


@pytest.mark.parametrize("href", HREFS)
def test_no_such_href_is_kept(href: str) -> None:
    item = naip_item("a", "2023-06-01", 26910, shapely.box(-121, 36, -120, 37), href=href)
    with pytest.raises(MalformedItemError):
        item_row(item, Sensor.NAIP)


@pytest.mark.parametrize(
    "name", ["../../x.osm.pbf", "..%2f..%2fx.osm.pbf", "x.osm.pbf%00.sh", "x.sh", "%2e%2e", ""]
)
def test_an_address_names_its_file_and_no_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises((OsmFileError, RefusedAddressError, ConnectionError)):
        remote_extract(f"http://127.0.0.1:1/{name}", tmp_path / "cache", PATIENT)
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and "cache" not in path.parts]
    assert outside == []
