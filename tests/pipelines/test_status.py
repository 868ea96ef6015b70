"""`gl10m status`: while a build runs, after it was stopped, and once it is done."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gl10m.manifest import parquet
from gl10m.manifest.schema import FUNNEL
from gl10m.scene.rejection import STAGES
from pipelines.execution.lock import locked
from pipelines.execution.logbook import log_path
from pipelines.progress import look
from tests.pipelines.town import Town, start, wait_for


def status(root: Path | str) -> dict[str, Any]:
    command = [sys.executable, "-m", "gl10m", "status", "--root", str(root), "--json"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(said)
    assert isinstance(found, dict)
    return found


def test_the_lock_of_a_command_that_was_refused_is_no_build(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert look(tmp_path).running
    assert (tmp_path / ".gl10m" / "lock").exists()
    with pytest.raises(FileNotFoundError, match="no build was started in"):
        look(tmp_path)


def test_while_it_runs_and_once_it_was_stopped(town: Town, tmp_path: Path) -> None:
    root = tmp_path / "root"
    with start(town, root, "--workers", "1") as building:
        wait_for(lambda: any(root.glob(".gl10m/fragments/[!.]*.parquet")), building)
        os.killpg(building.pid, signal.SIGSTOP)  # or it may be at the next stage before it is asked for
        during = status(root)
        os.killpg(building.pid, signal.SIGKILL)
        building.communicate(timeout=60)
    after = status(root)
    assert during["running"]
    assert not after["running"]
    (region,) = after["regions"]
    assert region["state"] == "CA"
    assert 0 < region["finished"] <= region["asked"]
    assert region["finished"] == region["kept"] + region["rejected"]
    assert sum(region["reasons"].values()) == region["rejected"] + region["failed"]
    assert region["stages"]["matching"]["kept"] == region["asked"]
    assert after["stage"]["stage"] == "imagery"
    assert 0 <= after["stage"]["done"] <= after["stage"]["total"] == region["asked"]
    assert after["last_event"]["time"]
    assert after["provenance"] == {}


def test_once_it_is_done(built: Path) -> None:
    found = status(built)
    funnel = parquet.read(built / "manifests" / "funnel.parquet", FUNNEL).to_pylist()
    rows = {row["stage"]: row for row in funnel}
    images = [rows[stage] for stage in STAGES if stage in {"lr", "hr", "consistency"}]
    (region,) = found["regions"]
    assert not found["running"]
    assert region["asked"] == images[0]["read"]
    assert region["kept"] == images[-1]["kept"]
    assert region["rejected"] == sum(row["rejected"] for row in images)
    assert region["failed"] == sum(row["failed"] for row in images)
    for stage, counts in region["stages"].items():
        row = rows[stage]
        assert counts == {"kept": row["kept"], "dropped": row["rejected"] + row["failed"]}
    assert found["last_event"]["event"] == "published"
    assert found["provenance"]["software"]["CA"]["gl10m"] == found["provenance"]["version"]


def test_the_log_tells_where_to_look_how_far_it_is_and_with_what_it_was_made(built: Path, town: Town) -> None:
    lines = [json.loads(line) for line in log_path(built).read_text(encoding="utf-8").splitlines()]
    begun = next(line for line in lines if line.get("event") == "begun")
    assert begun["dashboard"].startswith("http://127.0.0.1:")
    assert begun["software"]["gdal"]
    stages = list(dict.fromkeys(line["stage"] for line in lines if line.get("event") == "stage"))
    assert stages[:3] == ["OSM to matched candidates", "imagery", "publishing"]
    ended = town.build(built)
    assert "dashboard: http://127.0.0.1:" in ended.stderr
    for word in ("seconds: OSM to matched candidates", "imagery", "publishing"):
        assert word in ended.stdout
