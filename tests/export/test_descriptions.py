"""STAC and Croissant: valid by their own validators without network, and true."""

import io
import json
import shutil
import zlib
from pathlib import Path

import geopandas
import mlcroissant
import pyarrow.parquet as pq
import pystac
import pytest
from PIL import Image

from gl10m.export.croissant import write_croissant
from gl10m.export.hrefs import HrefError
from gl10m.export.selection import select
from gl10m.export.stac import export_stac
from gl10m.manifest import parquet
from gl10m.manifest.schema import SCENES
from tests.export.conftest import Run, contents
from tests.store.small_scenes import tile_jpeg


@pytest.fixture(scope="module")
def catalogue(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stac") / "stac"
    export_stac(select(built), out, None)
    return out


def test_collection_and_items_are_valid(catalogue: Path, built: Path) -> None:
    collection = pystac.Collection.from_file(str(catalogue / "collection.json"))
    collection.validate()
    items = list(collection.get_items())
    for item in items:
        item.validate()
    manifest = parquet.read(built / "manifests" / "scenes.parquet", SCENES, ["scene_id"])
    assert sorted(item.id for item in items) == manifest["scene_id"].to_pylist()


def test_a_byte_range_of_an_item_is_the_image(catalogue: Path) -> None:
    path = min((catalogue / "items" / "CA").glob("*.json"))
    item = json.loads(path.read_text())
    for asset, images in (("lr", 1), ("hr", 100)):
        told = item["assets"][asset]
        shard = (path.parent / told["href"]).resolve().read_bytes()
        assert len(told["gl10m:byte_ranges"]) == images
        for (start, length), crc32 in zip(told["gl10m:byte_ranges"], told["gl10m:crc32"], strict=True):
            assert zlib.crc32(shard[start : start + length]) == crc32
            assert Image.open(io.BytesIO(shard[start : start + length])).size == (268, 268)


def test_geopandas_reads_the_items(catalogue: Path) -> None:
    table = geopandas.read_parquet(catalogue / "items.parquet")
    assert len(table) == len(list((catalogue / "items" / "CA").iterdir()))
    about = pq.read_schema(catalogue / "items.parquet").metadata or {}
    assert json.loads(about[b"geo"])["version"] == "1.1.0"
    href = table["assets"].iloc[0]["lr"]["href"]
    assert (catalogue / href).resolve().is_file()


def test_the_same_scenes_give_the_same_catalogue(small: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_stac(select(small), tmp_path / name, None)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_items_name_the_address_that_the_data_set_is_published_at(small: Path, tmp_path: Path) -> None:
    export_stac(select(small, states=["WA"]), tmp_path / "out", "https://host/gl10m/")
    (first, _) = sorted((tmp_path / "out" / "items" / "WA").iterdir())
    href = json.loads(first.read_text())["assets"]["hr"]["href"]
    assert href == "https://host/gl10m/data/WA-00000-of-00001.parquet"
    assert tile_jpeg(0, 7) in (small / "data" / "WA-00000-of-00001.parquet").read_bytes()


@pytest.mark.parametrize(
    "base", ["https://me:secret@host/a", "https://host/a?sig=secret", "host/a", "file:///a"]
)
def test_no_credential_comes_to_stand_in_an_item(small: Path, tmp_path: Path, base: str) -> None:
    with pytest.raises(HrefError) as raised:
        export_stac(select(small), tmp_path / "out", base)
    assert "secret" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_croissant_is_valid_and_every_record_set_has_its_records(small: Path, gl10m: Run) -> None:
    assert gl10m("export", "croissant", "--root", small).returncode == 0
    described = mlcroissant.Dataset(str(small / "croissant.json"))
    assert not described.metadata.issues.errors
    assert not described.metadata.issues.warnings
    counts = {
        found.uuid: len(list(described.records(found.uuid))) for found in described.metadata.record_sets
    }
    assert counts == {"classes": 3, "scenes": 10, "images": 10, "split_names": 2, "splits": 10}
    image = next(iter(described.records("images")))["images/lr"]
    assert image.size == (268, 268)


def test_croissant_of_a_built_data_set(built: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(built, root, ignore=shutil.ignore_patterns(".gl10m"))  # links are not followed
    write_croissant(root, root / "croissant.json")
    described = mlcroissant.Dataset(str(root / "croissant.json"))
    assert "https://www.openstreetmap.org/copyright" in described.metadata.license
    for found in described.metadata.record_sets:
        assert next(iter(described.records(found.uuid)), None), found.uuid


def test_what_a_killed_croissant_left_is_swept_by_the_next(small: Path, tmp_path: Path) -> None:
    (tmp_path / ".tmp-0123-croissant.json").write_text("half a fi")
    write_croissant(small, tmp_path / "croissant.json")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["croissant.json"]


def test_croissant_tells_each_shards_digest(small: Path, tmp_path: Path) -> None:
    write_croissant(small, tmp_path / "croissant.json")
    told = json.loads((tmp_path / "croissant.json").read_text())
    shards = [file for file in told["distribution"] if file.get("contentUrl", "").startswith("data/")]
    assert [file["contentUrl"] for file in shards] == [
        f"data/{region}-00000-of-00001.parquet" for region in ("CA", "TX", "WA")
    ]
    assert all(len(file["sha256"]) == 64 for file in shards)
