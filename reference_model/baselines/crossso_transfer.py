"""What the paper's authors transfer to EuroSAT and BigEarthNet, on the LR images of any data set.

Two scores are mixed, each in standard deviations over the classes of a scene: GRAFT's Sentinel-2 encoder on
LR, and what their predictor completes from LR in the space of GRAFT when no tile is observed.
"""

from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from gl10m.scene.grid import TILES
from reference_model.baselines.crossso_model import normalised
from reference_model.baselines.crossso_names import names
from reference_model.baselines.errors import NotFittedError
from reference_model.face import Setting
from reference_model.networks.crossso import GRAFT_SPACE, Completer
from reference_model.networks.crossso_files import (
    FEATURE_PREDICTOR,
    GRAFT_NAIP,
    GRAFT_SENTINEL,
    find_file,
    read_completer,
    read_graft_patches,
    read_graft_sentinel,
)
from reference_model.networks.published_table import CLIP_DEVIATION, CLIP_MEAN, OPENAI_CLIP
from reference_model.networks.published_texts import embed_names_by_clip
from reference_model.networks.vision_transformer import VisionTransformer

INPUT_PX = 224
COMPLETED_SHARE = 0.35
"""Of the completed scene's score in the mixture (configs/transfer.yaml)."""

LEAST_DEVIATION = 1e-6
SCENES_AT_ONCE = 4


class GraftCompletion(nn.Module):
    """Completes overviews in the space of GRAFT, with no tile observed."""

    def __init__(self, patches: VisionTransformer, completer: Completer) -> None:
        super().__init__()
        self.patches, self.completer = patches, completer

    def encoded(self, pixels: Tensor) -> Tensor:
        """Patches of images (N, 3, 224, 224) of either sensor, each of length 1: (N, 196, 512).

        Raises:
            TypeError: the encoder has no projection.
        """
        if self.patches.project is None:
            raise TypeError("GRAFT's patches are led into the shared space by a projection; there is none")
        return F.normalize(self.patches.project(self.patches(pixels)[0]), dim=-1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embeddings (N, 512) of length 1: the largest value of each channel over the completed scene."""
        context, _ = self.completer.context(self.encoded(pixels))
        nothing = torch.zeros(len(pixels), TILES, dtype=torch.bool, device=pixels.device)
        unseen = pixels.new_zeros(0, self.completer.shape.side**2, self.completer.shape.dim)
        completed = self.completer(unseen, nothing, context)
        return F.normalize(completed.flatten(1, 2).amax(dim=1), dim=-1)


class TransferRow:
    """Ranks scenes by LR alone."""

    def __init__(self, setting: Setting, name: str, folder: Path | None, texts: Path | None) -> None:
        """Make the row.

        Args:
            setting: its encoder, features and texts are not used.
            name: of the row.
            folder: of the files of xiehaoai/CrossSO; looked for in the hub's cache if None.
            texts: folder of openai/clip-vit-base-patch16; looked for likewise.
        """
        self.setting, self.name, self.folder, self.texts = setting, name, folder, texts
        self.opened: tuple[nn.Module, GraftCompletion] | None = None
        self.words = torch.empty(0)

    def fit(self) -> None:
        """Read the weights and embed the class names.

        Raises:
            WeightsNotFoundError: a file is not on this machine; the message names it.
        """
        job, folder = self.setting.job, self.folder
        sentinel, naip, predictor = (
            find_file(one, folder) for one in (GRAFT_SENTINEL, GRAFT_NAIP, FEATURE_PREDICTOR)
        )
        network = read_graft_sentinel(sentinel).network
        completion = GraftCompletion(read_graft_patches(naip), read_completer(predictor, GRAFT_SPACE))
        said = [names().said(one) for one in job.catalogue.class_names]
        self.words = embed_names_by_clip(said, OPENAI_CLIP, self.texts, [names().transfer])
        self.words = self.words.to(job.team.device)
        self.opened = network.to(job.team.device), completion.to(job.team.device).eval()

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:  # noqa: ARG002 - it buys nothing
        """Buy nothing; see `Method.plan`."""
        return torch.zeros(len(rows), TILES, dtype=torch.bool)

    @torch.no_grad()
    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:  # noqa: ARG002 - LR alone
        """Scores of all classes, (N, classes); see `Method.embed`."""
        if self.opened is None:
            raise NotFittedError(f"{self.name} has no weights yet. Call fit() first.")
        network, completion = self.opened
        found = []
        for part in torch.split(rows, SCENES_AT_ONCE):
            overviews = self.setting.job.overviews(part).to(self.words.device)
            pixels = normalised(overviews, INPUT_PX, "bicubic", CLIP_MEAN, CLIP_DEVIATION)
            alone = F.normalize(network(pixels)[1], dim=-1) @ self.words.T
            found.append(mixed(alone, completion(pixels) @ self.words.T).cpu())
        return torch.cat(found)

    def rank(self, embedded: Tensor) -> Tensor:
        """The scores themselves; see `Method.rank`."""
        return embedded


def mixed(alone: Tensor, completed: Tensor) -> Tensor:
    """Mix scores (N, classes) of LR and of the completed scene, each in deviations over its classes."""
    return (1 - COMPLETED_SHARE) * _standardised(alone) + COMPLETED_SHARE * _standardised(completed)


def _standardised(scores: Tensor) -> Tensor:
    away = scores - scores.mean(dim=-1, keepdim=True)
    return away / scores.std(dim=-1, keepdim=True).clamp_min(LEAST_DEVIATION)
