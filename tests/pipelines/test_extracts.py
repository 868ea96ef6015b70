"""Extracts: from Geofabrik by state, from any address, from a file; what is kept and written down."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import osmium
import pytest
from osmium.io import Header

from gl10m.storage.cache import cache_folder
from pipelines.inputs import BuildRequest, given_osm, osm_files
from pipelines.sources.asset_urls import RefusedAddressError
from pipelines.sources.extracts import (
    ExtractUnavailableError,
    extract_date,
    geofabrik_extract,
    local_extract,
    pinned_extract,
    remote_extract,
)
from pipelines.sources.osm_file import OsmFileError
from pipelines.sources.patience import Patience
from tests.pipelines.unruly_server import Act, Unruly, unruly_server
from tests.worlds import square, world_of, write_world

QUICK = Patience(stall_seconds=0.3, attempts=2, wait_initial=0.01, wait_max=0.02, jitter=0.01, longest_wait=2)
FOLDER = "/north-america/us/"
OLD, NEW, LATEST = (f"{FOLDER}maine-{day}.osm.pbf" for day in ("250101", "250102", "latest"))


def dated_pbf(path: Path, moment: str, number: int = 1) -> bytes:
    """A small extract whose header says when it was cut."""
    text = write_world(
        path.with_suffix(".opl"), world_of(square(number, -68.7, 44.8, 0.001, "landuse=forest"))
    )
    header = Header()
    header.set("osmosis_replication_timestamp", moment)
    with osmium.SimpleWriter(str(path), header=header) as writer:
        for entity in osmium.FileProcessor(str(text)):
            writer.add(entity)
    return path.read_bytes()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Unruly]:
    """A small Geofabrik: an index, a listing, two dated extracts of Maine and the one that is replaced."""
    with unruly_server() as world:
        for path, day in ((OLD, "01"), (NEW, "02")):
            moment = f"2025-01-{day}T21:20:00Z"
            world.offer(path, dated_pbf(tmp_path / path.rpartition("/")[2], moment, int(day)))
        world.offer(LATEST, world.files[NEW])
        listed = "".join(f'<a href="{name.rpartition("/")[2]}">x</a>' for name in world.files)
        world.files[FOLDER] = f'<a href="../../evil.osm.pbf">x</a>{listed}'.encode()
        feature = {"properties": {"id": "us/maine", "urls": {"pbf": world.address + LATEST}}}
        world.files["/index-v1-nogeom.json"] = json.dumps({"features": [feature]}).encode()
        yield world


def test_what_is_no_osm_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# no map")
    (tmp_path / "empty.osm.pbf").touch()
    for given, said in {
        "README.md": "an OSM file is told by the end of its name",
        "empty.osm.pbf": "is empty",
        "nothing.osm.pbf": "no OSM file at",
    }.items():
        asked = BuildRequest(root=tmp_path, regions=("CA",), osm=(f"CA={tmp_path / given}",))
        with pytest.raises((ValueError, OSError), match=said):
            osm_files(asked)
    for address in ("s3://bucket/town.zip", "https://host/town.zip"):
        with pytest.raises(OsmFileError, match="an OSM file"):
            given_osm(address)


def test_the_newest_dated_file_is_pinned_checked_and_kept(server: Unruly, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    found = geofabrik_extract("ME", cache, server.address, QUICK)
    md5 = hashlib.md5(server.files[NEW], usedforsecurity=False).hexdigest()
    assert found.path == cache / "osm" / md5[:16] / "maine-250102.osm.pbf"
    assert found.path.read_bytes() == server.files[NEW]
    assert found.provenance == {
        "osm": f"{server.address}{NEW} md5 {md5} sha256 {hashlib.sha256(server.files[NEW]).hexdigest()}",
        "osm_date": "2025-01-02T21:20:00Z",
    }
    assert geofabrik_extract("ME", cache, server.address, QUICK) == found
    assert server.sent(NEW) == [(None, 200)]
    found.path.write_bytes(b"damaged since")
    assert geofabrik_extract("ME", cache, server.address, QUICK) == found
    assert len(server.sent(NEW)) == 2


def test_without_a_listing_the_replaced_file_itself_is_taken(server: Unruly, tmp_path: Path) -> None:
    del server.files[FOLDER]
    found = geofabrik_extract("ME", tmp_path, server.address, QUICK)
    assert found.path.name == "maine-latest.osm.pbf"
    assert found.date == "2025-01-02T21:20:00Z"
    server.files[f"{LATEST}.md5"] = server.files[
        f"{OLD}.md5"
    ]  # which names the dated file that it belongs to
    assert geofabrik_extract("ME", tmp_path, server.address, QUICK).path.name == "maine-250101.osm.pbf"


def test_a_data_set_keeps_the_extract_it_was_begun_with(
    server: Unruly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GL10M_GEOFABRIK", server.address)
    pin = tmp_path / "root" / ".gl10m" / "extracts" / "ME.json"
    newest = server.files.pop(NEW), server.files.pop(f"{NEW}.md5")
    listing = server.files[FOLDER]
    server.files[FOLDER] = listing.replace(b"250102", b"000000")
    begun = pinned_extract("ME", tmp_path, pin, QUICK)
    assert begun.path.name == "maine-250101.osm.pbf"
    server.files |= {NEW: newest[0], f"{NEW}.md5": newest[1], FOLDER: listing}
    asked = len(server.asked)
    assert pinned_extract("ME", tmp_path, pin, QUICK) == begun
    assert len(server.asked) == asked  # and needs no server to go on
    begun.path.unlink()
    assert pinned_extract("ME", tmp_path, pin, QUICK).path.name == "maine-250102.osm.pbf"
    pin.write_text('{"name": "../../../etc/passwd", "md5": "00000000000000000000000000000000"}')
    assert pinned_extract("ME", tmp_path, pin, QUICK).path.name == "maine-250102.osm.pbf"


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("/index-v1-nogeom.json", b"not json", "is not the index it should be"),
        ("/index-v1-nogeom.json", b'{"features": []}', "has no extract us/maine"),
        (f"{NEW}.md5", b"<html>come back later</html>", "holds no MD5"),
        (f"{NEW}.md5", b"0" * 32, "promises 0{32}: .*is deleted"),
    ],
)
def test_a_server_that_promises_nonsense(
    server: Unruly, tmp_path: Path, path: str, content: bytes, said: str
) -> None:
    server.files[path] = content
    with pytest.raises(ExtractUnavailableError, match=rf"{said}.*--osm ME=FILE"):
        geofabrik_extract("ME", tmp_path / "cache", server.address, QUICK)
    assert not list((tmp_path / "cache").rglob("*.pbf*"))


def test_any_address_is_fetched_once_and_again_when_it_changed(server: Unruly, tmp_path: Path) -> None:
    path = "/mine/town.osm.pbf"
    address = server.offer(path, server.files[OLD])
    del server.files[f"{path}.md5"]
    first = remote_extract(address, tmp_path, QUICK)
    assert first.source == address
    assert first.date == "2025-01-01T21:20:00Z"
    assert remote_extract(address, tmp_path, QUICK) == first
    assert [status for _, status in server.sent(path)] == [200, 304]
    server.files[path] = server.files[NEW]
    assert remote_extract(address, tmp_path, QUICK).sha256 != first.sha256


def test_an_address_with_an_md5_beside_it_is_checked(server: Unruly, tmp_path: Path) -> None:
    address = server.offer("/mine/town.osm.pbf", server.files[OLD], md5="0" * 32)
    with pytest.raises(ExtractUnavailableError, match=r"server promises 0{32}"):
        remote_extract(address, tmp_path, QUICK)


def test_a_key_of_any_name_in_an_address_is_not_written_down(server: Unruly, tmp_path: Path) -> None:
    server.files["/mine/town.osm.pbf?token=secret"] = server.files[OLD]
    address = f"{server.address}/mine/town.osm.pbf?token=secret"
    found = remote_extract(address, tmp_path, QUICK)
    assert found.source == f"{server.address}/mine/town.osm.pbf"
    assert remote_extract(address, tmp_path, QUICK) == found
    assert not [path for path in tmp_path.rglob("*.json") if "secret" in path.read_text()]


def test_secrets_in_an_address_are_not_written_down(server: Unruly, tmp_path: Path) -> None:
    server.files["/mine/town.osm.pbf?sig=secret"] = server.files[OLD]
    found = remote_extract(f"{server.address}/mine/town.osm.pbf?sig=secret", tmp_path, QUICK)
    assert "secret" not in found.source
    assert not [path for path in tmp_path.rglob("*.json") if "secret" in path.read_text()]
    server.acts = [Act(status=500)] * 9
    with pytest.raises(ExtractUnavailableError) as told:
        remote_extract(f"{server.address}/mine/town.osm.pbf?sig=secret2", tmp_path, QUICK)
    assert "secret" not in str(told.value)


def test_names_and_addresses_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedAddressError):
        remote_extract("ftp://host/town.osm.pbf", tmp_path)
    for name in ("town.zip", "", "..%2f.osm.pbf", ".osm.pbf"):
        with pytest.raises(OsmFileError, match="ends in"):
            remote_extract(f"http://127.0.0.1:9/{name}", tmp_path)


def test_the_date_comes_from_the_header_else_from_the_name(tmp_path: Path) -> None:
    dated_pbf(tmp_path / "town-200101.osm.pbf", "2025-01-01T21:20:00Z")
    assert extract_date(tmp_path / "town-200101.osm.pbf") == "2025-01-01T21:20:00Z"
    plain = write_world(tmp_path / "town-200101.osm.opl", "n1 x1 y1")
    assert local_extract(plain).date == "2020-01-01"
    broken = tmp_path / "broken.osm.pbf"
    broken.write_bytes(b"not a PBF")
    assert local_extract(broken).date is None
    assert "osm_date" not in local_extract(broken).provenance


def command(server: Unruly, root: Path, *more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"XDG_CACHE_HOME": str(root / "cache"), "GL10M_GEOFABRIK": server.address}
    arguments = [
        "build",
        "--states",
        "ME",
        "--source",
        "stac",
        "--stac-url",
        "http://127.0.0.1:9",
        "--root",
        str(root / "set"),
        "--workers=1",
    ]
    return subprocess.run(
        [sys.executable, "-m", "gl10m", *arguments, *more],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_the_command_fetches_the_extract_and_its_errors_are_one_line(server: Unruly, tmp_path: Path) -> None:
    ended = command(server, tmp_path)
    assert "127.0.0.1:9" in ended.stderr  # the imagery is what it could not reach
    assert len(list((tmp_path / "cache").rglob("maine-250102.osm.pbf"))) == 1
    again = command(server, tmp_path, "--osm", f"ME={server.address}/nothing.osm.pbf")
    (line,) = [line for line in again.stderr.splitlines() if line.startswith("gl10m:")]
    assert again.returncode == 2
    assert "there is no" in line
    assert "--osm FILE" in line


def test_the_cache_is_where_the_system_keeps_such_things(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gl10m"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "gl10m"
