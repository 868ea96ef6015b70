"""Images of other data sets as the model wants them: uint8 RGB, with the scaling said aloud."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from rasterio.errors import RasterioError
from torch import Tensor

REFLECTANCE_UNITS = 10_000
"""Digital numbers of Sentinel-2 for a reflectance of 1."""

DIGITAL_NUMBERS = ("uint8", "uint16", "int16", "int32", "uint32")
"""Types of a band. Of a fraction or of no number nobody could say what 255 stands for."""

LARGEST_SIDE = 1024
"""Pixels; an image of these data sets has 64 or 120."""


class ZeroShotFolderError(ValueError):
    """A folder does not hold the data set, or a file in it is not as the data set's are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """A data set to be recognised."""

    name: str
    """A table of prompts.toml."""

    classes: tuple[str, ...]
    """As the data set spells them."""

    images: "Images"
    labels: NDArray[np.bool_]
    """(images, classes)."""

    split: str
    """Which images these are, in words."""

    one_label: bool
    """Whether every image has exactly one class, so that accuracy means something."""


class Images(Protocol):
    """Images, read when they are asked for."""

    @property
    def scaling(self) -> str:
        """How numbers became bytes, in words."""

    def __len__(self) -> int:
        """How many."""

    def read(self, numbers: Sequence[int]) -> Tensor:
        """Some of them: uint8 (len(numbers), 3, h, w), channels R, G, B, north-west first."""


def to_bytes(reflectance: NDArray[np.generic], white: int) -> NDArray[np.uint8]:
    """Digital numbers to bytes: 0 to 0, `white` and more to 255, linear between."""
    scaled = reflectance.astype(np.float32) * (255 / white)
    rounded: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return rounded


def scaling_in_words(white: int) -> str:
    """What `to_bytes` does."""
    return (
        f"digital numbers 0..{white} (reflectance 0..{white / REFLECTANCE_UNITS:.4g}) to 0..255, clipped; "
        "no offset taken off"
    )


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A JPEG or PNG: uint8 (3, h, w).

    Raises:
        ZeroShotFolderError: it is none, is not RGB, or is far too large.
    """
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as picture:
            if picture.mode != "RGB" or max(picture.size) > LARGEST_SIDE:
                raise ZeroShotFolderError(
                    f"an image is RGB of at most {LARGEST_SIDE} pixels a side; {path} is {picture.mode} "
                    f"{picture.size}. Fetch the data set again."
                )
            return np.asarray(picture).transpose(2, 0, 1).copy()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise ZeroShotFolderError(f"{path} cannot be read as an image ({error}). Fetch it again.") from error


def read_bands(path: Path, bands: Sequence[int], of: int) -> NDArray[np.generic]:
    """Bands of a GeoTIFF: (len(bands), h, w).

    Args:
        path: the file.
        bands: numbers from 1.
        of: bands that the file must have.

    Raises:
        ZeroShotFolderError: it is no such file.
    """
    try:
        with rasterio.open(path, driver="GTiff") as raster:
            if raster.count != of or max(raster.width, raster.height) > LARGEST_SIDE:
                raise ZeroShotFolderError(
                    f"{path} has {raster.count} bands of {raster.width} x {raster.height} pixels; expected "
                    f"{of} of at most {LARGEST_SIDE} a side. Fetch the data set again."
                )
            if odd := [kind for kind in raster.dtypes if kind not in DIGITAL_NUMBERS]:
                raise ZeroShotFolderError(
                    f"bands are digital numbers, {', '.join(DIGITAL_NUMBERS)}; {path} has {odd[0]}. Fetch "
                    "the data set again."
                )
            pixels: NDArray[np.generic] = raster.read(list(bands))
            return pixels
    except RasterioError as error:
        raise ZeroShotFolderError(f"{path} cannot be read as a GeoTIFF ({error}). Fetch it again.") from error


def stacked(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Images of one size as a batch.

    Raises:
        ZeroShotFolderError: their sizes differ.
    """
    if len({image.shape for image in images}) > 1:
        raise ZeroShotFolderError(
            f"images of one data set have one size; got {sorted({image.shape for image in images})}"
        )
    return torch.from_numpy(np.stack(images))
