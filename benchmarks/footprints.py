"""Footprints, labels, tile labels and thinning from 10^4 to 10^6 anchors, against an overlay by unions.

    python benchmarks/footprints.py EXTRACT.osm.pbf ... [--anchors 10000 100000 1000000] [--sample 200]

The labelled polygons of the extracts are repeated side by side until there are as many anchors as asked for.
CPU time is that of a process of its own for each size, the table in memory at the start, for all that
the stage does; beside it that of lots and thinning once more, by themselves. Peak memory of that process
includes the table. The peer labels a sample of the kept footprints one by one: query, `intersection`,
`union_all` for each class and for all, and each class against each tile. Shares and tiles are compared.
"""

import argparse
import itertools
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from gl10m.manifest.schema import LABELLED_POLYGONS
from gl10m.scene.class_map import ClassMap, unpack_tile_labels
from gl10m.scene.footprint import Footprint
from gl10m.scene.grid import TILES, tile_bounds
from gl10m.scene.identity import lots
from pipelines.stages.classes import map_classes
from pipelines.stages.footprints import FootprintParameters, make_footprints
from pipelines.stages.polygons import read_polygons
from pipelines.stages.thinning import thin

WEST, EAST, SOUTH = -170.0, 170.0, -60.0
OF_A_COPY = 10**11
"""Ids of one copy lie this far from those of the next."""


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


def measure(path: Path, candidates: Path) -> None:
    """Print CPU seconds, kept footprints, peak memory in GiB and CPU seconds of lots and thinning alone.

    A process of its own does it.
    """
    class_map, polygons, parameters = ClassMap.bundled(), pq.read_table(path), FootprintParameters()
    start = time.process_time()
    outcome = make_footprints(polygons, "CA", class_map, parameters)
    spent = time.process_time() - start
    pq.write_table(outcome.kept, candidates)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start = time.process_time()
    rank = np.argsort(np.argsort(lots("thinning", polygons["osm_id"].to_pylist())))
    places = polygons["longitude"].to_numpy(), polygons["latitude"].to_numpy()
    thin(*places, rank, parameters.thinning_degrees, lambda rows: np.ones(len(rows), np.bool_))
    print(spent, outcome.kept.num_rows, peak, time.process_time() - start)


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
    spent: list[tuple[int, float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for anchors in sorted(arguments.anchors):
            world, kept = Path(folder) / f"{anchors}.parquet", Path(folder) / f"{anchors}.kept.parquet"
            replicate(tables, anchors, world)
            command = [sys.executable, __file__, "--measure", str(world), str(kept)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            cpu, count, peak, thinning = float(said[0]), int(said[1]), float(said[2]), float(said[3])
            spent.append((anchors, cpu, cpu / count))
            print(
                f"{anchors:8} anchors  {cpu:7.2f} CPU s  {count:6} kept  thinning {thinning:5.2f} s", end=""
            )
            print(f"  {cpu / count * 1e3:6.3f} ms a kept footprint  peak {peak:.2f} GiB", flush=True)
        for (few, less, _), (many, more, _) in itertools.pairwise(spent):
            exponent = math.log(more / less) / math.log(many / few)
            print(f"exponent from {few} to {many}: {exponent:.3f}")
        first = arguments.anchors[0]
        peer = compare(
            Path(folder) / f"{first}.parquet", Path(folder) / f"{first}.kept.parquet", arguments.sample
        )
        ours = {anchors: each for anchors, _, each in spent}[first]
        print(f"one union_all after the other: {peer * 1e3:.3f} ms a footprint, {peer / ours:.1f} times ours")


if __name__ == "__main__":
    main()
