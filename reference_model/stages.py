"""The stages of training, each with its file in the run folder (paper 4.1).

A stage whose file is there is not repeated. Every stage reads its weights back from the file, so that a run
that was cut off and one that was not see the same bytes.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

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
from reference_model.networks.published import PublishedEncoder
from reference_model.networks.published_texts import MINI_LM, embed_names
from reference_model.networks.sampler import Sampler
from reference_model.objectives.losses import RunningMean, centred_cosine, pairwise_sigmoid, spread
from reference_model.objectives.masking import random_masks
from reference_model.objectives.supervision import Supervision, semantic_gain
from reference_model.optimise import Schedule, optimise
from reference_model.presets import Preset
from reference_model.pretrain import TURNS, Texts, pretrain
from reference_model.run import Run, seeded
from reference_model.scenes import Catalogue, Scenes
from reference_model.shared_space import Aligner, TileDraw, in_shared_space
from reference_model.shared_space import calibrated as calibrated_texts
from reference_model.team import Team

SMALL = "small"
"""The encoder that a run trains for itself."""

ALIGNER = "aligner.safetensors"
ENCODER, TEXTS, FEATURES = "encoder.safetensors", "texts.safetensors", "features"
SUPERVISION, SAMPLER, CALIBRATION = "supervision.json", "sampler.safetensors", "calibration.json"
PREDICTOR, MODEL = "predictor.safetensors", "model.safetensors"

COMPLETION_WEIGHT = 0.5
"""Weight of Eq. 8 beside Eq. 9 in stage II."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderChoice:
    """Which encoder, and where its files are."""

    name: str = SMALL
    """SMALL, or a key of `published.ENCODERS`."""

    weights: Path | None = None
    """Its file; looked for on this machine if None."""

    texts: Path | None = None
    """Folder of its text tower; looked for on this machine if None."""


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
    team: Team = field(default_factory=Team)

    def train_rows(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw training scenes for the whole team, (count,), with replacement."""
        drawn = torch.randint(0, len(self.roles.train), (count,), generator=generator)
        return torch.from_numpy(self.roles.train)[drawn]

    def train(
        self,
        stage: str,
        modules: Mapping[nn.Module, float],
        schedule: Schedule,
        losses: Callable[[int], dict[str, Tensor]],
        generator: torch.Generator,
    ) -> None:
        """Train one stage; see `optimise`."""
        optimise(stage, modules, schedule, losses, journal=self.run, generator=generator, team=self.team)

    def finish(self, stage: str, file: str, **modules: nn.Module) -> None:
        """Write the weights that a stage has trained; every process goes on when they stand there."""
        if self.team.leads:
            self.run.write_weights(file, _named(**modules))
            self.run.drop_checkpoint(stage)
        self.team.wait()

    def overviews(self, rows: Tensor) -> Tensor:
        """LR images uint8 (len(rows), 3, 268, 268)."""
        return torch.stack([self.scenes.scene(int(row)).lr() for row in rows])


def trained_encoder(job: Job) -> tuple[SmallEncoder, Texts]:
    """Train the small encoder on the training scenes; returned frozen."""
    run, preset = job.run, job.preset
    encoder = SmallEncoder(preset.encoder)
    if job.team.leads and not (run.has(ENCODER) and run.has(TEXTS)):
        with seeded(job.seed, "encoder") as generator:
            encoder, texts = pretrain(
                job.scenes,
                rows=torch.from_numpy(job.roles.train),
                tile_labels=job.catalogue.tile_labels,
                names=job.catalogue.class_names,
                parameters=preset.encoder,
                schedule=preset.pretraining,
                generator=generator,
                journal=run,
            )
        run.write_weights(TEXTS, asdict(texts))
        run.write_weights(ENCODER, encoder.state_dict())
        run.drop_checkpoint("encoder")
    job.team.wait()
    encoder.load_state_dict(run.read_weights(ENCODER))
    frozen = encoder.eval().requires_grad_(requires_grad=False).to(job.team.device)
    return frozen, Texts(**run.read_weights(TEXTS))


def embedded_names(job: Job, encoder: PublishedEncoder, folder: Path | None) -> Tensor:
    """Class names by the encoder's own text tower, or by a sentence encoder: (classes, embedding).

    Args:
        job: what is trained on.
        encoder: whose space is wanted.
        folder: of the text tower; looked for on this machine if None.
    """
    tower = encoder.published.texts or MINI_LM
    if job.team.leads and not job.run.has(TEXTS):
        job.run.write_weights(TEXTS, {"embeddings": embed_names(job.catalogue.class_names, tower, folder)})
    job.team.wait()
    return job.run.read_weights(TEXTS)["embeddings"]


def shared_space(
    job: Job, features: Features, encoder: PublishedEncoder, words: Tensor
) -> tuple[Features, Texts]:
    """Class names and images in one space: the checkpoint's own, or one that is learned from tiles."""
    if encoder.published.texts is None:
        return _aligned(job, features, words)
    if encoder.bias is not None:
        return features, Texts(embeddings=words, log_scale=encoder.log_scale, bias=encoder.bias)
    train = torch.from_numpy(job.roles.train)
    return features, calibrated_texts(features.hr_embedding[train].flatten(0, 1), words, encoder.log_scale)


def _aligned(job: Job, features: Features, words: Tensor) -> tuple[Features, Texts]:
    """One linear layer from the encoder's mean token to the class names; see `shared_space`."""
    schedule, team, catalogue = job.preset.pretraining, job.team, job.catalogue
    train = torch.from_numpy(job.roles.train)
    rate = float(catalogue.tile_labels[train].float().mean())
    with seeded(job.seed, "aligner") as generator:
        aligner = Aligner(features.hr.shape[-1], words.shape[1], rate)
        if team.leads and not job.run.has(ALIGNER):
            draw = TileDraw(replace(features, device=torch.device("cpu")), train, catalogue.tile_labels)

            def losses(_: int) -> dict[str, Tensor]:
                tokens, labels = draw(schedule.batch, generator)
                scenes = job.train_rows(max(1, schedule.batch // 4), generator)
                overviews = features.lr[scenes].float()
                return {
                    "hr": aligner.loss(tokens, labels, words),
                    "lr": aligner.loss(overviews, catalogue.labels[scenes], words),
                }

            optimise("aligner", {aligner: 1.0}, schedule, losses, journal=job.run, generator=generator)
            job.run.write_weights(ALIGNER, _named(aligner=aligner))
            job.run.drop_checkpoint("aligner")
    team.wait()
    _load(job.run.read_weights(ALIGNER), aligner=aligner)
    aligner.to(team.device).eval().requires_grad_(requires_grad=False)
    texts = Texts(embeddings=words, log_scale=aligner.log_scale.cpu(), bias=aligner.bias.cpu())
    return in_shared_space(features, aligner), texts


def encoded(job: Job, encoder: Backbone) -> Features:
    """Encode every image once, or open the cache."""
    named = encoder.published.hub_id if isinstance(encoder, PublishedEncoder) else asdict(job.preset.encoder)
    made_from: dict[str, object] = {
        "encoder": named,
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
        kept_as=job.preset.kept_as,
        team=job.team,
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
            _train_sampler(job, features, targets, sampler.to(job.team.device), generator)
            if job.team.leads:
                job.run.write_json(SUPERVISION, supervision.as_json())
            job.finish("sampler", SAMPLER, sampler=sampler)
    _load(job.run.read_weights(SAMPLER), sampler=sampler)
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
    return Calibration(**job.run.read_json(CALIBRATION))


def trained_predictor(job: Job, features: Features, encoder: Backbone) -> tuple[Predictor, RunningMean]:
    """Stage I: random budgeted masks, Eq. 8."""
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
            rows = team.part(job.train_rows(schedule.batch, generator))
            selected = team.part(random_masks(schedule.batch, generator)).to(team.device)
            target = features.target(rows)
            predicted = wrapped(features.observed(rows, selected), selected, features.context(rows))
            if step == schedule.steps - 1 and team.leads:
                job.run.log(stage="predictor", spread=spread(predicted), spread_of_target=spread(target))
            return {"completion": centred_cosine(predicted, target, mean(target))}

        if not job.run.has(PREDICTOR):
            job.train("predictor", {predictor: 1.0, mean: 1.0}, schedule, losses, generator)
            job.finish("predictor", PREDICTOR, predictor=predictor, mean=mean)
    _load(job.run.read_weights(PREDICTOR), predictor=predictor, mean=mean)
    return predictor.eval(), mean.eval()


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
    """Stage II: Eq. 9 and half of Eq. 8 on the completed scene; half of the masks are the sampler's."""
    schedule, labels, team = job.preset.alignment, job.catalogue.labels, job.team
    words = texts.embeddings.to(team.device)

    with seeded(job.seed, "head") as generator:
        head = _head(job, encoder, texts).to(team.device)
        completing, gathering = team.wrapped(predictor), team.wrapped(head)

        def losses(_: int) -> dict[str, Tensor]:
            whole = job.train_rows(schedule.batch, generator)
            rows = team.part(whole)
            selected = team.part(_mixed_masks(normalised[whole], generator)).to(team.device)
            observed, target = features.observed(rows, selected), features.target(rows)
            predicted = completing(observed, selected, features.context(rows))
            images = gathering(integrated(predicted, observed, selected))
            matched = labels[rows].to(team.device)
            match = pairwise_sigmoid(images, words, matched, head.log_scale, head.bias)
            return {
                "alignment": match,
                "completion": COMPLETION_WEIGHT * centred_cosine(predicted, target, mean.mean),
            }

        if not job.run.has(MODEL):
            modules = {predictor: PREDICTOR_RATE, head: 1.0}
            job.train("head", modules, schedule, losses, generator)
            job.finish("head", MODEL, predictor=predictor, head=head)
    _load(job.run.read_weights(MODEL), predictor=predictor, head=head)
    predictor.eval()
    return head.eval()


def _head(job: Job, encoder: Backbone, texts: Texts) -> SceneHead:
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
    )
    if isinstance(encoder, SmallEncoder):
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


def _digest_of(encoder: Backbone) -> str:
    state = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        state.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return state.hexdigest()
