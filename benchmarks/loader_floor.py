"""One LR image and 12 tiles a scene: the loader against the bare decoder on the same bytes.

    python benchmarks/loader_floor.py [--scenes 48] [--rounds 5]

The scenes are made here, with tiles of about the size of real ones (34 KB). CPU time of this process, the
smallest of the rounds; the files are in the page cache. The index figures are for the paper's 104,020 scenes.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import simplejpeg
import torch
from torch.utils.data import DataLoader

from gl10m import GL10MDataset
from gl10m.loader import collate
from gl10m.manifest import seal
from gl10m.scene.grid import TILES
from gl10m.store import codec
from gl10m.store.index import index_shard, write_index
from gl10m.store.layout import index_path, plan_shards, shard_path
from gl10m.store.reader import open_index
from gl10m.store.shard import write_shard
from tests.store.small_scenes import CLASSES, METADATA, fetched

TILES_A_SCENE = 12
PAPER_SCENES = 104_020


def textures(count: int) -> list[bytes]:
    """Encoded images with as much detail as an aerial one."""
    generator = np.random.default_rng(0)
    fields = generator.integers(40, 200, (count, 3, 9, 9)).repeat(30, 2).repeat(30, 3)[:, :, :268, :268]
    noise = generator.normal(0, 9, (count, 1, 268, 268))
    images = np.clip(fields + noise, 0, 255).astype(np.uint8)
    return [codec.encode_tile(image) for image in images]


def build(root: Path, scenes: int) -> tuple[int, float, float]:
    """Write a data set; bytes of its images, and CPU seconds a scene to write and to index it."""
    images = textures(64)
    rows = fetched(range(scenes))
    tiles = [[images[(scene * 7 + tile) % len(images)] for tile in range(TILES)] for scene in range(scenes)]
    place = rows.schema.get_field_index("hr")
    rows = rows.set_column(place, rows.schema.field("hr"), pa.array(tiles, rows.schema.field("hr").type))
    start = time.process_time()
    paths = []
    for shard in plan_shards("CA", scenes):
        paths.append(shard_path(root, shard.name))
        write_shard(paths[-1], rows.slice(shard.first, shard.scenes), CLASSES, METADATA)
    written = time.process_time()
    write_index(index_path(root, "CA"), paths)
    payload = sum(len(image) for hr in tiles for image in hr) + sum(map(len, rows["lr"].to_pylist()))
    return payload, (written - start) / scenes, (time.process_time() - written) / scenes


def cheapest(rounds: int, work: Callable[[], object]) -> float:
    """Smallest CPU time of some runs, seconds."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def measure(root: Path, scenes: int, rounds: int) -> None:
    """Print the ratios."""
    torch.set_num_threads(1)  # threads that wait for work spin, and their time would count
    dataset = GL10MDataset(root, tiles=TILES_A_SCENE)
    chosen = [dataset[scene]["tiles"].tolist() for scene in range(scenes)]
    content = (root / "data/CA-00000-of-00001.parquet").read_bytes()
    index = open_index(index_path(root, "CA")).rows.to_pylist()
    encoded = []
    for row, tiles in zip(index, chosen, strict=True):
        starts = row["hr_offset"] + np.cumsum([0, *(length + 4 for length in row["hr_length"])])
        encoded.append(content[row["lr_offset"] : row["lr_offset"] + row["lr_length"]])
        encoded += [content[starts[tile] : starts[tile] + row["hr_length"][tile]] for tile in tiles]
    buffer = np.empty((268, 268, 3), np.uint8)
    floor = cheapest(
        rounds, lambda: [simplejpeg.decode_jpeg(image, "RGB", buffer=buffer) for image in encoded]
    )
    print(f"decode floor, one buffer         {floor / scenes * 1e3:6.2f} ms/scene   1.00")

    checked = GL10MDataset(root, tiles=TILES_A_SCENE, verify=True)
    stacked = DataLoader(dataset, batch_size=16)
    packed = DataLoader(dataset, batch_size=16, collate_fn=collate)
    for name, work in {
        "dataset[i]": lambda: [dataset[scene] for scene in range(scenes)],
        "dataset[i], verify=True": lambda: [checked[scene] for scene in range(scenes)],
        "DataLoader, PyTorch's collation": lambda: [len(batch["tiles"]) for batch in stacked],
        "DataLoader, gl10m.loader.collate": lambda: [len(batch["tiles"]) for batch in packed],
    }.items():
        spent = cheapest(rounds, work)
        print(f"{name:32} {spent / scenes * 1e3:6.2f} ms/scene   {spent / floor:.2f}")
    scene_bytes = sum(len(image) for image in encoded[: TILES_A_SCENE + 1])
    print(f"bytes of one such sample         {scene_bytes:6}")


def measure_index(root: Path) -> None:
    """Print what an index of the paper's size costs to open."""
    shard = index_shard(root / "data/CA-00000-of-00001.parquet")
    one = shard.rows.slice(0, 1)
    many = pa.concat_tables([one] * PAPER_SCENES).combine_chunks()
    about = {
        **(open_index(index_path(root, "CA")).rows.schema.metadata or {}),
        seal.KEY.encode(): seal.BLANK.encode(),
    }
    path = root / "index/ZZ.arrow"
    about[b"gl10m.shards"] = about[b"gl10m.shards"].replace(b"CA-", b"ZZ-")
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, many.schema.with_metadata(about)) as writer,
    ):
        writer.write_table(many.replace_schema_metadata(about))
    seal.seal(path)
    start = time.perf_counter()
    open_index(path)
    spent = time.perf_counter() - start
    size = path.stat().st_size
    print(
        f"index of {PAPER_SCENES} scenes: {size / 1e6:.0f} MB ({size / PAPER_SCENES:.0f} B/scene), ", end=""
    )
    print(f"opened and checked in {spent * 1e3:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        payload, write, index = build(root, arguments.scenes)
        size = (root / "data/CA-00000-of-00001.parquet").stat().st_size
        print(f"mean image {payload / arguments.scenes / (TILES + 1) / 1e3:.1f} KB, ", end="")
        print(f"shard overhead {size / payload - 1:.2%}, ", end="")
        print(f"writing {write * 1e3:.1f} ms/scene, indexing {index * 1e3:.1f} ms/scene (CPU)")
        measure(root, arguments.scenes, arguments.rounds)
        measure_index(root)


if __name__ == "__main__":
    main()
