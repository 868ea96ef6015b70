"""LR and 12 tiles of a scene out of a bucket: the loader beside other clients on the same objects.

    pip install --target PEERS s3fs
    PYTHONPATH=.:PEERS python benchmarks/bucket_reads.py [--scenes 24] [--delay 20]

A server process of its own answers range requests like a bucket, each after a fixed delay, and counts them.
The tiles are of about the size of real ones (34 KB). Wall time and CPU time of this process are medians a
scene; "bytes" is what was sent over what the images have. Every reader decodes what it read, but for the last
two, which get the ranges of LR image and tiles in one call and decode nothing; the loader asks for the LR
image first. The ratio is of wall times to the loader's.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import obstore
import pyarrow.parquet as pq
import s3fs
from obstore.store import S3Store
from pyarrow import fs

from benchmarks.loader_floor import build
from gl10m import GL10MDataset
from gl10m.store import codec
from gl10m.store.layout import index_path
from gl10m.store.reader import open_index

SHARD = "data/CA-00000-of-00001.parquet"
TILES_A_SCENE = 12


class Bucket:
    """Answers GET and HEAD for the files of a folder as a bucket named `bench`."""

    def __init__(self, folder: Path, delay: float) -> None:
        files = (path for path in folder.rglob("*") if path.is_file())
        self.files = {f"/bench/{path.relative_to(folder)}": path.read_bytes() for path in files}
        self.delay = delay
        self.requests = self.sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            method, path, _ = head.split("\r\n", 1)[0].split(" ")
            if path == "/count":
                body = json.dumps([self.requests, self.sent]).encode()
                self.requests = self.sent = 0
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                continue
            await asyncio.sleep(self.delay)
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            self._answer(writer, method, path, headers.get("range"))
            await writer.drain()
        writer.close()

    def _answer(self, writer: asyncio.StreamWriter, method: str, path: str, span: str | None) -> None:
        content, status, more = self.files.get(path.partition("?")[0]), "200 OK", ""
        self.requests += 1
        if content is None:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        if span:
            first, _, last = span.removeprefix("bytes=").partition("-")
            start, end = (int(first), int(last) + 1) if first else (len(content) - int(last), len(content))
            status, more = "206 Partial Content", f"Content-Range: bytes {start}-{end - 1}/{len(content)}\r\n"
            content = content[start:end]
        head = f'HTTP/1.1 {status}\r\n{more}Content-Length: {len(content)}\r\nETag: "1"\r\n'
        head += "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n\r\n"
        writer.write(head.encode() + (content if method == "GET" else b""))
        self.sent += len(content) if method == "GET" else 0


def run_server(folder: Path, delay: float, told: Connection) -> None:
    async def main() -> None:
        server = await asyncio.start_server(Bucket(folder, delay).serve, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def measured(address: str, work: Callable[[int], object], scenes: int) -> tuple[float, float, float, int]:
    """Wall and CPU milliseconds, requests and bytes a scene."""
    work(0)  # opens what it opens
    urllib.request.urlopen(f"{address}/count").read()  # noqa: S310 - our own server
    walls, cpus = [], []
    for scene in range(scenes):
        wall, cpu = time.perf_counter(), time.process_time()
        work(scene)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    requests, sent = json.load(urllib.request.urlopen(f"{address}/count"))  # noqa: S310 - our own server
    return statistics.median(walls) * 1e3, statistics.median(cpus) * 1e3, requests / scenes, sent // scenes


def readers(address: str, root: Path, scenes: int) -> dict[str, Callable[[int], object]]:
    """What is compared, by name; each reads the LR image and the same 12 tiles of a scene."""
    chosen = [
        sorted(np.random.default_rng(n).choice(100, TILES_A_SCENE, replace=False)) for n in range(scenes)
    ]
    index = open_index(index_path(root, "CA"))
    spans = []
    for scene, tiles in enumerate(chosen):
        lengths = index.column("hr_length")[scene].astype(np.int64)
        starts = index.column("hr_offset")[scene] + np.cumsum(lengths + 4) - lengths - 4
        own = [(int(starts[tile]), int(starts[tile] + lengths[tile])) for tile in tiles]
        first = int(index.column("lr_offset")[scene])
        spans.append([(first, first + int(index.column("lr_length")[scene])), *own])
    ours = {gap: GL10MDataset("s3://bench", gap=gap) for gap in (16, None, 128 << 10)}

    def load(dataset: GL10MDataset) -> Callable[[int], object]:
        return lambda scene: (dataset.scene(scene).lr(), dataset.scene(scene).hr(chosen[scene]))

    host = address.removeprefix("http://")
    arrow = pq.ParquetFile(
        f"bench/{SHARD}", filesystem=fs.S3FileSystem(anonymous=True, endpoint_override=host, scheme="http")
    )

    def parquet(scene: int) -> None:
        rows = arrow.read_row_group(scene // 16, columns=["lr", "hr"])
        hr = rows["hr"][scene % 16].as_py()
        for tile in chosen[scene]:
            codec.decode(hr[tile]["bytes"])

    store = S3Store("bench", client_options={"allow_http": True})
    slow = s3fs.S3FileSystem(anon=True, endpoint_url=address)

    def ranges(scene: int) -> None:
        starts, ends = zip(*spans[scene], strict=True)
        obstore.get_ranges(store, SHARD, starts=starts, ends=ends, coalesce=0)

    def s3fs_ranges(scene: int) -> None:
        starts, ends = zip(*spans[scene], strict=True)
        slow.cat_ranges([f"bench/{SHARD}"] * len(starts), list(starts), list(ends))

    return {
        "gl10m, default gap": load(ours[None]),
        "gl10m, gap 16": load(ours[16]),
        "gl10m, gap 128 KiB": load(ours[128 << 10]),
        "Parquet row group, pyarrow": parquet,
        "bare obstore.get_ranges": ranges,
        "bare s3fs.cat_ranges": s3fs_ranges,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--delay", type=float, default=20, help="milliseconds")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        payload, _, _ = build(root, asked.scenes)
        entries = {
            str(path.relative_to(root)): {
                "key": str(path.relative_to(root)),
                "size": path.stat().st_size,
                "sha256": None,
            }
            for path in root.rglob("*.*")
        }
        (root / "gl10m.json").write_text(json.dumps({"gl10m": 1, "files": entries}))
        told, telling = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        server = context.Process(target=run_server, args=(root, asked.delay / 1e3, telling), daemon=True)
        server.start()
        address = f"http://127.0.0.1:{told.recv()}"
        os.environ |= {"AWS_ENDPOINT_URL": address, "AWS_SKIP_SIGNATURE": "true", "XDG_CACHE_HOME": folder}
        own = payload / asked.scenes / 101 * (TILES_A_SCENE + 1)
        print(f"{asked.scenes} scenes, {asked.delay:.0f} ms a request, {own / 1e3:.0f} KB of images a scene")
        print(f"{'':<28} {'wall ms':>8} {'CPU ms':>8} {'requests':>9} {'bytes':>7} {'ratio':>6}")
        ours = 0.0
        for name, work in readers(address, root, asked.scenes).items():
            wall, cpu, requests, sent = measured(address, work, asked.scenes)
            ours = ours or wall
            numbers = f"{wall:>8.1f} {cpu:>8.1f} {requests:>9.1f} {sent / own:>6.2f}x {wall / ours:>6.2f}"
            print(f"{name:<28} {numbers}")
        server.terminate()


if __name__ == "__main__":
    main()
