"""What is no input decides no byte: the clock, the time zone, the language, the order of sets and dictionaries."""

import subprocess
from pathlib import Path

import pytest

from tests.torture.arena import Arena, finish
from tests.torture.test_together import until
from tests.wrong_clock import YEAR, WrongClock, wrong_clock

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> WrongClock:
    return wrong_clock(tmp_path_factory.mktemp("clock"))


def language(name: str, folder: Path) -> dict[str, str]:
    """A locale of the system, made for this test; where it cannot be made the build has none."""
    subprocess.run(["localedef", "-i", name, "-f", "UTF-8", folder / f"{name}.UTF-8"], check=False)
    return {"LC_ALL": f"{name}.UTF-8", "LOCPATH": str(folder)}


@pytest.mark.parametrize(
    ("stage", "before", "after"),
    [
        ("in the stages", 0, -1 / 365),
        ("in the images", 10, -10),
        ("in the publication", 0, 10),
    ],
)
def test_a_clock_that_is_set_while_a_build_runs(
    ready: Arena, clock: WrongClock, stage: str, before: float, after: float
) -> None:
    """Years that it is ahead, or behind, until the stage and from then on."""
    trial = ready.place()
    clock.set(before * YEAR)
    building = ready.start(trial, "--workers", "2", **clock.environment)
    until(stage, trial / "root")
    clock.set(after * YEAR)
    ended = finish(building)
    assert ended.code == 0, ended.said
    assert ready.fault(trial) is None


def test_another_time_zone_language_and_order_of_sets(ready: Arena, tmp_path: Path) -> None:
    """Half a day ahead; a comma in numbers and an i without a dot; another seed of hashes."""
    trial = ready.place()
    spoken = language("tr_TR", tmp_path)
    ended = ready.run(trial, "--workers", "1", TZ="Pacific/Kiritimati", PYTHONHASHSEED="1", **spoken)
    assert ended.code == 0, ended.said
    assert ready.fault(trial) is None
