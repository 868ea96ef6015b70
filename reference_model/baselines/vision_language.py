"""Published vision-language encoders on LR alone: CLIP, OpenCLIP, RemoteCLIP, CLIP-RSICD, GRAFT.

Nothing is learned. Each row embeds LR and the class names with its own two towers, at the resolution that it
was trained at, and ranks by cosine. Without its weights a row stops with the file that it wants.
"""

from pathlib import Path

import torch
from torch import Tensor

from gl10m.scene.grid import TILES
from reference_model.baselines.errors import NotFittedError
from reference_model.face import Setting
from reference_model.networks.encoder import Backbone
from reference_model.networks.published import ENCODERS, PublishedEncoder, open_published
from reference_model.networks.published_files import find_weights
from reference_model.networks.published_texts import embed_names, embed_names_within

SCENES_AT_ONCE = 32


class PublishedLR:
    """One published encoder with its text tower."""

    def __init__(
        self, setting: Setting, name: str, encoder: str, weights: Path | None, texts: Path | None
    ) -> None:
        """Make the row.

        Args:
            setting: its encoder and its texts are not used.
            name: of the row.
            encoder: a key of `published.ENCODERS`.
            weights: its file; looked for on this machine if None.
            texts: folder of its tokenizer, or of GRAFT's text tower; looked for likewise.
        """
        self.setting, self.name, self.encoder_name = setting, name, encoder
        self.weights, self.texts = weights, texts
        self.encoder: PublishedEncoder | None = None
        self.words = torch.empty(0)

    def fit(self) -> None:
        """Read the weights and embed the class names.

        Raises:
            WeightsNotFoundError: a file is not on this machine; the message names it.
        """
        names, published = self.setting.job.catalogue.class_names, ENCODERS[self.encoder_name]
        path = find_weights(self.encoder_name, self.weights)
        encoder = open_published(self.encoder_name, path, input_px=published.native_px)
        if published.texts_within:
            self.words = embed_names_within(names, encoder, self.texts)
        elif published.texts is not None:
            self.words = embed_names(names, published.texts, self.texts)
        self.encoder = encoder.to(self.setting.job.team.device)

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:  # noqa: ARG002 - it buys nothing
        """Buy nothing; see `Method.plan`."""
        return torch.zeros(len(rows), TILES, dtype=torch.bool)

    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:  # noqa: ARG002 - LR alone
        """The encoder's embedding of LR, (N, embedding); see `Method.embed`."""
        if self.encoder is None:
            raise NotFittedError(f"{self.name} has no weights yet. Call fit() first.")
        return lr_encodings(self.setting, self.encoder, rows)[1]

    def rank(self, embedded: Tensor) -> Tensor:
        """Cosines with all class names; see `Method.rank`."""
        return embedded @ self.words.T


@torch.no_grad()
def lr_encodings(setting: Setting, encoder: Backbone, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Encode the LR images of scenes: mean tokens (N, dim) and embeddings (N, embedding), float32."""
    tokens, embeddings = [], []
    for part in torch.split(rows, SCENES_AT_ONCE):
        encoding = encoder.encode(setting.job.overviews(part).to(setting.job.team.device), "lr")
        tokens.append(encoding.tokens.float().mean(dim=1).cpu())
        embeddings.append(encoding.embeddings.float().cpu())
    return torch.cat(tokens), torch.cat(embeddings)
