"""One training loop for all stages."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import cos, isfinite, pi

import torch
from torch import Tensor, nn
from tqdm import tqdm

LOG_EVERY = 50
"""Steps between two lines of the log."""

LARGEST_SCALE = 4.6
"""Logarithm of 100: the temperature of Eq. 9 goes no further (SigLIP)."""

Log = Callable[..., None]


class TrainingDivergedError(RuntimeError):
    """A loss is no longer a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast a stage trains."""

    steps: int
    batch: int
    """Scenes in a step."""

    learning_rate: float
    weight_decay: float = 0.05
    """Of matrices alone: norms, biases and positions are not decayed."""

    warm_up: float = 0.05
    """Share of the steps in which the rate rises."""

    def factor(self, step: int) -> float:
        """Share of the full learning rate at a step: a linear rise, then a cosine to zero."""
        rise = max(1, round(self.warm_up * self.steps))
        if step < rise:
            return (step + 1) / rise
        return 0.5 + 0.5 * cos(pi * (step - rise) / max(1, self.steps - rise))


def optimise(
    stage: str,
    modules: Mapping[nn.Module, float],
    schedule: Schedule,
    losses: Callable[[int], dict[str, Tensor]],
    log: Log,
) -> None:
    """Train with AdamW, gradients clipped to length 1.

    Args:
        stage: name for the log and the progress bar.
        modules: what is trained, each with its share of the learning rate.
        schedule: steps and rates.
        losses: named terms of the loss at a step; their sum is minimised.
        log: takes the fields of one line of the log.

    Raises:
        TrainingDivergedError: the loss is not finite.
    """
    groups = [group for module, share in modules.items() for group in _groups(module, schedule, share)]
    optimiser = torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(0.9, 0.95))
    shares = [group["lr"] for group in optimiser.param_groups]
    trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for module in modules:
        module.train()
    for step in tqdm(range(schedule.steps), desc=stage, unit="step", disable=None):
        for group, rate in zip(optimiser.param_groups, shares, strict=True):
            group["lr"] = rate * schedule.factor(step)
        terms = losses(step)
        total = torch.stack(list(terms.values())).sum()
        if not isfinite(total.item()):
            raise TrainingDivergedError(f"the loss of stage {stage} is {total.item()} at step {step}.")
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        _bound_scales(modules)
        if step % LOG_EVERY == 0 or step == schedule.steps - 1:
            log(stage=stage, step=step, **{name: round(term.item(), 6) for name, term in terms.items()})
    for module in modules:
        module.eval()


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
