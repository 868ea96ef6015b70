"""SIGKILL at random moments of splits, exports and a training; the same command again, the same bytes."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.torture import repertoire
from tests.torture.calls import at_calls
from tests.torture.commands import Command
from tests.torture.tally import Tally
from tests.torture.trials import Trials, hurt

SEED = 20261130

MOMENTS, CALLS = 2, 1
"""Kills of a command; `make torture` does more, and hurts compact, repair and reproduce as well."""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Command]:
    return {one.name: one for one in repertoire.commands(tmp_path_factory.mktemp("commands"))}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "gl10m split",
        "gl10m export webdataset",
        "gl10m export huggingface",
        "gl10m export stac",
        "gl10m export croissant",
        "gl10m train-reference",
    ],
)
def test_a_killed_command_ends_in_the_same_bytes(
    name: str,
    commands: dict[str, Command],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tally, trials = Tally(SEED), Trials(commands[name], tmp_path)
    trials.undisturbed()
    hurt(trials, MOMENTS, SEED, tally)
    if shutil.which("strace") is not None:
        at_calls(trials, CALLS, SEED, tally)
    with capsys.disabled():
        print(f"\n{tally}")
    assert tally.faults == []
    assert tally.kills.total() >= MOMENTS


def test_a_trial_that_leaves_something_is_a_fault(commands: dict[str, Command], tmp_path: Path) -> None:
    """The check can fail: a stray file or folder, a changed byte and a lost file are seen."""
    trials = Trials(commands["gl10m export croissant"], tmp_path)
    trials.undisturbed()
    trial = trials.place()
    assert trials.rerun(trial) is None
    for stray in ("work/root/.tmp-0123-croissant.json", "tmp/left", "cache/left"):
        (trial / stray).write_text("x")
        assert Path(stray).name in str(trials.fault(trial))
        (trial / stray).unlink()
    (trial / "work" / "out.partial").mkdir()
    assert "out.partial" in str(trials.fault(trial))
    (trial / "work" / "out.partial").rmdir()
    assert trials.fault(trial) is None
    described = trial / "work" / "root" / "croissant.json"
    content = described.read_bytes()
    described.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    assert "croissant.json" in str(trials.fault(trial))
    described.unlink()
    assert "croissant.json" in str(trials.fault(trial))


def test_what_is_refused_written_again_or_done_again_is_a_fault(
    commands: dict[str, Command], tmp_path: Path
) -> None:
    asked = commands["gl10m export croissant"]
    trials = Trials(asked, tmp_path)
    trials.undisturbed()
    trial = trials.place()
    assert trials.rerun(trial) is None
    trials.command = replace(asked, kept=("root/*.json",))
    assert "was written again: root/croissant.json" in str(trials.rerun(trial))
    trials.command = replace(asked, unsaid=lambda _: {"wrote root/croissant.json"})
    assert "was done again: wrote root" in str(trials.rerun(trial))
    shutil.rmtree(trial / "work" / "root" / "manifests")
    assert "the same command again ended with 2" in str(trials.rerun(trial))


def test_the_tally_is_one_table() -> None:
    tally = Tally(7)
    for moment in ("later", "early", "later"):
        tally.hit("gl10m split", moment, ("early", "later"))
    tally.hit("worker", "early", ("early",))
    tally.endured["worker"] += 1
    tally.note("worker", "lost a byte")
    assert str(tally).splitlines() == [
        "seed 7: 4 kills, 1 faults",
        "  killed       kills  faults  ended all the same  moments",
        "  gl10m split      3       0                   0  1 early, 2 later",
        "  worker           1       1                   1  1 early",
        "FAULT worker lost a byte",
    ]
