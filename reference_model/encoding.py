"""The first stage: an encoder, the class names in its space, and every image encoded once (paper 4.1).

The small encoder is trained here; a published one is opened, and its words or a linear layer bring class
names and images into one space. As in every stage, weights are read back from their file, so that a run that
was cut off and one that was not see the same bytes.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from reference_model.determinism import seeded
from reference_model.feature_cache import extract
from reference_model.features import Features
from reference_model.job import ALIGNER, ENCODER, FEATURES, TEXTS, TOWER, Job, named
from reference_model.networks.encoder import SMALL, Backbone, SmallEncoder
from reference_model.networks.published import PublishedEncoder
from reference_model.networks.published_texts import MINI_LM, embed_names, embed_names_within
from reference_model.objectives.supervision import SCENES_AT_ONCE
from reference_model.optimise import optimise
from reference_model.pretrain import Texts, pretrain
from reference_model.run import expect_shape
from reference_model.shared_space import Aligner, TileDraw, in_shared_space, plausible_bias
from reference_model.weights_file import digest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderChoice:
    """Which encoder, and where its files are."""

    name: str = SMALL
    """SMALL, or a key of `published.ENCODERS`."""

    weights: Path | None = None
    """Its file; looked for on this machine if None."""

    texts: Path | None = None
    """Folder of its text tower; looked for on this machine if None."""


def trained_encoder(job: Job) -> tuple[SmallEncoder, Texts]:
    """Train the small encoder on the Base labels of the training scenes; returned frozen."""
    run, preset = job.run, job.preset
    encoder = SmallEncoder(preset.encoder)
    if job.team.leads and not (run.finished("encoder", ENCODER) and run.has(TEXTS) and run.has(TOWER)):
        with seeded(job.seed, "encoder") as generator:
            encoder, tower, texts = pretrain(
                job.scenes,
                rows=torch.from_numpy(job.roles.train),
                catalogue=job.catalogue,
                parameters=preset.encoder,
                schedule=preset.pretraining,
                generator=generator,
                journal=run,
            )
        run.write_weights(TOWER, tower.state_dict())
        run.write_weights(TEXTS, asdict(texts))
        run.write_weights(ENCODER, encoder.state_dict())
        run.drop_checkpoint("encoder")
    job.team.wait()
    with run.fitting(ENCODER):
        encoder.load_state_dict(run.read_weights(ENCODER))
    frozen = encoder.eval().requires_grad_(requires_grad=False).to(job.team.device)
    texts = run.read_as(TEXTS, Texts)
    with run.fitting(TEXTS):
        expect_shape(texts.embeddings, (len(job.catalogue.class_names), preset.encoder.embedding))
        expect_shape(texts.log_scale, ())
        expect_shape(texts.bias, ())
    return frozen, texts


@dataclass(frozen=True, slots=True)
class Words:
    """Class names in the space of a published text tower."""

    embeddings: Tensor
    """float32 (classes, embedding)."""


def embedded_names(job: Job, encoder: PublishedEncoder, folder: Path | None) -> Tensor:
    """Class names by the encoder's own text tower, or by a sentence encoder: (classes, embedding).

    Args:
        job: what is trained on.
        encoder: whose space is wanted.
        folder: of the text tower; looked for on this machine if None.
    """
    if job.team.leads and not job.run.has(TEXTS):
        names = job.catalogue.class_names
        if encoder.published.texts_within:
            words = embed_names_within(names, encoder, folder)
        else:
            words = embed_names(names, encoder.published.texts or MINI_LM, folder)
        job.run.write_weights(TEXTS, {"embeddings": words})
    job.team.wait()
    words = job.run.read_as(TEXTS, Words).embeddings
    with job.run.fitting(TEXTS):
        expect_shape(words, (len(job.catalogue.class_names), words.shape[-1]))
    return words


def shared_space(
    job: Job, features: Features, encoder: PublishedEncoder, words: Tensor
) -> tuple[Features, Texts]:
    """Class names and images in one space: the checkpoint's own, or one that is learned from tiles."""
    if encoder.published.texts is None:
        return _aligned(job, features, words)
    if encoder.bias is not None:
        return features, Texts(embeddings=words, log_scale=encoder.log_scale, bias=encoder.bias)
    train = torch.from_numpy(job.roles.train)
    tiles = (features.hr_embedding[part].flatten(0, 1) for part in torch.split(train, SCENES_AT_ONCE))
    bias = plausible_bias(tiles, words[job.catalogue.base], encoder.log_scale)
    return features, Texts(embeddings=words, log_scale=encoder.log_scale, bias=bias)


def _aligned(job: Job, features: Features, words: Tensor) -> tuple[Features, Texts]:
    """One linear layer from the encoder's mean token to the Base names; see `shared_space`."""
    schedule, team, catalogue = job.preset.pretraining, job.team, job.catalogue
    train = torch.from_numpy(job.roles.train)
    base_words = words[catalogue.base]
    tile_labels = catalogue.base_tile_labels(train)
    with seeded(job.seed, "aligner") as generator:
        aligner = Aligner(features.hr.shape[-1], words.shape[1], float(tile_labels.float().mean()))
        if team.leads and not job.run.finished("aligner", ALIGNER):
            draw = TileDraw(replace(features, device=torch.device("cpu")), train, tile_labels)

            def losses(_: int) -> dict[str, Tensor]:
                tokens, labels = draw(schedule.batch, generator)
                scenes = job.train_rows(max(1, schedule.batch // 4), generator)
                overviews = features.lr[scenes].float()
                return {
                    "hr": aligner.loss(tokens, labels, base_words),
                    "lr": aligner.loss(overviews, catalogue.base_labels(scenes), base_words),
                }

            optimise("aligner", {aligner: 1.0}, schedule, losses, journal=job.run, generator=generator)
            job.run.write_weights(ALIGNER, named(aligner=aligner))
            job.run.drop_checkpoint("aligner")
    team.wait()
    job.run.load(ALIGNER, aligner=aligner)
    aligner.to(team.device).eval().requires_grad_(requires_grad=False)
    texts = Texts(embeddings=words, log_scale=aligner.log_scale.cpu(), bias=aligner.bias.cpu())
    return in_shared_space(features, aligner), texts


def encoded(job: Job, encoder: Backbone) -> Features:
    """Encode every image once, or open the cache."""
    named = encoder.published.hub_id if isinstance(encoder, PublishedEncoder) else asdict(job.preset.encoder)
    made_from: dict[str, object] = {
        "encoder": named,
        "weights": digest_of(encoder.state_dict()),
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
