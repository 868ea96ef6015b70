"""Manifests on disk: whole or not at all, checked when read, open to other tools."""

import os
from pathlib import Path

import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from gl10m.manifest import parquet
from gl10m.manifest.provenance import Provenance
from gl10m.manifest.schema import SPLITS, TABLES, Column, Table

PLACES = Table(
    "places",
    "Points with a name",
    (
        Column("name", pa.string(), "-", "test", "Name"),
        Column("geometry", pa.binary(), "WKB, degrees, EPSG:4326", "test", "Place"),
    ),
)


def splits(*names: str) -> pa.Table:
    return pa.table({"scene_id": list(names), "split": ["train"] * len(names)}, schema=SPLITS.schema)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    parquet.write(tmp_path / "splits.parquet", splits("CA-w1", "CA-w2"), SPLITS, {"why": "test"})
    assert parquet.read(tmp_path / "splits.parquet", SPLITS).equals(splits("CA-w1", "CA-w2"))
    assert parquet.metadata_of(tmp_path / "splits.parquet")["why"] == "test"


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        parquet.write(tmp_path / name, splits("CA-w1"), SPLITS, {"x": "1", "y": "2"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_has_a_unit_a_source_and_a_meaning(table: Table) -> None:
    for column in table.columns:
        assert column.unit
        assert column.source
        assert column.meaning
    assert len(set(table.names)) == len(table.names)


def test_units_travel_in_the_file(tmp_path: Path) -> None:
    parquet.write(tmp_path / "places", PLACES.empty(), PLACES, {})
    about = pq.read_schema(tmp_path / "places").field("geometry").metadata
    assert about is not None
    assert about[b"unit"] == b"WKB, degrees, EPSG:4326"


def test_geopandas_reads_a_manifest_with_a_geometry_in_degrees(tmp_path: Path) -> None:
    here = {"name": "here", "geometry": shapely.to_wkb(shapely.Point(-121.5, 38.5))}
    rows = pa.Table.from_pylist([here], schema=PLACES.schema)
    parquet.write(tmp_path / "places.parquet", rows, PLACES, {})
    frame = geopandas.read_parquet(tmp_path / "places.parquet")
    assert str(frame.crs) == "OGC:CRS84"
    assert frame.geometry[0].equals(shapely.Point(-121.5, 38.5))


def test_a_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with parquet.replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_rows_of_another_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(parquet.ManifestError, match="do not fit the table splits"):
        parquet.write(tmp_path / "x", pa.table({"scene_id": ["CA-w1"]}), SPLITS, {})


def test_a_missing_manifest_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(parquet.ManifestNotFoundError, match="gl10m build"):
        parquet.read(tmp_path / "splits.parquet", SPLITS)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    narrow = Table("splits", "", SPLITS.columns[:1])
    parquet.write(tmp_path / "s", splits("CA-w1").select(["scene_id"]), narrow, {})
    with pytest.raises(parquet.ManifestError, match="lacks the columns split"):
        parquet.read(tmp_path / "s", SPLITS)


def test_a_file_of_another_schema_version_is_refused(tmp_path: Path) -> None:
    pq.write_table(splits("CA-w1").replace_schema_metadata({"gl10m.schema_version": "0"}), tmp_path / "s")
    with pytest.raises(parquet.ManifestError, match="schema version 0"):
        parquet.read(tmp_path / "s", SPLITS)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_damaged_file_is_an_error_and_never_other_rows(tmp_path: Path, place: float) -> None:
    path = tmp_path / "s"
    parquet.write(path, splits(*(f"CA-w{n}" for n in range(1000))), SPLITS, {})
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 0x10
    path.write_bytes(content)
    try:
        found = parquet.read(path, SPLITS)
    except parquet.ManifestError:
        return
    assert found.equals(splits(*(f"CA-w{n}" for n in range(1000))))


def test_a_source_without_licence_cannot_be_written() -> None:
    with pytest.raises(KeyError):
        Provenance(configuration={}, inputs={}, licences=("nobody",), software={}).metadata()


def test_nothing_but_a_file_is_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"  # stands for /dev/null, which root could replace
    os.mkfifo(pipe)
    with pytest.raises(parquet.NoFileTargetError, match="Name another file"):
        parquet.write(pipe, splits("CA-w1"), SPLITS, {})
    assert pipe.is_fifo()
    out = tmp_path / "out"  # as /dev/stdout
    out.symlink_to("/proc/self/fd/1")
    with pytest.raises(parquet.NoFileTargetError):
        parquet.check_target(out)
    assert sorted(tmp_path.iterdir()) == [out, pipe]


def test_nothing_is_put_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(parquet.NoFileTargetError, match=r"taken, above .*, is a file"):
        parquet.check_target(tmp_path / "taken" / "folder" / "out.parquet")
