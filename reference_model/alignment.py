"""Stage II: the completed scene against class names, Eq. 9 and half of Eq. 8 (paper 4.4).

What a step draws, what it is graded by and where the head begins are the same for every row that is compared.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from reference_model.determinism import seeded
from reference_model.features import Features
from reference_model.job import MODEL, Job
from reference_model.networks.encoder import Backbone, SmallEncoder
from reference_model.networks.head import SceneHead
from reference_model.networks.predictor import Predictor, integrated
from reference_model.objectives.losses import RunningMean, centred_cosine, pairwise_sigmoid
from reference_model.objectives.masking import random_masks
from reference_model.pretrain import Texts

COMPLETION_WEIGHT = 0.5
"""Weight of Eq. 8 beside Eq. 9 in stage II."""

PREDICTOR_RATE = 0.1
"""Share of stage II's learning rate that the predictor gets; the head gets all of it."""

Represent = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]
"""From scenes (B,) and what is observed, bool (B, 100), to embeddings of length 1, (B, embedding), and the
completed tiles (B, 100, p * p, features) before observed ones are passed through; None where none are."""


class Step(NamedTuple):
    """Scenes of one step, this process's part of them."""

    rows: Tensor
    """Training scenes, (B,), on the CPU."""

    selected: Tensor
    """What is observed of them, bool (B, 100), on the device."""


def drawn_step(job: Job, normalised: Tensor, generator: torch.Generator) -> Step:
    """Draw the scenes of a step of stage II for the whole team, each under a mask.

    Args:
        job: what is trained on.
        normalised: the sampler's scores of all scenes, (scenes, 100), see `Calibration.normalised`.
        generator: draws scenes, masks and thresholds.
    """
    whole = job.train_rows(job.preset.alignment.batch, generator)
    masks = mixed_masks(normalised[whole], generator)
    return Step(job.team.part(whole), job.team.part(masks).to(job.team.device))


def completion_term(features: Features, rows: Tensor, predicted: Tensor, mean: RunningMean) -> Tensor:
    """The share of Eq. 8 in stage II: a scalar.

    Args:
        features: hold H*.
        rows: scenes, (B,).
        predicted: their tiles, (B, 100, p * p, features).
        mean: mu, which stage II leaves as it is.
    """
    return COMPLETION_WEIGHT * centred_cosine(predicted, features.target(rows), mean.mean)


def alignment_losses(
    job: Job,
    features: Features,
    texts: Texts,
    represent: Represent,
    *,
    head: SceneHead,
    normalised: Tensor,
    mean: RunningMean | None,
    generator: torch.Generator,
) -> Callable[[int], dict[str, Tensor]]:
    """The terms of a step: Eq. 9 on Base names, and half of Eq. 8 where scenes are completed.

    Args:
        job: what is trained on.
        features: encoded scenes.
        texts: all class names; the Novel ones are not looked at.
        represent: what is trained.
        head: whose temperature and bias Eq. 9 has.
        normalised: see `drawn_step`.
        mean: mu of Eq. 8; None where nothing is completed.
        generator: all chance of the stage.
    """
    words = texts.embeddings[job.catalogue.base].to(job.team.device)

    def losses(_: int) -> dict[str, Tensor]:
        rows, selected = drawn_step(job, normalised, generator)
        images, predicted = represent(rows, selected)
        matched = job.catalogue.base_labels(rows).to(job.team.device)
        terms = {"alignment": pairwise_sigmoid(images, words, matched, head.log_scale, head.bias)}
        if predicted is not None and mean is not None:
            terms["completion"] = completion_term(features, rows, predicted, mean)
        return terms

    return losses


def trained_head(
    job: Job,
    *,
    features: Features,
    encoder: Backbone,
    texts: Texts,
    predictor: Predictor,
    mean: RunningMean,
    normalised: Tensor,
) -> SceneHead:
    """Train the head, and the predictor with it at a tenth of the rate, or read both back.

    Args:
        job: what is trained on; its run folder takes the weights.
        features: encoded scenes.
        encoder: whose pool the head begins with, where it is the small one.
        texts: all class names.
        predictor: of stage I; it is changed in place.
        mean: mu of Eq. 8.
        normalised: the sampler's scores of all scenes, (scenes, 100), for half of the masks.
    """
    team = job.team
    with seeded(job.seed, "head") as generator:
        head = starting_head(job, encoder, texts).to(team.device)
        completing, gathering = team.wrapped(predictor), team.wrapped(head)

        def represent(rows: Tensor, selected: Tensor) -> tuple[Tensor, Tensor]:
            observed = features.observed(rows, selected)
            predicted = completing(observed, selected, features.context(rows))
            return gathering(integrated(predicted, observed, selected)), predicted

        losses = alignment_losses(
            job,
            features,
            texts,
            represent,
            head=head,
            normalised=normalised,
            mean=mean,
            generator=generator,
        )
        if not job.run.finished("head", MODEL):
            modules = {predictor: PREDICTOR_RATE, head: 1.0}
            job.train("head", modules, job.preset.alignment, losses, generator)
            job.finish("head", MODEL, predictor=predictor, head=head)
    job.run.load(MODEL, predictor=predictor, head=head)
    predictor.eval()
    return head.eval()


def starting_head(job: Job, encoder: Backbone, texts: Texts) -> SceneHead:
    """The head at its start.

    That of the small encoder begins as the encoder's own pool, looking at a whole scene instead of one tile:
    a few dozen scenes cannot teach a pool from nothing.
    """
    small = isinstance(encoder, SmallEncoder)
    head = SceneHead(
        features=encoder.dim,
        heads=job.preset.encoder.heads if small else job.preset.predictor.heads,
        embedding=texts.embeddings.shape[1],
        tokens_per_side=job.preset.tokens_per_side,
        width=None if small else job.preset.predictor.dim,
        depth=job.preset.head_depth,
    )
    if isinstance(encoder, SmallEncoder):
        head.pool.load_state_dict(encoder.pool.state_dict())
        head.project.load_state_dict(encoder.project.state_dict())
    rate = job.catalogue.base_labels(torch.from_numpy(job.roles.train)).float().mean()
    with torch.no_grad():
        head.log_scale.copy_(texts.log_scale)
        head.bias.copy_(torch.logit(rate, eps=1e-4))
    return head


def mixed_masks(normalised: Tensor, generator: torch.Generator) -> Tensor:
    """Stage I's masks for half of the scenes, the sampler's at a random threshold for the others.

    Args:
        normalised: scores of the scenes in a step, (N, 100), see `Calibration.normalised`.
        generator: draws masks and thresholds.

    Returns:
        bool (N, 100).
    """
    count = len(normalised)
    thresholds = torch.rand(count, 1, generator=generator)
    chosen = normalised >= thresholds
    by_sampler = torch.rand(count, 1, generator=generator) < 0.5  # noqa: PLR2004 - half of the scenes
    return torch.where(by_sampler, chosen, random_masks(count, generator))
