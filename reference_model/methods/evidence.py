"""What a head sees of a scene: one view for each way to use the tiles that were bought."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from gl10m.scene.grid import GRID
from reference_model.features import Features
from reference_model.networks.positions import grid_to_tiles, lattice, tiles_to_grid
from reference_model.networks.predictor import Predictor, integrated


class Evidence(NamedTuple):
    """Tokens of B scenes with their places."""

    tokens: Tensor
    """float32 (B, n, features)."""

    places: Tensor
    """Row and column in cells of the scene's grid of 10 p x 10 p tokens, float64 (n, 2)."""

    seen: Tensor | None = None
    """bool (B, n), False for a token that is not there; all are if None."""

    predicted: Tensor | None = None
    """Completed tiles (B, 100, p * p, features) before the observed ones are passed through."""


class View(Protocol):
    """A way to look at scenes; also an `nn.Module`, which is trained together with the head."""

    def __call__(self, features: Features, rows: Tensor, selected: Tensor) -> Evidence:
        """Look at scenes (B,) of which the tiles bool (B, 100) are observed; no other tile is read."""


class CompletedScene(nn.Module):
    """The predictor completes the scene, observed tiles pass through (Eq. 7)."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, features: Features, rows: Tensor, selected: Tensor) -> Evidence:
        """See `View`."""
        observed = features.observed(rows, selected)
        predicted = self.predictor(observed, selected, features.context(rows))
        return _as_grid(integrated(predicted, observed, selected), predicted)


class OverviewAlone(nn.Module):
    """The LR tokens and nothing else."""

    def forward(self, features: Features, rows: Tensor, selected: Tensor) -> Evidence:  # noqa: ARG002
        """See `View`; `selected` is not heeded."""
        return _overview(features, rows)


class ObservedBesideOverview(nn.Module):
    """The LR tokens and those of the observed tiles; where no tile was bought there is no token."""

    def forward(self, features: Features, rows: Tensor, selected: Tensor) -> Evidence:
        """See `View`."""
        overview = _overview(features, rows)
        scene = _laid_out(features, rows, selected)
        seen = selected[:, :, None, None].expand(*scene.shape[:3], 1)
        grid, there = tiles_to_grid(scene).flatten(1, 2), tiles_to_grid(seen).flatten(1)
        always = torch.ones(overview.tokens.shape[:2], dtype=torch.bool, device=there.device)
        places = lattice(round(grid.shape[1] ** 0.5), round(grid.shape[1] ** 0.5)).to(grid.device)
        return Evidence(
            torch.cat([grid, overview.tokens], dim=1),
            torch.cat([places, overview.places]),
            torch.cat([there, always], dim=1),
        )


class FilledFromOverview(nn.Module):
    """Where no tile was bought, the LR tokens at that place through one linear layer (Table 6)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.fill = nn.Linear(features, features)

    def forward(self, features: Features, rows: Tensor, selected: Tensor) -> Evidence:
        """See `View`."""
        side = round(features.hr.shape[2] ** 0.5)
        context = features.context(rows)
        across = round(context.shape[1] ** 0.5)
        grid = context.transpose(1, 2).reshape(len(rows), -1, across, across)
        cells = nn.functional.interpolate(grid, (GRID * side, GRID * side), mode="bilinear")
        tiles = grid_to_tiles(cells.permute(0, 2, 3, 1))
        filled = self.fill(tiles)
        return _as_grid(integrated(filled, features.observed(rows, selected), selected))


def _as_grid(scene: Tensor, predicted: Tensor | None = None) -> Evidence:
    grid = tiles_to_grid(scene)
    places = lattice(grid.shape[1], grid.shape[1]).to(grid.device)
    return Evidence(grid.flatten(1, 2), places, predicted=predicted)


def _overview(features: Features, rows: Tensor) -> Evidence:
    context = features.context(rows)
    cells = GRID * round(features.hr.shape[2] ** 0.5)
    return Evidence(context, lattice(round(context.shape[1] ** 0.5), cells).to(context.device))


def _laid_out(features: Features, rows: Tensor, selected: Tensor) -> Tensor:
    """Observed tiles at their places, zeros elsewhere: (B, 100, p * p, features)."""
    scene = torch.zeros(*selected.shape, *features.hr.shape[2:], device=selected.device)
    scene[selected] = features.observed(rows, selected)
    return scene
