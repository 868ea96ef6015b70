"""Tasks on a real local cluster: bounded, and an error of one is no error of another."""

import pytest
from distributed import Client, LocalCluster

from pipelines.execution.cluster import ClusterUnavailableError, cluster
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


def test_a_running_scheduler_is_used_by_its_address() -> None:
    with (
        LocalCluster(
            n_workers=1, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as running,
        Client(running, set_as_default=False),
        cluster(workers=None, scheduler=running.scheduler_address) as client,
    ):
        assert dict(run(client, halve, [4])) == {4: 2}


def test_an_address_where_nothing_answers_is_an_error_with_a_remedy() -> None:
    with (
        pytest.raises(ClusterUnavailableError, match="dask scheduler"),
        cluster(workers=None, scheduler="tcp://127.0.0.1:9"),
    ):
        pass
