"""One HR scene and one LR image from real nginx: ours against peers, requests, bytes, CPU, wall, and pixels.

    pip install odc-stac rioxarray stackstac async-geotiff obstore    # the peers; never in constraints.txt
    python benchmarks/imagery_rasters.py FOLDER                       # once: 1.6 GB of quads
    python benchmarks/imagery.py FOLDER [--scenes 6]

Each path runs in a process of its own, is warmed up on one scene (imports, compiled code, connections, headers as
a build would have them) and then measured over the same random footprints of 2680 x 2680. CPU is user + system of
that process and its children; requests and bytes are nginx's own account. "far" is the same nginx behind a proxy
that holds every request back for 50 ms. Pixels are compared with GDAL's exact bilinear warp of the local files.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagery_paths
import numpy as np
import pyarrow as pa
import rasterio
from imagery_servers import log_mark, log_since, serving

from gl10m.scene.footprint import HR_PIXELS, Footprint
from pipelines.sources.blocks import inflate, lay
from pipelines.sources.cog import COLOURS, naip_sheets, read_naip, read_sentinel2
from pipelines.sources.imagery import HighResolution
from pipelines.sources.raster import Layer, Reader
from pipelines.sources.warp import warp_bytes
from pipelines.stages.hr import black_of

READER = Reader()
PEERS = {
    "WarpedVRT over a VRT, tuned": imagery_paths.warped_vrt,
    "windows + one reproject, tuned": imagery_paths.windows_one_reproject,
    "async-geotiff + GDAL warp": imagery_paths.with_async_geotiff,
    "rioxarray": imagery_paths.with_rioxarray,
    "odc-stac": imagery_paths.with_odc_stac,
    "stackstac (one band)": imagery_paths.with_stackstac,
}


def items(base: str, quads: list[dict[str, Any]]) -> pa.Table:
    return pa.table(
        {
            "assets": pa.array(
                [[("image", f"{base}/{quad['path']}")] for quad in quads], pa.map_(pa.string(), pa.string())
            )
        }
    )


def ours(base: str, quads: list[dict[str, Any]], footprint: Footprint) -> np.ndarray:
    return read_naip(items(base, quads), footprint, READER).pixels


def footprints(number: int, quads: list[dict[str, Any]]) -> list[Footprint]:
    rng = np.random.default_rng(3)
    west, south = min(quad["bounds"][0] for quad in quads), min(quad["bounds"][1] for quad in quads)
    east, north = max(quad["bounds"][2] for quad in quads), max(quad["bounds"][3] for quad in quads)
    return [
        Footprint(rng.uniform(west + 0.019, east - 0.019), rng.uniform(south + 0.016, north - 0.016))
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


def agreement(shown: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    difference = np.abs(shown[: len(truth)].astype(int) - truth[: len(shown)])
    return {
        "mean": float(difference.mean()),
        "p999": float(np.quantile(difference, 0.999)),
        "most": float(difference.max()),
        "shift": shift(shown[1 % len(shown)].astype(float), truth[1 % len(shown)].astype(float)),
    }


def shift(shown: np.ndarray, truth: np.ndarray) -> float:
    """Pixels that one image lies beside another, by least squares against the gradient of the second."""
    south, east = np.gradient(truth)
    inner = (slice(8, -8), slice(8, -8))
    columns = np.stack([east[inner].ravel(), south[inner].ravel()], axis=1)
    error = (shown - truth)[inner].ravel()
    moved, *_ = np.linalg.lstsq(columns, error, rcond=None)
    return float(np.abs(moved).max())


def parts(
    base: str, chosen: Callable[[Footprint], list[dict[str, Any]]], places: list[Footprint]
) -> dict[str, float]:
    """The parts of our path, each by itself: fetch of those bytes, decoding of those blocks, one warp."""
    totals = {"fetch": 0.0, "decode": 0.0, "warp": 0.0}
    for number, place in enumerate(places):
        (sheet,) = naip_sheets(items(base, chosen(place)), place, READER)
        layers = [layer for layer in reversed(sheet.layers) if isinstance(layer, Layer)]
        wanted = [(layer.href, run.span) for layer in layers for run in layer.runs]
        spent = [cpu()]
        pieces = list(READER.ranges.stream(wanted))
        spent.append(cpu())
        pixels = np.zeros((*sheet.frame.shape, 4), np.uint8)
        bodies = iter(pieces)
        for layer in layers:
            for run in layer.runs:
                for block, body in run.bodies(next(bodies).body):
                    layout = layer.header.layout
                    samples = inflate(body, layout, layer.level)
                    lay(samples, block, layer.level, layout, sheet.origin(layer), pixels)
        spent.append(cpu())
        warp_bytes(pixels, sheet.valid, sheet.frame, place, HR_PIXELS)
        spent.append(cpu())
        if number:
            for name, cost in zip(totals, np.diff(spent), strict=True):
                totals[name] += cost / (len(places) - 1)
    return totals


def needed_megabytes(base: str, quads: list[dict[str, Any]], place: Footprint) -> tuple[float, int]:
    """Bytes of the blocks under a scene, and how many requests they take."""
    sheets = naip_sheets(items(base, quads), place, READER)
    runs = [run for sheet in sheets for layer in sheet.layers for run in layer.runs]
    return sum(block.span.stop - block.span.start for run in runs for block in run.blocks) / 1e6, len(runs)


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


def lr_with_rasterio(base: str, paths: dict[str, str], place: Footprint) -> np.ndarray:
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


def run(path: str, folder: Path, base: str, scenes: int, truth: Path, log: Path) -> None:
    """One path in this process; prints its figures."""
    rasters = json.loads((folder / "rasters.json").read_text())
    quads, s2 = rasters["naip"], rasters["sentinel2"]["paths"]
    for quad in quads:
        with rasterio.open(folder / quad["path"]) as raster:
            quad["transform"], quad["shape"] = list(raster.transform)[:6], list(raster.shape)
    places = footprints(scenes + 1, quads)

    def chosen(place: Footprint) -> list[dict[str, Any]]:
        return imagery_paths.cover(quads, place)

    if path == "oracle":
        for number, place in enumerate(places[1:3]):
            local = [(quad, str(folder / quad["path"])) for quad in chosen(place)]
            np.save(truth / f"{number}.npy", imagery_paths.oracle(local, place))
        figures: dict[str, float] = {"quads": float(np.mean([len(chosen(place)) for place in places[1:]]))}
    elif path == "parts":
        figures = parts(base, chosen, places)
    elif path == "needed":
        needed = [needed_megabytes(base, chosen(place), place) for place in places[1:]]
        figures = {
            "mb": float(np.mean([mb for mb, _ in needed])),
            "requests": float(np.mean([count for _, count in needed])),
        }
    elif path == "QC":
        dark = np.random.default_rng(1).integers(0, 255, (3, HR_PIXELS, HR_PIXELS), np.uint8)
        mosaic = HighResolution(pixels=dark, observed=np.ones((HR_PIXELS, HR_PIXELS), np.bool_))
        black_of(mosaic)
        begun = cpu()
        for _ in range(10):
            black_of(mosaic)
        figures = {"cpu": (cpu() - begun) / 10}
    elif path == "LR: ours":
        READER.headers([f"{base}/{name}" for name in s2.values()])
        figures = measure(lambda place: read_sentinel2(lr_item(base, s2), place, READER), places, log)
    elif path == "LR: rasterio, band after band":
        figures = measure(lambda place: lr_with_rasterio(base, s2, place), places, log)
    else:
        way = ours if path == "ours" else PEERS[path]
        if path == "ours":
            READER.headers([f"{base}/{quad['path']}" for quad in quads])
        figures = measure(lambda place: way(base, chosen(place), place), places, log)
        found = [
            agreement(way(base, chosen(place), place), np.load(truth / f"{number}.npy"))
            for number, place in enumerate(places[1:3])
        ]
        figures |= {name: max(one[name] for one in found) for name in found[0]}
    print(json.dumps(figures))


def table(folder: Path, scenes: int) -> None:
    """Run every path, near and far, and print the figures side by side."""
    with tempfile.TemporaryDirectory() as scratch, serving(folder, Path(scratch)) as servers:

        def figures(path: str, base: str) -> dict[str, float]:
            command = [sys.executable, __file__, str(folder), "--scenes", str(scenes), "--path", path]
            options = ["--base", base, "--truth", scratch, "--log", str(servers.log)]
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
            rows[path] = near | {"far": figures(path, servers.far)["wall"]}
            row = rows[path]
            print(
                f"| {path} | {row['requests']:.1f} | {row['mb']:.1f} | {row['cpu']:.3f} | {row['wall']:.2f} "
                f"| {row['far']:.2f} | {row['mean']:.3f} | {row['p999']:.0f} | {row['most']:.0f} "
                f"| {row['shift']:.3f} |",
                flush=True,
            )
        part, needed = figures("parts", servers.near), figures("needed", servers.near)
        us = rows.pop("ours")
        print("\nparts, CPU s:", ", ".join(f"{name} {cost:.3f}" for name, cost in part.items()))
        print(f"CPU / sum of parts          {us['cpu'] / sum(part.values()):.2f}  (at most 1.3)")
        print(
            f"MB / blocks needed          {us['mb'] / needed['mb']:.3f}  (at most 1.02; {needed['mb']:.1f} MB)"
        )
        right = {name: row for name, row in rows.items() if "one band" not in name}
        best = min(right, key=lambda name: right[name]["cpu"])
        print(f"CPU / best correct peer     {us['cpu'] / right[best]['cpu']:.2f}  (at most 0.45; {best})")
        for name, row in rows.items():
            print(f"CPU, far wall / {name:32} {us['cpu'] / row['cpu']:.2f}  {us['far'] / row['far']:.2f}")

        print("\n| LR | requests | MB | CPU ms | wall ms | wall ms, far |\n|---|--:|--:|--:|--:|--:|")
        for path in ("LR: ours", "LR: rasterio, band after band"):
            near, far = figures(path, servers.near), figures(path, servers.far)
            print(
                f"| {path} | {near['requests']:.1f} | {near['mb']:.2f} | {near['cpu'] * 1e3:.0f} "
                f"| {near['wall'] * 1e3:.0f} | {far['wall'] * 1e3:.0f} |"
            )
        check = figures("QC", servers.near)
        print(
            f"\nQC of a mosaic, CPU ms: {check['cpu'] * 1e3:.1f}, of a scene {check['cpu'] / us['cpu']:.1%} (at most 5%)"
        )


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
        run(asked.path, asked.folder, asked.base, asked.scenes, asked.truth, asked.log)
    else:
        table(asked.folder, asked.scenes)


if __name__ == "__main__":
    main()
