"""Whoever sets the clock of a machine while it works: what Dask waits for comes all the same."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from tests.wrong_clock import YEAR, wrong_clock

TASKS = """
from operator import neg
from pipelines.execution.cluster import cluster
from pipelines.execution.tasks import run

if __name__ == "__main__":
    with cluster(workers=1, scheduler=None) as client:
        print(len(dict(run(client, neg, range(300)))))
"""


def test_messages_arrive_though_the_clock_is_set_back_again_and_again(tmp_path: Path) -> None:
    """Dask sends by the time of day: what it means to send in 2 ms would be sent in a year."""
    clock, over = wrong_clock(tmp_path), threading.Event()
    program = tmp_path / "tasks.py"
    program.write_text(TASKS)

    def set_back() -> None:
        years = 0
        while not over.wait(0.005):
            years = (years - 1) % -50
            clock.set(years * YEAR)

    setting = threading.Thread(target=set_back)
    setting.start()
    try:
        done = subprocess.run(
            [sys.executable, program],
            env={**os.environ, **clock.environment},
            capture_output=True,
            check=False,
            timeout=180,
        )
    finally:
        over.set()
        setting.join()
    assert done.stdout.split() == [b"300"], done.stderr.decode()
