"""Training from a data set to a result, in stages (paper 4.1).

encoder -> features -> sampler -> threshold -> predictor (stage I) -> predictor and head (stage II) -> result.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gl10m.storage.place import Place
from reference_model import stages
from reference_model.evaluate import Model, Trial, evaluate
from reference_model.features import Features
from reference_model.holdout import assign
from reference_model.metrics.retrieval import require_positives
from reference_model.networks.encoder import Backbone
from reference_model.networks.published import PublishedEncoder, open_published
from reference_model.presets import Preset
from reference_model.pretrain import Texts
from reference_model.run import Run, open_run, threads
from reference_model.scenes import Catalogue, Scenes, open_scenes, read_catalogue, read_splits
from reference_model.stages import EncoderChoice, Job
from reference_model.team import Team, team

METRICS = "metrics.json"
"""The result; a run that has it is finished."""

Say = Callable[[str], None]


def train_reference(
    root: Place,
    out: Path,
    *,
    preset: Preset,
    seed: int,
    target_obr: float,
    say: Say,
    encoder: EncoderChoice | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train on a data set and evaluate on its held-out scenes.

    Args:
        root: the data set.
        out: the run folder; a finished run is not repeated, an unfinished one continues.
        preset: sizes and lengths.
        seed: decides everything random.
        target_obr: share of HR tiles to observe, in [0, 1].
        say: takes lines for the user.
        encoder: which one; the small one, trained here, if None.
        device: "cpu", "cuda", or "auto" for a GPU where there is one. Under torchrun all processes call this.

    Returns:
        The content of metrics.json.

    Raises:
        FileNotFoundError: there is no data set.
        TooFewScenesError: it is too small.
        NoEvaluableClassError: no class has a positive among the held-out scenes.
        RunMismatchError: `out` holds another run.
    """
    scenes = open_scenes(root)
    catalogue = read_catalogue(scenes)
    splits = read_splits(root, catalogue.scene_ids)
    return train_on(
        scenes,
        catalogue,
        splits,
        out,
        preset=preset,
        seed=seed,
        target_obr=target_obr,
        say=say,
        encoder=encoder,
        device=device,
    )


def train_on(
    scenes: Scenes,
    catalogue: Catalogue,
    splits: list[str],
    out: Path,
    *,
    preset: Preset,
    seed: int,
    target_obr: float,
    say: Say,
    encoder: EncoderChoice | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train on scenes that are open already; see `train_reference`.

    Args:
        scenes: pixels.
        catalogue: names, places and labels of the same scenes.
        splits: the split of each scene.
        out: the run folder.
        preset: sizes and lengths.
        seed: decides everything random.
        target_obr: share of HR tiles to observe, in [0, 1].
        say: takes lines for the user.
        encoder: which one; the small one, trained here, if None.
        device: "cpu", "cuda", or "auto".
    """
    choice = encoder or EncoderChoice()
    # Before anything is made: a weight that is not at hand is an error.
    published = None if choice.name == stages.SMALL else open_published(choice.name, choice.weights)
    roles = assign(splits, catalogue.bounds, seed)
    require_positives(catalogue.labels[torch.from_numpy(roles.test)].numpy())
    settings = {
        "preset": asdict(preset),
        "seed": seed,
        "target_obr": target_obr,
        "encoder": choice.name,
        "scenes": catalogue.digest(),
        "splits": splits,
    }
    with team(device) as members, threads(preset.threads), _opened(out, settings, members) as run:
        if run.has(METRICS):
            say(f"{out} is a finished run; this is its result.")
            return run.read_json(METRICS)
        job = Job(
            run=run,
            preset=preset,
            seed=seed,
            target_obr=target_obr,
            scenes=scenes,
            catalogue=catalogue,
            roles=roles,
            team=members,
        )
        say(
            f"{len(roles.train)} scenes to train on, {len(roles.val)} for the threshold, "
            f"{len(roles.test)} held out"
        )
        metrics = _trained_and_evaluated(job, choice, published, say)
        if members.leads:
            run.write_json(METRICS, metrics)
        members.wait()
        return metrics


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


def _encoded(
    job: Job, choice: EncoderChoice, published: PublishedEncoder | None, say: Say
) -> tuple[Backbone, Features, Texts]:
    """The frozen encoder, every image through it, and the class names in its space."""
    if published is None:
        say("encoder: images and class names, then frozen")
        small, texts = stages.trained_encoder(job)
        say("features: every image encoded once")
        return small, stages.encoded(job, small), texts
    published = published.to(job.team.device)
    words = stages.embedded_names(job, published, choice.texts)
    say(f"features: every image encoded once by {choice.name}")
    features = stages.encoded(job, published)
    say("class names: in one space with the images")
    return published, *stages.shared_space(job, features, published, words)


def _trained_and_evaluated(
    job: Job, choice: EncoderChoice, published: PublishedEncoder | None, say: Say
) -> dict[str, Any]:
    encoder, features, texts = _encoded(job, choice, published, say)
    say("sampler: the worth of a tile, from LR alone")
    supervision, targets = stages.worth(job, features, texts)
    sampler = stages.trained_sampler(job, features, supervision, targets)
    scores = stages.predicted_worth(job.scenes, encoder, sampler)
    calibration = stages.calibrated(job, scores)
    say("predictor: the whole scene from some of its tiles (stage I)")
    predictor, mean = stages.trained_predictor(job, features, encoder)
    say("head: the completed scene against class names (stage II)")
    head = stages.trained_head(
        job,
        features=features,
        encoder=encoder,
        texts=texts,
        predictor=predictor,
        mean=mean,
        normalised=calibration.normalised(scores),
    )
    model = Model(
        predictor=predictor,
        head=head,
        mean=mean.mean,
        texts=texts.embeddings.to(job.team.device),
        calibration=calibration,
    )
    trial = Trial(
        features=features,
        labels=job.catalogue.labels,
        roles=job.roles,
        ranks=job.preset.ranks,
        random_draws=job.preset.random_draws,
        seed=job.seed,
    )
    return {"preset": job.preset.name, "encoder": choice.name, **evaluate(model, trial, scores, targets)}
