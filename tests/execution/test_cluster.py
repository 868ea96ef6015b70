"""Tasks on a real local cluster: bounded, and an error of one is no error of another."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from distributed import Client, LocalCluster

from pipelines.execution.cluster import ClusterUnavailableError, check_scheduler, cluster
from pipelines.execution.tasks import TaskFailure, run


def halve(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


def test_every_task_comes_back_with_its_result_or_its_error() -> None:
    with cluster(workers=1, scheduler=None) as client:
        ended = dict(run(client, halve, range(9)))
    assert {task: result for task, result in ended.items() if not isinstance(result, TaskFailure)} == {
        0: 0,
        2: 1,
        4: 2,
        6: 3,
        8: 4,
    }
    odd = {task: result for task, result in ended.items() if isinstance(result, TaskFailure)}
    assert sorted(odd) == [1, 3, 5, 7]
    assert str(odd[3].cause) == "3 is odd"


def test_workers_that_dask_has_given_up_are_replaced() -> None:
    with cluster(workers=1, scheduler=None) as client:
        first = set(client.nthreads())
        assert client.cluster is not None
        client.cluster.scale(0)
        while first & set(client.nthreads()):
            time.sleep(0.02)
        assert dict(run(client, halve, [4])) == {4: 2}
        assert len(client.nthreads()) == 1


def test_no_file_stays_behind_whatever_became_of_its_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with cluster(workers=2, scheduler=None) as client:
        (folder,) = tmp_path.iterdir()
        workers = client.run(os.getpid)
        assert {path.name for path in folder.iterdir()} == {"in-use", "dask-scratch-space"}
        os.kill(next(iter(workers.values())), signal.SIGKILL)
        # As a worker leaves it that is killed between the two while it tidies up.
        (folder / "dask-scratch-space" / "worker-gone.dirlock").touch()
    assert list(tmp_path.iterdir()) == []


def test_a_running_scheduler_is_used_by_its_address() -> None:
    with (
        LocalCluster(
            n_workers=1, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as running,
        Client(running, set_as_default=False),
        cluster(workers=None, scheduler=running.scheduler_address) as client,
    ):
        assert dict(run(client, halve, [4])) == {4: 2}


def test_nobody_else_on_the_network_reaches_the_embedded_cluster() -> None:
    """Whoever reaches a scheduler or a worker can run code there; the dashboard tells what is built."""
    with cluster(workers=1, scheduler=None) as client:
        dict(run(client, halve, [2]))
        assert client.dashboard_link.startswith("http://127.0.0.1:")
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        listening = [
            end.laddr.ip
            for process in processes
            for end in process.net_connections("inet")
            if end.status == psutil.CONN_LISTEN
        ]
    assert listening
    assert set(listening) <= {"127.0.0.1", "::1"}


def test_an_address_where_nothing_answers_is_an_error_with_a_remedy() -> None:
    with (
        pytest.raises(ClusterUnavailableError, match="dask scheduler"),
        cluster(workers=None, scheduler="tcp://127.0.0.1:9"),
    ):
        pass
    with pytest.raises(ClusterUnavailableError, match="dask scheduler"):
        check_scheduler("tcp://127.0.0.1:9")
    with pytest.raises(ClusterUnavailableError, match="there is no nope"):
        check_scheduler("nope")
