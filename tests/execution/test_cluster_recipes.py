"""docs/clusters.md runs as it stands: each recipe is saved as a reader would, and builds a data set."""

import shutil
from pathlib import Path

import pytest

from tests.execution.recipes import (
    PAGE,
    environment,
    recipes,
    run,
    running_scheduler,
    save,
    started,
    worker,
)
from tests.execution.ssh import running_sshd
from tests.pipelines.town import Town, contents
from tests.storage.object_server import CREDENTIALS, make_bucket, object_server


def options(town: Town, root: Path | str) -> list[str]:
    """What a reader adds to a recipe."""
    place = ["--osm", str(town.osm), "--source", "stac", "--stac-url", town.address]
    return ["--states", "CA", *place, "--root", str(root)]


def test_every_recipe_is_tried() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in recipes() if f'"{name}"' not in tests] == []
    unnamed = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.strip("`").isalpha()]
    assert [line for line in unnamed if line.startswith("```")] == []


def test_one_machine(town: Town, built: Path, tmp_path: Path) -> None:
    save(tmp_path, "one-machine.sh")
    ended = run(["sh", "one-machine.sh", *options(town, tmp_path / "root")], tmp_path, environment())
    assert ended.returncode == 0, ended.stderr
    assert contents(tmp_path / "root") == contents(built)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("sshd", path="/usr/sbin") is None, reason="no sshd: apt install openssh-server"
)
def test_workers_by_ssh(town: Town, built: Path, tmp_path: Path) -> None:
    save(tmp_path, "by-ssh.sh")
    with running_sshd(tmp_path / "ssh") as wrapped:
        env = environment(INTERFACE="127.0.0.1")
        env["PATH"] = f"{wrapped}:{env['PATH']}"
        ended = run(["sh", "by-ssh.sh", "node1 node2", *options(town, tmp_path / "root")], tmp_path, env)
    assert ended.returncode == 0, ended.stderr
    assert contents(tmp_path / "root") == contents(built)
    assert ended.stderr.count("Start worker at") >= 2  # dask's words


@pytest.mark.slow
def test_a_machine_that_keeps_its_data_set_in_a_bucket(town: Town, tmp_path: Path) -> None:
    save(tmp_path, "on-a-machine.sh")
    with object_server() as server:
        make_bucket(server, "bucket")
        cache = str(tmp_path / "cache")
        env = environment(**CREDENTIALS, AWS_ENDPOINT_URL=server.address, XDG_CACHE_HOME=cache, PAUSE="1")
        env["BUCKET"] = "s3://bucket/gl10m"
        place = options(town, "")[:-2]
        ended = run(["sh", "on-a-machine.sh", *place, "--workers", "2"], tmp_path, env)
    assert ended.returncode == 0, ended.stderr
    assert "s3://bucket/gl10m is whole" in ended.stdout
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in ended.stdout + ended.stderr


@pytest.mark.slow
def test_certificates_and_a_build_over_tls(town: Town, built: Path, tmp_path: Path) -> None:
    save(tmp_path, "certificates.sh", "tls.sh")
    made = run(["sh", "certificates.sh"], tmp_path, environment())
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "tls" / "key.pem").stat().st_mode & 0o077 == 0
    tls = under_tls(tmp_path)
    with running_scheduler(tmp_path, tls) as file, started(worker(file), tmp_path, tls, "worker") as said:
        assert '"tls://127.0.0.1:' in file.read_text()
        address = file.read_text().partition('"address": "')[2].partition('"')[0]
        asked = ["gl10m", "build", *options(town, tmp_path / "root")]
        refused = run([*asked, "--scheduler", address], tmp_path, environment())
        assert refused.returncode != 0
        assert "certificates are named by DASK_DISTRIBUTED__COMM__TLS__" in refused.stderr
        plain = run([*asked, "--scheduler", address.replace("tls", "tcp")], tmp_path, environment())
        assert plain.returncode != 0
        assert "no Dask scheduler answers" in plain.stderr
        (tmp_path / "other").mkdir()
        save(tmp_path / "other", "certificates.sh", "tls.sh")
        assert run(["sh", "certificates.sh"], tmp_path / "other", environment()).returncode == 0
        foreign = run([*asked, "--scheduler", address], tmp_path, under_tls(tmp_path / "other"))
        assert foreign.returncode != 0
        ended = run([*asked, "--scheduler", str(file)], tmp_path, tls)
        assert ended.returncode == 0, ended.stderr
        assert "not encrypted" not in ended.stderr
        assert "tls://" in said.read_text()
    assert contents(tmp_path / "root") == contents(built)


def under_tls(folder: Path) -> dict[str, str]:
    """The environment after `. ./tls.sh` there."""
    said = run(["sh", "-c", ". ./tls.sh && env -0"], folder, environment()).stdout
    return dict(line.split("=", 1) for line in said.split("\0") if line)
