"""Why a scene is in, or which stage let it go and with what numbers; and what a place on the map came to."""

import difflib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from pyproj import Geod

from gl10m.manifest import parquet
from gl10m.manifest.columns import values, where
from gl10m.manifest.schema import CANDIDATES, COVERAGE, REJECTIONS, SCENES, SPLITS, Table
from gl10m.report.terminal import columns, plain
from gl10m.scene.footprint import FOOTPRINT_DEGREES
from gl10m.scene.grid import GRID, tile_at
from gl10m.scene.rejection import STAGES
from gl10m.storage.place import Place
from gl10m.store.layout import StoreError, index_path
from gl10m.store.reader import DataSetNotFoundError, class_names, open_index

KINDS: Final = {"w": "way", "r": "relation"}
_NAME = re.compile(r"(?:(?P<state>[A-Z]{2})-)?(?P<kind>way/|relation/|w|r)(?P<number>\d{1,19})")
_PLACE = re.compile(r"\s*(?P<lon>[-+]?\d+(?:\.\d+)?)\s*,\s*(?P<lat>[-+]?\d+(?:\.\d+)?)\s*")
NEAREST: Final = 3
"""Footprints named where none holds the place."""

SHOWN_CLASSES: Final = 12
"""Classes of a footprint written out."""


class TraceError(ValueError):
    """Nothing of that name, or at that place, can be looked for."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one stage did with the object."""

    stage: str
    outcome: str
    """kept, rejected or failed."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """By name, what the stage went by."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The way of one object through the build."""

    subject: str
    """Name of the scene; of the OSM object where it never came to be one."""
    outcome: str
    """kept, rejected, failed, pending, or unknown: no stage that is told has seen it."""
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()

    @property
    def record(self) -> dict[str, Any]:
        """As JSON can hold it."""
        steps = [
            {"stage": step.stage, "outcome": step.outcome, "numbers": step.numbers} for step in self.steps
        ]
        return {"subject": self.subject, "outcome": self.outcome, "steps": steps, "notes": list(self.notes)}

    def __str__(self) -> str:
        rows = [["", "", ""]]
        for step in self.steps:
            told = [f"{name} {plain(value)}" for name, value in step.numbers.items()] or [""]
            rows.append([step.stage, step.outcome, told[0]])
            rows += [["", "", more] for more in told[1:]]
        lines = columns(rows, left=3)[1:] if self.steps else []
        return "\n".join(
            [f"{plain(self.subject)}: {self.outcome}", *(f"  {line}" for line in lines), *self.notes]
        )


@dataclass(frozen=True, slots=True)
class PlaceTrace:
    """What a place on the map came to."""

    longitude: float
    latitude: float
    inside: tuple[tuple[int, Trace], ...]
    """Number of the tile that holds the place, and the trace, of every footprint about it."""
    near: tuple[tuple[float, Trace], ...]
    """Distance in metres, and the trace, of the nearest footprints where none holds the place."""
    coverage: dict[str, list[str]]
    """Sensors whose imagery covers the place, by state of the build."""

    @property
    def record(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "longitude": self.longitude,
            "latitude": self.latitude,
            "inside": [{"tile": tile, **trace.record} for tile, trace in self.inside],
            "near": [{"metres": round(metres, 1), **trace.record} for metres, trace in self.near],
            "coverage": self.coverage,
        }

    def __str__(self) -> str:
        lines = [f"{self.longitude}, {self.latitude}: in the footprint of {len(self.inside)} candidates"]
        for tile, trace in self.inside:
            lines += [f"tile {tile} of", str(trace)]
        if not self.inside:
            lines.append(
                "No object of the class map gave a footprint here: none is mapped, or it was let go before "
                "it had one, of which the manifests keep the name and no place (`gl10m trace way/123`)."
            )
        for metres, trace in self.near:
            lines += [f"{metres:,.0f} m away, the nearest:", str(trace)]
        for state, sensors in self.coverage.items():
            lines.append(f"imagery of {state} here: {', '.join(sensors) or 'none'}")
        return "\n".join(lines)


def trace(root: Place, asked: str) -> Trace | PlaceTrace:
    """Trace a scene, an OSM object, or a place.

    Args:
        root: the data set.
        asked: CA-w123, way/123, relation/98, or LON,LAT in degrees, EPSG:4326.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: a manifest is damaged.
        TraceError: it is none of these, or no such object was ever seen.
    """
    told = _Told(root)
    if (place := _PLACE.fullmatch(asked)) is not None:
        return _of_place(told, float(place["lon"]), float(place["lat"]))
    name = _NAME.fullmatch(asked.strip())
    if name is None:
        raise TraceError(
            f"a scene is named as CA-w123, an OSM object as way/123 or relation/98, a place as LON,LAT; got "
            f"{plain(asked)!r}"
        )
    osm_id = f"{KINDS[name['kind'][0]]}/{int(name['number'])}"
    found = [one for one in told.subjects_of(osm_id) if name["state"] in {None, one.partition("-")[0], one}]
    if not found:
        raise TraceError(_unknown(told, asked, osm_id))
    return told.trace(osm_id, found[0])


class _Told:
    """The manifests of a data set, each read when it is needed."""

    def __init__(self, root: Place) -> None:
        self.root = root
        self.scenes = self._read(SCENES)
        self.rejections = self._read(REJECTIONS)
        self.candidates = self._read(CANDIDATES)

    def _read(self, declared: Table) -> pa.Table:
        return parquet.read(self.root / "manifests" / f"{declared.name}.parquet", declared)

    def rows(self, table: pa.Table, name: str, value: str) -> list[dict[str, Any]]:
        """Rows of a table whose column has a value."""
        found: list[dict[str, Any]] = where(table, name, {value}).to_pylist()
        return found

    def subjects_of(self, osm_id: str) -> list[str]:
        """Scenes about an OSM object, or its own name where it gave none but a stage let it go."""
        scenes = [row["scene_id"] for row in self.rows(self.candidates, "osm_id", osm_id)]
        kind, _, number = osm_id.partition("/")
        ending = f"-{kind[0]}{number}"
        named = pc.unique(self.rejections["subject"])
        own = named.filter(pc.or_(pc.equal(named, pa.scalar(osm_id)), pc.ends_with(named, pattern=ending)))
        return sorted({*map(str, scenes), *map(str, own.to_pylist())})

    def trace(self, osm_id: str, subject: str) -> Trace:
        """The trace of one object, by its scene's name if it has one."""
        let_go = self.rows(self.rejections, "subject", osm_id) + (
            self.rows(self.rejections, "subject", subject) if subject != osm_id else []
        )
        scene = self.rows(self.scenes, "scene_id", subject)
        candidate = self.rows(self.candidates, "scene_id", subject)
        steps = [*self._before(osm_id, candidate, let_go), *self._images(scene)]
        told = {step.stage for step in steps}
        for row in let_go:
            if row["stage"] not in told:
                numbers = {"reason": row["reason"], "because": row["detail"] or "no number"}
                steps.append(Step(row["stage"], row["outcome"], numbers))
        steps.sort(key=lambda step: STAGES.index(step.stage) if step.stage in STAGES else len(STAGES))
        outcome = "kept" if scene else let_go[-1]["outcome"] if let_go else "pending"
        return Trace(subject, outcome, tuple(steps), tuple(self._notes(osm_id, subject, scene, outcome)))

    def _before(
        self, osm_id: str, candidate: list[dict[str, Any]], let_go: list[dict[str, Any]]
    ) -> list[Step]:
        if not candidate:
            return []
        (row,) = candidate[:1]
        names = self._namer()
        shares = sorted(zip(row["class_shares"], row["class_ids"], strict=True), reverse=True)
        shown = ", ".join(f"{names(number)} {share:.1%}" for share, number in shares[:SHOWN_CLASSES])
        more = f" and {len(shares) - SHOWN_CLASSES} more" if len(shares) > SHOWN_CLASSES else ""
        footprint = {
            "OSM object": f"{osm_id}, https://www.openstreetmap.org/{osm_id}",
            "class at the anchor": names(row["anchor_class"]),
            "centre": f"{row['longitude']:.6f}, {row['latitude']:.6f}",
            "bounds": ", ".join(f"{side:.6f}" for side in row["bounds"]),
            "classes": f"{len(shares)}: {shown}{more}",
            "labelled ground": f"{row['labelled_share']:.1%}",
        }
        dropped = {one["stage"] for one in let_go}
        steps = [Step("footprints", "kept", footprint)]
        steps += [Step(stage, "kept") for stage in ("coverage", "subsampling") if stage not in dropped]
        cut = min((STAGES.index(stage) for stage in dropped if stage in STAGES), default=len(STAGES))
        return [step for step in steps if STAGES.index(step.stage) < cut]

    def _images(self, scene: list[dict[str, Any]]) -> list[Step]:
        if not scene:
            return []
        (row,) = scene[:1]
        worst = max(range(len(row["black_hr"])), key=row["black_hr"].__getitem__)
        matching = {
            "NAIP": f"{row['naip_date']}, {row['naip_gsd']:.2g} m, {', '.join(row['naip_items'])}",
            "Sentinel-2": f"{row['sentinel2_date']}, {len(row['sentinel2_items'])} items by rank, first "
            f"{row['sentinel2_items'][0]}",
            "days between": row["days_between"],
            "cloud of the granule": f"{row['cloud_cover']:.1f} %",
            "searched": "the whole of 2023" if row["fallback"] else "the window about the NAIP day",
        }
        lr = {name: f"{row[f'{key}_lr']:.2%}" for name, key in _LR.items()}
        hr = {"black pixels, worst tile": f"{row['black_hr'][worst]:.2%} in tile {worst}"}
        return [
            Step("matching", "kept", matching),
            Step("lr", "kept", lr),
            Step("hr", "kept", hr),
            Step("consistency", "kept", self._stored(row)),
        ]

    def _stored(self, row: dict[str, Any]) -> dict[str, Any]:
        told = {"shard": f"data/{row['shard']}, row {row['row']}"}
        try:
            index = open_index(index_path(self.root, row["state"]))
            place = index.scene_ids.index(row["scene_id"])
            lr = int(index.column("lr_offset")[place]), int(index.column("lr_length")[place])
            hr = int(index.column("hr_offset")[place]), int(index.column("hr_length")[place].sum())
        except (StoreError, DataSetNotFoundError, ValueError) as error:
            return {**told, "index": f"cannot be read: {error}"}
        told["LR image"] = f"{lr[1]:,} bytes from byte {lr[0]:,}"
        told["HR tiles"] = f"{hr[1]:,} bytes from byte {hr[0]:,}"
        if row["nearest_scene"]:
            alike = ", same imagery" if row["same_imagery"] else ""
            told["shares ground with"] = f"{row['nearest_scene']}, {row['shared_ground']:.1%}{alike}"
        return told

    def _notes(self, osm_id: str, subject: str, scene: list[dict[str, Any]], outcome: str) -> list[str]:
        if outcome == "pending":
            return ["Not fetched yet: run the same `gl10m build` again."]
        if outcome == "failed":
            return ["The next run of the same `gl10m build` tries it again."]
        if not scene:
            return (
                []
                if subject != osm_id
                else [f"It never had a footprint: https://www.openstreetmap.org/{osm_id}"]
            )
        path = self.root / "manifests" / "splits.parquet"
        if not path.exists():
            return ["Not split yet: `gl10m split` makes one."]
        found = self.rows(parquet.read(path, SPLITS), "scene_id", subject)
        return [f"split: {plain(found[0]['split'])}" if found else "split: none"]

    def _namer(self) -> Callable[[int], str]:
        """Names of classes by id, as the index has them."""
        try:
            known: Sequence[str] = class_names(self.root)
        except (StoreError, DataSetNotFoundError):
            known = ()
        return lambda number: known[number] if number < len(known) else f"class {number}"


_LR: Final = {
    "black pixels": "black",
    "cloud over the footprint": "cloud",
    "filled from other items": "filled",
}


def _of_place(told: _Told, longitude: float, latitude: float) -> PlaceTrace:
    if not (abs(longitude) <= 180 and abs(latitude) <= 90):  # noqa: PLR2004 - the whole globe
        swapped = abs(latitude) <= 180 and abs(longitude) <= 90  # noqa: PLR2004
        hint = f" Did you mean {latitude},{longitude}?" if swapped else ""
        raise TraceError(
            f"a place is LON,LAT in degrees, -180..180 and -90..90; got {longitude},{latitude}.{hint}"
        )
    table = told.candidates
    west, south, east, north = pc.list_flatten(table["bounds"]).to_numpy().reshape(-1, 4).T
    held = (west <= longitude) & (longitude < east) & (south < latitude) & (latitude <= north)
    inside = []
    for row in table.take(np.flatnonzero(held)).to_pylist():
        step = FOOTPRINT_DEGREES / GRID
        tile = tile_at(
            min(GRID - 1, int((row["bounds"][3] - latitude) / step)),
            min(GRID - 1, int((longitude - row["bounds"][0]) / step)),
        )
        inside.append((tile, told.trace(row["osm_id"], row["scene_id"])))
    near = [] if inside else _nearest(told, longitude, latitude)
    return PlaceTrace(longitude, latitude, tuple(inside), tuple(near), _covered(told, longitude, latitude))


def _nearest(told: _Told, longitude: float, latitude: float) -> list[tuple[float, Trace]]:
    table = told.candidates
    if not table.num_rows:
        return []
    there = table["longitude"].to_numpy(), table["latitude"].to_numpy()
    count = table.num_rows
    _, _, metres = Geod(ellps="WGS84").inv([longitude] * count, [latitude] * count, *there)
    order = sorted(range(count), key=lambda place: float(metres[place]))[:NEAREST]
    rows = table.take(order).to_pylist()
    return [
        (float(metres[place]), told.trace(row["osm_id"], row["scene_id"]))
        for place, row in zip(order, rows, strict=True)
    ]


def _covered(told: _Told, longitude: float, latitude: float) -> dict[str, list[str]]:
    path = told.root / "manifests" / f"{COVERAGE.name}.parquet"
    if not path.exists():
        return {}
    point = shapely.Point(longitude, latitude)
    found: dict[str, list[str]] = {}
    for row in parquet.read(path, COVERAGE).to_pylist():
        sensors = found.setdefault(row["state"], [])
        if row["geometry"] is not None and shapely.from_wkb(row["geometry"]).covers(point):
            sensors.append(row["sensor"])
    return {state: sorted(sensors) for state, sensors in sorted(found.items())}


def _unknown(told: _Told, asked: str, osm_id: str) -> str:
    known = [*values(told.candidates, "scene_id"), *values(told.candidates, "osm_id")]
    like = difflib.get_close_matches(asked.strip(), map(str, known), n=NEAREST, cutoff=0.7)
    hint = f" Names like it: {', '.join(map(plain, like))}." if like else ""
    return (
        f"no stage of {told.root} has seen {plain(asked)} ({osm_id}): it carries no tag of the class map, or "
        f"it is not in the extracts that were read.{hint}"
    )


def dumped(found: Trace | PlaceTrace) -> str:
    """A trace as one JSON object."""
    return json.dumps(found.record, indent=1, default=str, ensure_ascii=False)
