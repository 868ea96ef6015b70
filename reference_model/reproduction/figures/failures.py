"""Figure 9: the failures of section F, a sheet a mode."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from reference_model.face import Method
from reference_model.reproduction.failure_cases import MODES, Case, mine, ranked_cases
from reference_model.reproduction.figures.canvas import SEQUENTIAL, Cell, bare, drawn, write_csv
from reference_model.reproduction.figures.thumbnails import as_map, hr_thumbnail, lr_picture, outline_tiles
from reference_model.reproduction.parts import Parts, cosines_to_full

SHEET = 12
"""Scenes on a sheet, at most."""

CSV, RATES_CSV = "figure-9.csv", "figure-9-rates.csv"


def draw_failures(parts: Parts, method: Method, folder: Path) -> list[str]:
    """Write figure-9.csv (a row a scene and mode), figure-9-rates.csv (a row a class), and a sheet a mode.

    Returns:
        Names of the sheets; a mode without a scene has none.

    Raises:
        OSError: they cannot be written.
    """
    cases = mine(parts, method)
    catalogue = parts.setting.job.catalogue
    ranked = {mode: ranked_cases(cases, mode) for mode in MODES}
    rows: list[tuple[Cell, ...]] = [
        (mode, place + 1, catalogue.scene_ids[case.row], case.strength(mode), *_measures(case))
        for mode, own in ranked.items()
        for place, case in enumerate(own)
    ]
    rows += [
        ("none", None, catalogue.scene_ids[case.row], None, *_measures(case))
        for case in cases
        if not case.modes
    ]
    head = (
        *("mode", "rank", "scene_id", "strength", "captured share of labelled worth", "missed worth"),
        *("cosine, unobserved", "labels", "mean s_vis", "score gap, full - sparse"),
    )
    write_csv(folder / CSV, head, rows)
    write_csv(
        folder / RATES_CSV,
        ("class", "test scenes", *(f"{mode} rate" for mode in MODES)),
        _rates(parts, cases),
    )
    sheets = []
    for mode, own in ranked.items():
        name = f"figure-9-{mode}.png"
        (folder / name).unlink(missing_ok=True)
        if own:
            _draw(parts, own[:SHEET], mode, folder / name)
            sheets.append(name)
    return sheets


def _measures(case: Case) -> tuple[Cell, ...]:
    return case.captured, case.missed_worth, case.cosine, case.labels, case.structure, case.gap


def _rates(parts: Parts, cases: Sequence[Case]) -> list[tuple[Cell, ...]]:
    catalogue = parts.setting.job.catalogue
    lines: list[tuple[Cell, ...]] = []
    for number, name in enumerate(catalogue.class_names):
        own = [case for case in cases if bool(catalogue.labels[case.row, number])]
        if own:
            lines.append(
                (name, len(own), *(float(np.mean([mode in case.modes for case in own])) for mode in MODES))
            )
    return lines


def _draw(parts: Parts, cases: Sequence[Case], mode: str, path: Path) -> None:
    rows = torch.tensor([case.row for case in cases])
    selected = parts.calibration.select(parts.scores[rows])
    cosines = cosines_to_full(parts, parts.completed, rows, selected).mean(dim=2)
    side = 1.9
    with drawn(path, side * 4 + 0.6, (side + 0.5) * len(cases) + 1.0) as figure:
        figure.suptitle(f"{mode}: {MODES[mode]}", fontsize=10)
        heights = [*[1.0] * len(cases), 0.06]
        axes = figure.subplots(len(cases) + 1, 4, squeeze=False, gridspec_kw={"height_ratios": heights})
        for place, case in enumerate(cases):
            scene = parts.setting.job.scenes.scene(case.row)
            lr, hr, worth, missing = axes[place]
            lr.imshow(lr_picture(scene))
            lr.set_title(f"{place + 1}. {parts.setting.job.catalogue.scene_ids[case.row]}, LR", fontsize=7.5)
            hr.imshow(hr_thumbnail(scene))
            outline_tiles(hr, selected[place], 32, "white")
            hr.set_title(f"HR, tiles bought ({int(selected[place].sum())})", fontsize=7.5)
            shown = worth.imshow(as_map(parts.targets[case.row]), cmap=SEQUENTIAL, vmin=0, vmax=1)
            outline_tiles(worth, selected[place], 1, "white")
            worth.set_title(f"G*, captured {case.captured:.2f}", fontsize=7.5)
            fit = missing.imshow(as_map(cosines[place]), cmap=SEQUENTIAL, vmin=-1, vmax=1)
            missing.set_title(f"cosine to H*, unobserved {case.cosine:.2f}", fontsize=7.5)
            lr.set_xlabel(f"{case.labels} classes, score gap {case.gap:+.3f}", fontsize=7, labelpad=2)
            for axis in axes[place]:
                bare(axis)
        for axis in axes[-1, :2]:
            axis.axis("off")
        figure.get_layout_engine().set(h_pad=0.08)
        for image, column, label in ((shown, 2, "G*, 0 to 1"), (fit, 3, "centred cosine")):
            figure.colorbar(image, cax=axes[-1, column], orientation="horizontal", label=label)
