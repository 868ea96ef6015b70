"""One training loop for all stages; it goes on where it was cut off, to the last bit on a CPU."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import cos, isfinite, pi
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from reference_model.team import Team

LOG_EVERY = 50
"""Steps between two lines of the log."""

SAVE_SECONDS = 30.0
"""A stage that takes longer is saved this often, at the next line of the log."""

LARGEST_SCALE = 4.6
"""Logarithm of 100: the temperature of Eq. 9 goes no further (SigLIP)."""

AVERAGE_START = 10
"""The running average forgets its first weights: at step t it keeps (1 + t) / (10 + t) or less."""


class Journal(Protocol):
    """What a stage writes while it trains: a run folder."""

    def log(self, **record: object) -> None:
        """Append one line to the log."""

    def write_checkpoint(self, stage: str, state: Mapping[str, Any]) -> None:
        """Keep the state of an unfinished stage, in the place of what was kept before."""

    def read_checkpoint(self, stage: str) -> dict[str, Any] | None:
        """The state of an unfinished stage, None where there is none."""

    def rewind(self, stage: str, step: int) -> None:
        """Forget what the log says of an unfinished stage from a step on."""

    def fitting(self, name: str) -> AbstractContextManager[None]:
        """Within it, a file that does not hold what it should is an error that names it."""


class TrainingDivergedError(RuntimeError):
    """A loss is no longer a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast a stage trains."""

    steps: int
    batch: int
    """Scenes in a step, over all processes."""

    learning_rate: float
    weight_decay: float = 0.05
    """Of matrices alone: norms, biases and positions are not decayed."""

    warm_up: float = 0.05
    """Share of the steps in which the rate rises."""

    average: float | None = None
    """Share of the old weights in their running average at every step, which is what the stage ends with;
    None for the weights of the last step."""

    half_precision: bool = False
    """Multiply in bfloat16; losses and weights stay float32."""

    def factor(self, step: int) -> float:
        """Share of the full learning rate at a step: a linear rise, then a cosine to zero."""
        rise = max(1, round(self.warm_up * self.steps))
        if step < rise:
            return (step + 1) / rise
        return 0.5 + 0.5 * cos(pi * (step - rise) / max(1, self.steps - rise))


@dataclass(slots=True, kw_only=True)
class Training:
    """A stage under way: what is trained, and everything that decides its next step."""

    stage: str
    modules: Mapping[nn.Module, float]
    """What is trained, each with its share of the learning rate."""

    schedule: Schedule
    generator: torch.Generator
    """All chance of the stage comes from here."""

    team: Team
    optimiser: torch.optim.AdamW = field(init=False)
    shares: list[float] = field(init=False)
    averages: list[dict[str, Tensor]] = field(init=False)
    step: int = 0

    def __post_init__(self) -> None:
        groups = [
            group for one, share in self.modules.items() for group in _groups(one, self.schedule, share)
        ]
        fused = self.team.device.type == "cuda"
        self.optimiser = torch.optim.AdamW(
            groups, lr=self.schedule.learning_rate, betas=(0.9, 0.95), fused=fused
        )
        self.shares = [group["lr"] for group in self.optimiser.param_groups]
        self.averages = []
        if self.schedule.average is not None:
            self.averages = [_copied(module) for module in self.modules]

    @property
    def trained(self) -> list[nn.Parameter]:
        """All parameters that change."""
        return [parameter for group in self.optimiser.param_groups for parameter in group["params"]]

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "step": self.step,
            "modules": [module.state_dict() for module in self.modules],
            "averages": self.averages,
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "chance": torch.get_rng_state(),
        }

    def go_on_from(self, state: Mapping[str, Any]) -> None:
        """Take up a checkpoint.

        Raises:
            LookupError, TypeError, ValueError, RuntimeError: it is of something else; see `Run.fitting`.
        """
        for module, saved in zip(self.modules, state["modules"], strict=True):
            module.load_state_dict(saved)
        averages = [
            _like(average, kept) for average, kept in zip(self.averages, state["averages"], strict=True)
        ]
        self.averages = averages
        self._take_up_optimiser(state["optimiser"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["chance"])
        self.step = int(state["step"])
        if not 0 <= self.step <= self.schedule.steps:
            raise ValueError(f"a stage of {self.schedule.steps} steps is taken up at step {self.step}")

    def _take_up_optimiser(self, saved: dict[str, Any]) -> None:
        """Moments come from the checkpoint, all rates from the schedule."""
        rates = [
            {name: group[name] for name in group if name != "params"} for group in self.optimiser.param_groups
        ]
        self.optimiser.load_state_dict(saved)
        for group, own in zip(self.optimiser.param_groups, rates, strict=True):
            group.update(own)
        for parameter, moments in self.optimiser.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                if moments[name].shape != parameter.shape:
                    raise ValueError(
                        f"{name} of shape {tuple(moments[name].shape)} for {tuple(parameter.shape)}"
                    )
            if not isinstance(moments["step"], Tensor) or moments["step"].numel() != 1:
                raise TypeError("a count of steps that is none")

    def take(self, terms: Mapping[str, Tensor]) -> None:
        """Do one step down the sum of the terms, gradients clipped to length 1.

        Raises:
            TrainingDivergedError: the loss is not finite.
        """
        for group, rate in zip(self.optimiser.param_groups, self.shares, strict=True):
            group["lr"] = rate * self.schedule.factor(self.step)
        total = torch.stack(list(terms.values())).sum()
        if not isfinite(total.item()):
            raise TrainingDivergedError(
                f"the loss of stage {self.stage} is {total.item()} at step {self.step}. Lower its rate."
            )
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimiser.step()
        _bound_scales(self.modules)
        self._average()
        self.step += 1

    @torch.no_grad()
    def _average(self) -> None:
        if self.schedule.average is None:
            return
        kept = min(self.schedule.average, (1 + self.step) / (AVERAGE_START + self.step))
        for average, module in zip(self.averages, self.modules, strict=True):
            for name, tensor in module.state_dict().items():
                if tensor.is_floating_point():
                    average[name].lerp_(tensor, 1 - kept)
                else:
                    average[name].copy_(tensor)

    def finish(self) -> None:
        """Put the average in the place of the last weights, and stop training."""
        if self.schedule.average is not None:
            for average, module in zip(self.averages, self.modules, strict=True):
                module.load_state_dict(average)
        for module in self.modules:
            module.eval()


def optimise(
    stage: str,
    modules: Mapping[nn.Module, float],
    schedule: Schedule,
    losses: Callable[[int], dict[str, Tensor]],
    *,
    journal: Journal,
    generator: torch.Generator,
    team: Team | None = None,
) -> None:
    """Train with AdamW.

    Args:
        stage: name for the log, the progress bar and the checkpoint.
        modules: what is trained, each with its share of the learning rate.
        schedule: steps and rates.
        losses: named terms of the loss at a step; their sum is minimised. Draws from `generator` alone.
        journal: takes the log and the checkpoints; an unfinished stage that it holds is taken up.
        generator: all chance of the stage.
        team: the processes that train together; this one alone if None.

    Raises:
        TrainingDivergedError: the loss is not finite.
    """
    team = team or Team()
    training = Training(stage=stage, modules=modules, schedule=schedule, generator=generator, team=team)
    if (kept := journal.read_checkpoint(stage)) is not None:
        with journal.fitting(f"{stage}.checkpoint"):
            training.go_on_from(kept)
    if team.leads:
        journal.rewind(stage, training.step)
    for module in modules:
        module.train()
    saved = time.monotonic()
    places = range(training.step, schedule.steps)
    bar = tqdm(
        places, desc=stage, unit="step", initial=training.step, total=schedule.steps, disable=_hidden(team)
    )
    for step in bar:
        with torch.autocast(team.device.type, torch.bfloat16, enabled=schedule.half_precision):
            terms = losses(step)
        training.take(terms)
        if step % LOG_EVERY and step != schedule.steps - 1:
            continue
        told = {name: round(team.mean(term.detach()).item(), 6) for name, term in terms.items()}
        if team.leads:
            journal.log(stage=stage, step=step, **told)
        if team.leads and time.monotonic() - saved > SAVE_SECONDS:
            journal.write_checkpoint(stage, training.state())
            saved = time.monotonic()
    training.finish()


def _hidden(team: Team) -> bool | None:
    return None if team.leads else True


def _like(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, which has those of ours, each of its shape and type.

    Raises:
        ValueError: it has others.
    """
    for name, tensor in ours.items():
        found = theirs[name]
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise ValueError(f"the average of {name} is {tuple(found.shape)} of {found.dtype}")
    return {name: theirs[name].to(tensor.device) for name, tensor in ours.items()}


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _groups(module: nn.Module, schedule: Schedule, share: float) -> Iterable[dict[str, object]]:
    named = [(name, one) for name, one in module.named_parameters() if one.requires_grad]
    rate = schedule.learning_rate * share
    decayed = [one for name, one in named if _is_matrix(name, one)]
    others = [one for name, one in named if not _is_matrix(name, one)]
    yield {"params": decayed, "lr": rate, "weight_decay": schedule.weight_decay}
    yield {"params": others, "lr": rate, "weight_decay": 0.0}


def _is_matrix(name: str, parameter: nn.Parameter) -> bool:
    learned_places = ("positions", "tile_identity", "query")
    return parameter.ndim > 1 and name.rpartition(".")[2] not in learned_places


@torch.no_grad()
def _bound_scales(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        for name, parameter in module.named_parameters():
            if name.endswith("log_scale"):
                parameter.clamp_(max=LARGEST_SCALE)
