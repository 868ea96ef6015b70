"""What verification costs, against the floors of SHA-256 and of decoding.

    python benchmarks/verify.py [--scenes 256] [--rounds 3]

The scenes are made here, with tiles of about the size of real ones. Wall time, the smallest of the rounds;
files are in the page cache. Floors are single-threaded: hashing every byte, decoding every tile.
Also what the default check of images costs a reader, and opening an index of the paper's 104,020 scenes in a
fresh process: seconds and memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg
import torch

from benchmarks.loader_data import PAPER_SCENES, textures
from gl10m import GL10MDataset
from gl10m.manifest import seal
from gl10m.scene.grid import TILES
from gl10m.storage.checksum import sha256_of
from gl10m.store.index import index_shard, write_index
from gl10m.store.integrity import verify
from gl10m.store.layout import index_path, plan_shards, shard_path
from gl10m.store.region_index import open_index
from gl10m.store.shard import write_shard
from tests.store.small_scenes import CLASSES, METADATA, build, fetched


def make(root: Path, scenes: int) -> int:
    """A data set of tiles like real ones; bytes of its shards."""
    build(root, CA=1)  # manifests
    images = textures(64)
    rows = fetched(range(scenes))
    tiles = [[images[(scene * 7 + tile) % len(images)] for tile in range(TILES)] for scene in range(scenes)]
    field = rows.schema.field("hr")
    rows = rows.set_column(rows.schema.get_field_index("hr"), field, pa.array(tiles, field.type))
    (root / "data/CA-00000-of-00001.parquet").unlink()
    paths = []
    for shard in plan_shards("CA", scenes):
        paths.append(shard_path(root, shard.name))
        write_shard(paths[-1], rows.slice(shard.first, shard.scenes), CLASSES, METADATA)
    write_index(index_path(root, "CA"), paths)
    return sum(path.stat().st_size for path in paths)


def fastest(rounds: int, work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    times = []
    for _ in range(rounds):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


def decode_all(root: Path) -> None:
    index = open_index(index_path(root, "CA"))
    buffer = np.empty((268, 268, 3), np.uint8)
    for number, shard in enumerate(index.shards):
        content = memoryview((root / "data" / shard.name).read_bytes())
        for row in np.flatnonzero(index.column("shard") == number).tolist():
            lengths = index.column("hr_length")[row].tolist()
            position = int(index.column("hr_offset")[row])
            for length in lengths:
                simplejpeg.decode_jpeg(content[position : position + length], "RGB", buffer=buffer)
                position += length + 4


def measure(root: Path, size: int, rounds: int) -> None:
    shards = sorted((root / "data").iterdir())

    def told(name: str, seconds: float, floor: float) -> None:
        print(f"{name:44} {seconds:7.2f} s  {size / seconds / 1e6:8.0f} MB/s  x{seconds / floor:.2f}")

    hashing = fastest(rounds, lambda: [sha256_of(path) for path in shards])
    decoding = fastest(rounds, lambda: decode_all(root))
    told("floor: SHA-256 of every shard, 1 thread", hashing, hashing)
    told("floor: decode every tile, 1 thread", decoding, decoding)
    both = hashing + decoding
    told("floor: both", both, both)
    told("verify --deep, 1 thread", fastest(rounds, lambda: verify(root, deep=True, threads=1)), both)
    cores = len(os.sched_getaffinity(0))
    told(f"verify --deep, {cores} threads", fastest(rounds, lambda: verify(root, deep=True)), both / cores)
    told(
        "  of which index against Parquet",
        fastest(rounds, lambda: [index_shard(path) for path in shards]),
        both,
    )
    fast = fastest(rounds, lambda: verify(root))
    print(f"{'verify (fast)':44} {fast * 1e3:7.1f} ms")


def measure_reader(root: Path, rounds: int) -> None:
    torch.set_num_threads(1)
    sets = {check: GL10MDataset(root, tiles=12, verify=check) for check in (False, True)}
    spent = {
        check: fastest(rounds, lambda own=own: [own[scene] for scene in range(64)], time.process_time)
        for check, own in sets.items()
    }
    print(f"LR + 12 tiles: checked {spent[True] / 64 * 1e3:.3f} ms CPU a scene, ", end="")
    print(f"unchecked {spent[False] / 64 * 1e3:.3f}: x{spent[True] / spent[False]:.3f}")


OPEN = """
import resource, sys, time
from pathlib import Path
import torch
from gl10m import GL10MDataset
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
dataset = GL10MDataset(Path(sys.argv[1]), states=["ZZ"])
spent = time.perf_counter() - start
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(f"{len(dataset)} scenes opened in {spent * 1e3:.0f} ms, {(after - before) / 1024:.0f} MB more at most")
"""


def measure_opening(root: Path) -> None:
    """An index of the paper's size, in a fresh process."""
    rows = index_shard(next(iter(sorted((root / "data").iterdir())))).rows
    many = pa.concat_tables([rows.slice(0, 1)] * PAPER_SCENES)
    names = pa.array([f"ZZ-w{number:08d}" for number in range(PAPER_SCENES)])
    classes = pa.array([[1] + [0] * 65] * PAPER_SCENES, pa.list_(pa.uint8(), 66))
    packed = pa.array([bytes(900)] * PAPER_SCENES, pa.binary())
    columns: dict[str, Any] = {"scene_id": names, "label": classes, "tile_labels": packed}
    arrays = [columns.get(name, many[name]) for name in many.schema.names]
    about = {
        **(open_index(index_path(root, "CA")).rows.schema.metadata or {}),
        seal.KEY.encode(): seal.BLANK.encode(),
    }
    about[b"gl10m.shards"] = about[b"gl10m.shards"].replace(b"CA-", b"ZZ-")
    about[b"gl10m.class_names"] = str([f"class {n}" for n in range(66)]).replace("'", '"').encode()
    table = pa.table(arrays, names=many.schema.names).combine_chunks().replace_schema_metadata(about)
    path = index_path(root, "ZZ")
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    seal.seal(path)
    for shard in (root / "data").glob("CA-*"):
        os.link(shard, shard.with_name(shard.name.replace("CA", "ZZ")))
    check = fastest(5, lambda: seal.check_seal(path))
    print(f"index of {path.stat().st_size / 1e6:.0f} MB: its seal takes {check * 1e3:.0f} ms; ", end="")
    print(
        subprocess.run([sys.executable, "-c", OPEN, root], capture_output=True, text=True, check=True).stdout
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        size = make(root, arguments.scenes)
        print(f"{arguments.scenes} scenes, {size / 1e6:.0f} MB in shards; load {os.getloadavg()[0]:.1f}")
        measure(root, size, arguments.rounds)
        measure_reader(root, arguments.rounds)
        measure_opening(root)


if __name__ == "__main__":
    main()
