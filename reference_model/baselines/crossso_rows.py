"""The authors' published model as rows: their evaluation on GL-10M, and their policy of tiles by class.

Nothing is learned. Plans read LR alone, embeddings the tiles that were planned.
"""

from pathlib import Path

import torch
from torch import Tensor

from gl10m.scene.grid import TILES
from reference_model.baselines.crossso_model import AuthorsModel
from reference_model.baselines.crossso_names import names
from reference_model.baselines.crossso_policy import Policy, TailFusion, read_fusion, read_policy
from reference_model.baselines.errors import NotFittedError
from reference_model.evaluate import in_batches
from reference_model.face import Setting
from reference_model.networks.published_texts import embed_names_by_clip

TEXTS = "openai/clip-vit-base-patch32"
"""Whose text tower names the classes."""

SCENES_AT_ONCE = 8

RESIDUAL_GAIN = 0.075
"""Share of what HR has added to a score that is added once more (configs/zero.yaml)."""


class AuthorsRow:
    """The router's best tiles, equally many in every scene; each class by its most alike token."""

    def __init__(
        self, setting: Setting, name: str, folder: Path | None, dino: Path | None, texts: Path | None
    ) -> None:
        """Make the row.

        Args:
            setting: its encoder, features and texts are not used.
            name: of the row.
            folder: of the files of xiehaoai/CrossSO; looked for in the hub's cache if None.
            dino: file of facebook/dinov2-with-registers-base; looked for likewise.
            texts: folder of openai/clip-vit-base-patch32; looked for likewise.
        """
        self.setting, self.name = setting, name
        self.folder, self.dino, self.texts = folder, dino, texts
        self.opened: AuthorsModel | None = None
        self.words = torch.empty(0)

    @property
    def model(self) -> AuthorsModel:
        """The model.

        Raises:
            NotFittedError: no weights have been read yet.
        """
        if self.opened is None:
            raise NotFittedError(f"{self.name} has no weights yet. Call fit() first.")
        return self.opened

    def fit(self) -> None:
        """Read the weights and embed the class names.

        Raises:
            WeightsNotFoundError: a file is not on this machine; the message names it.
        """
        device = self.setting.job.team.device
        opened = AuthorsModel(self.folder, self.dino).to(device)
        self.words = embed_names_by_clip(self._said(), TEXTS, self.texts, [names().evaluation]).to(device)
        self.opened = opened.eval()

    def _said(self) -> list[str]:
        return [names().said(one) for one in self.setting.job.catalogue.class_names]

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        """Buy the tiles that the router thinks most of, `target_obr` of each scene; see `Method.plan`."""
        return best_tiles(self._worth(rows), round(TILES * target_obr))

    @torch.no_grad()
    def _worth(self, rows: Tensor) -> Tensor:
        parts = torch.split(rows, SCENES_AT_ONCE)
        return torch.cat([self.model.worth(self._overviews(part)).cpu() for part in parts])

    @torch.no_grad()
    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """Scores of all classes, (N, classes): there is no shorter representation; see `Method.embed`."""
        found = []
        for part, where in in_batches(rows, selected, SCENES_AT_ONCE):
            context, _ = self.model.context(self._overviews(part))
            observed = self.model.observed(self._tiles(part, where))
            found.append(self.model.scores(observed, where.to(context.device), context, self.words).cpu())
        return torch.cat(found)

    def rank(self, embedded: Tensor) -> Tensor:
        """The scores themselves; see `Method.rank`."""
        return embedded

    def _overviews(self, rows: Tensor) -> Tensor:
        return self.setting.job.overviews(rows).to(self.setting.job.team.device)

    def _tiles(self, rows: Tensor, selected: Tensor) -> Tensor:
        """Tiles uint8 (number selected, 3, h, w), in the order of `selected.nonzero()`; no other is read."""
        scenes = self.setting.job.scenes
        read = [
            scenes.scene(int(row)).hr(where.nonzero()[:, 0].tolist())
            for row, where in zip(rows, selected, strict=True)
            if where.any()
        ]
        empty = torch.zeros(0, 3, 1, 1, dtype=torch.uint8)
        return (torch.cat(read) if read else empty).to(self.setting.job.team.device)


def best_tiles(worth: Tensor, count: int) -> Tensor:
    """The tiles of greatest worth (N, 100) in each scene, equally many: bool (N, 100)."""
    order = worth.argsort(dim=1, descending=True, stable=True)[:, :count]
    return torch.zeros(worth.shape, dtype=torch.bool).scatter_(1, order, value=True)


class ClasswiseRow(AuthorsRow):
    """A number of tiles for each class, their residual gain, and LR mixed in for the classes they know.

    A scene that is ranked for all classes needs the tiles of the class that asks for most: that is what
    `plan` buys and what the OBR counts. The authors report the mean of the counts instead.
    """

    policy = Policy({}, 0)
    fusion: TailFusion | None = None

    def fit(self) -> None:
        """Read the weights and the policy; see `AuthorsRow.fit`."""
        super().fit()
        self.policy, self.fusion = read_policy(self.model.file), read_fusion(self.model.file)
        said = [
            names().said(name) if concept is None else names().said_by_policy(concept)
            for name, concept in zip(self.setting.job.catalogue.class_names, self._concepts(), strict=True)
        ]
        self.words = embed_names_by_clip(said, TEXTS, self.texts, [names().evaluation]).to(self.words.device)

    def _concepts(self) -> list[str | None]:
        of_data_set = self.setting.job.catalogue.class_names
        return [names().in_policy(name, self.policy.counts) for name in of_data_set]

    def _counts(self) -> list[int]:
        return [self.policy.count(concept) for concept in self._concepts()]

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:  # noqa: ARG002 - the policy says how many
        """Buy as many of the router's best tiles as the class that asks for most; see `Method.plan`."""
        return best_tiles(self._worth(rows), max(self._counts()))

    @torch.no_grad()
    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """Scores of all classes, (N, classes), each from its own share of the tiles; see `Method.embed`."""
        worth = self._worth(rows).masked_fill(~selected, -torch.inf)
        found = [
            self._of_scene(row[None], where, ranked)
            for row, where, ranked in zip(
                rows, selected, worth.argsort(dim=1, descending=True, stable=True), strict=True
            )
        ]
        return torch.stack(found)

    def _of_scene(self, row: Tensor, selected: Tensor, ranked: Tensor) -> Tensor:
        """Scores (classes,) of one scene; `ranked` has its tiles in the order of their worth."""
        model, bought = self.model, int(selected.sum())
        context, of_tiles = model.context(self._overviews(row))
        observed = model.observed(self._tiles(row, selected[None]))
        place = selected.cumsum(dim=0) - 1  # of a tile among those that were bought
        wanted = [min(count, bought) for count in self._counts()]
        by_count = {}
        for count in sorted({0, *wanted}):
            first = torch.zeros_like(selected)
            first[ranked[:count]] = True
            tokens = observed[place[first].to(observed.device)]
            scores = model.scores(tokens, first[None].to(context.device), context, self.words)
            by_count[count] = scores[0].cpu()
        seen = torch.stack([by_count[count][one] for one, count in enumerate(wanted)])
        of_lr = model.completer.likeness(of_tiles, self.words).mean(dim=1)[0].cpu()
        return self._mixed(seen + RESIDUAL_GAIN * (seen - by_count[0]), of_lr)

    def _mixed(self, scores: Tensor, of_lr: Tensor) -> Tensor:
        if self.fusion is None:
            raise NotFittedError(f"{self.name} has no weights yet. Call fit() first.")
        mixed = [
            self.fusion.mixed(concept, scores[one : one + 1], of_lr[one : one + 1])
            for one, concept in enumerate(self._concepts())
        ]
        return torch.cat(mixed)
