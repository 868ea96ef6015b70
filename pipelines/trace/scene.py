"""One scene through every stage: kept, rejected, failed, pending or unknown."""

import bisect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gl10m.manifest.schema import CANDIDATES, SPLITS
from gl10m.report.terminal import columns, plain
from gl10m.scene.rejection import STAGES
from gl10m.scene.states import SCENE_ID, osm_id_of, scene_id
from gl10m.storage.place import Place
from pipelines.execution.fragments import Receipts
from pipelines.execution.journal import Journal
from pipelines.trace.considered import Considered, considered
from pipelines.trace.records import Records, Row
from pipelines.trace.steps import Step, steps, stored

_ITEMS_SHOWN = 8
"""Items of a sensor told on a terminal; JSON has them all."""

_OBJECT = re.compile(r"(way|relation)/([0-9]{1,19})")
_NEAREST = 3


class UnknownSceneError(LookupError):
    """No stage has seen such a scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneTrace:
    """All that is known of one scene."""

    scene: str
    osm_id: str
    status: str
    extract: str | None
    """The OSM file that it was read from."""
    steps: tuple[Step, ...]
    items: tuple[Considered, ...]
    whole_catalogue: bool
    """Whether `items` are all that matching looked at."""
    split: str | None = None
    nearest: str | None = None
    shared_ground: float = 0.0
    store: dict[str, Any] | None = None
    winner: str | None = None
    """Of a thinned scene: what became of the one that it gave way to."""

    @property
    def text(self) -> str:
        """A line a stage, then the items."""
        last = self.steps[-1] if self.steps else None
        cause = f" by {last.stage}, {last.reason}" if last and last.reason else ""
        lines = [
            f"{self.scene}: {self.status}{cause}",
            f"https://www.openstreetmap.org/{self.osm_id} of {self.extract or 'an extract that is not told'}",
            *columns(
                [["stage", "outcome", ""], *([s.stage, s.outcome, s.words] for s in self.steps)], left=2
            ),
        ]
        lines += [self.winner] if self.winner else []
        if self.store:
            lines.append(
                "store        {shard} row {row}, LR bytes {lr_bytes[0]:,} to {lr_bytes[1]:,}, "
                "HR bytes {hr_bytes[0]:,} to {hr_bytes[1]:,}".format(**self.store)
            )
        lines += [f"split        {self.split}"] if self.split else []
        if self.nearest:
            lines.append(f"shares       {self.shared_ground:.1%} of its ground with {self.nearest}")
        return "\n".join([*(plain(line) for line in lines), *self._items()])

    def _items(self) -> list[str]:
        if not self.items:
            return []
        told = "looked at" if self.whole_catalogue else "that kept scenes name (the whole catalogue is gone)"
        rows = [["sensor", "item", "day", "gap", "cloud", "shows", ""]]
        for sensor in sorted({item.sensor for item in self.items}):
            mine = [item for item in self.items if item.sensor == sensor]
            rows += [_item(item) for item in mine[:_ITEMS_SHOWN]]
            rest = len(mine) - _ITEMS_SHOWN
            rows += [[sensor, f"and {rest} more", "", "", "", "", "see --json"]] if rest > 0 else []
        return [f"items {told}:", *columns(rows, left=3)]

    @property
    def record(self) -> dict[str, Any]:
        """As JSON can hold it."""
        plainly = (
            "scene",
            "osm_id",
            "status",
            "extract",
            "split",
            "nearest",
            "shared_ground",
            "store",
            "winner",
        )
        found = {name: getattr(self, name) for name in plainly}
        return found | {
            "stages": [step.record for step in self.steps],
            "whole_catalogue": self.whole_catalogue,
            "items": [item.record for item in self.items],
        }


def _item(item: Considered) -> list[str]:
    gap = "" if item.days_from_naip is None else f"{item.days_from_naip:+d} d"
    cloud = "" if item.cloud_percent is None else f"{item.cloud_percent:.2f} %"
    return [item.sensor, item.item, item.day, gap, cloud, f"{item.share:.1%}", item.verdict]


def trace_scene(root: Place, asked: str) -> list[SceneTrace]:
    """What became of a scene, or of an OSM object in each region that has it.

    Args:
        root: the data set.
        asked: CA-w123, way/123 or relation/5.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: a manifest is damaged, or lacks a column.
        UnknownSceneError: no stage has seen it.
    """
    records = Records(root)
    records.check()
    subject = _OBJECT.fullmatch(asked)
    if not subject and not SCENE_ID.fullmatch(asked):
        raise UnknownSceneError(
            f"a scene is named as CA-w123, an OSM object as way/123 or relation/5, a place as LON,LAT; got "
            f"{asked[:80]!r}"
        )
    names = [scene_id(region, asked) for region in _regions(records)] if subject else [asked]
    found = [trace for name in names if (trace := _trace(records, name)) is not None]
    if not found:
        raise UnknownSceneError(_unknown(records, asked, names))
    return found


def _regions(records: Records) -> list[str]:
    table = records.filtered("candidates", CANDIDATES, lambda rows: rows, ["state"])
    return sorted({str(name) for name in pc.unique(table["state"]).to_pylist()} | set(records.regions))


def _trace(records: Records, name: str) -> SceneTrace | None:
    region, osm_id = name[:2], osm_id_of(name)
    kept, candidates = records.scenes({name}), records.candidates({name})
    drops = [] if kept else records.drops({name, osm_id}, {region})
    drop = max(drops, key=lambda row: STAGES.index(row["stage"]), default=None)
    row: Row | None = kept[0] if kept else records.matched(region, name) or next(iter(candidates), None)
    if row is None and drop is None and records.polygon(region, osm_id) is None:
        return None
    found = steps(records, region, osm_id, row, drop, kept=bool(kept))
    items, whole = _items(records, region, row)
    split = records.manifest("splits", SPLITS, "scene_id", {name})
    return SceneTrace(
        scene=name,
        osm_id=osm_id,
        status="kept" if kept else drop["outcome"] if drop else _pending(records, name),
        extract=records.inputs.get(f"{region}.osm"),
        steps=tuple(found),
        items=tuple(items),
        whole_catalogue=whole,
        split=split[0]["split"] if split and kept else None,
        nearest=kept[0]["nearest_scene"] if kept else None,
        shared_ground=float(kept[0]["shared_ground"]) if kept else 0.0,
        store=stored(records.root, region, name) if kept else None,
        winner=_winner(records, drop),
    )


def _pending(records: Records, name: str) -> str:
    """What the receipts say of a scene that is not published."""
    receipts = Receipts(Journal(records.root)).load()
    mine = receipts.filter(pc.equal(receipts["scene_id"], pa.scalar(name))).to_pylist()
    if any(row["outcome"] == "kept" for row in mine):
        return "pending: fetched, and published when the build ends"
    return "pending: the build has not come to it yet, or was stopped; run it again"


def _items(records: Records, region: str, row: Row | None) -> tuple[list[Considered], bool]:
    if row is None:
        return [], False
    items, whole = records.items(region)
    return considered(row, items, records.parameters(region).matching), whole


def _winner(records: Records, drop: Row | None) -> str | None:
    """What became of the scene that a thinned one gave way to."""
    told = SCENE_ID.search(drop["detail"] or "") if drop and drop["reason"] == "THINNED" else None
    if told is None:
        return None
    name = told[0]
    if records.scenes({name}):
        return f"gave way to {name}, which is kept"
    later = records.drops({name}, {name[:2]})
    return f"gave way to {name}, later " + (
        f"{later[-1]['outcome']} by {later[-1]['stage']}, {later[-1]['reason']}" if later else "pending"
    )


def _unknown(records: Records, asked: str, names: list[str]) -> str:
    ids = records.filtered("candidates", CANDIDATES, lambda rows: rows, ["scene_id"])["scene_id"].to_pylist()
    near = list(dict.fromkeys(_alike(names[0] if names else asked, sorted(str(name) for name in ids))))
    remedy = f" Nearest names: {', '.join(near)}." if near else ""
    return (
        f"no stage has seen {asked}: the OSM files of {records.root} hold no polygon of that id with a tag "
        f"of the classes, or its region was never built.{remedy}"
    )


def _alike(asked: str, names: list[str]) -> Iterable[str]:
    """The same object in another region, then a digit astray, then neighbours by name."""
    same = [name for name in names if name[3:] == asked[3:]]
    astray = [name for name in names if len(name) == len(asked) and _differing(name, asked) == 1]
    place = bisect.bisect(names, asked)
    return [*same, *astray, *names[max(place - 1, 0) : place + 1]][:_NEAREST]


def _differing(one: str, other: str) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))
