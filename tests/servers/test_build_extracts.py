"""Which files `scripts.build_extracts` builds, and into which folders."""

from pathlib import Path

import pytest

from scripts.build_extracts import extracts_in


def test_each_extract_has_a_name_of_its_own_smallest_first(tmp_path: Path) -> None:
    for name, size in (
        ("new.york.osm.pbf", 30),
        ("new.jersey.osm.pbf", 20),
        ("bangor.osm.gz", 10),
        ("a.txt", 1),
    ):
        (tmp_path / name).write_bytes(bytes(size))
    assert list(extracts_in(tmp_path)) == ["bangor", "new.jersey", "new.york"]
    (tmp_path / "bangor.osm").write_bytes(bytes(40))
    with pytest.raises(ValueError, match=r"bangor\.osm\.gz and bangor\.osm have the same\. Move one away"):
        extracts_in(tmp_path)


def test_a_folder_without_extracts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.osm").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no OSM file \(\.osm\.pbf, "):
        extracts_in(tmp_path)
