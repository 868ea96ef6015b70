"""SAR (KD): a student sees LR and learns to embed a scene as the mean of its HR tiles is embedded.

Re-implemented from the paper and SAR's description: the code behind SAR's figures is not public.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor

from reference_model.baselines.errors import NotFittedError
from reference_model.baselines.space import SharedEncoder, shared_encoder, unfrozen
from reference_model.baselines.tile_scores import mean_embedding
from reference_model.determinism import seeded
from reference_model.face import Setting

STUDENT = "baseline-sar-kd.safetensors"
STAGE = "sar-kd"

TEMPERATURE = 0.05
"""Of the distributions over class names that student and teacher are compared by."""

SCENES_AT_ONCE = 32


def distillation_loss(student: Tensor, teacher: Tensor, words: Tensor) -> dict[str, Tensor]:
    """One minus the cosine, and KL(student || teacher) of their distributions over class names.

    Args:
        student: embeddings of length 1, (N, embedding).
        teacher: same shape; no gradient flows into it.
        words: class names that are taught, (classes, embedding), each of length 1.
    """
    teacher = teacher.detach()
    ours = F.log_softmax(student @ words.T / TEMPERATURE, dim=-1)
    theirs = F.log_softmax(teacher @ words.T / TEMPERATURE, dim=-1)
    return {
        "cosine": 1 - (student * teacher).sum(dim=-1).mean(),
        "words": (ours.exp() * (ours - theirs)).sum(dim=-1).mean(),
    }


def trained_student(setting: Setting) -> SharedEncoder:
    """Train the student on the training scenes, or read it back; frozen. No label is looked at."""
    job, schedule = setting.job, setting.job.preset.distillation
    device = job.team.device
    with seeded(job.seed, STAGE) as generator:
        student = unfrozen(shared_encoder(setting))
        if not job.run.finished(STAGE, STUDENT):
            words = setting.texts.embeddings[job.catalogue.base].to(device)
            called = job.team.wrapped(student)

            def losses(_: int) -> dict[str, Tensor]:
                rows = job.team.part(job.train_rows(schedule.batch, generator))
                teacher = mean_embedding(setting.features, rows).to(device)
                return distillation_loss(called(job.overviews(rows).to(device), "lr"), teacher, words)

            job.train(STAGE, {student: 1.0}, schedule, losses, generator)
            job.finish(STAGE, STUDENT, student=student)
    job.run.load(STUDENT, student=student)
    return student.eval().requires_grad_(requires_grad=False)


class Distilled:
    """The student alone: LR in, no HR tile bought."""

    def __init__(self, setting: Setting, name: str) -> None:
        self.setting, self.name = setting, name
        self.student: SharedEncoder | None = None

    def fit(self) -> None:
        """Train the student, or read it back."""
        self.student = trained_student(self.setting)

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:  # noqa: ARG002 - it buys nothing
        """Buy nothing; see `Method.plan`."""
        return torch.zeros(len(rows), self.setting.features.hr.shape[1], dtype=torch.bool)

    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:  # noqa: ARG002 - LR alone
        """The student's embedding of LR, (N, embedding); see `Method.embed`."""
        return student_embeddings(self.setting, self.student, rows)

    def rank(self, embedded: Tensor) -> Tensor:
        """Cosines with all class names; see `Method.rank`."""
        return embedded @ self.setting.texts.embeddings.T


@torch.no_grad()
def student_embeddings(setting: Setting, student: SharedEncoder | None, rows: Tensor) -> Tensor:
    """Embed the LR images of scenes with the student: float32 (N, embedding).

    Raises:
        NotFittedError: there is no student yet.
    """
    if student is None:
        raise NotFittedError("the row has no student yet. Call fit() first.")
    device = setting.job.team.device
    parts = [
        student(setting.job.overviews(part).to(device), "lr").cpu()
        for part in torch.split(rows, SCENES_AT_ONCE)
    ]
    return torch.cat(parts)
