"""A stage that is cut off ends in the same bits, and processes that train together do what one does."""

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
from reference_model.run import Run, RunDamagedError


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


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("until", [1, 60, 149])
def test_a_stage_that_was_cut_off_ends_in_the_same_bits(
    until: int, average: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    expected = train(whole, 150, average=average)
    with pytest.raises(Interrupted):
        train(cut, 150, until=until, average=average)
    if until > 50:
        kept = Run(cut).read_checkpoint("layer")
        assert kept is not None
        assert 0 < kept["step"] <= until
    assert torch.equal(train(cut, 150, average=average), expected)


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
with team("cpu") as members:
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
"""


def test_two_processes_under_torchrun_do_what_one_does(tmp_path: Path) -> None:
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    ends = []
    for count in (1, 2):
        out = tmp_path / str(count)
        out.mkdir()
        command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}"]
        command += ["--master-addr=127.0.0.1", f"--master-port={29_611 + count}", str(script), str(out)]
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, timeout=120, env=environment, capture_output=True)
        ends.append(torch.load(out / "end.pt", weights_only=True))
    torch.testing.assert_close(ends[0], ends[1], atol=1e-6, rtol=1e-5)
