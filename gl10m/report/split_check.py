"""What two splits have in common and how near they come to each other: `gl10m split --check`."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gl10m.manifest import leakage
from gl10m.manifest.columns import paired, texts
from gl10m.manifest.leakage import SplitReport, coded
from gl10m.manifest.neighbours import STEPS_KM, Border, borders
from gl10m.manifest.rectangles import bounds_of
from gl10m.report.terminal import columns, plain

SHOWN = 5
"""Pairs and names told one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """Two scenes of different splits, and the ground between them."""

    scene: str
    split: str
    neighbour: str
    other: str
    metres: float

    def __str__(self) -> str:
        return plain(
            f"{self.scene} ({self.split}) and {self.neighbour} ({self.other}): {self.metres / 1000:.3f} km"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCheck:
    """The findings, for a person and for a program."""

    report: SplitReport
    borders: tuple[Border, ...]
    nearest: tuple[Neighbours, ...]
    """The nearest pairs over all borders."""
    pixels: bool
    """Whether common pixels were asked about."""

    @property
    def apart(self) -> bool:
        """True where nothing was found that should not be."""
        return self.report.apart and not (self.pixels and self.report.same_pixels)

    @property
    def text(self) -> str:
        """The findings in lines: faults first."""
        return "\n".join([*self._faults(), *self._distances()])

    def _faults(self) -> list[str]:
        found, compared = self.report, sum(self.report.scenes.values()) - sum(self.report.aside.values())
        aside = ", ".join(f"{count:,} in {plain(name)}" for name, count in found.aside.items())
        lines = [
            f"{compared:,} scenes compared" + (f"; set aside {aside}" if aside else ""),
            f"{len(found.overlaps):,} pairs of scenes of different splits overlap on the ground",
            *(f"  {plain(pair)}" for pair in found.overlaps[:SHOWN]),
        ]
        if self.pixels:
            lines.append(f"{len(found.same_pixels):,} pairs are cut from the same pixels of an item")
            lines += [f"  {plain(a)} and {plain(b)}" for a, b in found.same_pixels[:SHOWN]]
        items = found.shared_items
        example = f", as {plain(items[0])}" if items else ""
        lines.append(f"{len(items):,} items are shown by more than one split{example}")
        for names, words in ((found.unassigned, "have no split"), (found.foreign, "are not in the data set")):
            if names:
                lines.append(f"{len(names):,} scenes {words}, as {plain(names[0])}: split again")
        return lines

    def _distances(self) -> list[str]:
        if not self.borders:
            return ["one split alone: no border"]
        head = ["split", "nearest in", "scenes", *(f"<= {km} km" for km in STEPS_KM), "closest"]
        rows = [
            [
                border.split,
                border.other,
                f"{border.scenes:,}",
                *(f"{border.within(km):,}" for km in STEPS_KM),
                f"{border.metres[0] / 1000:.3f} km" if len(border.metres) else "> 100 km",
            ]
            for border in self.borders
        ]
        lines = ["scenes of a split by the distance of their footprint to the nearest of another split:"]
        lines += columns([head, *rows], left=2)
        return [
            *lines,
            *(["nearest pairs:"] if self.nearest else []),
            *(f"  {pair}" for pair in self.nearest),
        ]

    @property
    def record(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        found = self.report
        return {
            "apart": self.apart,
            "scenes": found.scenes,
            "aside": found.aside,
            "overlaps": [
                {
                    name: getattr(pair, name)
                    for name in ("first", "first_split", "second", "second_split", "share")
                }
                for pair in found.overlaps
            ],
            "same_pixels": [list(pair) for pair in found.same_pixels] if self.pixels else None,
            "shared_items": list(found.shared_items),
            "unassigned": list(found.unassigned),
            "foreign": list(found.foreign),
            "distances": [
                {
                    "split": border.split,
                    "other": border.other,
                    "scenes": border.scenes,
                    "within_km": {str(km): border.within(km) for km in STEPS_KM},
                    "closest_metres": float(border.metres[0]) if len(border.metres) else None,
                }
                for border in self.borders
            ],
            "nearest": [
                {name: getattr(pair, name) for name in Neighbours.__dataclass_fields__}
                for pair in self.nearest
            ],
        }


def check_splits(scenes: pa.Table, splits: pa.Table, aside: Collection[str], *, pixels: bool) -> SplitCheck:
    """Compare the splits of a data set.

    Args:
        scenes: as in SCENES.
        splits: schema SPLITS.
        aside: splits whose scenes are set aside and compared with no other.
        pixels: whether common pixels of an item count as a fault.
    """
    names = texts(scenes, "scene_id")
    split_of = paired(splits, "scene_id", "split")
    code, known = coded([split_of.get(name) for name in names], aside)
    found = borders(bounds_of(scenes), code, known)
    pairs = [
        Neighbours(
            scene=names[row], split=border.split, neighbour=names[near], other=border.other, metres=metres
        )
        for border in found
        for row, near, metres in zip(
            border.rows[:SHOWN].tolist(),
            border.neighbours[:SHOWN].tolist(),
            border.metres[:SHOWN].tolist(),
            strict=True,
        )
    ]
    nearest = sorted(pairs, key=lambda pair: (pair.metres, pair.scene, pair.neighbour))[:SHOWN]
    return SplitCheck(
        report=leakage.check(scenes, splits, aside),
        borders=tuple(found),
        nearest=tuple(nearest),
        pixels=pixels,
    )
