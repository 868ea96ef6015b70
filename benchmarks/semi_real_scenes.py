"""Real mosaics cut into scenes, and the LR that a learned degradation makes of them, for `semi_real.py`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from gl10m.scene.grid import TILES, cut

COARSE, STEP = 2.5, 4
"""From the mosaic's pixels to those the degradation knows, and from those to LR: together 10."""

SPREAD = (3.0, 2.9, 2.9, 3.4)
"""Sigma of the point spread of R, G, B and near infrared in pixels before the step (opensr-degradation)."""

WHITE = 0.3
"""Reflectance that becomes 255."""


@dataclass(frozen=True, slots=True)
class MadeScene:
    """One scene in memory; see `reference_model.scenes.SceneReader`."""

    scene_id: str
    bounds: tuple[float, float, float, float]
    overview: Tensor
    tiles: Tensor

    @property
    def label(self) -> Tensor:
        return torch.ones(1, dtype=torch.bool)

    def lr(self) -> Tensor:
        return self.overview

    def hr(self, tiles: Sequence[int]) -> Tensor:
        return self.tiles[list(tiles)]

    def tile_labels(self) -> Tensor:
        return torch.ones(TILES, 1, dtype=torch.bool)


class MadeScenes:
    """Scenes of all places; those of one ground are turned copies of each other, the first as it lies."""

    class_names = ("ground",)

    def __init__(self, scenes: list[MadeScene], places: list[str], grounds: list[int]) -> None:
        self.scenes, self.places, self.grounds = scenes, np.array(places), np.array(grounds)
        _, firsts = np.unique(self.grounds, return_index=True)
        self.as_they_lie = np.isin(np.arange(len(scenes)), firsts)

    def __len__(self) -> int:
        return len(self.scenes)

    def scene(self, index: int) -> MadeScene:
        return self.scenes[index]


def mosaic(path: Path) -> NDArray[np.uint8]:
    """R, G, B and near infrared of a raster: uint8 (4, h, w)."""
    try:
        with rasterio.open(path) as raster:
            bands = raster.read()
    except rasterio.errors.RasterioIOError as error:
        raise SystemExit(f"a mosaic is a raster that GDAL reads; {path} is none: {error}") from None
    if bands.dtype != np.uint8 or len(bands) not in {3, 4}:
        raise SystemExit(f"a mosaic has 3 or 4 bands of 8 bits; {path} has {len(bands)} of {bands.dtype}")
    if len(bands) == 3:
        infrared = bands[:2].mean(axis=0, dtype=np.float32).round().astype(np.uint8)
        bands = np.concatenate([bands, infrared[None]])
    return bands


def squares(image: NDArray[np.uint8], side: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Disjoint squares that have no pixel without data, each with its column."""
    _, height, width = image.shape
    for top in range(0, height - side + 1, side):
        for column, left in enumerate(range(0, width - side + 1, side)):
            square = image[:, top : top + side, left : left + side]
            if square[:3].max(axis=0).min() > 0:
                yield column, np.ascontiguousarray(square)


def in_blocks(
    place: str, squares: Sequence[tuple[int, NDArray[np.uint8]]], blocks: int
) -> dict[str, list[NDArray[np.uint8]]]:
    """Squares in blocks of columns, by name; the first column of each block but the westernmost lies between and is left out."""
    if blocks == 1:
        return {place: [square for _, square in squares]}
    columns = 1 + max(column for column, _ in squares)
    starts = [-(-columns * block // blocks) for block in range(blocks)]
    found: dict[str, list[NDArray[np.uint8]]] = {}
    for column, square in squares:
        block = sum(column >= start for start in starts)
        if column not in starts[1:]:
            found.setdefault(f"{place}/{block}", []).append(square)
    return found


def spread_out(squares: list[NDArray[np.uint8]], most: int) -> list[NDArray[np.uint8]]:
    """At most so many of them, evenly over the mosaic."""
    return [squares[int(place)] for place in np.unique(np.linspace(0, len(squares) - 1, most).round())]


@torch.inference_mode()
def degraded(square: NDArray[np.uint8], network: torch.jit.ScriptModule) -> Tensor:
    """LR of a square of 10 n pixels: uint8 (3, n, n)."""
    image = torch.from_numpy(square).float()[None] / 255
    side = round(image.shape[-1] / COARSE)
    coarse = F.interpolate(image, (side, side), mode="bilinear", antialias=True)
    pad = -side % 32
    reflectance = network(F.pad(coarse, (0, pad, 0, pad)))[..., :side, :side]
    blurred = torch.cat([_blurred(_matched(coarse[0, b], reflectance[0, b]), SPREAD[b]) for b in range(4)])
    small = F.interpolate(blurred[None], scale_factor=1 / STEP, mode="bilinear", antialias=False)[0, :3]
    return (small / WHITE * 255).round().clamp(0, 255).byte()


def _matched(image: Tensor, wanted: Tensor) -> Tensor:
    """The image with the other's histogram; equal numbers of pixels."""
    found = torch.empty_like(image.flatten())
    found[image.flatten().argsort(stable=True)] = wanted.flatten().sort().values
    return found.view_as(image)


def _blurred(image: Tensor, sigma: float) -> Tensor:
    steps = torch.arange(-6, 7, dtype=torch.float32)
    line = torch.exp(-(steps**2) / (2 * sigma**2))
    line = line / line.sum()
    padded = F.pad(image[None, None], (6, 6, 6, 6), mode="reflect")
    return F.conv2d(F.conv2d(padded, line.view(1, 1, 1, -1)), line.view(1, 1, -1, 1))[0]


def made_scenes(
    places: Mapping[str, Sequence[NDArray[np.uint8]]], network: torch.jit.ScriptModule, turns: int
) -> MadeScenes:
    """Scenes of squares by place, each with its copies by quarter turns."""
    scenes: list[MadeScene] = []
    of_place: list[str] = []
    grounds: list[int] = []
    for place, found in places.items():
        for square in found:
            ground = len(set(grounds))
            for turn in range(turns):
                turned = np.ascontiguousarray(np.rot90(square, turn, axes=(1, 2)))
                west = 0.03 * len(scenes)
                tiles = torch.from_numpy(np.ascontiguousarray(cut(turned[:3])))
                bounds = (west, 0.0, west + 0.024, 0.024)
                scenes.append(MadeScene(f"XX-w{len(scenes)}", bounds, degraded(turned, network), tiles))
                of_place.append(place)
                grounds.append(ground)
    return MadeScenes(scenes, of_place, grounds)
