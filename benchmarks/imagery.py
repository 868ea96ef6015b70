"""One HR scene and one LR image from real nginx: ours against peers, requests, bytes, CPU, wall, and pixels.

    pip install odc-stac rioxarray async-geotiff obstore    # the peers; never in constraints.txt
    python benchmarks/imagery_rasters.py FOLDER                       # once: 1.6 GB of quads
    python benchmarks/imagery.py FOLDER [--scenes 6]

Each path runs in a process of its own, is warmed up on one scene (imports, compiled code, connections,
headers as a build would have them) and then measured over the same random footprints of 2680 x 2680. CPU is
user + system of that process and its children; requests and bytes are nginx's own account. "far" is the same
nginx behind a proxy that holds every request back for 50 ms. Pixels are compared with GDAL's exact bilinear
warp of the local files. stackstac cannot take part: it refuses a raster of four bands.
"""

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagery_paths
import numpy as np
import pyarrow as pa
import rasterio
import rasterio.warp
import rasterio.windows
from imagery_servers import log_mark, log_since, serving
from numpy.typing import NDArray

from gl10m.scene.footprint import HR_PIXELS, Footprint
from pipelines.sources.blocks import inflate, lay
from pipelines.sources.cog import COLOURS, naip_sheets, read_naip, read_sentinel2
from pipelines.sources.imagery import HighResolution
from pipelines.sources.raster import Layer, Reader
from pipelines.sources.sheet import Sheet
from pipelines.sources.warp import warp_bytes
from pipelines.stages.hr import black_of

READER = Reader()
Figures = dict[str, float]
Way = Callable[[str, list[dict[str, Any]], Footprint], NDArray[np.uint8]]
PEERS: dict[str, Way] = {
    "WarpedVRT over a VRT, tuned": imagery_paths.warped_vrt,
    "windows + one reproject, tuned": imagery_paths.windows_one_reproject,
    "async-geotiff + GDAL warp": imagery_paths.with_async_geotiff,
    "rioxarray": imagery_paths.with_rioxarray,
    "odc-stac": imagery_paths.with_odc_stac,
}


def items(base: str, quads: list[dict[str, Any]]) -> pa.Table:
    return pa.table(
        {
            "assets": pa.array(
                [[("image", f"{base}/{quad['path']}")] for quad in quads], pa.map_(pa.string(), pa.string())
            )
        }
    )


def ours(base: str, quads: list[dict[str, Any]], footprint: Footprint) -> NDArray[np.uint8]:
    return read_naip(items(base, quads), footprint, READER).pixels


def footprints(number: int, bounds: tuple[float, float, float, float]) -> list[Footprint]:
    """Random ones inside of some degrees."""
    rng, (west, south, east, north) = np.random.default_rng(3), bounds
    return [
        Footprint(rng.uniform(west + 0.012, east - 0.012), rng.uniform(south + 0.012, north - 0.012))
        for _ in range(number)
    ]


def cpu() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def measure(work: Callable[[Footprint], object], places: list[Footprint], log: Path) -> dict[str, float]:
    """CPU and wall seconds, requests and MB a scene; the first place warms up and is not counted."""
    work(places[0])
    mark, costs = log_mark(log), []
    for place in places[1:]:
        begun, spent = time.perf_counter(), cpu()
        work(place)
        costs.append((cpu() - spent, time.perf_counter() - begun))
    requests, megabytes = log_since(log, mark)
    seconds, waited = np.mean(costs, axis=0)
    return {
        "requests": requests / len(costs),
        "mb": megabytes / len(costs),
        "cpu": float(seconds),
        "wall": float(waited),
    }


def agreement(shown: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    difference = np.abs(shown[: len(truth)].astype(int) - truth[: len(shown)])
    return {
        "mean": float(difference.mean()),
        "p999": float(np.quantile(difference, 0.999)),
        "most": float(difference.max()),
        "shift": shift(shown[1 % len(shown)].astype(float), truth[1 % len(shown)].astype(float)),
    }


def shift(shown: NDArray[Any], truth: NDArray[Any]) -> float:
    """Pixels that one image lies beside another, by least squares against the gradient of the second."""
    south, east = np.gradient(truth)
    inner = (slice(8, -8), slice(8, -8))
    columns = np.stack([east[inner].ravel(), south[inner].ravel()], axis=1)
    error = (shown - truth)[inner].ravel()
    moved, *_ = np.linalg.lstsq(columns, error, rcond=None)
    return float(np.abs(moved).max())


def lr_item(base: str, paths: dict[str, str]) -> pa.Table:
    assets = [(name, f"{base}/{path}") for name, path in paths.items()]
    return pa.table(
        {
            "item_id": ["s2"],
            "assets": pa.array([assets], pa.map_(pa.string(), pa.string())),
            "scale": [1e-4],
            "offset": [-0.1],
        }
    )


def lr_with_rasterio(base: str, paths: dict[str, str], place: Footprint) -> NDArray[Any]:
    """Band after band: a window, a reproject."""
    shown = []
    with rasterio.Env(**imagery_paths.GDAL):
        for name in (*COLOURS, "scl"):
            with rasterio.open(f"{base}/{paths[name]}") as raster:
                west, south, east, north = rasterio.warp.transform_bounds(
                    "EPSG:4326", raster.crs, *place.bounds
                )
                span = rasterio.windows.from_bounds(
                    west - 40, south - 40, east + 40, north + 40, raster.transform
                )
                span = span.round_offsets().round_lengths()
                output = np.zeros((268, 268), np.float32)
                rasterio.warp.reproject(
                    raster.read(1, window=span).astype(np.float32),
                    output,
                    src_transform=raster.window_transform(span),
                    src_crs=raster.crs,
                    dst_transform=rasterio.Affine(*place.affine(268)),
                    dst_crs="EPSG:4326",
                    resampling=rasterio.enums.Resampling.nearest
                    if name == "scl"
                    else rasterio.enums.Resampling.bilinear,
                )
                shown.append(output)
    return np.stack(shown)


@dataclass(frozen=True)
class Bench:
    """The paths, each run in a process of its own."""

    folder: Path
    base: str
    scenes: int
    truth: Path | None
    """Folder of exact images; None where they are not compared."""
    log: Path

    @functools.cached_property
    def quads(self) -> list[dict[str, Any]]:
        quads: list[dict[str, Any]] = json.loads((self.folder / "rasters.json").read_text())["naip"]
        for quad in quads:
            with rasterio.open(self.folder / quad["path"]) as raster:
                quad["transform"], quad["shape"] = list(raster.transform)[:6], list(raster.shape)
        return quads

    @functools.cached_property
    def sentinel2(self) -> dict[str, str]:
        return dict(json.loads((self.folder / "rasters.json").read_text())["sentinel2"]["paths"])

    @functools.cached_property
    def places(self) -> list[Footprint]:
        west, south = (min(quad["bounds"][side] for quad in self.quads) for side in (0, 1))
        east, north = (max(quad["bounds"][side] for quad in self.quads) for side in (2, 3))
        return footprints(self.scenes + 1, (west + 0.007, south + 0.004, east - 0.007, north - 0.004))

    @functools.cached_property
    def far_apart(self) -> list[Footprint]:
        """Footprints that share no block of Sentinel-2."""
        with rasterio.open(self.folder / self.sentinel2["red"]) as raster:
            bounds = rasterio.warp.transform_bounds(raster.crs, "EPSG:4326", *raster.bounds)
        west, south, east, north = bounds
        return footprints(self.scenes + 1, (west + 0.1, south + 0.1, east - 0.1, north - 0.1))

    def chosen(self, place: Footprint) -> list[dict[str, Any]]:
        return imagery_paths.cover(self.quads, place)

    def sheets(self, place: Footprint) -> list[Sheet]:
        return naip_sheets(items(self.base, self.chosen(place)), place, READER)

    def oracle(self) -> Figures:
        for number, place in enumerate(self.places[1:3]):
            local = [(quad, str(self.folder / quad["path"])) for quad in self.chosen(place)]
            if self.truth:
                np.save(self.truth / f"{number}.npy", imagery_paths.oracle(local, place))
        return {"quads": float(np.mean([len(self.chosen(place)) for place in self.places[1:]]))}

    def hr(self, way: Way) -> Figures:
        figures = measure(lambda place: way(self.base, self.chosen(place), place), self.places, self.log)
        if self.truth is None:
            return figures
        found = [
            agreement(way(self.base, self.chosen(place), place), np.load(self.truth / f"{number}.npy"))
            for number, place in enumerate(self.places[1:3])
        ]
        return figures | {name: max(one[name] for one in found) for name in found[0]}

    def ours(self) -> Figures:
        READER.headers([f"{self.base}/{quad['path']}" for quad in self.quads])
        return self.hr(ours)

    def parts(self) -> Figures:
        """The parts of our path, each by itself: fetch of those bytes, decoding of those blocks, one warp."""
        totals = {"fetch": 0.0, "decode": 0.0, "warp": 0.0}
        for number, place in enumerate(self.places):
            (sheet,) = self.sheets(place)
            layers = [layer for layer in reversed(sheet.layers) if isinstance(layer, Layer)]
            spent = [cpu()]
            pieces = list(
                READER.ranges.stream((layer.href, run.span) for layer in layers for run in layer.runs)
            )
            spent.append(cpu())
            pixels, bodies = np.zeros((*sheet.frame.shape, 4), np.uint8), iter(pieces)
            for layer in layers:
                for run in layer.runs:
                    for block, body in run.bodies(next(bodies).body):
                        samples = inflate(body, layer.header.layout, layer.level)
                        lay(samples, block, layer.level, layer.header.layout, sheet.origin(layer), pixels)
            spent.append(cpu())
            warp_bytes(pixels, sheet.valid, sheet.frame, place, HR_PIXELS)
            spent.append(cpu())
            for name, cost in zip(totals, np.diff(spent), strict=True):
                totals[name] += float(cost) / self.scenes if number else 0.0
        return totals

    def needed(self) -> Figures:
        """Bytes of the blocks under a scene."""
        sizes = [
            sum(block.span.stop - block.span.start for run in layer.runs for block in run.blocks)
            for place in self.places[1:]
            for sheet in self.sheets(place)
            for layer in sheet.layers
            if isinstance(layer, Layer)
        ]
        return {"mb": sum(sizes) / self.scenes / 1e6}

    def quality(self) -> Figures:
        pixels = np.random.default_rng(1).integers(0, 255, (3, HR_PIXELS, HR_PIXELS), np.uint8)
        mosaic = HighResolution(pixels=pixels, observed=np.ones((HR_PIXELS, HR_PIXELS), np.bool_))
        black_of(mosaic)
        begun = cpu()
        for _ in range(10):
            black_of(mosaic)
        return {"cpu": (cpu() - begun) / 10}

    def lr(self, places: list[Footprint]) -> Figures:
        READER.headers([f"{self.base}/{name}" for name in self.sentinel2.values()])
        item = lr_item(self.base, self.sentinel2)
        figures = measure(lambda place: read_sentinel2(item, place, READER), places, self.log)
        shown = read_sentinel2(item, places[1], READER).reflectance * 850  # levels: 0.3 is 255
        theirs = lr_with_rasterio(str(self.folder), self.sentinel2, places[1])[:3] * 0.085 - 85
        return figures | {"mean": float(np.abs(shown - theirs).mean())}

    def lr_with_rasterio(self) -> Figures:
        return measure(
            lambda place: lr_with_rasterio(self.base, self.sentinel2, place), self.far_apart, self.log
        )

    def run(self, path: str) -> Figures:
        """One path in this process."""
        own = {
            "oracle": self.oracle,
            "ours": self.ours,
            "parts": self.parts,
            "needed": self.needed,
            "QC": self.quality,
            "ours, far apart": lambda: self.lr(self.far_apart),
            "ours, neighbours": lambda: self.lr(self.places),
            "rasterio, band after band": self.lr_with_rasterio,
        }
        return own[path]() if path in own else self.hr(PEERS[path])


def table(folder: Path, scenes: int) -> None:
    """Run every path, near and far, and print the figures side by side."""
    with tempfile.TemporaryDirectory() as scratch, serving(folder, Path(scratch)) as servers:

        def figures(path: str, base: str) -> dict[str, float]:
            command = [sys.executable, __file__, str(folder), "--scenes", str(scenes), "--path", path]
            options = ["--base", base, "--log", str(servers.log)]
            options += ["--truth", scratch] if base == servers.near else []
            done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{path}: {done.stderr.strip().splitlines()[-1][:150]}")
                return {}
            return dict(json.loads(done.stdout.strip().splitlines()[-1]))

        quads = figures("oracle", servers.near)["quads"]
        print(f"{scenes} random footprints, {quads:.2f} quads each; load {os.getloadavg()[0]:.1f}\n")
        print("| path | requests | MB | CPU s | wall s | wall s, far | mean | p99.9 | most | shift px |")
        print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
        rows = {}
        for path in ["ours", *PEERS]:
            near = figures(path, servers.near)
            if not near:
                continue
            if path == "ours":  # the parts right after the whole, while the machine is as busy
                part, needed = figures("parts", servers.near), figures("needed", servers.near)
            rows[path] = near | {"far": figures(path, servers.far)["wall"]}
            row = rows[path]
            print(
                f"| {path} | {row['requests']:.1f} | {row['mb']:.1f} | {row['cpu']:.3f} | {row['wall']:.2f} "
                f"| {row['far']:.2f} | {row['mean']:.3f} | {row['p999']:.0f} | {row['most']:.0f} "
                f"| {row['shift']:.3f} |",
                flush=True,
            )
        us = rows.pop("ours")
        print("\nparts, CPU s:", ", ".join(f"{name} {cost:.3f}" for name, cost in part.items()))
        print(f"CPU / sum of parts          {us['cpu'] / sum(part.values()):.2f}  (at most 1.3)")
        print(
            f"MB / blocks needed          {us['mb'] / needed['mb']:.3f}  (at most 1.02; {needed['mb']:.1f})"
        )
        best = min(rows, key=lambda name: rows[name]["cpu"])
        print(f"CPU / best correct peer     {us['cpu'] / rows[best]['cpu']:.2f}  (at most 0.45; {best})")
        for name, row in rows.items():
            print(f"CPU, far wall / {name:32} {us['cpu'] / row['cpu']:.2f}  {us['far'] / row['far']:.2f}")

        print("\n| LR | requests | MB | CPU ms | wall ms | wall ms, far | mean |")
        print("|---|--:|--:|--:|--:|--:|--:|")
        for path in ("ours, far apart", "ours, neighbours", "rasterio, band after band"):
            near, far = figures(path, servers.near), figures(path, servers.far)
            print(
                f"| {path} | {near['requests']:.1f} | {near['mb']:.2f} | {near['cpu'] * 1e3:.0f} "
                f"| {near['wall'] * 1e3:.0f} | {far['wall'] * 1e3:.0f} | {near.get('mean', 0):.3f} |"
            )
        check = figures("QC", servers.near)
        share = check["cpu"] / us["cpu"]
        print(f"\nQC of a mosaic: {check['cpu'] * 1e3:.1f} ms of CPU, {share:.1%} of a scene (at most 5%)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", type=int, default=6)
    parser.add_argument("--path")
    parser.add_argument("--base")
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--log", type=Path)
    asked = parser.parse_args()
    if asked.path:
        bench = Bench(asked.folder, asked.base, asked.scenes, asked.truth, asked.log)
        print(json.dumps(bench.run(asked.path)))
    else:
        table(asked.folder, asked.scenes)


if __name__ == "__main__":
    main()
