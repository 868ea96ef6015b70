"""A stage that is cut off ends in the same bits, and processes that train together do what one does."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reference_model import optimise as loop
from reference_model.optimise import Schedule, optimise
from reference_model.run import LOG, Run, RunDamagedError


class Interrupted(Exception):  # noqa: N818 - what a kill looks like from inside
    pass


def train(folder: Path, steps: int, until: int | None = None, average: float | None = None) -> Tensor:
    """Train a layer; every step draws from the generator and from PyTorch's own chance, as dropout does."""
    torch.manual_seed(5)
    layer = nn.Linear(4, 4)
    generator = torch.Generator().manual_seed(7)

    def losses(step: int) -> dict[str, Tensor]:
        if step == until:
            raise Interrupted
        inputs = nn.functional.dropout(torch.randn(8, 4, generator=generator), 0.2)
        return {"loss": layer(inputs).square().mean()}

    schedule = Schedule(steps=steps, batch=8, learning_rate=1e-2, average=average)
    optimise("layer", {layer: 1.0}, schedule, losses, journal=Run(folder), generator=generator)
    return layer.weight.detach()


@pytest.mark.parametrize("save_seconds", [0.0, math.inf])
@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("until", [1, 60, 149])
def test_a_stage_that_was_cut_off_ends_in_the_same_bits(
    until: int, average: float | None, save_seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", save_seconds)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    expected = train(whole, 150, average=average)
    with pytest.raises(Interrupted):
        train(cut, 150, until=until, average=average)
    if until > 50 and save_seconds == 0:
        kept = Run(cut).read_checkpoint("layer")
        assert kept is not None
        assert 0 < kept["step"] <= until
    assert torch.equal(train(cut, 150, average=average), expected)
    assert (cut / LOG).read_bytes() == (whole / LOG).read_bytes()  # no step is told twice


def test_a_log_is_wound_back_to_where_a_stage_goes_on(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for stage, step in (("encoder", 0), ("encoder", 50), ("sampler", 0), ("sampler", 50)):
        run.log(stage=stage, step=step)
    with (tmp_path / LOG).open("a") as lines:
        lines.write('{"stage": "sampler", "st')  # the disk was full
    run.rewind("sampler", 50)
    told = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [(one["stage"], one["step"]) for one in told] == [("encoder", 0), ("encoder", 50), ("sampler", 0)]
    run.rewind("sampler", 50)
    assert len((tmp_path / LOG).read_text().splitlines()) == 3


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda _: b"garbage", lambda _: b""])
def test_a_damaged_checkpoint_is_named(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_checkpoint("layer", {"step": 3, "modules": [nn.Linear(2, 2).state_dict()]})
    path = tmp_path / "layer.checkpoint"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunDamagedError, match=r"layer\.checkpoint is damaged"):
        run.read_checkpoint("layer")


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, ("touch hacked",)

    torch.save({"step": Evil()}, tmp_path / "layer.checkpoint")
    with pytest.raises(RunDamagedError):
        Run(tmp_path).read_checkpoint("layer")
    assert not (tmp_path / "hacked").exists()


TOGETHER = """
import sys, torch
from pathlib import Path
from reference_model.objectives.losses import RunningMean
from reference_model.optimise import Schedule, optimise
from reference_model.run import Run
from reference_model.team import team

torch.set_num_threads(1)


def train(members):
    torch.manual_seed(3)
    layer, mean = torch.nn.Linear(6, 6), RunningMean(6, over_team=members.mean)
    called = members.wrapped(layer)
    generator = torch.Generator().manual_seed(4)

    def losses(step):
        inputs = members.part(torch.randn(12, 6, generator=generator))
        return {"loss": (called(inputs) - mean(inputs)).square().mean()}

    schedule = Schedule(steps=20, batch=12, learning_rate=1e-2)
    out = Path(sys.argv[1])
    modules = {layer: 1.0, mean: 1.0}
    optimise("layer", modules, schedule, losses, journal=Run(out), generator=generator, team=members)
    if members.leads:
        torch.save({"weight": layer.weight.detach(), "mean": mean.mean}, out / "end.pt")
    members.wait()


with team("cpu") as members:
    train(members)
"""


def together(script: str, out: Path, count: int) -> dict[str, torch.Tensor]:
    """What a script leaves in end.pt that so many processes run."""
    out.mkdir()
    (out / "together.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command += [str(out / "together.py"), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, check=False, timeout=300, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    left: dict[str, torch.Tensor] = torch.load(out / "end.pt", weights_only=True)
    return left


def test_two_processes_under_torchrun_do_what_one_does(tmp_path: Path) -> None:
    one, two = (together(TOGETHER, tmp_path / str(count), count) for count in (1, 2))
    torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-5)


ROWS = """
import sys
from dataclasses import replace
from pathlib import Path

import torch

from reference_model import encoding
from reference_model.holdout import assign
from reference_model.job import Job
from reference_model.face import Setting
from reference_model.methods.registry import outcomes
from reference_model.optimise import Schedule
from reference_model.run import Run
from reference_model.scenes import read_catalogue
from reference_model.team import team
from tests.reference_model.settings import NOVEL, QUICK, SPLITS
from tests.reference_model.worlds import World

torch.set_num_threads(1)
world, out = World(len(SPLITS)), Path(sys.argv[1])
catalogue = read_catalogue(world, NOVEL)
with team("cpu") as members:
    job = Job(
        run=Run(out),
        preset=replace(QUICK, policy=Schedule(steps=6, batch=8, learning_rate=1e-2)),
        seed=0,
        target_obr=0.123,
        scenes=world,
        catalogue=catalogue,
        roles=assign(SPLITS, catalogue.bounds, 0),
        team=members,
    )
    encoder, texts = encoding.trained_encoder(job)
    features = encoding.encoded(job, encoder)
    setting = Setting(job=job, encoder=encoder, features=features, texts=texts)
    found = {}
    for name in ("structural", "patchdrop"):
        (outcome,) = outcomes(setting, name, [0.123])
        found |= {f"{name} tiles": outcome.selected, f"{name} scores": outcome.scores}
    if members.leads:
        torch.save(found, out / "end.pt")
    members.wait()
"""
"""A sampler that a row needs, and a policy that learns together with its classifier."""


@pytest.mark.slow
def test_a_team_trains_the_rows_that_one_process_trains(tmp_path: Path) -> None:
    one, two = (together(ROWS, tmp_path / str(count), count) for count in (1, 2))
    assert one.keys() == two.keys()
    for name, values in one.items():
        torch.testing.assert_close(values, two[name], atol=1e-4, rtol=1e-4)
