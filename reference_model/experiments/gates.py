"""What must hold before an ordering is read: that things were learned, and that nothing has collapsed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reference_model.determinism import seeded
from reference_model.experiments.protocol import Gates, Protocol
from reference_model.face import Setting
from reference_model.methods.representing import Ours, completed
from reference_model.methods.subruns import calibration, sampler_scores, worth
from reference_model.metrics.observation_cost import NORMALISING
from reference_model.objectives.losses import centred_cosine, spread
from reference_model.objectives.masking import scattered
from reference_model.world.layout import COMPOUND
from reference_model.world.scenes import World

FUSIONS = ("product", "structural", "semantic", "additive")


@dataclass(frozen=True, slots=True)
class Gate:
    """One check of training."""

    name: str
    value: float
    bound: float
    above: bool
    """Whether the value must lie above the bound; below it otherwise."""

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.value > self.bound if self.above else self.value < self.bound


def gates_of(figures: dict[str, float], gates: Gates, target_obr: float) -> list[Gate]:
    """Hold the figures of one seed against the gates of a protocol."""
    found = [
        Gate(
            "full observation without predictor / prevalence",
            figures["full-no-predictor"] / figures["prevalence"],
            gates.learnability,
            above=True,
        ),
        Gate("Eq. 8 on unobserved tiles of compounds", figures["completion"], gates.completion, above=False),
        Gate("spread of predictions / of targets", figures["spread"], gates.least_spread, above=True),
    ]
    for fusion in FUSIONS:
        reach, captured = figures[f"range {fusion}"], figures[f"captured {fusion}"]
        found.append(Gate(f"range of the {fusion} sampler", reach, gates.least_range, above=True))
        least = gates.least_capture * target_obr
        found.append(Gate(f"share of G* captured, {fusion}", captured, least, above=True))
    return found


def training_figures(setting: Setting, world: World, protocol: Protocol) -> dict[str, float]:
    """What the gates look at, from validation scenes alone."""
    rows = torch.from_numpy(setting.job.roles.val)
    figures: dict[str, float] = {}
    for fusion in FUSIONS:
        scores = sampler_scores(setting, fusion)
        low, high = torch.quantile(scores[rows].flatten(), torch.tensor(NORMALISING) / 100).tolist()
        of_tiles = worth(setting, fusion)[rows]
        chosen = calibration(setting, scores, protocol.target_obr).select(scores[rows])
        figures[f"range {fusion}"] = high - low
        figures[f"captured {fusion}"] = float(of_tiles[chosen].sum() / of_tiles.sum().clamp_min(1e-9))
    return figures | _completion(setting, world, rows, protocol.target_obr)


def _completion(setting: Setting, world: World, rows: Tensor, target_obr: float) -> dict[str, float]:
    model = Ours(setting)
    model.fit()
    with seeded(setting.job.seed, "gates") as generator:
        selected = scattered(torch.full((len(rows),), round(100 * target_obr)), generator)
    predicted, target = completed(model, rows, selected), setting.features.target(rows).cpu()
    kinds = torch.stack([torch.from_numpy(world.layout(int(row)).kind.ravel()) for row in rows])
    missing = (kinds == COMPOUND) & ~selected
    loss = centred_cosine(predicted[missing], target[missing], model.mean.cpu())
    return {"completion": float(loss), "spread": spread(predicted) / spread(target)}
