"""A data set as it is built, read by tools that know nothing of gl10m."""

import shutil
from pathlib import Path

import datasets
import duckdb
import geopandas
import pyarrow.parquet as pq
import pyogrio
import pytest

from gl10m.report import splitting
from gl10m.report.split_request import SplitRequest
from gl10m.store.integrity import verify
from tests.export.conftest import Run
from tests.pipelines.town import NORTH, WEST

GEOGRAPHIC = ("scenes", "candidates", "items", "coverage")


@pytest.mark.usefixtures("offline")
def test_the_hubs_splits_are_the_data_sets_where_regions_are_whole(small: Path) -> None:
    found = datasets.load_dataset(str(small))
    assert {name: rows.num_rows for name, rows in found.items()} == {"train": 8, "val": 2}
    assert found["val"][1]["scene_id"] == "WA-w1001"
    assert found["val"][0]["lr"].size == (268, 268)
    assert len(found["val"][0]["hr"]) == 100
    names = datasets.load_dataset(str(small), "splits", split="splits")
    assert set(names["split"]) == {"train", "val"}


@pytest.mark.usefixtures("offline")
def test_a_built_data_set_streams_before_it_is_split(built: Path) -> None:
    streamed = datasets.load_dataset(str(built), split="unsplit", streaming=True)
    scenes = {scene["scene_id"] for scene in streamed.select_columns(["scene_id"])}
    manifest = datasets.load_dataset(str(built), "scenes", split="scenes")
    assert scenes == set(manifest["scene_id"])
    first = next(iter(streamed))
    assert first["lr"].size == first["hr"][99].size == (268, 268)


def test_splits_that_cut_through_regions_are_joined_by_the_manifest(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    shutil.copytree(small, root)
    splitting.split_root(root, SplitRequest(by="random", seed=1))
    monkeypatch.chdir(root)
    card = (root / "README.md").read_text()
    assert "split: unsplit" in card
    assert "cut through regions" in card
    assert verify(root, deep=True) == []
    joined = duckdb.execute(
        "select split, count(*) from 'data/*.parquet' join 'manifests/splits.parquet' "
        "using (scene_id) group by 1"
    ).fetchall()
    assert sum(count for _, count in joined) == 10


def test_arrow_and_duckdb_read_the_shards(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small)
    table = pq.read_table(small / "data", columns=["scene_id", "class_ids"])
    assert table.num_rows == 10
    (bytes_of_lr, tiles) = duckdb.execute(
        "select lr.bytes, len(hr) from 'data/TX-*.parquet' where scene_id = 'TX-w1001'"
    ).fetchall()[0]
    assert bytes_of_lr[:2] == b"\xff\xd8"
    assert tiles == 100


@pytest.mark.parametrize("name", GEOGRAPHIC)
def test_manifests_are_geoparquet(built: Path, name: str) -> None:
    table = geopandas.read_parquet(built / "manifests" / f"{name}.parquet")
    assert len(table)
    assert table.crs == "OGC:CRS84"
    assert table.geometry.is_valid.all()
    west, south, east, north = table.total_bounds
    assert west < WEST < east
    assert south < NORTH < north


@pytest.mark.skipif("Parquet" not in pyogrio.list_drivers(), reason="this GDAL has no Parquet driver")
@pytest.mark.parametrize("name", GEOGRAPHIC)
def test_gdal_reads_the_manifests(built: Path, name: str) -> None:
    assert len(pyogrio.read_dataframe(built / "manifests" / f"{name}.parquet"))


def test_the_command_names_what_is_the_users_own(small: Path, tmp_path: Path, gl10m: Run) -> None:
    root = tmp_path / "root"
    shutil.copytree(small, root)
    (root / "README.md").write_text("# Mine\n")
    ended = gl10m("card", "--root", root)
    assert ended.returncode == 0
    assert "README.md is your own" in ended.stderr
    assert (root / "README.md").read_text() == "# Mine\n"
