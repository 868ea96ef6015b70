"""The stages of training between the encoder and stage II, each with its file in the run folder (paper 4.1).

A stage whose file is there is not repeated. Every stage reads its weights back from the file, so that a run
that was cut off and one that was not see the same bytes.
"""

from dataclasses import asdict

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor

from gl10m.scene.grid import GRID
from reference_model.determinism import seeded
from reference_model.features import Features
from reference_model.job import CALIBRATION, PREDICTOR, SAMPLER, SUPERVISION, Job
from reference_model.metrics.observation_cost import Calibration, calibrate
from reference_model.networks.encoder import Backbone
from reference_model.networks.positions import turned
from reference_model.networks.predictor import Predictor
from reference_model.networks.sampler import Sampler
from reference_model.objectives.losses import RunningMean, centred_cosine, spread
from reference_model.objectives.masking import random_masks
from reference_model.objectives.supervision import Supervision, semantic_gain
from reference_model.pretrain import TURNS, Texts
from reference_model.scenes import Scenes

SCENES_AT_ONCE = 32
"""Overviews scored at once, as in E.3."""


def worth(job: Job, features: Features, texts: Texts) -> tuple[Supervision, Tensor]:
    """G* of all scenes, (scenes, 100), and the training percentiles behind it.

    Takes no label, and of the class names the Base ones alone: a sampler that was taught the gain for a Novel
    name would have been told of it.
    """
    gain = semantic_gain(
        features.hr_embedding,
        features.lr_embedding,
        texts.embeddings[job.catalogue.base],
        log_scale=texts.log_scale,
        bias=texts.bias,
        weight=job.preset.gain_weight,
    )
    train = torch.from_numpy(job.roles.train)
    supervision = Supervision.fit(features.cues[train], gain[train], job.preset.fusion)
    return supervision, supervision.targets(features.cues, gain)


def trained_sampler(job: Job, features: Features, supervision: Supervision, targets: Tensor) -> Sampler:
    """Train the sampler towards G* of the training scenes."""
    with seeded(job.seed, "sampler") as generator:
        sampler = Sampler(job.preset.sampler, features=features.lr.shape[-1])
        if not job.run.finished("sampler", SAMPLER):
            sampler.start_at(float(targets[torch.from_numpy(job.roles.train)].mean()))
            _train_sampler(job, features, targets, sampler.to(job.team.device), generator)
            if job.team.leads:
                job.run.write_json(SUPERVISION, supervision.as_json())
            job.finish("sampler", SAMPLER, sampler=sampler)
    job.run.load(SAMPLER, sampler=sampler)
    return sampler.eval().to(job.team.device)


def _train_sampler(
    job: Job, features: Features, targets: Tensor, sampler: Sampler, generator: torch.Generator
) -> None:
    schedule, team = job.preset.sampling, job.team
    side = round(features.lr.shape[1] ** 0.5)
    wrapped = team.wrapped(sampler)

    def losses(_: int) -> dict[str, Tensor]:
        rows = team.part(job.train_rows(schedule.batch, generator))
        turn = int(torch.randint(0, TURNS, (), generator=generator))
        images = turned(job.overviews(rows), turn, rows=2).to(team.device)
        context = turned(features.context(rows).view(len(rows), side, side, -1), turn, rows=1).flatten(1, 2)
        wanted = turned(targets[rows].view(len(rows), GRID, GRID), turn, rows=1).flatten(1)
        logits = wrapped(images, context)
        return {"sampling": F.binary_cross_entropy_with_logits(logits.float(), wanted.to(team.device))}

    job.train("sampler", {sampler: 1.0}, schedule, losses, generator)


@torch.no_grad()
def predicted_worth(scenes: Scenes, encoder: Backbone, sampler: Sampler) -> Tensor:
    """Score all tiles of all scenes from their LR images; no HR tile is read.

    Returns:
        float32 (scenes, 100) in (0, 1), tile = 10 * row + column, north-west first.
    """
    scores = []
    for part in torch.split(torch.arange(len(scenes)), SCENES_AT_ONCE):
        overviews = torch.stack([scenes.scene(int(row)).lr() for row in part]).to(sampler.positions.device)
        scores.append(sampler(overviews, encoder.encode(overviews, "lr").tokens).sigmoid().cpu())
    return torch.cat(scores)


def calibrated(job: Job, scores: Tensor) -> Calibration:
    """Find the shared threshold on the validation scenes."""
    if job.team.leads and not job.run.has(CALIBRATION):
        found = calibrate(scores[torch.from_numpy(job.roles.val)], job.target_obr)
        job.run.write_json(CALIBRATION, asdict(found))
    job.team.wait()
    return job.run.read_as(CALIBRATION, Calibration)


def trained_predictor(job: Job, features: Features, encoder: Backbone) -> tuple[Predictor, RunningMean]:
    """Stage I: random budgeted masks, Eq. 8, on training scenes and unlabelled ones."""
    schedule, team = job.preset.completion, job.team
    mean = RunningMean(encoder.dim, over_team=team.mean).to(team.device)
    with seeded(job.seed, "predictor") as generator:
        predictor = Predictor(
            job.preset.predictor,
            features=encoder.dim,
            tokens_per_side=job.preset.tokens_per_side,
            context_side=encoder.grid,
        ).to(team.device)
        wrapped = team.wrapped(predictor)

        def losses(step: int) -> dict[str, Tensor]:
            rows = team.part(job.pretrain_rows(schedule.batch, generator))
            selected = team.part(random_masks(schedule.batch, generator)).to(team.device)
            target = features.target(rows)
            predicted = wrapped(features.observed(rows, selected), selected, features.context(rows))
            if step == schedule.steps - 1 and team.leads:
                job.run.log(
                    stage="predictor", step=step, spread=spread(predicted), spread_of_target=spread(target)
                )
            return {"completion": centred_cosine(predicted, target, mean(target))}

        if not job.run.finished("predictor", PREDICTOR):
            job.train("predictor", {predictor: 1.0, mean: 1.0}, schedule, losses, generator)
            job.finish("predictor", PREDICTOR, predictor=predictor, mean=mean)
    job.run.load(PREDICTOR, predictor=predictor, mean=mean)
    return predictor.eval(), mean.eval()
