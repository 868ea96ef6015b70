"""Figure 5: the scene completed in several ways from the same tiles, in one basis of colours."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gl10m.scene.grid import GRID, TILES
from reference_model.networks.positions import tiles_to_grid
from reference_model.reproduction.figures.canvas import Cell, bare, drawn, write_csv
from reference_model.reproduction.figures.pca import Basis
from reference_model.reproduction.figures.thumbnails import hr_thumbnail, outline_tiles
from reference_model.reproduction.intervals import over_some_scenes
from reference_model.reproduction.parts import (
    Completion,
    Parts,
    centred_cosines,
    cosines_to_full,
    over_unobserved,
)

SHOWN = 4
"""Scenes that are drawn."""

PNG, CSV = "figure-5.png", "figure-5.csv"


def draw_completions(parts: Parts, basis: Basis, completions: Mapping[str, Completion], folder: Path) -> None:
    """Write figure-5.png and figure-5.csv.

    Args:
        parts: of the model; its sampler chooses the tiles.
        basis: of the colours.
        completions: ways to complete a scene by name, ours among them.
        folder: where the files go.

    Raises:
        OSError: they cannot be written.
    """
    rows = parts.test_rows()
    selected = parts.calibration.select(parts.scores[rows])
    obr = float(selected.float().mean())
    lines: list[tuple[Cell, ...]] = []
    for name, complete in completions.items():
        values = over_unobserved(cosines_to_full(parts, complete, rows, selected), selected)
        found = over_some_scenes(values, parts.setting.job.seed)
        told = (None, None, None) if found is None else (found.mean, found.low, found.high)
        lines.append((name, obr, *told, int(np.isfinite(values).sum())))
    head = ("completion", "OBR", "centred cosine to H*, unobserved tokens", "low", "high", "scenes")
    write_csv(folder / CSV, head, lines)
    _draw(parts, basis, completions, typical(selected, SHOWN), folder / PNG)


def typical(selected: Tensor, count: int) -> list[int]:
    """Places of scenes that are neither bare nor full: nearest to the mean bought, at most `count`."""
    tiles = selected.sum(dim=1).double()
    far = torch.where(tiles > 0, (tiles - tiles.mean()).abs(), torch.inf)
    order = far.argsort(stable=True)[:count]
    return sorted(int(place) for place in order)


def _draw(
    parts: Parts, basis: Basis, completions: Mapping[str, Completion], places: Sequence[int], path: Path
) -> None:
    rows = parts.test_rows()[list(places)]
    selected = parts.calibration.select(parts.scores[rows])
    full = parts.full(rows)
    panels = {name: complete(rows, selected) for name, complete in completions.items()}
    heads = ["HR, tiles bought", "observed features", *completions, "full HR (H*)"]
    side = 1.75
    with drawn(path, side * len(heads), (side + 0.28) * len(rows) + 0.2) as figure:
        axes = figure.subplots(len(rows), len(heads), squeeze=False)
        for place, row in enumerate(rows):
            own, line = selected[place], axes[place]
            line[0].imshow(hr_thumbnail(parts.setting.job.scenes.scene(int(row))))
            outline_tiles(line[0], own, 32, "white")
            observed = basis.picture(full[place])
            observed[~_on_grid(own, observed.shape[0])] = 0.92
            line[1].imshow(observed, interpolation="nearest")
            for axis, tokens in zip(line[2:-1], panels.values(), strict=True):
                axis.imshow(basis.picture(tokens[place]), interpolation="nearest")
                cosines = centred_cosines(tokens[place], full[place], parts.mean)[~own]
                axis.set_xlabel(f"cosine {float(cosines.mean()):.2f}" if len(cosines) else "all observed")
            line[-1].imshow(basis.picture(full[place]), interpolation="nearest")
            name = parts.setting.job.catalogue.scene_ids[int(row)]
            line[0].set_xlabel(f"{name}, OBR {float(own.float().mean()):.2f}")
            for axis, head in zip(line, heads, strict=True):
                bare(axis)
                if place == 0:
                    axis.set_title(head)


def _on_grid(selected: Tensor, side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which cells of a map of features (side, side) lie in bought tiles."""
    per_tile = (side // GRID) ** 2
    spread = selected[None, :, None, None].expand(1, TILES, per_tile, 1)
    mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = tiles_to_grid(spread)[0, ..., 0].numpy()
    return mask
