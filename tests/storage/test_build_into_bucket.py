"""The whole chain with a real S3 server for the data set: builds, kills, refusals, two at once."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gl10m.report import contact_sheet
from gl10m.storage import client
from gl10m.storage.client import ObjectNotFoundError
from gl10m.storage.place import BucketPath
from gl10m.store.integrity import verify
from tests.pipelines.town import Town, start, wait_for
from tests.storage.data_sets import contents, differing, files_of, objects, place
from tests.storage.object_server import Proxy

pytestmark = pytest.mark.slow


def test_a_build_into_a_bucket_is_that_into_a_folder_and_a_second_one_puts_nothing(
    s3: Proxy, root: BucketPath, town: Town, built: Path, tmp_path: Path
) -> None:
    ended = town.build(str(root), "--workers", "2")
    assert ended.returncode == 0, ended.stderr
    assert "canary" not in ended.stderr + ended.stdout
    assert differing(root, built) == []
    assert verify(place(root), deep=True) == []
    s3.forget()
    assert town.build(str(root)).returncode == 0
    assert {path.rpartition("/")[2] for path, _ in s3.sent("PUT")} == {"gl10m.json"}
    assert differing(root, built) == []
    contact_sheet.draw(place(root), tmp_path / "picture.png", [], 1)
    for command in (["split"], ["stats"], ["status"], ["verify", "--deep"]):
        done = gl10m(*command, "--root", str(root))
        assert done.returncode == 0, done.stderr
    assert "not running" in gl10m("status", "--root", str(root)).stdout


def gl10m(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "gl10m", *arguments], capture_output=True, text=True, check=False
    )


def has(root: BucketPath, folder: str, ending: str = "") -> bool:
    with contextlib.suppress(ObjectNotFoundError):
        return any(found.key.endswith(ending) for found in client.listed(root.root.address, folder)[1])
    return False


POINTS: dict[str, Callable[[BucketPath], bool]] = {
    "at the lease": lambda root: has(root, ""),
    "in the journal": lambda root: any("items-" in key for key in objects(root, ".gl10m/stages")),
    "in the images": lambda root: has(root, ".gl10m/fragments"),
    "in the publication, after a shard": lambda root: has(root, "data"),
    "in the publication, after a manifest": lambda root: has(root, "manifests"),
    "after the publication": lambda root: bool(place(root).root.files),
}


@pytest.mark.parametrize("point", POINTS)
def test_killed_and_started_again_it_gives_the_same_objects_and_no_other(
    root: BucketPath, town: Town, built: Path, point: str
) -> None:
    with start(town, str(root), "--workers", "1") as building:
        wait_for(lambda: POINTS[point](root), building)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(building.pid, signal.SIGKILL)
    found = contents(root)
    assert found in ({}, files_of(built))
    ended = town.build(str(root), "--workers", "2")
    assert ended.returncode == 0, ended.stderr
    assert differing(root, built) == []


def test_two_builds_at_once_one_says_who_holds_the_bucket_and_exits_with_4(
    root: BucketPath, town: Town, built: Path
) -> None:
    with start(town, str(root), "--workers", "1") as first:
        wait_for(lambda: has(root, ""), first)
        before = time.monotonic()
        second = town.build(str(root))
        assert second.returncode == 4, second.stderr
        assert f"process {first.pid}" in second.stderr
        assert "who holds it until" in second.stderr
        assert time.monotonic() - before < 10
        first.communicate(timeout=250)
        assert first.returncode == 0
    assert differing(root, built) == []


REFUSED: dict[str, Callable[[str, str], int | None]] = {
    "fragments": lambda method, path: 503 if method == "PUT" and "/fragments/" in path else None,
    "shards": lambda method, path: 503 if method in {"PUT", "POST"} and "/data/" in path else None,
    "everything": lambda *_: 503,
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", REFUSED)
def test_a_bucket_that_answers_503_stops_the_build_clearly_and_the_rerun_completes(
    s3: Proxy, root: BucketPath, town: Town, built: Path, kind: str
) -> None:
    s3.fault = REFUSED[kind]
    started = time.monotonic()
    ended = town.build(str(root), "--workers", "1")
    assert ended.returncode == 2
    assert time.monotonic() - started < 240
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("gl10m:")]
    assert "503" in line
    assert "run the same command again" in line
    assert "Traceback" not in ended.stderr
    s3.fault = None
    assert contents(root) == {}
    ended = town.build(str(root), "--workers", "1")
    assert ended.returncode == 0, ended.stderr
    assert differing(root, built) == []


def test_a_bucket_that_refuses_every_fifth_request_gets_the_same_data_set(
    s3: Proxy, root: BucketPath, town: Town, built: Path
) -> None:
    asked = [0]

    def every_fifth(method: str, path: str) -> int | None:
        del method, path
        asked[0] += 1
        return 503 if asked[0] % 5 == 0 else None

    s3.fault = every_fifth
    ended = town.build(str(root), "--workers", "2")
    s3.fault = None
    assert ended.returncode == 0, ended.stderr
    assert differing(root, built) == []


def test_inputs_come_from_a_bucket(root: BucketPath, town: Town, built: Path, tmp_path: Path) -> None:
    address = f"{root}/inputs"
    maps = Path(__file__).parents[2] / "class_maps" / "gl10m-66.toml"
    (tmp_path / "build.toml").write_text("[lr]\n")
    for name, path in (
        (town.osm.name, town.osm),
        ("map.toml", maps),
        ("build.toml", tmp_path / "build.toml"),
    ):
        client.put(address, name, path)
    moved = Town(f"{address}/{town.osm.name}", town.address)  # type: ignore[arg-type]
    ended = moved.build(
        tmp_path / "root", "--class-map", f"{address}/map.toml", "--config", f"{address}/build.toml"
    )
    assert ended.returncode == 0, ended.stderr
    assert files_of(tmp_path / "root") == files_of(built)
