"""Footprints, labels, tile labels and thinning from 10^4 to 10^6 anchors, against an overlay by unions.

    python benchmarks/footprints.py EXTRACT.osm.pbf ... [--anchors 10000 100000 1000000] [--sample 200]

The labelled polygons of the extracts are repeated side by side until there are as many anchors as asked for.
CPU time is that of a process of its own for each size, the table in memory at the start, for all that the
stage does, in two parts of the same run: footprints and thinning (order, geometry, lots, thinning, the table
of candidates), and labels (the overlay: cutting, disjoint ground, shares, tiles). Peak memory of that process
includes the table. The goals stand beside the figures. The peer labels a sample of the kept footprints one by
one: query, `intersection`, `union_all` for each class and for all, and each class against each tile. Shares
and tiles are compared.
"""

import argparse
import itertools
import math
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from gl10m.manifest.schema import LABELLED_POLYGONS
from gl10m.scene.class_map import ClassMap, unpack_tile_labels
from gl10m.scene.footprint import Footprint
from gl10m.scene.grid import TILES, tile_bounds
from pipelines.stages import footprints
from pipelines.stages.classes import map_classes
from pipelines.stages.footprints import FootprintParameters
from pipelines.stages.overlay import Labels, Overlay
from pipelines.stages.polygons import read_polygons

WEST, EAST, SOUTH = -170.0, 170.0, -60.0
OF_A_COPY = 10**11
"""Ids of one copy lie this far from those of the next."""


EXPONENT, FOOTPRINT_SECONDS, LABEL_SECONDS, GIBIBYTES = 1.05, 35e-6, 2.5e-3, 4.0
"""Goals: exponent of time over anchors, CPU seconds an anchor for footprints and thinning, CPU seconds a kept
footprint for its labels, memory for a million anchors."""

SMALL, THRICE = 100_000, 3
"""Sizes up to this one are measured so often, and the least counts: half a second is mostly chance."""


@dataclass(frozen=True)
class Run:
    """What one size cost."""

    anchors: int
    cpu: float
    labels: float
    kept: int
    peak: float

    @property
    def each(self) -> float:
        """CPU seconds a kept footprint, all in all."""
        return self.cpu / self.kept

    @property
    def words(self) -> str:
        """The two parts and the memory, with their goals."""
        return (
            f"{self.anchors:8} anchors {self.cpu:7.2f} CPU s, {self.kept:6} kept, "
            f"{self.each * 1e3:.3f} ms a kept one\n"
            f"         footprints and thinning {self.cpu - self.labels:7.2f} CPU s "
            f"(goal {self.anchors * FOOTPRINT_SECONDS:.2f})\n"
            f"         labels {self.labels:7.2f} CPU s, {self.labels / self.kept * 1e3:.3f} ms a footprint "
            f"(goal {LABEL_SECONDS * 1e3})\n"
            f"         peak {self.peak:.2f} GiB (goal {GIBIBYTES})"
        )


def ground(extracts: list[Path]) -> list[pa.Table]:
    """Labelled polygons of each extract."""
    class_map = ClassMap.bundled()
    polygons = [read_polygons(path, "CA", class_map).kept for path in extracts]
    return [map_classes(table, "CA", class_map).kept for table in polygons]


def replicate(tables: list[pa.Table], anchors: int, path: Path) -> None:
    """Write the polygons side by side, `anchors` of them."""
    geometry = [shapely.from_wkb(table["geometry"].to_numpy()) for table in tables]
    boxes = np.array([shapely.total_bounds(shapes) for shapes in geometry])
    across, up = (boxes[:, 2:] - boxes[:, :2]).max(axis=0) + 0.05
    columns, written, slot = int((EAST - WEST) / across), 0, 0
    with pq.ParquetWriter(path, LABELLED_POLYGONS.schema) as writer:
        while written < anchors:
            table, shapes = tables[slot % len(tables)], geometry[slot % len(tables)]
            corner = np.array([WEST + slot % columns * across, SOUTH + slot // columns * up])
            shift = corner - boxes[slot % len(tables), :2]
            copy = shifted(table, shapes, shift, slot).slice(0, anchors - written)
            writer.write_table(copy)
            written += copy.num_rows
            slot += 1


def shifted(table: pa.Table, shapes: np.ndarray, shift: np.ndarray, copy: int) -> pa.Table:
    """The same polygons elsewhere."""
    names = [name.split("/") for name in table["osm_id"].to_pylist()]
    moved = shapely.transform(shapes, lambda places: places + shift)
    columns = {name: table[name] for name in table.column_names} | {
        "osm_id": [f"{kind}/{int(number) + copy * OF_A_COPY}" for kind, number in names],
        "longitude": np.round(table["longitude"].to_numpy() + shift[0], 7),
        "latitude": np.round(table["latitude"].to_numpy() + shift[1], 7),
        "geometry": shapely.to_wkb(moved).tolist(),
    }
    return pa.table(columns, schema=LABELLED_POLYGONS.schema)


class TimedOverlay(Overlay):
    """The overlay of the stage, with its CPU seconds beside it: all that labels cost."""

    spent = 0.0

    def __init__(self, geometry: np.ndarray, membership: np.ndarray) -> None:
        start = time.process_time()
        super().__init__(geometry, membership)
        TimedOverlay.spent += time.process_time() - start

    def labels(self, bounds: np.ndarray) -> Labels:
        start = time.process_time()
        found = super().labels(bounds)
        TimedOverlay.spent += time.process_time() - start
        return found


def measure(path: Path, candidates: Path) -> None:
    """Print CPU seconds in all and of labels, kept footprints, peak memory in GiB.

    A process of its own does it.
    """
    class_map, polygons, parameters = ClassMap.bundled(), pq.read_table(path), FootprintParameters()
    footprints.Overlay = TimedOverlay
    start = time.process_time()
    outcome = footprints.make_footprints(polygons, "CA", class_map, parameters)
    spent = time.process_time() - start
    pq.write_table(outcome.kept, candidates)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(spent, TimedOverlay.spent, outcome.kept.num_rows, peak)


class Peer:
    """The overlay as one would write it: footprint by footprint, unions by GEOS."""

    def __init__(self, polygons: pa.Table) -> None:
        self.geometry = shapely.from_wkb(polygons["geometry"].to_numpy())
        self.classes = polygons["class_ids"].to_pylist()
        self.tree = shapely.STRtree(self.geometry)

    def label(self, footprint: Footprint, classes: int) -> tuple[np.ndarray, float, np.ndarray]:
        whole = shapely.box(*footprint.bounds)
        places = self.tree.query(whole, predicate="intersects")
        clipped = shapely.intersection(self.geometry[places], whole)
        tiles = shapely.box(*tile_bounds(footprint).T)
        shares, marks = np.zeros(classes), np.zeros((TILES, classes), np.bool_)
        for number in sorted({number for place in places for number in self.classes[place]}):
            of_class = [number in self.classes[place] for place in places]
            union = shapely.union_all(clipped[of_class])
            shares[number] = union.area / whole.area
            shapely.prepare(union)
            marks[:, number] = shapely.intersects(union, tiles) & ~shapely.touches(union, tiles)
        return shares, shapely.union_all(clipped).area / whole.area, marks


def compare(path: Path, candidates: Path, sample: int) -> float:
    """CPU seconds a footprint of the peer; prints how far its labels are from ours."""
    polygons, kept, classes = pq.read_table(path), pq.read_table(candidates), len(ClassMap.bundled())
    chosen = np.linspace(0, kept.num_rows - 1, min(sample, kept.num_rows)).astype(np.int64)
    rows = kept.take(pa.array(chosen)).to_pylist()
    start = time.process_time()
    peer = Peer(polygons)
    found = [peer.label(Footprint(row["longitude"], row["latitude"]), classes) for row in rows]
    spent = (time.process_time() - start) / len(rows)
    furthest, other_tiles = 0.0, 0
    for row, (shares, labelled, marks) in zip(rows, found, strict=True):
        ours = np.zeros(classes)
        ours[row["class_ids"]] = row["class_shares"]
        furthest = max(furthest, np.abs(ours - shares).max(), abs(row["labelled_share"] - labelled))
        other_tiles += int((unpack_tile_labels(row["tile_labels"], classes) != marks).sum())
    print(f"{len(rows)} footprints of both: shares at most {furthest:.1e} apart, {other_tiles} tiles differ")
    return spent


def measured(anchors: int, world: Path, kept: Path) -> Run:
    """One size in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(world), str(kept)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return Run(anchors, float(said[0]), float(said[1]), int(said[2]), float(said[3]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("extracts", nargs="*", type=Path)
    parser.add_argument("--anchors", nargs="+", type=int, default=[10_000, 100_000])
    parser.add_argument("--sample", type=int, default=200, help="footprints that the peer labels")
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure)
        return
    tables = ground(arguments.extracts)
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        for anchors in sorted(arguments.anchors):
            world, kept = Path(folder) / f"{anchors}.parquet", Path(folder) / f"{anchors}.kept.parquet"
            replicate(tables, anchors, world)
            times = THRICE if anchors <= SMALL else 1
            runs.append(min((measured(anchors, world, kept) for _ in range(times)), key=lambda run: run.cpu))
            print(runs[-1].words, flush=True)
        for few, many in itertools.pairwise(runs):
            exponent = math.log(many.cpu / few.cpu) / math.log(many.anchors / few.anchors)
            print(f"exponent from {few.anchors} to {many.anchors}: {exponent:.3f} (goal {EXPONENT})")
        first = arguments.anchors[0]
        peer = compare(
            Path(folder) / f"{first}.parquet", Path(folder) / f"{first}.kept.parquet", arguments.sample
        )
        ours = next(run.each for run in runs if run.anchors == first)
        print(f"one union_all after the other: {peer * 1e3:.3f} ms a footprint, {peer / ours:.1f} times ours")


if __name__ == "__main__":
    main()
