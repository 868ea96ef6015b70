"""Training from a data set to a result, in stages (paper 4.1).

encoder -> features -> sampler -> threshold -> predictor (stage I) -> predictor and head (stage II) -> result.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gl10m.storage.place import Place
from reference_model import stages
from reference_model.evaluate import Model, Trial, evaluate
from reference_model.holdout import assign
from reference_model.metrics.retrieval import require_positives
from reference_model.presets import Preset
from reference_model.run import open_run, threads
from reference_model.scenes import Catalogue, Scenes, open_scenes, read_catalogue, read_splits
from reference_model.stages import Job

METRICS = "metrics.json"
"""The result; a run that has it is finished."""

Say = Callable[[str], None]


def train_reference(
    root: Place, out: Path, *, preset: Preset, seed: int, target_obr: float, say: Say
) -> dict[str, Any]:
    """Train on a data set and evaluate on its held-out scenes.

    Args:
        root: the data set.
        out: the run folder; a finished run is not repeated, an unfinished one continues.
        preset: sizes and lengths.
        seed: decides everything random.
        target_obr: share of HR tiles to observe, in [0, 1].
        say: takes lines for the user.

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
    return train_on(scenes, catalogue, splits, out, preset=preset, seed=seed, target_obr=target_obr, say=say)


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
    """
    roles = assign(splits, catalogue.bounds, seed)
    require_positives(catalogue.labels[torch.from_numpy(roles.test)].numpy())
    settings = {
        "preset": asdict(preset),
        "seed": seed,
        "target_obr": target_obr,
        "scenes": catalogue.digest(),
        "splits": splits,
    }
    with threads(preset.threads), open_run(out, settings) as run:
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
        )
        say(
            f"{len(roles.train)} scenes to train on, {len(roles.val)} for the threshold, "
            f"{len(roles.test)} held out"
        )
        metrics = _trained_and_evaluated(job, say)
        run.write_json(METRICS, metrics)
        return metrics


def _trained_and_evaluated(job: Job, say: Say) -> dict[str, Any]:
    say("encoder: images and class names, then frozen")
    encoder, texts = stages.trained_encoder(job)
    say("features: every image encoded once")
    features = stages.encoded(job, encoder)
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
        predictor=predictor, head=head, mean=mean.mean, texts=texts.embeddings, calibration=calibration
    )
    trial = Trial(
        features=features,
        labels=job.catalogue.labels,
        roles=job.roles,
        ranks=job.preset.ranks,
        random_draws=job.preset.random_draws,
        seed=job.seed,
    )
    return {"preset": job.preset.name, **evaluate(model, trial, scores, targets)}
