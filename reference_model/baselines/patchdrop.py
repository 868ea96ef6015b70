"""PatchDrop: a policy sees LR and learns by trial which HR tiles a classifier needs (Uzkent and Ermon, 2020).

Re-derived from the paper: its code bears no licence. The original rewards a right answer to a single-label
question; a scene has several labels, so the reward is the scene's average precision. It masks pixels; here
the classifier sees the mean token of the tiles that were bought, and nothing of the others.
"""

import torch
from torch import Tensor, nn

from gl10m.scene.grid import TILES
from reference_model.baselines.errors import NotFittedError
from reference_model.baselines.probes import Probe, classification
from reference_model.baselines.supervised import logits_of, tiles_probe
from reference_model.baselines.tile_scores import mean_tokens
from reference_model.determinism import seeded
from reference_model.face import Setting
from reference_model.metrics.observation_cost import calibrate
from reference_model.networks.sampler import Sampler

CERTAINTY = 0.8
"""a of p = a s + (1 - a) (1 - s): no tile is ever certain while the policy learns, so that it explores."""

PENALTY = -0.5
"""Reward of a scene that is ranked as badly as can be, whatever was saved on it."""

PROBE_RATE = 0.1
"""Share of the learning rate that the classifier gets when it learns together with the policy."""

TRIES = 16
"""Choices that are tried of one scene in a step, all against the same greedy one: a hundred coins thrown once
tell little of any of them."""

ALONE, TOGETHER = "patchdrop-policy", "patchdrop"
SCENES_AT_ONCE = 32


def scene_precision(logits: Tensor, labels: Tensor) -> Tensor:
    """Average precision of the classes of each scene, ranked by logits.

    Args:
        logits: (..., N, classes).
        labels: bool (N, classes).

    Returns:
        float32 (..., N) in [0, 1]; 0 where a scene carries no class.
    """
    order = logits.argsort(dim=-1, descending=True, stable=True)
    ranked = labels.expand_as(logits).gather(-1, order).float()
    ranks = torch.arange(1, ranked.shape[-1] + 1, device=ranked.device)
    return (ranked.cumsum(dim=-1) / ranks * ranked).sum(dim=-1) / ranked.sum(dim=-1).clamp_min(1)


def reward(precision: Tensor, selected: Tensor) -> Tensor:
    """What a choice of tiles was worth: m (1 - u^2) + (1 - m) penalty.

    Args:
        precision: m, the scenes' average precision, (..., N).
        selected: bool (..., N, 100), whose share of tiles is u.
    """
    used = selected.float().mean(dim=-1)
    return precision * (1 - used.square()) + (1 - precision) * PENALTY


def mean_of_chosen(tiles: Tensor, selected: Tensor) -> Tensor:
    """The mean over the chosen tiles (N, 100, dim), bool (..., N, 100): (..., N, dim), 0 for none."""
    summed = torch.einsum("...np,npd->...nd", selected.float(), tiles)
    return summed / selected.sum(dim=-1, keepdim=True).clamp_min(1)


class PatchDrop:
    """Policy and classifier; the budget is met by shifting the threshold on the policy's scores."""

    def __init__(self, setting: Setting, name: str) -> None:
        self.setting, self.name = setting, name
        self.policy: Sampler | None = None
        self.probe: Probe | None = None

    def fit(self) -> None:
        """Train classifier, policy, and then both together on the training scenes, or read them back."""
        job = self.setting.job
        probe = tiles_probe(self.setting).requires_grad_()
        with seeded(job.seed, ALONE):
            policy = Sampler(job.preset.sampler, features=self.setting.features.lr.shape[-1])
            policy.to(job.team.device)
        self._train(ALONE, policy, probe, joint=0.0)
        self._train(TOGETHER, policy, probe, joint=PROBE_RATE)
        self.policy = policy.eval().requires_grad_(requires_grad=False)
        self.probe = probe.eval().requires_grad_(requires_grad=False)

    def _train(self, stage: str, policy: Sampler, probe: Probe, *, joint: float) -> None:
        """One stage; the classifier learns with this share of the learning rate."""
        job, schedule, file = (
            self.setting.job,
            self.setting.job.preset.policy,
            f"baseline-{stage}.safetensors",
        )
        with seeded(job.seed, stage) as generator:
            called = job.team.wrapped(policy)
            # Its gradients are averaged too where it learns; else a team would learn as many classifiers.
            classify = job.team.wrapped(probe) if joint else probe

            def losses(_: int) -> dict[str, Tensor]:
                rows = job.team.part(job.train_rows(schedule.batch, generator))
                labels = job.catalogue.labels[rows].to(job.team.device)
                tiles = self.setting.features.target(rows).mean(dim=2)
                share = called(*self._seen(rows)).float().sigmoid()
                chance = CERTAINTY * share + (1 - CERTAINTY) * (1 - share)
                tried = job.team.part(torch.rand(schedule.batch, TRIES, TILES, generator=generator))
                tried = tried.to(share.device).transpose(0, 1) < chance
                greedy = share >= 0.5  # noqa: PLR2004 - the policy's own best choice
                logits = classify(mean_of_chosen(tiles, tried))
                with torch.no_grad():
                    gained = reward(scene_precision(logits, labels), tried)
                    without = reward(scene_precision(probe(mean_of_chosen(tiles, greedy)), labels), greedy)
                likely = torch.where(tried, chance, 1 - chance).log().sum(dim=-1)
                terms = {"policy": -((gained - without) * likely).mean()}
                if joint:
                    terms["classes"] = classification(logits, labels.expand_as(logits))
                return terms

            if not job.run.finished(stage, file):
                modules: dict[nn.Module, float] = {policy: 1.0, probe: joint} if joint else {policy: 1.0}
                job.train(stage, modules, schedule, losses, generator)
                job.finish(stage, file, policy=policy, probe=probe)
        job.run.load(file, policy=policy, probe=probe)

    def _seen(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        device = self.setting.job.team.device
        return self.setting.job.overviews(rows).to(device), self.setting.features.context(rows)

    @torch.no_grad()
    def scores(self, rows: Tensor) -> Tensor:
        """The policy's logit of every tile, from LR: float32 (N, 100). A share would run into 0 and 1."""
        if self.policy is None:
            raise NotFittedError(f"{self.name} has no policy yet. Call fit() first.")
        parts = [self.policy(*self._seen(part)).cpu() for part in torch.split(rows, SCENES_AT_ONCE)]
        return torch.cat(parts)

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        """Tiles above one threshold for all scenes, calibrated on validation scenes; see `Method.plan`."""
        on_val = self.scores(torch.from_numpy(self.setting.job.roles.val))
        return calibrate(on_val, target_obr).select(self.scores(rows))

    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """The mean token of the observed tiles, (N, dim); see `Method.embed`."""
        return mean_tokens(self.setting.features, rows, selected)

    @torch.no_grad()
    def rank(self, embedded: Tensor) -> Tensor:
        """Logits; see `Method.rank`."""
        return logits_of(self.probe, embedded)
