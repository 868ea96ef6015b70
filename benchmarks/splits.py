"""Splits, their check and the counts of 104,020 made-up scenes; groups beside a walk over all ties in Python.

    python benchmarks/splits.py

Every figure is of a process of its own: wall and CPU seconds, and its peak memory, manifests read and written
included. The scenes are those of the paper in number and states, half of them about towns, thinned as a build
does; NAIP quads are 0.0625 degrees wide, Sentinel-2 granules 1 degree. The peer is a union-find of dicts.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from gl10m.manifest import parquet
from gl10m.manifest.columns import values
from gl10m.manifest.leakage import groups, overlapping
from gl10m.manifest.schema import FUNNEL, SCENES
from gl10m.report import splitting, statistics
from gl10m.report.split_request import SplitRequest
from gl10m.scene.states import states
from pipelines.stages.thinning import KEPT, thin

SCENES_WANTED = 104_020
SIDE = 0.024


def world(root: Path) -> None:
    """Write the manifests of made-up scenes."""
    draw = np.random.default_rng(0)
    rows: list[pa.Table] = []
    for number, code in enumerate(states()):
        wanted = SCENES_WANTED * (number + 1) // 11 - SCENES_WANTED * number // 11
        west, south = -124.0 + 5 * number, 30.0 + number % 3 * 5
        towns = draw.uniform((west, south), (west + 4.9, south + 4.9), (60, 2))
        near = towns[draw.integers(60, size=4 * wanted)] + draw.normal(0, 0.15, (4 * wanted, 2))
        places = np.concatenate([near, draw.uniform((west, south), (west + 4.9, south + 4.9), near.shape)])
        order = draw.permutation(len(places))
        fate = thin(*places.T, order, SIDE / 2, lambda some: np.ones(len(some), np.bool_))
        places = places[draw.permutation(np.flatnonzero(fate == KEPT))[:wanted]]
        rows.append(_table(code, places, draw))
    table = pa.concat_tables(rows)
    parquet.write(root / "manifests/scenes.parquet", table, SCENES, {})
    parquet.write(root / "manifests/funnel.parquet", FUNNEL.empty(), FUNNEL, {})


def _table(code: str, places: np.ndarray, draw: np.random.Generator) -> pa.Table:
    count = len(places)
    bounds = np.concatenate([places - SIDE / 2, places + SIDE / 2], axis=1)
    quads = np.floor(bounds.reshape(-1, 2, 2) / 0.0625).astype(int)
    naip = [
        [f"{code}_{x}_{y}" for x in {a, c} for y in {b, d}] for a, b, c, d in quads.reshape(-1, 4).tolist()
    ]
    granule = [[f"S2_{x}_{y}"] for x, y in np.floor(places).astype(int).tolist()]
    columns: dict[str, object] = {
        "scene_id": [f"{code}-w{number}" for number in range(count)],
        "state": [code] * count,
        "longitude": places[:, 0],
        "latitude": places[:, 1],
        "bounds": bounds.tolist(),
        "class_ids": [sorted(set(draw.integers(66, size=6).tolist())) for _ in range(count)],
        "naip_items": naip,
        "sentinel2_items": granule,
        "days_between": draw.integers(-183, 183, count),
        "cloud_cover": draw.uniform(0, 2, count),
    }
    full = {name: columns.get(name, [None] * count) for name in SCENES.names}
    return pa.table(full, schema=SCENES.schema)


def peer(root: Path) -> None:
    """Ground groups by ties in Python, as before."""
    scenes = parquet.read(root / "manifests/scenes.parquet", SCENES, splitting.COLUMNS)
    one, other, _ = overlapping(scenes)
    ties = list(zip(one.tolist(), other.tolist(), strict=True))
    for column in ("naip_items", "sentinel2_items"):
        first: dict[str, int] = {}
        for row, items in enumerate(values(scenes, column)):
            ties += [(first.setdefault(item, row), row) for item in items]
    parent = list(range(scenes.num_rows))

    def root_of(member: int) -> int:
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    for a, b in ties:
        low, high = sorted((root_of(a), root_of(b)))
        parent[high] = low
    same = groups(scenes)
    if [root_of(member) for member in range(len(parent))] != same.tolist():
        raise SystemExit("the peer's groups are others")
    print(f"{len(ties):,} ties, {len(np.unique(same)):,} groups", end="; ")


def ours(root: Path) -> None:
    """All groups, as `gl10m split --by group` finds them."""
    groups(parquet.read(root / "manifests/scenes.parquet", SCENES, splitting.COLUMNS))


WORK = {
    **{
        f"split --by {kind}": (lambda root, kind=kind: splitting.split_root(root, SplitRequest(by=kind)))
        for kind in ("state", "random", "block", "group")
    },
    "split --by group --shared ground": lambda root: splitting.split_root(
        root, SplitRequest(by="group", shared=("ground",))
    ),
    "groups alone": ours,
    "groups, and the walk in Python that must agree": peer,
    "check of the random split, with pixels": lambda root: (
        splitting.split_root(root, SplitRequest(by="random")),
        splitting.check_root(root, pixels=True),
    ),
    "check of the state split, with pixels": lambda root: (
        splitting.split_root(root, SplitRequest()),
        splitting.check_root(root, pixels=True),
    ),
    "stats": lambda root: statistics.count_root(root).text,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work")
    parser.add_argument("--root", type=Path)
    arguments = parser.parse_args()
    if arguments.work:
        before, cpu = time.perf_counter(), time.process_time()
        WORK[arguments.work](arguments.root)
        wall, spent = time.perf_counter() - before, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{arguments.work}: {wall:.2f} s wall, {spent:.2f} s CPU, {peak:.0f} MB at most")
        return
    with tempfile.TemporaryDirectory() as folder:
        world(Path(folder))
        for name in WORK:
            subprocess.run([sys.executable, __file__, "--work", name, "--root", folder], check=True)


if __name__ == "__main__":
    main()
