"""Published image encoders on LR alone, with a supervised head.

ResNet-50, SatMAE, Cross-Scale MAE and Scale-MAE. `PublishedProbe` leaves the network as it is;
`PublishedFinetuned` trains it with its head. Without the weights a row stops with the file that it wants.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from gl10m.scene.grid import TILES
from gl10m.storage.checksum import sha256_of
from reference_model.baselines.errors import NotFittedError
from reference_model.baselines.probes import Probe, classification, new_probe, trained_probe
from reference_model.baselines.supervised import logits_of
from reference_model.baselines.vision_language import lr_encodings
from reference_model.determinism import seeded
from reference_model.face import Setting
from reference_model.networks.published import ENCODERS, PublishedEncoder, open_published
from reference_model.networks.published_files import find_weights

NETWORK_RATE = 0.1
"""Share of the learning rate that a network gets that is trained with its head."""


class PublishedProbe:
    """A published network, frozen, at its own resolution; the head sees its mean token."""

    def __init__(self, setting: Setting, name: str, encoder: str, weights: Path | None) -> None:
        """Make the row.

        Args:
            setting: its encoder is not used.
            name: of the row.
            encoder: a key of `published.ENCODERS`.
            weights: its file; looked for on this machine if None.
        """
        self.setting, self.name, self.encoder_name, self.weights = setting, name, encoder, weights
        self.encoder: PublishedEncoder | None = None
        self.probe: Probe | None = None

    def fit(self) -> None:
        """Encode the training scenes and train the head, or read it back.

        Raises:
            WeightsNotFoundError: the file is not on this machine; the message names it.
        """
        job = self.setting.job
        path = find_weights(self.encoder_name, self.weights)
        self.encoder = self._opened(path)
        # A head belongs to one file of weights: another one must not find it.
        stage = f"{self.name}-{sha256_of(path)[:12]}"
        encoded: dict[str, Tensor] = {}

        def inputs(rows: Tensor, _: torch.Generator) -> Tensor:
            if "train" not in encoded:
                encoded["train"] = self.embed(torch.from_numpy(job.roles.train), torch.empty(0))
            return encoded["train"][torch.searchsorted(torch.from_numpy(job.roles.train), rows)]

        self.probe = trained_probe(job, stage, self.encoder.dim, inputs)

    def _opened(self, path: Path) -> PublishedEncoder:
        native = ENCODERS[self.encoder_name].native_px
        opened = open_published(self.encoder_name, path, input_px=native)
        return opened.to(self.setting.job.team.device)

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:  # noqa: ARG002 - it buys nothing
        """Buy nothing; see `Method.plan`."""
        return torch.zeros(len(rows), TILES, dtype=torch.bool)

    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:  # noqa: ARG002 - LR alone
        """The mean token of LR, (N, dim); see `Method.embed`."""
        if self.encoder is None:
            raise NotFittedError(f"{self.name} has no weights yet. Call fit() first.")
        return lr_encodings(self.setting, self.encoder, rows)[0]

    @torch.no_grad()
    def rank(self, embedded: Tensor) -> Tensor:
        """Logits; see `Method.rank`."""
        return logits_of(self.probe, embedded.to(self.setting.job.team.device))


class _Network(nn.Module):
    """A network and its head as one, for the team."""

    def __init__(self, encoder: PublishedEncoder, probe: Probe) -> None:
        super().__init__()
        self.encoder, self.probe = encoder, probe

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.probe(self.encoder.encode(images, "lr").tokens.mean(dim=1))
        return logits


class PublishedFinetuned(PublishedProbe):
    """The same with a network that is trained together with its head, from the published weights on."""

    def fit(self) -> None:
        """Train network and head on the training scenes, or read them back; see `PublishedProbe.fit`."""
        job, schedule = self.setting.job, self.setting.job.preset.finetuning
        path = find_weights(self.encoder_name, self.weights)
        stage = f"{self.name}-{sha256_of(path)[:12]}"
        file = f"baseline-{stage}.safetensors"
        encoder = self._opened(path).requires_grad_()
        with seeded(job.seed, stage) as generator:
            probe = new_probe(job, encoder.dim)
            if not job.run.finished(stage, file):
                called = job.team.wrapped(_Network(encoder, probe))

                def losses(_: int) -> dict[str, Tensor]:
                    rows = job.team.part(job.train_rows(schedule.batch, generator))
                    logits = called(job.overviews(rows).to(job.team.device))
                    return {"classes": classification(logits, job.catalogue.labels[rows])}

                job.train(stage, {encoder: NETWORK_RATE, probe: 1.0}, schedule, losses, generator)
                job.finish(stage, file, encoder=encoder, probe=probe)
        job.run.load(file, encoder=encoder, probe=probe)
        self.encoder = encoder.eval().requires_grad_(requires_grad=False)
        self.probe = probe.eval().requires_grad_(requires_grad=False)
