"""The loader beside the bare decoder and its peers, on the same JPEG bytes, in one run.

    pip install webdataset datasets pylance
    pip install --no-deps mosaicml-streaming litdata lightning-utilities transformers tokenizers regex \\
        brotli python-snappy cramjam zstd catalogue
    python -m benchmarks.loader [--root DATA-SET | --aerial FOLDER] [--scenes 48] [--only scenes,samples,...]

--root: a data set made by `gl10m build`. --aerial: tiles cut out of NAIP rasters, encoded again as the store
does it. Otherwise made-up tiles of about the size of real ones. The last two for those who have them.

CPU is user and system time of the process and of its ended children, the least of the rounds; files are in
the page cache. Checksums of images are compared by the loader, as it does by default; peers compare none.
Readers of the others' containers decode with the same decoder as the loader, so that containers are compared.
"""

import argparse
import contextlib
import functools
import gc
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

from benchmarks import loader_data, loader_peers
from benchmarks.loader_bucket import bucket, counted
from benchmarks.loader_memory import memory_section
from gl10m import GL10MDataset
from gl10m.loader import BatchLoader, GL10MStream, collate
from gl10m.store.index import index_shard

TILES = 12
BATCH = 16
SECTIONS = ("store", "scenes", "samples", "disk", "bucket", "memory", "start")

Work = Callable[[], object]


def cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime  # getrusage lags behind for the living


def drain(items: Iterator[Any]) -> None:
    for item in items:
        del item


def compared(works: dict[str, Work], count: int, unit: str, rounds: int) -> dict[str, float]:
    """Run all works in turn, so that a disturbance meets all; CPU ms of each."""
    least = dict.fromkeys(works, (float("inf"), float("inf")))
    for _ in range(rounds):
        for name, work in works.items():
            gc.collect()
            before, start = cpu(), time.perf_counter()
            work()
            spent, wall = cpu() - before, time.perf_counter() - start
            least[name] = (min(least[name][0], spent), min(least[name][1], wall))
    floor = next(iter(least.values()))[0]
    print(f"| {'':<44} | CPU ms/{unit} | x floor | wall ms/{unit} |\n|{'-' * 46}|--:|--:|--:|")
    for name, (spent, wall) in least.items():
        print(
            f"| {name:<44} | {spent / count * 1e3:7.2f} | {spent / floor:5.3f} | {wall / count * 1e3:7.2f} |"
        )
    return {name: spent / count * 1e3 for name, (spent, _) in least.items()}


def decoded(images: list[Any]) -> None:
    """Decode as a loader must: into memory that the user keeps."""
    pixels = np.empty((len(images), 268, 268, 3), np.uint8)
    for image, target in zip(images, pixels, strict=True):
        simplejpeg.decode_jpeg(image, "RGB", buffer=target)


def floor(encoded: list[Any]) -> None:
    """Decode bytes in memory into one small buffer, and nothing else."""
    buffer = np.empty((268, 268, 3), np.uint8)
    for image in encoded:
        simplejpeg.decode_jpeg(image, "RGB", buffer=buffer)


def peers_of(folder: Path, root: Path, scenes: list[list[bytes]]) -> dict[str, loader_peers.Scenes]:
    """Whole scenes from each peer that is installed; says which is not."""
    found: dict[str, loader_peers.Scenes] = {}

    def from_hugging_face() -> loader_peers.Scenes:
        return loader_peers.hugging_face_scenes(loader_peers.hugging_face(root, folder / "cache"))

    makers: dict[str, Callable[[], loader_peers.Scenes]] = {
        "WebDataset": lambda: (
            loader_peers.write_webdataset(folder / "wds", scenes),
            loader_peers.webdataset(folder / "wds"),
        )[1],
        "Hugging Face datasets": from_hugging_face,
        "MosaicML streaming": lambda: (
            loader_peers.write_mosaic(folder / "mds", scenes),
            loader_peers.mosaic(folder / "mds"),
        )[1],
        "LitData": lambda: (
            loader_peers.write_litdata(folder / "lit", scenes),
            loader_peers.litdata(folder / "lit"),
        )[1],
        "Lance": lambda: (
            loader_peers.write_lance(folder / "lance", scenes),
            loader_peers.lance_scenes(loader_peers.lance_dataset(str(folder / "lance"))),
        )[1],
    }
    for name, make in makers.items():
        try:
            found[name] = make()
            sound = next(iter(found[name]()))
        except ImportError as error:
            print(f"{name} is not installed here ({error}): no row")
            continue
        if [bytes(image) for image in sound] != scenes[0]:
            raise SystemExit(f"{name} does not give back what was written")
    return found


def store_section(root: Path, scenes: list[list[bytes]]) -> None:
    """What the container costs in bytes."""
    payload = sum(len(image) for images in scenes for image in images)
    size = sum(path.stat().st_size for path in (root / "data").glob("*.parquet"))
    index = sum(path.stat().st_size for path in (root / "index").glob("*.arrow"))
    print(f"mean image {payload / len(scenes) / 101 / 1e3:.1f} KB", end=", ")
    print(f"shards {size / payload - 1:.2%} over their images", end=", ")
    print(f"index {index / len(scenes):.0f} B a scene")
    start = cpu()
    for path in (root / "data").glob("*.parquet"):
        index_shard(path)
    print(f"indexing {(cpu() - start) / len(scenes) * 1e3:.1f} CPU ms a scene")


def floor_in_threads(parts: list[list[Any]]) -> None:
    """The same in two threads at once: two cores that share caches decode less than twice as fast as one."""
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(floor, parts))


def scenes_section(root: Path, scenes: list[list[bytes]], peers: dict[str, Any], rounds: int) -> None:
    """Full scenes, one after another."""
    dataset = GL10MDataset(root, tiles="all")
    everything = [image for images in scenes for image in images]

    def peer(read: loader_peers.Scenes) -> None:
        for images in read():
            decoded(images)

    works: dict[str, Work] = {
        "bare decoder, one buffer": lambda: floor(everything),
        "bare decoder, 2 threads": lambda: floor_in_threads(scenes),
        "bare decoder, memory for each scene": lambda: [decoded(images) for images in scenes] and None,
        "GL10MStream, no thread": lambda: drain(iter(GL10MStream(dataset, threads=0))),
        "GL10MStream, 1 thread": lambda: drain(iter(GL10MStream(dataset, threads=1))),
        "GL10MStream, 2 threads": lambda: drain(iter(GL10MStream(dataset, threads=2))),
        "dataset[i]": lambda: drain(dataset[index] for index in range(len(dataset))),
        **{f"{name}, simplejpeg": functools.partial(peer, read) for name, read in peers.items()},
    }
    spent = compared(works, len(scenes), "scene", rounds)
    bare = spent["bare decoder, one buffer"]
    for name in peers:
        own, other = spent["GL10MStream, no thread"], spent[f"{name}, simplejpeg"]
        print(
            f"GL10MStream / {name}: {own / other:.3f}; beyond the bare decoder: {own - bare:.2f} to {other - bare:.2f} ms"
        )


def samples_section(root: Path, folder: Path, scenes: list[list[bytes]], rounds: int) -> None:
    """LR and 12 random tiles of each scene, in batches of 16, in random order."""
    dataset = GL10MDataset(root, tiles=TILES)
    count = len(scenes)
    order: Any = DistributedSampler(dataset, num_replicas=1, rank=0, seed=0)
    batches = [list(batch) for batch in BatchSampler(order, BATCH, drop_last=False)]
    tiles = [sample["tiles"].tolist() for sample in (dataset[index] for index in range(count))]
    images = [scenes[index][place] for index in range(count) for place in (0, *(t + 1 for t in tiles[index]))]
    loader = functools.partial(DataLoader, dataset, batch_sampler=batches, collate_fn=collate)
    works: dict[str, Work] = {
        "bare decoder, one buffer": lambda: floor(images),
        "bare decoder, 2 threads": lambda: floor_in_threads([images[0::2], images[1::2]]),
        "dataset[i]": lambda: drain(dataset[index] for index in range(count)),
        "DataLoader, collate": lambda: drain(iter(loader())),
        "DataLoader, PyTorch's collation": lambda: drain(iter(DataLoader(dataset, batch_sampler=batches))),
        "BatchLoader, 1 thread": lambda: drain(iter(BatchLoader(dataset, batches, threads=1))),
        "BatchLoader, 2 threads": lambda: drain(iter(BatchLoader(dataset, batches, threads=2))),
        "DataLoader, 2 worker processes, fork": lambda: drain(iter(loader(num_workers=2))),
    }
    with contextlib.suppress(ImportError):
        lance = loader_peers.lance_dataset(str(folder / "lance"))

        def take() -> None:
            for batch in batches:
                decoded(loader_peers.lance_images(lance, batch, [tiles[index] for index in batch]))

        works["Lance take, simplejpeg"] = take
    with contextlib.suppress(ImportError):
        rows = loader_peers.hugging_face(root, folder / "cache")
        plain = loader_peers.undecoded(rows)

        def by_hugging_face() -> None:
            for batch in batches:
                for index in batch:
                    row = plain[index]
                    own = [row["lr"]["bytes"], *(row["hr"][tile]["bytes"] for tile in tiles[index])]
                    decoded(own)

        works["Hugging Face, undecoded, simplejpeg"] = by_hugging_face
        works["Hugging Face as it comes (Pillow, all tiles)"] = lambda: drain(
            rows[index]["hr"] for index in batches[0]
        )
    spent = compared(works, count, "scene", rounds)
    ours, bare = spent["BatchLoader, 1 thread"], spent["bare decoder, one buffer"]
    for name in ("Lance take, simplejpeg", "Hugging Face, undecoded, simplejpeg"):
        if name in spent:
            print(
                f"BatchLoader, 1 thread / {name}: {ours / spent[name]:.2f}, where the bare decoder is at "
                f"{bare / spent[name]:.2f}; beyond it {ours - bare:.2f} to {spent[name] - bare:.2f} ms"
            )
    slow = "Hugging Face as it comes (Pillow, all tiles)"
    if slow in spent:
        # Its round is one batch alone.
        print(f"BatchLoader, 1 thread / {slow}: {ours / (spent[slow] * count / len(batches[0])):.2f}")


def read_by_process() -> int:
    """Bytes that this process has asked the kernel for."""
    return int(re.findall(r"rchar: (\d+)", Path("/proc/self/io").read_text())[0])


def disk_section(root: Path, folder: Path, scenes: list[list[bytes]]) -> None:
    """12 random tiles of a random scene from disk: time to read them, and bytes."""
    dataset = GL10MDataset(root)
    tiles = loader_peers.chosen_tiles(len(scenes), TILES)
    picked = [dataset.scene(index) for index in range(len(scenes))]
    own = [sum(len(scenes[index][tile + 1]) for tile in wanted) for index, wanted in enumerate(tiles)]
    from gl10m.loader.scene import fetch  # noqa: PLC0415 - the loader's own reading step, undecoded

    readers: dict[str, Callable[[int], object]] = {
        "gl10m": lambda index: fetch([picked[index]], [tiles[index]], lr=False)
    }
    with contextlib.suppress(ImportError):
        lance = loader_peers.lance_dataset(str(folder / "lance"))
        readers["Lance take"] = lambda index: lance.take(
            [101 * index + tile + 1 for tile in tiles[index]], columns=["image"]
        )
    print("| 12 tiles of a scene, undecoded | us | bytes / their own |\n|---|--:|--:|")
    for name, read in readers.items():
        read(0)
        times, before = [], read_by_process()
        for index in range(len(scenes)):
            start = time.perf_counter()
            read(index)
            times.append(time.perf_counter() - start)
        ratio = (read_by_process() - before) / sum(own)
        print(f"| {name} | {statistics.median(times) * 1e6:.0f} | {ratio:.3f} |")


def bucket_section(root: Path, folder: Path, scenes: list[list[bytes]], delay: float) -> None:
    """LR and 12 tiles out of a bucket: scene by scene, and in batches of 16."""
    (root / "gl10m.json").write_text(loader_peers.described(root))
    holder = folder / "bench"
    holder.mkdir(exist_ok=True)
    (holder / "gl10m").symlink_to(root)
    files = {path: holder / "gl10m" / path.relative_to(root) for path in root.rglob("*") if path.is_file()}
    served = folder / "served"
    for source, target in files.items():
        place = served / target.relative_to(holder)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, place)
    with_lance = (folder / "lance").exists()
    if with_lance:
        for source in (folder / "lance").rglob("*"):
            if source.is_file():
                place = served / "lance" / source.relative_to(folder / "lance")
                place.parent.mkdir(parents=True, exist_ok=True)
                os.link(source, place)
    with bucket(served, delay / 1e3) as address:
        os.environ |= {
            "AWS_ENDPOINT_URL": address,
            "AWS_SKIP_SIGNATURE": "true",
            "AWS_REGION": "us-east-1",
            "XDG_CACHE_HOME": str(folder / "xdg"),
        }
        measure_bucket(address, scenes, with_lance=with_lance)


def measure_bucket(address: str, scenes: list[list[bytes]], *, with_lance: bool) -> None:
    tiles = loader_peers.chosen_tiles(len(scenes), TILES)
    own = [
        sum(len(scenes[index][place]) for place in (0, *(tile + 1 for tile in wanted)))
        for index, wanted in enumerate(tiles)
    ]
    counted(address)
    dataset = GL10MDataset("s3://bench/gl10m")
    opened = counted(address)
    dataset.scene(1).lr()
    one = counted(address)
    print(
        f"opening: {opened[0]} requests, {opened[1] / 1e3:.0f} KB; LR image of a scene: {one[0]} request, ",
        end="",
    )
    print(f"{one[1] / len(scenes[1][0]):.3f} x its bytes")
    everything = range(len(scenes))
    batches = [list(everything[first : first + BATCH]) for first in range(0, len(everything), BATCH)]
    readers: dict[str, Callable[[list[int]], object]] = {}
    for gap in (0, 16, None, 64 << 10, 128 << 10, 256 << 10, 1 << 20):
        source = GL10MDataset("s3://bench/gl10m", gap=gap, tiles=lambda index, _: tiles[index])
        readers[f"gl10m, gap {'default' if gap is None else gap}"] = source.__getitems__
    if with_lance:
        options = {
            "aws_endpoint": address,
            "allow_http": "true",
            "aws_skip_signature": "true",
            "aws_region": "us-east-1",
            "aws_virtual_hosted_style_request": "false",
        }
        lance = loader_peers.lance_dataset("s3://bench/lance", options)
        readers["Lance take"] = lambda batch: decoded(
            loader_peers.lance_images(lance, batch, [tiles[index] for index in batch])
        )
    for title, groups in (
        ("LR + 12 tiles of one scene", [[index] for index in everything]),
        ("16 scenes", batches),
    ):
        print(
            f"\n| {title}, decoded | wall ms | CPU ms | requests | bytes / their own | wall / default gap |"
        )
        print("|---|--:|--:|--:|--:|--:|")
        rows = {name: measured(address, read, groups, own) for name, read in readers.items()}
        base = rows["gl10m, gap default"][0]
        for name, (wall, spent, requests, ratio) in rows.items():
            print(f"| {name} | {wall:.1f} | {spent:.1f} | {requests:.1f} | {ratio:.3f} | {wall / base:.2f} |")


def measured(
    address: str, read: Callable[[list[int]], object], groups: list[list[int]], own: list[int]
) -> tuple[float, float, float, float]:
    """Median wall ms and mean CPU ms of a group, requests, and bytes over those of the images."""
    read(groups[0])
    counted(address)
    walls, before = [], cpu()
    for group in groups:
        start = time.perf_counter()
        read(group)
        walls.append(time.perf_counter() - start)
    spent = cpu() - before
    requests, sent = counted(address)
    wanted = sum(own[index] for group in groups for index in group)
    return statistics.median(walls) * 1e3, spent / len(groups) * 1e3, requests / len(groups), sent / wanted


OPENING = """
import re, sys, time
import gl10m.loader
def pss():
    text = open("/proc/self/smaps_rollup").read()
    return [int(re.search(rf"^{name}:\\s+(\\d+)", text, re.M)[1]) / 1024 for name in ("Pss", "Private_Dirty")]
before, start, spent = pss(), time.perf_counter(), time.process_time()
dataset = gl10m.GL10MDataset(sys.argv[1], "train")
wall, spent, after = time.perf_counter() - start, time.process_time() - spent, pss()
print(f"{len(dataset)} scenes opened in {wall:.2f} s ({spent:.2f} CPU s), every byte of the indexes checked")
print(f"PSS +{after[0] - before[0]:.0f} MB, {after[1] - before[1]:.0f} MB of them not the files' own pages")
"""


def start_section(root: Path, folder: Path) -> None:
    """Open a data set of the paper's size, in a process of its own."""
    loader_data.full_size(folder / "full", root)
    size = sum(path.stat().st_size for path in (folder / "full" / "index").iterdir())
    count = loader_data.PAPER_SCENES
    print(f"indexes of {count} scenes: {size / 1e6:.0f} MB, {size / count:.0f} B a scene")
    for _ in range(3):
        subprocess.run([sys.executable, "-c", OPENING, str(folder / "full")], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--aerial", type=Path)
    parser.add_argument("--scenes", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", type=float, default=20, help="milliseconds a request")
    parser.add_argument("--only", default=",".join(SECTIONS))
    asked = parser.parse_args()
    torch.set_num_threads(1)  # threads that wait for work spin, and their time would count
    print(f"load {os.getloadavg()[0]:.1f} at the start, {os.cpu_count()} cores; PyTorch {torch.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = folder / "root"
        if asked.root:
            subprocess.run(["cp", "-r", str(asked.root), str(root)], check=True)
        else:
            images = loader_data.crops(asked.aerial) if asked.aerial else loader_data.textures()
            print(f"{len(images)} different tiles")
            loader_data.build(root, asked.scenes, images)
        run(set(asked.only.split(",")), folder, root, asked)
        print(f"load {os.getloadavg()[0]:.1f} at the end")


def run(sections: set[str], folder: Path, root: Path, asked: argparse.Namespace) -> None:
    scenes = loader_peers.stored_scenes(root)
    peers: dict[str, Any] = {}
    if sections & {"scenes", "samples", "disk", "bucket"}:
        peers = peers_of(folder, root, scenes)
    works: dict[str, Work] = {
        "store": lambda: store_section(root, scenes),
        "scenes": lambda: scenes_section(root, scenes, peers, asked.rounds),
        "samples": lambda: samples_section(root, folder, scenes, asked.rounds),
        "disk": lambda: disk_section(root, folder, scenes),
        "bucket": lambda: bucket_section(root, folder, scenes, asked.delay),
        "memory": lambda: memory_section(root, TILES),
        "start": lambda: start_section(root, folder),
    }
    for name in SECTIONS:
        if name in sections:
            print(f"\n## {name}\n")
            works[name]()


if __name__ == "__main__":
    main()
