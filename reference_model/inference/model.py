"""The trained model in one piece: look at LR, choose tiles, complete the scene."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gl10m.scene.grid import TILES
from reference_model.features import pooled
from reference_model.inference.description import Description, Parts
from reference_model.metrics.observation_cost import Calibration
from reference_model.networks.predictor import integrated
from reference_model.networks.text import TextTower

TILES_AT_ONCE = MappingProxyType({"cuda": 256, "cpu": 32})
"""HR tiles that go through the encoder together, of however many scenes; more fall out of a CPU's caches."""


class Completed(NamedTuple):
    """What the model makes of B scenes."""

    scene: Tensor
    """H of Eq. 7: float32 (B, 100, p * p, features); observed tiles as they are, the others predicted."""

    embedding: Tensor
    """float32 (B, embedding), each of length 1, in the space of the class names."""


class GL10MReference(nn.Module):
    """Encoder, sampler, predictor and head, with the class names and the threshold.

    Images are uint8 (N, 3, h, w), channels R, G, B, north-west first; 268 x 268 in the data set.

    Example:
        >>> model = GL10MReference.from_pretrained("demo/runs/tiny-0")  # doctest: +SKIP
        >>> plan = model.plan(batch["image"])  # doctest: +SKIP
        >>> seen = dataset.observe(batch, plan)  # doctest: +SKIP
        >>> scene, embedding = model(seen["image"], seen["hr"], plan)  # doctest: +SKIP
    """

    texts: Tensor

    def __init__(
        self,
        description: Description,
        parts: Parts,
        *,
        calibration: Calibration,
        texts: Tensor,
        tower: TextTower | None,
    ) -> None:
        """Put the parts together, frozen.

        Args:
            description: sizes and names.
            parts: the networks.
            calibration: threshold and scale of the sampler's scores.
            texts: class names in the space of the embeddings, (classes, embedding).
            tower: embeds further names where the run trained its own text tower.
        """
        super().__init__()
        self.description, self.calibration, self.tower = description, calibration, tower
        self.encoder, self.sampler = parts.encoder, parts.sampler
        self.predictor, self.head, self.mean = parts.predictor, parts.head, parts.mean
        self.register_buffer("texts", texts)
        self.eval().requires_grad_(requires_grad=False)

    @classmethod
    def from_pretrained(
        cls, path: str | os.PathLike[str], *, weights: Path | None = None
    ) -> "GL10MReference":
        """Open a folder of `save_pretrained`, or the folder of a finished run.

        Only safetensors and JSON are read, and no more than the sizes in config.json allow.

        Args:
            path: the folder.
            weights: for the folder of a run with a published encoder: the encoder's file, looked for on this
                machine if None. A folder of `save_pretrained` holds it.

        Raises:
            FileNotFoundError: a file is missing.
            ModelFolderError: a file is damaged, or does not fit the others; or weights are named and the
                folder holds its encoder itself (a ValueError).
        """
        from reference_model.inference import folder  # noqa: PLC0415 - it makes models, so it imports this

        return folder.opened(Path(path), weights)

    def save_pretrained(self, path: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors, texts.safetensors and calibration.json into a folder.

        The same model gives the same bytes. A published encoder is written too, under its own licence.

        Raises:
            OSError: the folder cannot be written.
        """
        from reference_model.inference import folder  # noqa: PLC0415

        folder.save(self, Path(path))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the rows of `texts`."""
        return self.description.class_names

    @property
    def parts(self) -> Parts:
        """The networks."""
        return Parts(self.encoder, self.sampler, self.predictor, self.head, self.mean)

    @torch.no_grad()
    def context(self, lr: Tensor) -> Tensor:
        """F^g: the encoder's LR tokens, float32 (B, n * n, features)."""
        return self.encoder.encode(self._checked(lr), "lr").tokens.float()

    @torch.no_grad()
    def worth(self, lr: Tensor, context: Tensor | None = None) -> Tensor:
        """What each tile is worth, from LR alone; `calibration.normalised` of it is on the threshold's scale.

        Args:
            lr: uint8 (B, 3, h, w).
            context: `self.context(lr)`, where it is known already.

        Returns:
            float32 (B, 100) in (0, 1), tile = 10 * row + column.
        """
        tokens = self.context(lr) if context is None else context
        logits: Tensor = self.sampler(self._checked(lr), tokens)
        return logits.float().sigmoid()

    def plan(self, lr: Tensor, *, tau: float | None = None, obr: float | None = None) -> Tensor:
        """Choose tiles from LR alone.

        Args:
            lr: uint8 (B, 3, h, w).
            tau: threshold in [0, 1]: 0 takes all, 1 takes none. The calibrated one if None.
            obr: instead of a threshold, a budget: the best so many of the tiles of these scenes together.

        Returns:
            bool (B, 100), tile = 10 * row + column, north-west first.

        Raises:
            ValueError: both are given, or one is not in [0, 1].
        """
        return chosen(self.worth(lr), self.calibration, tau=tau, obr=obr)

    @torch.no_grad()
    def forward(self, lr: Tensor, tiles: Tensor, plan: Tensor) -> Completed:
        """Complete scenes from LR and the chosen tiles.

        Args:
            lr: uint8 (B, 3, h, w).
            tiles: the chosen tiles alone, uint8 (number chosen, 3, h, w), in the order of `plan.nonzero()`:
                the `hr` of `GL10MDataset.observe`.
            plan: bool (B, 100).

        Raises:
            ValueError: there are more or fewer tiles than the plan says.
        """
        return self.complete(self.context(lr), tiles, plan)

    @torch.no_grad()
    def complete(self, context: Tensor, tiles: Tensor, plan: Tensor) -> Completed:
        """Complete scenes from what the encoder made of LR; see `forward`."""
        if plan.shape != (len(context), TILES) or len(tiles) != int(plan.sum()):
            raise ValueError(
                f"the plan is bool (scenes, {TILES}) and there is one tile for each True in it, in the order "
                f"of plan.nonzero(); got a plan {tuple(plan.shape)} with {int(plan.sum())} "
                f"tiles for {len(context)} scenes and {len(tiles)} tiles. `GL10MDataset.observe` reads "
                "the tiles of a plan."
            )
        observed, selected = self.tile_tokens(tiles), plan.to(context.device)
        scene = integrated(self.predictor(observed, selected, context), observed, selected)
        return Completed(scene, self.head(scene))

    @torch.no_grad()
    def tile_tokens(self, tiles: Tensor) -> Tensor:
        """F^h: tiles of any scenes, uint8 (n, 3, h, w), as float32 (n, p * p, features)."""
        side = self.description.tokens_per_side
        parts = [
            pooled(self.encoder.encode(part.to(self.texts.device), "hr").tokens.float(), side)
            for part in torch.split(tiles, TILES_AT_ONCE.get(self.texts.device.type, 256))
            if len(part)
        ]
        if parts:
            return torch.cat(parts)
        return self.texts.new_zeros(0, side * side, self.encoder.dim)

    def _checked(self, lr: Tensor) -> Tensor:
        if lr.dtype != torch.uint8 or lr.ndim != 4 or lr.shape[1] != 3:  # noqa: PLR2004 - N, channels, h, w
            raise ValueError(
                f"images are uint8 (B, 3, height, width), channels R, G, B; got {lr.dtype} {tuple(lr.shape)}"
            )
        return lr.to(self.texts.device)


def chosen(worth: Tensor, calibration: Calibration, *, tau: float | None, obr: float | None) -> Tensor:
    """Tiles by threshold or by budget; see `GL10MReference.plan`.

    Of equally good tiles at the edge of a budget the earlier scene's, then the lower number is taken.

    Args:
        worth: (B, 100), see `GL10MReference.worth`.
        calibration: its threshold is taken where neither of the others is given.
        tau: threshold.
        obr: share of all tiles.

    Raises:
        ValueError: both are given, or one is not in [0, 1].
    """
    if tau is not None and obr is not None:
        raise ValueError("a plan is made by a threshold or by a budget; got both tau and obr. Leave one out.")
    given = {name: value for name, value in (("tau", tau), ("obr", obr)) if value is not None}
    for name, value in given.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} lies in [0, 1]; got {value}")
    if obr is None:
        return calibration.select(worth, tau)
    best = torch.argsort(worth.flatten(), descending=True, stable=True)[: round(obr * worth.numel())]
    selected = torch.zeros(worth.numel(), dtype=torch.bool, device=worth.device)
    selected[best] = True
    return selected.view_as(worth)


def state_of(parts: Parts) -> Mapping[str, Tensor]:
    """All weights by name: `encoder.`, `sampler.`, `predictor.`, `head.`, `mean.`."""
    return {
        f"{name}.{key}": tensor
        for name, module in parts._asdict().items()
        for key, tensor in module.state_dict().items()
    }
