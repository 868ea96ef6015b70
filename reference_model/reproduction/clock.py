"""How long the rows take. Times differ from run to run, so they stand in files of their own."""

import csv
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from gl10m.manifest.parquet import replacing
from gl10m.report.markdown import row, text
from gl10m.scene.grid import TILES
from reference_model.baselines.entry import Assets, Entry
from reference_model.face import Setting
from reference_model.json_file import read_json, write_json
from reference_model.reproduction.paper import paper_tables
from reference_model.reproduction.record import Provenance, identity

FILE, TABLE, CSV = "times.json", "times.md", "times.csv"
TIMES = "times"
"""The key of the list in the first of them."""

ROUNDS = 3
"""Times that each clock runs; the median counts."""

IMAGED_SCENES = 4
"""Scenes whose images are read and encoded to learn what an image takes."""

ABOUT = """Seconds for all held-out scenes, median of 3. Images: read, decoded and encoded scene by scene;
what one takes is measured on a few scenes and multiplied. Model: tiles chosen, scene represented, classes
ranked, from encoded images; the sampler's scores are kept with the weights and not in it. The paper's seconds
are of its own test set on an RTX 4090: compare the ratios of rows, nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """One row."""

    method: str
    target_obr: float | None
    seed: int
    scenes: int
    hr_tiles: int
    """Bought in all scenes."""

    images_seconds: float
    model_seconds: float
    device: str
    commit: str

    @property
    def key(self) -> str:
        """As the records are named."""
        return identity(self.method, self.target_obr)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTimes:
    """What one image takes, read, decoded and encoded, seconds."""

    lr: float
    hr: float


def image_times(setting: Setting) -> ImageTimes:
    """Measure it on a few held-out scenes, all tiles of one at once."""
    rows = setting.job.roles.test[:IMAGED_SCENES]
    device = setting.job.team.device
    scenes = setting.job.scenes

    def lr() -> None:
        for one in rows:
            setting.encoder.encode(scenes.scene(int(one)).lr()[None].to(device), "lr")

    def hr() -> None:
        for one in rows:
            setting.encoder.encode(scenes.scene(int(one)).hr(range(TILES)).to(device), "hr")

    with torch.inference_mode():
        return ImageTimes(lr=_median(lr, device) / len(rows), hr=_median(hr, device) / len(rows) / TILES)


def times_of(
    setting: Setting,
    entry: Entry,
    target_obr: float | None,
    *,
    images: ImageTimes,
    origin: Provenance,
    assets: Assets,
) -> Times:
    """Measure one row; its weights are read back."""
    method = entry.make(setting, assets, 0)
    method.fit()
    rows = torch.from_numpy(setting.job.roles.test)
    budget = entry.paper_obr if target_obr is None else target_obr
    bought = int(method.plan(rows, budget).sum())
    seconds = _median(
        lambda: method.rank(method.embed(rows, method.plan(rows, budget))), setting.job.team.device
    )
    return Times(
        method=entry.name,
        target_obr=target_obr,
        seed=setting.job.seed,
        scenes=len(rows),
        hr_tiles=bought,
        images_seconds=len(rows) * images.lr * (entry.observes != "HR") + bought * images.hr,
        model_seconds=seconds,
        device=origin.device,
        commit=origin.commit,
    )


def read_times(folder: Path) -> list[Times]:
    """What was measured before; none where the file is not there or is damaged."""
    try:
        return [Times(**one) for one in read_json(folder / FILE)[TIMES]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []


def write_times(folder: Path, times: Sequence[Times]) -> None:
    """Write times.json, times.md and times.csv.

    Raises:
        OSError: one cannot be written.
    """
    write_json(folder / FILE, {TIMES: [asdict(one) for one in times]})
    paper = _of_the_paper()
    heads = ("method", "OBR asked", "scenes", "HR tiles", "images, s", "model, s", "all, s", "paper, s")
    shown = [
        (
            one.method,
            "" if one.target_obr is None else f"{one.target_obr:g}",
            str(one.scenes),
            f"{one.hr_tiles:,}",
            f"{one.images_seconds:.3f}",
            f"{one.model_seconds:.3f}",
            f"{one.images_seconds + one.model_seconds:.3f}",
            f"{paper[one.key]:g}" if one.key in paper else "",
        )
        for one in times
    ]
    where = sorted({f"{one.device}, commit {one.commit}, seed {one.seed}" for one in times})
    lines = ["# Times", "", ABOUT, "", row(*heads), row(*["---"] * len(heads))]
    lines += [row(*(text(cell) for cell in cells)) for cells in shown]
    with replacing(folder / TABLE) as temporary:
        temporary.write_text("\n".join([*lines, "", *map(text, where)]) + "\n", encoding="utf-8")
    with replacing(folder / CSV) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([heads, *shown])


def timed_rows() -> set[str]:
    """Methods at their costs of which the paper tells a time."""
    return set(_of_the_paper())


def _of_the_paper() -> dict[str, float]:
    return {
        identity(one.method, one.obr): one.paper["seconds"]
        for table in paper_tables()
        for one in table.rows
        if "seconds" in one.paper
    }


def _median(work: Callable[[], object], device: torch.device) -> float:
    return statistics.median(_seconds(work, device) for _ in range(ROUNDS))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    _finished(device)
    begun = time.perf_counter()
    work()
    _finished(device)
    return time.perf_counter() - begun


def _finished(device: torch.device) -> None:
    """A GPU works on after a call has come back."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_order(times: Iterable[Times]) -> list[Times]:
    """In the order of the tables."""
    order = list(_of_the_paper())
    return sorted(times, key=lambda one: order.index(one.key) if one.key in order else len(order))
