"""The stages of training, each with its file in the run folder (paper 4.1).

A stage whose file is there is not repeated. Every stage reads its weights back from the file, so that a run
that was cut off and one that was not see the same bytes.
"""

import hashlib
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from gl10m.scene.grid import GRID
from reference_model.features import Features, extract
from reference_model.holdout import Roles
from reference_model.metrics.observation_cost import Calibration, calibrate
from reference_model.networks.encoder import Backbone, SmallEncoder
from reference_model.networks.head import SceneHead
from reference_model.networks.positions import turned
from reference_model.networks.predictor import Predictor, integrated
from reference_model.networks.sampler import Sampler
from reference_model.objectives.losses import RunningMean, centred_cosine, pairwise_sigmoid, spread
from reference_model.objectives.masking import random_masks
from reference_model.objectives.supervision import Supervision, semantic_gain
from reference_model.optimise import optimise
from reference_model.presets import Preset
from reference_model.pretrain import TURNS, Texts, pretrain
from reference_model.run import Run, seeded
from reference_model.scenes import Catalogue, Scenes

ENCODER, TEXTS, FEATURES = "encoder.safetensors", "texts.safetensors", "features"
SUPERVISION, SAMPLER, CALIBRATION = "supervision.json", "sampler.safetensors", "calibration.json"
PREDICTOR, MODEL = "predictor.safetensors", "model.safetensors"

COMPLETION_WEIGHT = 0.5
"""Weight of Eq. 8 beside Eq. 9 in stage II."""

SCENES_AT_ONCE = 32
"""Overviews scored at once, as in E.3."""

PREDICTOR_RATE = 0.1
"""Share of stage II's learning rate that the predictor gets; the head gets all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every stage reads."""

    run: Run
    preset: Preset
    seed: int
    target_obr: float
    scenes: Scenes
    catalogue: Catalogue
    roles: Roles

    def train_rows(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw training scenes, (count,), with replacement."""
        drawn = torch.randint(0, len(self.roles.train), (count,), generator=generator)
        return torch.from_numpy(self.roles.train)[drawn]

    def overviews(self, rows: Tensor) -> Tensor:
        """LR images uint8 (len(rows), 3, 268, 268)."""
        return torch.stack([self.scenes.scene(int(row)).lr() for row in rows])


def trained_encoder(job: Job) -> tuple[SmallEncoder, Texts]:
    """Train the small encoder on the training scenes; returned frozen."""
    run, preset = job.run, job.preset
    encoder = SmallEncoder(preset.encoder)
    if not (run.has(ENCODER) and run.has(TEXTS)):
        with seeded(job.seed, "encoder") as generator:
            encoder, texts = pretrain(
                job.scenes,
                rows=torch.from_numpy(job.roles.train),
                tile_labels=job.catalogue.tile_labels,
                names=job.catalogue.class_names,
                parameters=preset.encoder,
                schedule=preset.pretraining,
                generator=generator,
                log=run.log,
            )
        run.write_weights(TEXTS, asdict(texts))
        run.write_weights(ENCODER, encoder.state_dict())
    encoder.load_state_dict(run.read_weights(ENCODER))
    return encoder.eval().requires_grad_(requires_grad=False), Texts(**run.read_weights(TEXTS))


def encoded(job: Job, encoder: SmallEncoder) -> Features:
    """Encode every image once, or open the cache."""
    made_from: dict[str, object] = {
        "encoder": asdict(job.preset.encoder),
        "weights": _digest_of(encoder),
        "scenes": job.catalogue.digest(),
        "tokens_per_side": job.preset.tokens_per_side,
    }
    return extract(
        job.scenes,
        encoder,
        tokens_per_side=job.preset.tokens_per_side,
        folder=job.run.folder / FEATURES,
        made_from=made_from,
    )


def worth(job: Job, features: Features, texts: Texts) -> tuple[Supervision, Tensor]:
    """G* of all scenes, (scenes, 100), and the training percentiles behind it; takes no label."""
    gain = semantic_gain(
        features.hr_embedding,
        features.lr_embedding,
        texts.embeddings,
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
        if not job.run.has(SAMPLER):
            sampler.start_at(float(targets[torch.from_numpy(job.roles.train)].mean()))
            _train_sampler(job, features, targets, sampler, generator)
            job.run.write_json(SUPERVISION, supervision.as_json())
            job.run.write_weights(SAMPLER, sampler.state_dict())
    sampler.load_state_dict(job.run.read_weights(SAMPLER))
    return sampler.eval()


def _train_sampler(
    job: Job, features: Features, targets: Tensor, sampler: Sampler, generator: torch.Generator
) -> None:
    schedule = job.preset.sampling
    side = round(features.lr.shape[1] ** 0.5)

    def losses(_: int) -> dict[str, Tensor]:
        rows = job.train_rows(schedule.batch, generator)
        turn = int(torch.randint(0, TURNS, (), generator=generator))
        images = turned(job.overviews(rows), turn, rows=2)
        context = turned(features.context(rows).view(len(rows), side, side, -1), turn, rows=1).flatten(1, 2)
        wanted = turned(targets[rows].view(len(rows), GRID, GRID), turn, rows=1).flatten(1)
        logits = sampler(images, context)
        return {"sampling": F.binary_cross_entropy_with_logits(logits, wanted)}

    optimise("sampler", {sampler: 1.0}, schedule, losses, job.run.log)


@torch.no_grad()
def predicted_worth(scenes: Scenes, encoder: Backbone, sampler: Sampler) -> Tensor:
    """Score all tiles of all scenes from their LR images; no HR tile is read.

    Returns:
        float32 (scenes, 100) in (0, 1), tile = 10 * row + column, north-west first.
    """
    scores = []
    for part in torch.split(torch.arange(len(scenes)), SCENES_AT_ONCE):
        overviews = torch.stack([scenes.scene(int(row)).lr() for row in part])
        scores.append(sampler(overviews, encoder.encode(overviews, "lr").tokens).sigmoid())
    return torch.cat(scores)


def calibrated(job: Job, scores: Tensor) -> Calibration:
    """Find the shared threshold on the validation scenes."""
    if not job.run.has(CALIBRATION):
        found = calibrate(scores[torch.from_numpy(job.roles.val)], job.target_obr)
        job.run.write_json(CALIBRATION, asdict(found))
    return Calibration(**job.run.read_json(CALIBRATION))


def trained_predictor(job: Job, features: Features, encoder: SmallEncoder) -> tuple[Predictor, RunningMean]:
    """Stage I: random budgeted masks, Eq. 8."""
    schedule = job.preset.completion
    mean = RunningMean(encoder.dim)
    with seeded(job.seed, "predictor") as generator:
        predictor = Predictor(
            job.preset.predictor,
            features=encoder.dim,
            tokens_per_side=job.preset.tokens_per_side,
            context_side=encoder.grid,
        )

        def losses(step: int) -> dict[str, Tensor]:
            rows = job.train_rows(schedule.batch, generator)
            selected = random_masks(len(rows), generator)
            target = features.target(rows)
            predicted = predictor(features.observed(rows, selected), selected, features.context(rows))
            if step == schedule.steps - 1:
                job.run.log(stage="predictor", spread=spread(predicted), spread_of_target=spread(target))
            return {"completion": centred_cosine(predicted, target, mean(target))}

        if not job.run.has(PREDICTOR):
            optimise("predictor", {predictor: 1.0, mean: 1.0}, schedule, losses, job.run.log)
            job.run.write_weights(PREDICTOR, _named(predictor=predictor, mean=mean))
    _load(job.run.read_weights(PREDICTOR), predictor=predictor, mean=mean)
    return predictor.eval(), mean.eval()


def trained_head(
    job: Job,
    *,
    features: Features,
    encoder: SmallEncoder,
    texts: Texts,
    predictor: Predictor,
    mean: RunningMean,
    normalised: Tensor,
) -> SceneHead:
    """Stage II: Eq. 9 and half of Eq. 8 on the completed scene; half of the masks are the sampler's."""
    schedule, labels = job.preset.alignment, job.catalogue.labels
    head = _head(job, encoder, texts)

    with seeded(job.seed, "head") as generator:

        def losses(_: int) -> dict[str, Tensor]:
            rows = job.train_rows(schedule.batch, generator)
            selected = _mixed_masks(normalised[rows], generator)
            observed, target = features.observed(rows, selected), features.target(rows)
            predicted = predictor(observed, selected, features.context(rows))
            images = head(integrated(predicted, observed, selected))
            match = pairwise_sigmoid(images, texts.embeddings, labels[rows], head.log_scale, head.bias)
            return {
                "alignment": match,
                "completion": COMPLETION_WEIGHT * centred_cosine(predicted, target, mean.mean),
            }

        if not job.run.has(MODEL):
            modules = {predictor: PREDICTOR_RATE, head: 1.0}
            optimise("head", modules, schedule, losses, job.run.log)
            job.run.write_weights(MODEL, _named(predictor=predictor, head=head))
    _load(job.run.read_weights(MODEL), predictor=predictor, head=head)
    predictor.eval()
    return head.eval()


def _head(job: Job, encoder: SmallEncoder, texts: Texts) -> SceneHead:
    """The encoder's own pool, looking at a whole scene instead of one tile, is where the head begins."""
    head = SceneHead(
        features=encoder.dim,
        heads=job.preset.encoder.heads,
        embedding=encoder.embedding,
        tokens_per_side=job.preset.tokens_per_side,
    )
    head.pool.load_state_dict(encoder.pool.state_dict())
    head.project.load_state_dict(encoder.project.state_dict())
    rate = job.catalogue.labels[torch.from_numpy(job.roles.train)].float().mean()
    with torch.no_grad():
        head.log_scale.copy_(texts.log_scale)
        head.bias.copy_(torch.logit(rate, eps=1e-4))
    return head


def _mixed_masks(normalised: Tensor, generator: torch.Generator) -> Tensor:
    """Stage I's masks for half of the scenes, the sampler's at a random threshold for the others."""
    count = len(normalised)
    thresholds = torch.rand(count, 1, generator=generator)
    chosen = normalised >= thresholds
    by_sampler = torch.rand(count, 1, generator=generator) < 0.5  # noqa: PLR2004 - half of the scenes
    return torch.where(by_sampler, chosen, random_masks(count, generator))


def _named(**modules: nn.Module) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": tensor
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }


def _load(state: dict[str, Tensor], **modules: nn.Module) -> None:
    for name, module in modules.items():
        prefix = f"{name}."
        module.load_state_dict(
            {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
        )


def _digest_of(module: nn.Module) -> str:
    state = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        state.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return state.hexdigest()
