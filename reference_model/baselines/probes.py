"""A linear head over all classes, trained with binary cross-entropy: the supervised protocol (Table 2)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from reference_model.determinism import seeded
from reference_model.job import Job

Inputs = Callable[[Tensor, torch.Generator], Tensor]
"""What a head sees of scenes (N,): (N, features). Draws from the generator alone."""


class Probe(nn.Module):
    """Layer norm, then one linear layer."""

    def __init__(self, features: int, rates: Tensor) -> None:
        """Begin at the share of training scenes that carry each class, `rates` (classes,)."""
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.classify = nn.Linear(features, len(rates))
        with torch.no_grad():
            self.classify.weight.zero_()
            self.classify.bias.copy_(torch.logit(rates, eps=1e-3))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, classes) of inputs (N, features)."""
        logits: Tensor = self.classify(self.norm(inputs))
        return logits


def new_probe(job: Job, features: int) -> Probe:
    """A head that knows the frequencies of the classes and nothing else."""
    rates = job.catalogue.labels[torch.from_numpy(job.roles.train)].float().mean(dim=0)
    return Probe(features, rates).to(job.team.device)


def classification(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of logits (N, classes) and labels, bool of the same shape; a scalar."""
    return F.binary_cross_entropy_with_logits(logits.float(), labels.to(logits.device).float())


def trained_probe(job: Job, stage: str, features: int, inputs: Inputs) -> Probe:
    """Train a head on the training scenes, or read it back.

    Args:
        job: what is trained on; all classes are taught.
        stage: name of the stage and part of the file's.
        features: channels of an input.
        inputs: what the head sees.
    """
    schedule, file = job.preset.probing, f"baseline-{stage}.safetensors"
    with seeded(job.seed, stage) as generator:
        probe = new_probe(job, features)
        if not job.run.finished(stage, file):
            called = job.team.wrapped(probe)

            def losses(_: int) -> dict[str, Tensor]:
                rows = job.team.part(job.train_rows(schedule.batch, generator))
                logits = called(inputs(rows, generator).to(job.team.device))
                return {"classes": classification(logits, job.catalogue.labels[rows])}

            job.train(stage, {probe: 1.0}, schedule, losses, generator)
            job.finish(stage, file, probe=probe)
    job.run.load(file, probe=probe)
    return probe.eval().requires_grad_(requires_grad=False)
