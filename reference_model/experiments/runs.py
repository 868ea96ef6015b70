"""All runs of one seed: tiles planned, scenes ranked; each is kept, so that a killed seed goes on."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_model.baselines.entry import Assets
from reference_model.experiments.protocol import Protocol
from reference_model.face import Method, Setting
from reference_model.methods.planning import BySampler
from reference_model.methods.registry import methods
from reference_model.metrics.observation_cost import obr
from reference_model.run import Run

FOLDER = "scores"

BISECTIONS = 14
"""Halvings of the interval in which a target OBR is looked for."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One run on the held-out scenes; several draws where chance plans."""

    scores: Tensor
    """float32 (draws, scenes, classes)."""

    selected: Tensor
    """bool (draws, scenes, 100)."""

    @property
    def obr(self) -> float:
        """What was bought, over all draws."""
        return float(self.selected.double().mean())


def ranked(setting: Setting, protocol: Protocol, name: str) -> Ranked:
    """Make one run, or read it back.

    Args:
        setting: of the seed.
        protocol: the experiment.
        name: one of `Protocol.runs`.
    """
    folder = setting.job.run.folder / FOLDER
    folder.mkdir(exist_ok=True)
    kept, file = Run(folder), f"{name}.safetensors"
    if not kept.has(file):
        row, _, budget = name.partition("@")
        made = list(_made(setting, protocol, row, float(budget) if budget else protocol.target_obr))
        kept.write_weights(
            file,
            {"scores": torch.stack([one for one, _ in made]), "selected": torch.stack([s for _, s in made])},
        )
    return kept.read_as(file, Ranked)


def _made(setting: Setting, protocol: Protocol, row: str, budget: float) -> Iterator[tuple[Tensor, Tensor]]:
    entry = methods()[row]
    rows = torch.from_numpy(setting.job.roles.test)
    wanted = _realised(setting, rows, budget) if entry.sparse else budget
    for draw in range(entry.draws):
        method = entry.make(setting, Assets(), draw)
        method.fit()
        selected = method.plan(rows, budget)
        if entry.sparse:
            selected = matched(method, rows, budget, wanted, protocol.within)
        yield method.rank(method.embed(rows, selected)), selected


def _realised(setting: Setting, rows: Tensor, budget: float) -> float:
    """What our sampler buys on these scenes with the threshold that validation scenes set for a budget."""
    planner = BySampler(setting)
    planner.fit()
    return obr(planner.plan(rows, budget))


def matched(method: Method, rows: Tensor, budget: float, wanted: float, within: float) -> Tensor:
    """Plan tiles at an OBR that another row has realised.

    A threshold from validation scenes buys more or less on others. Rows are compared at one OBR; so the
    target of a row is moved until what it buys is near enough. LR alone decides; nothing is looked at that
    tells how good the choice is.

    Args:
        method: fitted.
        rows: scenes, (N,).
        budget: target OBR to begin with; the row keeps it if it is near enough already.
        wanted: realised OBR of our sampler.
        within: how near is near enough. If no target comes so near, as with scores full of ties, the nearest
            is taken.

    Returns:
        bool (N, 100).
    """
    best = method.plan(rows, budget)
    low, high, middle = 0.0, 1.0, wanted
    for _ in range(BISECTIONS):
        if abs(obr(best) - wanted) <= within / 2:
            break
        tried = method.plan(rows, middle)
        if abs(obr(tried) - wanted) < abs(obr(best) - wanted):
            best = tried
        low, high = (middle, high) if obr(tried) < wanted else (low, middle)
        middle = (low + high) / 2
    return best
