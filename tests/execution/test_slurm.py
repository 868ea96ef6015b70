"""The Slurm recipes of docs/clusters.md on a real Slurm of one node."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.execution.recipes import environment, run, save, wait_until
from tests.execution.slurm import missing, running_slurm
from tests.execution.test_cluster_recipes import options, under_tls
from tests.pipelines.town import Town, contents

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        with running_slurm(Path(folder)) as configuration:
            yield environment(SLURM_CONF=str(configuration))


def test_workers_are_jobs(town: Town, built: Path, tmp_path: Path, slurm: dict[str, str]) -> None:
    pytest.importorskip("dask_jobqueue", reason="no dask-jobqueue: pip install dask-jobqueue")
    save(tmp_path, "on_slurm.py")
    ended = run(["python", "on_slurm.py", *options(town, tmp_path / "root")], tmp_path, slurm)
    assert ended.returncode == 0, ended.stderr
    assert contents(tmp_path / "root") == contents(built)
    said = "".join(path.read_text() for path in (tmp_path / "slurm-logs").iterdir())
    assert "Start worker at" in said  # dask's words


def test_workers_are_jobs_and_speak_tls(
    town: Town, built: Path, tmp_path: Path, slurm: dict[str, str]
) -> None:
    pytest.importorskip("dask_jobqueue", reason="no dask-jobqueue: pip install dask-jobqueue")
    save(tmp_path, "on_slurm_tls.py", "certificates.sh", "tls.sh")
    run(["sh", "certificates.sh"], tmp_path, environment())
    tls = {**under_tls(tmp_path), "SLURM_CONF": slurm["SLURM_CONF"]}
    ended = run(["python", "on_slurm_tls.py", *options(town, tmp_path / "root")], tmp_path, tls)
    assert ended.returncode == 0, ended.stderr
    assert contents(tmp_path / "root") == contents(built)
    said = "".join(path.read_text() for path in (tmp_path / "slurm-logs").iterdir())
    assert "tls://" in said


def test_all_in_one_job(town: Town, built: Path, tmp_path: Path, slurm: dict[str, str]) -> None:
    save(tmp_path, "gl10m.sbatch")
    ended = run(["sbatch", "--wait", "gl10m.sbatch", *options(town, tmp_path / "root")], tmp_path, slurm)
    said = "".join(path.read_text() for path in tmp_path.glob("slurm-*.out"))
    assert ended.returncode == 0, said
    assert contents(tmp_path / "root") == contents(built)
    assert left_behind(tmp_path) == []


def test_a_job_whose_time_is_up_goes_on_in_its_next_run(
    town: Town, built: Path, tmp_path: Path, slurm: dict[str, str]
) -> None:
    """The signal is sent by hand, once a scene is committed: Slurm's clock counts in minutes."""
    save(tmp_path, "gl10m.sbatch")
    place = options(town, tmp_path / "root")
    sent = run(["sbatch", "--parsable", "gl10m.sbatch", *place], tmp_path, slurm)
    job = sent.stdout.strip()
    fragments = tmp_path / "root" / ".gl10m" / "fragments"
    wait_until(lambda: any(fragments.glob("*.parquet")))
    subprocess.run(["scancel", "--signal=TERM", "--batch", job], env=slurm, check=True)
    wait_until((tmp_path / "root" / "manifests" / "scenes.parquet").exists, 240)
    wait_until(lambda: state(job, slurm) in {"", "COMPLETED"})
    said = (tmp_path / f"slurm-{job}.out").read_text()
    assert "Stopped; what was fetched is kept" in said
    assert left_behind(tmp_path) == []
    assert contents(tmp_path / "root") == contents(built)


def state(job: str, env: dict[str, str]) -> str:
    asked = ["squeue", "--noheader", "--format=%T", "--jobs", job]
    return subprocess.run(asked, env=env, capture_output=True, text=True, check=False).stdout.strip()


def left_behind(folder: Path) -> list[str]:
    """Command lines of Dask processes that work with files of a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue  # it has ended
        if str(folder) in command and "dask scheduler" in command:
            found.append(command)
    return found
