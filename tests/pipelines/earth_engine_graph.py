"""Evaluates the expressions that our requests to Earth Engine hold, pixel by pixel, from GeoTIFFs.

It knows no more functions than these requests use, and refuses any other.
It shares no code with the pipeline.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.warp import reproject
from rasterio.windows import Window

Array = NDArray[Any]
Value = Any
"""A picture, a stored image, a number, a name, or a list of them."""
Options = Any
"""Arguments that change nothing here."""

EVERY = 32
"""Pixels between those whose coordinates are computed; the others are interpolated, to 1e-4 pixel."""

STRIP = 670
"""Columns that GDAL warps at a time; more of them and it would take bent rows for straight."""


class GraphError(ValueError):
    """Earth Engine would answer 400."""


@dataclass(frozen=True)
class Raster:
    """One band of an asset, in a file."""

    path: Path
    band: int = 1
    offset: int = 0
    """Taken off the counts, down to 0; 0 itself is no-data. So are Sentinel-2 images harmonised."""
    nodata: int | None = None


@dataclass(frozen=True)
class Asset:
    """One image: what a listing tells of it, and its bands."""

    about: dict[str, Any]
    rasters: dict[str, Raster]

    @property
    def name(self) -> str:
        return str(self.about["id"])


@dataclass(frozen=True)
class Grid:
    """Pixels asked for: corner and size of a pixel in degrees, columns and rows."""

    west: float
    north: float
    east_step: float
    north_step: float
    width: int
    height: int

    @classmethod
    def of(cls, asked: dict[str, Any]) -> "Grid":
        if asked["crsCode"] != "EPSG:4326":
            raise GraphError(f"only EPSG:4326 is known here, not {asked['crsCode']}")
        affine, size = asked["affineTransform"], asked["dimensions"]
        if affine.get("shearX", 0) or affine.get("shearY", 0):
            raise GraphError("no shear here")
        corner = (affine["translateX"], affine["translateY"], affine["scaleX"], affine["scaleY"])
        return cls(*corner, size["width"], size["height"])


@dataclass(frozen=True)
class Band:
    """Pixels of a band; `mask` is 0 to 1."""

    values: Array
    mask: Array
    kind: str = "float64"


@dataclass(frozen=True)
class Stored:
    """Bands of an asset whose pixels nobody has asked for yet."""

    asset: Asset
    names: tuple[str, ...]
    bilinear: bool = False


Picture = dict[str, Band]


@dataclass
class Evaluation:
    """One expression on one grid."""

    values: dict[str, Any]
    grid: Grid
    assets: dict[str, Asset]
    done: dict[str, Any] = field(default_factory=dict)

    def result(self, name: str) -> Picture:
        return self.pixels(self.reference(name))

    def reference(self, name: str) -> Value:
        if name not in self.done:
            self.done[name] = self.node(self.values[name])
        return self.done[name]

    def node(self, node: dict[str, Any]) -> Value:
        (kind, value), *others = node.items()
        assert not others
        if kind == "constantValue":
            return value
        if kind == "valueReference":
            return self.reference(value)
        if kind == "arrayValue":
            return [self.node(part) for part in value["values"]]
        if kind == "functionInvocationValue":
            arguments = {key: self.node(part) for key, part in value["arguments"].items()}
            function = FUNCTIONS.get(value["functionName"])
            if function is None:
                raise GraphError(f"Unknown algorithm {value['functionName']} with {sorted(arguments)}")
            return function(self, **arguments)
        raise GraphError(f"no {kind} here")

    def pixels(self, image: Value) -> Picture:
        """An image's pixels; of a stored one they are fetched now, on the output's grid."""
        if isinstance(image, Stored):
            for name in image.names:
                key = f"{image.asset.name} {name} {image.bilinear}"
                if key not in self.done:
                    self.done[key] = self._fetched(image, name)
            return {name: self.done[f"{image.asset.name} {name} {image.bilinear}"] for name in image.names}
        if isinstance(image, int | float):
            return constant(self, image)
        assert isinstance(image, dict)
        return image

    def _fetched(self, image: Stored, name: str) -> Band:
        raster, at = image.asset.rasters[name], (_knots(self.grid.width), _knots(self.grid.height))
        with rasterio.open(raster.path) as opened:
            columns, rows = self._source_pixels(opened, *at)
            # Earth Engine takes the coarsest level of the pyramid that is not coarser than the output.
            step = abs(float((rows[-1, 0] - rows[0, 0]) / max(self.grid.height - 1, 1)))  # 0 of a single row
            factor = 2 ** int(np.floor(np.log2(max(step, 1.0))))
            values, mask, left, top = _window(opened, raster, columns, rows, factor)
            affine = opened.transform @ rasterio.Affine.translation(left, top) @ rasterio.Affine.scale(factor)
            crs = opened.crs
        if image.bilinear:
            return self._bilinear(values, mask, affine, crs)
        columns, rows = (
            _between((each - first) / factor, *at) for each, first in ((columns, left), (rows, top))
        )
        place = (np.floor(rows).astype(int), np.floor(columns).astype(int))
        return Band(values[place].astype(float), mask[place].astype(float))

    def _source_pixels(
        self, opened: rasterio.DatasetReader, at_columns: Array, at_rows: Array
    ) -> tuple[Array, Array]:
        """Where some of the output's pixel centres lie in a raster: columns and rows, from its corner."""
        grid = self.grid
        longitude, latitude = np.meshgrid(
            grid.west + grid.east_step * (at_columns + 0.5), grid.north + grid.north_step * (at_rows + 0.5)
        )
        x, y = Transformer.from_crs(4326, opened.crs, always_xy=True).transform(longitude, latitude)
        affine = opened.transform
        return (x - affine.c) / affine.a, (y - affine.f) / affine.e

    def _bilinear(self, values: Array, mask: Array, affine: rasterio.Affine, crs: rasterio.crs.CRS) -> Band:
        """Two by two pixels, weighted, never more. The mask is the weight of those with data."""
        grid, source = self.grid, np.stack([values * mask, mask]).astype(np.float32)
        warped = np.zeros((2, grid.height, grid.width), np.float32)
        for left in range(0, grid.width, STRIP):
            strip = np.ascontiguousarray(warped[:, :, left : left + STRIP])
            west = grid.west + left * grid.east_step
            reproject(
                source,
                strip,
                src_transform=affine,
                src_crs=crs,
                dst_transform=rasterio.Affine(grid.east_step, 0, west, 0, grid.north_step, grid.north),
                dst_crs="EPSG:4326",
                resampling=Resampling.bilinear,
                XSCALE=1,
                YSCALE=1,
            )
            warped[:, :, left : left + STRIP] = strip
        shown, seen = warped.astype(float)
        return Band(np.divide(shown, seen, out=np.zeros_like(shown), where=seen > 0), seen)


def _knots(count: int) -> Array:
    return np.unique(np.append(np.arange(0, count, EVERY), count - 1))


def _between(known: Array, columns: Array, rows: Array) -> Array:
    every_column, every_row = np.arange(columns[-1] + 1), np.arange(rows[-1] + 1)
    along = np.stack([np.interp(every_column, columns, line) for line in known])
    after = np.clip(np.searchsorted(rows, every_row), 1, max(len(rows) - 1, 1))
    if len(rows) == 1:
        return np.repeat(along, len(every_row), axis=0)
    share = ((every_row - rows[after - 1]) / (rows[after] - rows[after - 1]))[:, None]
    return np.asarray(along[after - 1] * (1 - share) + along[after] * share)


def _window(
    opened: rasterio.DatasetReader, raster: Raster, columns: Array, rows: Array, factor: int
) -> tuple[Array, Array, int, int]:
    """Values and mask about the pixels asked for, reduced by the pyramid; nothing lies beyond the raster."""
    margin = 2 * factor
    left = (int(np.floor(columns.min())) - margin) // factor * factor
    top = (int(np.floor(rows.min())) - margin) // factor * factor
    width = -(-(int(np.ceil(columns.max())) + margin - left) // factor) * factor
    height = -(-(int(np.ceil(rows.max())) + margin - top) // factor) * factor
    counts, inside = np.zeros((height, width), np.float32), np.zeros((height, width), np.bool_)
    first_row, first_column = max(top, 0), max(left, 0)
    last_row, last_column = min(top + height, opened.height), min(left + width, opened.width)
    if first_row < last_row and first_column < last_column:
        place = slice(first_row - top, last_row - top), slice(first_column - left, last_column - left)
        window = Window(first_column, first_row, last_column - first_column, last_row - first_row)
        counts[place], inside[place] = opened.read(raster.band, window=window), True
    valid = inside & (counts != raster.nodata) if raster.nodata is not None else inside
    values = np.maximum(counts - raster.offset, 0)
    if factor == 1:
        return values, valid.astype(np.float32), left, top
    blocks = (height // factor, factor, width // factor, factor)
    return values.reshape(blocks).mean((1, 3)), valid.reshape(blocks).mean((1, 3)), left, top


def load(self: Evaluation, id: str, **_: Options) -> Stored:  # noqa: A002 - Earth Engine's own name
    asset = self.assets.get(id)
    if asset is None:
        raise GraphError(
            f"Image.load: Image asset '{id}' not found (does not exist or caller does not have access)."
        )
    return Stored(asset, tuple(asset.rasters))


def resample(_: Evaluation, image: Value, mode: str = "bilinear") -> Stored:
    if not isinstance(image, Stored) or mode != "bilinear":
        raise GraphError("resample belongs on the image itself")
    return replace(image, bilinear=True)


def select(_: Evaluation, input: Value, bandSelectors: list[str]) -> Value:  # noqa: A002, N803
    if isinstance(input, Stored):
        missing = set(bandSelectors) - set(input.names)
        if missing:
            raise GraphError(f"Image.select: Pattern '{missing}' did not match any bands.")
        return replace(input, names=tuple(bandSelectors))
    return {name: input[name] for name in bandSelectors}


def mask(self: Evaluation, image: Value, mask: Value = None) -> Picture:
    assert mask is None
    whole = np.ones((self.grid.height, self.grid.width))
    return {name: Band(band.mask, whole) for name, band in self.pixels(image).items()}


def update_mask(self: Evaluation, image: Value, mask: Value) -> Picture:
    (new,) = self.pixels(mask).values()
    shown = self.pixels(image)
    return {name: replace(band, mask=band.mask * new.values * new.mask) for name, band in shown.items()}


def unmask(self: Evaluation, input: Value, value: Value = 0, sameFootprint: Value = True) -> Picture:  # noqa: A002, FBT002, N803
    if sameFootprint is not False:
        raise GraphError("the footprint of a mosaic is that of its images: sameFootprint=False is meant")
    (filler,) = self.pixels(value).values()
    return {
        name: Band(np.where(band.mask == 0, filler.values, band.values), np.ones_like(band.mask))
        for name, band in self.pixels(input).items()
    }


def smallest(self: Evaluation, image: Value, reducer: str) -> Picture:
    assert reducer == "min"
    bands = list(self.pixels(image).values())
    seen = reduce(np.minimum, [band.mask for band in bands])
    return {"min": Band(reduce(np.minimum, [band.values for band in bands]), seen)}


def mosaic(self: Evaluation, collection: list[Any]) -> Picture:
    """The last image on top."""
    pictures = [self.pixels(image) for image in collection]
    shown = pictures[0]
    for above in pictures[1:]:
        shown = {
            name: Band(
                np.where(above[name].mask > 0, above[name].values, band.values),
                np.where(above[name].mask > 0, above[name].mask, band.mask),
            )
            for name, band in shown.items()
        }
    return shown


def constant(self: Evaluation, value: float) -> Picture:
    whole = np.ones((self.grid.height, self.grid.width))
    return {"constant": Band(whole * value, whole)}


def of_two(operation: Callable[[Array, Array], Array]) -> Callable[..., Picture]:
    def apply(self: Evaluation, image1: Value, image2: Value) -> Picture:
        (first, second) = (self.pixels(image) for image in (image1, image2))
        if len(second) == 1 and len(first) > 1:
            second = dict.fromkeys(first, next(iter(second.values())))
        return {
            name: Band(np.asarray(operation(one.values, two.values), float), np.minimum(one.mask, two.mask))
            for (name, one), two in zip(first.items(), second.values(), strict=True)
        }

    return apply


def cast(kind: str) -> Callable[..., Picture]:
    """To whole numbers: cut off, and held inside the type's range."""
    limits = np.iinfo(kind)

    def apply(self: Evaluation, value: Value) -> Picture:
        return {
            name: replace(band, values=np.clip(np.trunc(band.values), limits.min, limits.max), kind=kind)
            for name, band in self.pixels(value).items()
        }

    return apply


def rounded(self: Evaluation, value: Value) -> Picture:
    return {
        name: replace(band, values=np.floor(band.values + 0.5)) for name, band in self.pixels(value).items()
    }


def add_bands(self: Evaluation, dstImg: Value, srcImg: Value, **_: Options) -> Picture:  # noqa: N803
    below, above = self.pixels(dstImg), self.pixels(srcImg)
    fresh = {name if name not in below else f"{name}_1": band for name, band in above.items()}
    return below | fresh


def rename(self: Evaluation, input: Value, names: list[str]) -> Picture:  # noqa: A002
    return dict(zip(names, self.pixels(input).values(), strict=True))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Image.load": load,
    "Image.resample": resample,
    "Image.select": select,
    "Image.mask": mask,
    "Image.updateMask": update_mask,
    "Image.unmask": unmask,
    "Image.reduce": smallest,
    "Reducer.min": lambda _: "min",
    "Image.gt": of_two(np.greater),
    "Image.gte": of_two(np.greater_equal),
    "Image.add": of_two(np.add),
    "Image.multiply": of_two(np.multiply),
    "Image.constant": constant,
    "Image.round": rounded,
    "Image.toUint8": cast("uint8"),
    "Image.toUint16": cast("uint16"),
    "Image.toInt32": cast("int32"),
    "Image.toUint32": cast("uint32"),
    "Image.addBands": add_bands,
    "Image.rename": rename,
    "ImageCollection.fromImages": lambda _, images: images,
    "ImageCollection.mosaic": mosaic,
}
"""By Earth Engine's names; arguments are called as in its signatures."""
