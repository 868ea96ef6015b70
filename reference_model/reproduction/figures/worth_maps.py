"""Figure 3: what a tile is worth (G*) and what the sampler predicts from LR alone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from reference_model.reproduction.correlation import spearman
from reference_model.reproduction.figures.canvas import BLACK, SEQUENTIAL, Cell, bare, drawn, write_csv
from reference_model.reproduction.figures.thumbnails import as_map, hr_thumbnail, outline_tiles
from reference_model.reproduction.parts import Parts

SHOWN_AT = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Places in the order of scenes by Spearman that are drawn: the best, the worst, and between them."""

PNG, CSV, TILES_CSV = "figure-3.png", "figure-3.csv", "figure-3-tiles.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerAccount:
    """How well the sampler does on one scene."""

    row: int
    scene_id: str
    obr: float
    spearman: float
    """Between G* and the prediction over the 100 tiles; NaN where one of them is constant."""

    captured: float
    """Share of the scene's G* in the tiles that are bought; NaN where it has none."""


def sampler_accounts(parts: Parts) -> list[SamplerAccount]:
    """All held-out scenes, best first."""
    selected = parts.calibration.select(parts.scores)
    found = [_account(parts, int(row), selected[row]) for row in parts.test_rows()]
    return sorted(found, key=lambda one: (-np.nan_to_num(one.spearman, nan=-2.0), one.scene_id))


def draw_worth_maps(parts: Parts, folder: Path) -> None:
    """Write figure-3.png, figure-3.csv (a row a scene) and figure-3-tiles.csv (a row a tile).

    Raises:
        OSError: they cannot be written.
    """
    accounts = sampler_accounts(parts)
    head = ("scene_id", "OBR", "spearman", "captured share of G*")
    write_csv(folder / CSV, head, [(one.scene_id, one.obr, one.spearman, one.captured) for one in accounts])
    selected = parts.calibration.select(parts.scores)
    rows: list[tuple[Cell, ...]] = []
    for one in accounts:
        values = zip(parts.targets[one.row], parts.scores[one.row], selected[one.row], strict=True)
        rows += [
            (one.scene_id, tile, float(target), float(score), int(bought))
            for tile, (target, score, bought) in enumerate(values)
        ]
    write_csv(folder / TILES_CSV, ("scene_id", "tile", "G*", "predicted", "bought"), rows)
    shown = list(dict.fromkeys(round((1 - place) * (len(accounts) - 1)) for place in SHOWN_AT))
    _draw(parts, [accounts[place] for place in shown], folder / PNG)


def _account(parts: Parts, row: int, selected: Tensor) -> SamplerAccount:
    worth = parts.targets[row]
    whole = float(worth.sum())
    return SamplerAccount(
        row=row,
        scene_id=parts.setting.job.catalogue.scene_ids[row],
        obr=float(selected.float().mean()),
        spearman=spearman(worth.numpy(), parts.scores[row].numpy()),
        captured=float(worth[selected].sum()) / whole if whole else float("nan"),
    )


def _draw(parts: Parts, accounts: list[SamplerAccount], path: Path) -> None:
    selected = parts.calibration.select(parts.scores)
    with drawn(path, 8.6, 2.75 * len(accounts)) as figure:
        axes = figure.subplots(len(accounts), 3, squeeze=False)
        for one, (left, middle, right) in zip(accounts, axes, strict=True):
            left.imshow(hr_thumbnail(parts.setting.job.scenes.scene(one.row)))
            left.set_title(f"{one.scene_id}, HR (1 m)")
            target = parts.targets[one.row]
            image = middle.imshow(as_map(target), cmap=SEQUENTIAL, vmin=0, vmax=1)
            middle.set_title(f"G* (sum {float(target.sum()):.1f})")
            right.imshow(as_map(parts.scores[one.row]), cmap=SEQUENTIAL, vmin=0, vmax=1)
            outline_tiles(right, selected[one.row], 1, "white")
            right.set_title(f"from LR: OBR {one.obr:.2f}, Spearman {one.spearman:.2f}")
            for axis in (left, middle, right):
                bare(axis)
        bar = figure.colorbar(image, ax=axes[:, 1:], location="bottom", shrink=0.6, aspect=40, pad=0.01)
        bar.set_label(
            "worth of a tile, 0 to 1, one scale for all maps; outlined in white: bought", color=BLACK
        )
