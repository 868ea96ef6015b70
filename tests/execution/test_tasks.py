"""A fault of one task is no fault of another, on real clusters of processes."""

import os
import signal
from collections.abc import Sequence

from distributed import KilledWorker

from pipelines.execution.cluster import cluster
from pipelines.execution.tasks import TaskFailure, run

Numbers = tuple[int, ...]


def halves(numbers: Numbers) -> list[int]:
    """13 kills its worker, 14 is an error."""
    if 13 in numbers:
        os.kill(os.getpid(), signal.SIGKILL)
    if 14 in numbers:
        raise ValueError("14 cannot be halved")
    return [number // 2 for number in numbers]


def one_by_one(numbers: Numbers, _cause: BaseException) -> Sequence[Numbers]:
    return [(number,) for number in numbers] if len(numbers) > 1 else []


def test_a_task_that_kills_its_worker_takes_no_neighbour_with_it() -> None:
    batches = [tuple(range(start, start + 4)) for start in range(0, 24, 4)]
    with cluster(workers=2, scheduler=None) as client:
        ended = dict(run(client, halves, batches, one_by_one))
    failed = {task: end.cause for task, end in ended.items() if isinstance(end, TaskFailure)}
    assert set(failed) == {(13,), (14,)}
    assert isinstance(failed[13,], KilledWorker)
    assert isinstance(failed[14,], ValueError)
    good = sorted(half for end in ended.values() if not isinstance(end, TaskFailure) for half in end)
    assert good == sorted(number // 2 for number in range(24) if number not in {13, 14})


def test_a_task_without_parts_whose_worker_was_killed_by_another_is_done_again() -> None:
    with cluster(workers=1, scheduler=None) as client:
        ended = dict(run(client, halves, [(1,), (13,), (2,), (3,)]))
    assert {task for task, end in ended.items() if isinstance(end, TaskFailure)} == {(13,)}
