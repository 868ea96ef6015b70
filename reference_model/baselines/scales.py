"""What the scores of LR and of HR look like on the training scenes, and which class is seen best at which."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gl10m.scene.grid import TILES
from reference_model.baselines.concept_scale import read_scale, scale_by_precision
from reference_model.baselines.distillation import student_embeddings
from reference_model.baselines.space import SharedEncoder
from reference_model.baselines.tile_scores import observed_scores
from reference_model.face import Setting

SCALES, SCALES_OF_STUDENT = "baseline-scales.safetensors", "baseline-scales-student.safetensors"

LEAST_DEVIATION = 1e-6
"""Of a class whose scores are all alike."""


@dataclass(frozen=True, slots=True)
class Standard:
    """Mean and deviation of each class's scores on the training scenes, (classes,) each."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, scores: Tensor) -> "Standard":
        """Measure scores (scenes, classes)."""
        return cls(scores.mean(dim=0), scores.std(dim=0).clamp_min(LEAST_DEVIATION))

    def __call__(self, scores: Tensor) -> Tensor:
        """Scores (N, classes) in deviations from the mean of their class."""
        return (scores - self.mean) / self.deviation


@dataclass(frozen=True, slots=True)
class Scaled:
    """What the scores look like on the training scenes, and which class is seen best at which scale."""

    lr: Standard
    hr: Standard
    guess: Standard
    """Of what LR says of HR."""

    at_hr: Tensor
    """bool (classes,)."""


def scaled(setting: Setting, answers: Path | None = None, student: SharedEncoder | None = None) -> Scaled:
    """Measure both scales on the training scenes, or read that back.

    Args:
        setting: what is trained on.
        answers: the scale of each class; chosen by average precision on the training scenes if None.
        student: what LR says of HR; LR itself if None.

    Raises:
        ConceptScaleError: the answers lack a class.
    """
    job, file = setting.job, SCALES if student is None else SCALES_OF_STUDENT
    if job.team.leads and not job.run.has(file):
        job.run.write_weights(file, _measured(setting, student))
    job.team.wait()
    kept = job.run.read_weights(file)
    with job.run.fitting(file):
        lr, hr, guess = (
            Standard(kept[f"{one}.mean"], kept[f"{one}.deviation"]) for one in ("lr", "hr", "guess")
        )
        at_hr = kept["at_hr"].bool()
    if answers is not None:  # read anew: their file may have changed
        at_hr = read_scale(answers, job.catalogue.class_names)
    return Scaled(lr, hr, guess, at_hr)


def _measured(setting: Setting, student: SharedEncoder | None) -> dict[str, Tensor]:
    job, words = setting.job, setting.texts.embeddings
    train = torch.from_numpy(job.roles.train)
    everything = torch.ones(len(train), TILES, dtype=torch.bool)
    scores = {
        "lr": lr_scores(setting, train),
        "hr": observed_scores(setting.features, train, everything, words),
    }
    scores["guess"] = scores["lr"] if student is None else guessed_scores(setting, student, train)
    labels = job.catalogue.labels[train]
    at_hr = scale_by_precision(scores["lr"], scores["hr"], labels, job.catalogue.base, words)
    kept = {"at_hr": at_hr.to(torch.uint8)}
    for one, values in scores.items():
        standard = Standard.of(values)
        kept |= {f"{one}.mean": standard.mean, f"{one}.deviation": standard.deviation}
    return kept


def lr_scores(setting: Setting, rows: Tensor) -> Tensor:
    """Cosines of LR and class names: (N, classes)."""
    return setting.features.lr_embedding[rows] @ setting.texts.embeddings.T


def guessed_scores(setting: Setting, student: SharedEncoder, rows: Tensor) -> Tensor:
    """Cosines of what the student makes of LR and class names: (N, classes)."""
    return student_embeddings(setting, student, rows) @ setting.texts.embeddings.T
