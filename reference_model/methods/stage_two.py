"""Stage II for any view of a scene: the same steps, draws and head for every row that is compared."""

import torch
from torch import Tensor, nn

from reference_model.alignment import PREDICTOR_RATE, alignment_losses, starting_head
from reference_model.determinism import seeded
from reference_model.evaluate import in_batches
from reference_model.face import Setting
from reference_model.features import Features
from reference_model.job import MODEL, Job
from reference_model.methods.evidence import Evidence, View
from reference_model.networks.head import SceneHead
from reference_model.networks.positions import sincos_at
from reference_model.objectives.losses import RunningMean


class Row(nn.Module):
    """A view and the head behind it."""

    def __init__(self, view: nn.Module, head: SceneHead) -> None:
        super().__init__()
        self.view, self.head = view, head

    def forward(self, features: Features, rows: Tensor, selected: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings (B, embedding) of length 1, and the completed tiles where the view completes any."""
        view: View = self.view
        evidence: Evidence = view(features, rows, selected)
        layout = sincos_at(evidence.places, self.head.inside)
        return self.head.gather(evidence.tokens, layout, evidence.seen), evidence.predicted


def trained_row(
    job: Job, setting: Setting, view: nn.Module, *, normalised: Tensor, mean: RunningMean | None = None
) -> Row:
    """Train a head, and its view with it, on Eq. 9 for Base names and half of Eq. 8 where it completes.

    Args:
        job: its run folder takes the weights; nothing is trained where it holds them.
        setting: scenes, encodings and words.
        view: what the head sees. What it has learned before goes on at a tenth of the rate.
        normalised: the sampler's scores of all scenes, (scenes, 100), for half of the masks.
        mean: mu of Eq. 8, for a view that completes.
    """
    with seeded(job.seed, "head") as generator:
        row = Row(view, starting_head(job, setting.encoder, setting.texts)).to(job.team.device)
        wrapped = job.team.wrapped(row)
        losses = alignment_losses(
            job,
            setting.features,
            setting.texts,
            lambda rows, selected: wrapped(setting.features, rows, selected),
            head=row.head,
            normalised=normalised,
            mean=mean,
            generator=generator,
        )
        if not job.run.finished("head", MODEL):
            rate = 1.0 if mean is None else PREDICTOR_RATE
            modules: dict[nn.Module, float] = {row.head: 1.0}
            if list(view.parameters()):
                modules = {view: rate, **modules}
            job.train("head", modules, job.preset.alignment, losses, generator)
            job.finish("head", MODEL, row=row)
    job.run.load(MODEL, row=row)
    return row.eval()


@torch.no_grad()
def embedded(row: Row, features: Features, rows: Tensor, selected: Tensor) -> Tensor:
    """Embed scenes (N,) under one observation bool (N, 100): float32 (N, embedding)."""
    return torch.cat(
        [
            row(features, part, where.to(features.device))[0].cpu()
            for part, where in in_batches(rows, selected)
        ]
    )
