"""Training from a data set to a result, in stages (paper 4.1).

encoder -> features -> sampler -> threshold -> predictor (stage I) -> predictor and head (stage II) -> result.
"""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from gl10m.manifest.provenance import digest
from gl10m.storage.place import Place
from reference_model import encoding
from reference_model.determinism import threads
from reference_model.encoding import EncoderChoice
from reference_model.evaluate import Model, Trial, evaluate
from reference_model.features import Features
from reference_model.holdout import assign
from reference_model.job import (
    CALIBRATION,
    CLASSES,
    ENCODER,
    MODEL,
    PREDICTOR,
    SAMPLER,
    TEXTS,
    TOWER,
    Job,
    Say,
)
from reference_model.metrics.observation_cost import DEFAULT_OBR
from reference_model.metrics.retrieval import require_positives
from reference_model.networks.encoder import SMALL, Backbone
from reference_model.networks.published import PublishedEncoder, open_published
from reference_model.presets import Preset
from reference_model.pretrain import Texts
from reference_model.run import Run, open_run
from reference_model.scenes import Catalogue, Scenes, open_scenes, read_catalogue, read_splits
from reference_model.team import Team, team
from reference_model.trained import trained_model
from reference_model.weights_file import digest_of

METRICS = "metrics.json"
"""The result; a run that has it is finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A data set that is open."""

    scenes: Scenes
    """Pixels."""

    catalogue: Catalogue
    """Names, places and labels of the same scenes."""

    splits: list[str]
    """The split of each scene."""

    root: Place | None = None
    """Where it was built; None for scenes that were made in memory, which have no manifests to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What decides a run beside the data set and the seed."""

    preset: Preset
    """Sizes and lengths."""

    encoder: EncoderChoice = field(default_factory=EncoderChoice)
    target_obr: float = DEFAULT_OBR
    """Share of HR tiles to observe, in [0, 1]."""

    device: str = "cpu"
    """"cpu", "cuda", or "auto" for a GPU where there is one. Under torchrun all processes train together."""

    compiled: bool = False
    """Whether `torch.compile` takes the blocks of what is trained; last bits then differ."""


def open_ground(root: Place, novel: Collection[str] | None = None) -> Ground:
    """Open a built data set.

    Args:
        root: where it is.
        novel: names of the classes that are held out of every training; see `read_catalogue`.

    Raises:
        FileNotFoundError: there is none.
        NovelClassError: it has no such class, or no other.
    """
    scenes = open_scenes(root)
    catalogue = replace(read_catalogue(scenes, novel), images=scenes.checksum())
    splits = read_splits(root, catalogue.scene_ids)
    return Ground(scenes=scenes, catalogue=catalogue, splits=splits, root=root)


def train_reference(ground: Ground, out: Path, recipe: Recipe, seed: int, say: Say) -> dict[str, Any]:
    """Train on a data set and evaluate on its held-out scenes.

    Args:
        ground: the data set.
        out: the run folder; a finished run is not repeated, an unfinished one continues.
        recipe: sizes, encoder, cost, device.
        seed: decides everything random.
        say: takes lines for the user.

    Returns:
        The content of metrics.json.

    Raises:
        WeightsNotFoundError: those of a published encoder are not on this machine; nothing was made then.
        TooFewScenesError: the data set is too small.
        NoEvaluableClassError: no class has a positive among the held-out scenes.
        RunMismatchError: `out` holds another run.
    """
    with opened_job(ground, out, recipe, seed) as (job, published):
        if job.run.has(METRICS):
            lost = lost_files(job.run, recipe.encoder.name)
            job.team.wait()  # all have looked before one makes anything
            if not lost:
                say(f"{out} is a finished run; this is its result.")
                return job.run.read_json(METRICS)
            say(f"{out} was finished and has lost {', '.join(lost)}: made anew")
        say(
            f"{len(job.roles.train)} scenes to train on, {len(job.roles.val)} for the threshold, "
            f"{len(job.roles.test)} held out"
        )
        metrics = _trained_and_evaluated(job, recipe.encoder, published, say)
        if job.team.leads:
            job.run.write_json(METRICS, metrics)
        job.team.wait()
        return metrics


def lost_files(run: Run, encoder: str) -> list[str]:
    """The files of a finished run that are gone from its folder.

    Args:
        run: the run folder.
        encoder: its name, as in `EncoderChoice`.
    """
    own = (ENCODER, TOWER) if encoder == SMALL else ()
    return [name for name in (*own, TEXTS, SAMPLER, CALIBRATION, PREDICTOR, MODEL) if not run.has(name)]


@contextlib.contextmanager
def opened_job(
    ground: Ground, out: Path, recipe: Recipe, seed: int
) -> Iterator[tuple[Job, PublishedEncoder | None]]:
    """Open a run folder for one process or for a team; see `train_reference` for arguments and errors.

    Yields:
        What every stage reads, and the published encoder; None where the run trains its own.
    """
    choice, catalogue = recipe.encoder, ground.catalogue
    published = None if choice.name == SMALL else open_published(choice.name, choice.weights)
    roles = assign(ground.splits, catalogue.bounds, seed)
    require_positives(catalogue.labels[torch.from_numpy(roles.test)].numpy())
    settings = {
        "preset": asdict(recipe.preset),
        "seed": seed,
        "target_obr": recipe.target_obr,
        "encoder": choice.name,
        "scenes": catalogue.digest(),
        "splits": digest(ground.splits),
    }
    if published is not None:
        settings["weights"] = digest_of(published.state_dict())
    with (
        team(recipe.device, compiled=recipe.compiled) as members,
        threads(recipe.preset.threads),
        _opened(out, settings, members) as run,
    ):
        job = Job(
            run=run,
            preset=recipe.preset,
            seed=seed,
            target_obr=recipe.target_obr,
            scenes=ground.scenes,
            catalogue=catalogue,
            roles=roles,
            team=members,
        )
        if members.leads and not run.has(CLASSES):
            job.note_classes()
        members.wait()
        yield job, published


@contextlib.contextmanager
def _opened(out: Path, settings: dict[str, Any], members: Team) -> Iterator[Run]:
    """The run folder: opened by the process that leads, looked into by the others."""
    if members.leads:
        with open_run(out, settings) as run:
            members.wait()
            yield run
    else:
        members.wait()
        yield Run(out)


def encoded(
    job: Job, choice: EncoderChoice, published: PublishedEncoder | None, say: Say
) -> tuple[Backbone, Features, Texts]:
    """The frozen encoder, every image through it, and the class names in its space.

    Args:
        job: what is trained on.
        choice: which encoder.
        published: that encoder; None for the small one, which is trained first.
        say: takes lines for the user.
    """
    if published is None:
        say("encoder: images and class names, then frozen")
        small, texts = encoding.trained_encoder(job)
        say("features: every image encoded once")
        return small, encoding.encoded(job, small), texts
    published = published.to(job.team.device)
    words = encoding.embedded_names(job, published, choice.texts)
    say(f"features: every image encoded once by {choice.name}")
    features = encoding.encoded(job, published)
    say("class names: in one space with the images")
    return published, *encoding.shared_space(job, features, published, words)


def _trained_and_evaluated(
    job: Job, choice: EncoderChoice, published: PublishedEncoder | None, say: Say
) -> dict[str, Any]:
    encoder, features, texts = encoded(job, choice, published, say)
    made = trained_model(job, encoder=encoder, features=features, texts=texts, say=say)
    model = Model(
        predictor=made.predictor,
        head=made.head,
        mean=made.mean,
        texts=texts.embeddings.to(job.team.device),
        calibration=made.calibration,
    )
    trial = Trial(
        features=features,
        labels=job.catalogue.labels,
        is_novel=job.catalogue.is_novel,
        roles=job.roles,
        ranks=job.preset.ranks,
        random_draws=job.preset.random_draws,
        seed=job.seed,
    )
    return {
        "preset": job.preset.name,
        "encoder": choice.name,
        **evaluate(model, trial, made.scores, made.targets),
    }
