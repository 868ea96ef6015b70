"""Canaries: a world whose every secret says CANARY, built, shown and exported; then every byte is read.

The secrets stand where users have them: in the environment, in key files, in signed hrefs of a catalogue, in
addresses of APIs and buckets, and in what servers answer with when they refuse.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.pipelines.imagery_server import Fault, Request, World, serving
from tests.pipelines.town import Town

SIGNATURE = "sv=2023&se=2099-01-01&sr=c&sp=rl&sig=CANARYsas%2Fsignature%3D"
AMAZON = "X-Amz-Credential=AKIACANARYCANARYCANA&X-Amz-Signature=CANARYamazon0123456789"

ATTEMPTS = 2
"""Of each read: a raster that is refused so often costs its scene, and the next one reads it."""

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIACANARYCANARYCANA",
    "AWS_SECRET_ACCESS_KEY": "CANARYaws/0123456789+abcdefghijklmnop",
    "AWS_SESSION_TOKEN": "CANARYsession0123456789",
    "AZURE_STORAGE_ACCOUNT_KEY": "CANARYazure0123456789==",
    "AZURE_STORAGE_SAS_TOKEN": SIGNATURE,
    "PC_SDK_SUBSCRIPTION_KEY": "CANARYsubscription0123456789",
    "HF_TOKEN": "hf_CANARYtoken0123456789",
    "EARTHENGINE_TOKEN": "CANARYearthengine0123456789",
}


@pytest.fixture(scope="module")
def archive(town: Town) -> Iterator[World]:
    """The town's world, each href signed; one raster is refused twice, and the first search, both loudly."""
    lines = [path.read_text().splitlines() for path in town.world.glob("stac/*/items.ndjson")]
    items = [json.loads(line) for part in lines for line in part]
    paths = {asset["href"] for item in items for asset in item["assets"].values()}
    searched: list[int] = []
    refused: list[str] = []

    def answer(request: Request) -> Fault | None:
        if request.method == "POST" and not searched:
            searched.append(1)
            return Fault(503, b"CANARYbody: bearer CANARYbearer0123456789")
        if request.path.endswith(".tif") and len(refused) < ATTEMPTS and refused[:1] in ([], [request.path]):
            refused.append(request.path)
            return Fault(403, b"<Error>CANARYbody AuthenticationFailed sig=CANARYsas</Error>")
        return None

    with serving(
        World(files={path: (town.world / path).read_bytes() for path in paths}, items=items)
    ) as world:
        for number, item in enumerate(items):
            for asset in item["assets"].values():
                asset["href"] = f"{world.url}/{asset['href']}?{AMAZON if number % 2 else SIGNATURE}"
        world.fault = answer
        yield world


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_secret_is_in_any_file_log_page_or_export(town: Town, archive: World, tmp_path: Path) -> None:
    root, home = tmp_path / "root", tmp_path / "home"
    home.mkdir()
    key = home / "key.json"
    key.write_text(
        json.dumps({"type": "service_account", "private_key": "CANARYprivate", "client_email": "c@a"})
    )
    (tmp_path / "build.toml").write_text(
        f"[network]\nattempts = {ATTEMPTS}\nwait_initial = 0.01\njitter = 0\n"
    )
    (tmp_path / "loud").mkdir()
    (tmp_path / "loud" / "sitecustomize.py").write_text(
        "import logging\nlogging.basicConfig(level='DEBUG')\nlogging.getLogger('numba').setLevel('INFO')\n"
    )
    environment = {
        **os.environ,
        **SECRETS,
        "GOOGLE_APPLICATION_CREDENTIALS": str(key),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "loud"), os.environ.get("PYTHONPATH", "")]),
    }
    said: dict[str, bytes] = {}

    def run(*arguments: str, expected: tuple[int, ...] = (0,)) -> None:
        ended = subprocess.run(
            [sys.executable, "-m", "gl10m", *arguments], capture_output=True, check=False, env=environment
        )
        said[" ".join(arguments)] = ended.stdout + ended.stderr
        assert ended.returncode in expected, ended.stderr.decode()[-2000:]

    at = ["--root", str(root)]
    place = ["--states", "CA", "--osm", str(town.osm), "--source", "stac"]
    build = ["build", *place, *at, "--config", str(tmp_path / "build.toml"), "--workers", "1"]
    run(*build, "--stac-url", f"{archive.url}/?api_key=CANARYapikey", expected=(0, 1))
    run("split", *at)
    for command in ("status", "verify"):
        run(command, *at, "--json", expected=(0, 1, 3))
    run("report", *at, "--out", str(tmp_path / "report.html"))
    run("view", *at, "--static", str(tmp_path / "viewer"), "--scenes", "1")
    run("export", "stac", *at, "--out", str(tmp_path / "stac"))
    run("export", "croissant", *at)
    # Failures that tell most: a catalogue that is none, Earth Engine with a key that is none, a bucket.
    run(*build, "--stac-url", f"{archive.url}/nothing?token=CANARYtoken", expected=(2,))
    run("build", *place[:4], "--source", "earth-engine", "--root", str(tmp_path / "ee"), expected=(2, 5))
    run("verify", "--root", "s3://KEY:CANARYpassword@bucket/x", expected=(2,))
    assert any(b"DEBUG:" in text for text in said.values())
    assert (root / "manifests" / "rejections.parquet").is_file()
    written = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != key}
    assert len(written) > 50
    tables = {name: unpacked(Path(name)) for name in written if name.endswith(".parquet")}
    assert any(b"SourceUnavailableError" in told for told in tables.values()), "no scene failed"
    for told in (said, written, tables):
        for name, content in told.items():
            assert b"CANARY" not in content, f"{name}: {_about(content)!r}"


def unpacked(path: Path) -> bytes:
    """What stands in a Parquet file, without images: its pages are compressed."""
    with pq.ParquetFile(path) as file:
        plain = [name for name in file.schema_arrow.names if name not in {"lr", "hr"}]
        return repr((file.read(columns=plain).to_pylist(), file.schema_arrow.metadata)).encode()


def _about(content: bytes) -> bytes:
    place = content.find(b"CANARY")
    return content[max(0, place - 300) : place + 60]
