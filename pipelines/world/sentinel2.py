"""Passes over a landscape as Sentinel-2 does: reflectance at 10 m, the mean of the ground that NAIP shows."""

import functools
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling

from pipelines.world.cogs import write_cog
from pipelines.world.grids import Bounds, Granule, PixelFrame
from pipelines.world.landscape import Landscape, blocks
from pipelines.world.naip import season
from pipelines.world.sky import SCL_BARE, SCL_NO_DATA, SCL_VEGETATION, SCL_WATER, Sky, seen_through

BANDS = ("B04", "B03", "B02")
"""Red, green, blue."""

BAND_METRES, SCL_METRES = 10.0, 20.0

SAMPLE_METRES = 2.0
"""Step at which the ground is drawn before it is averaged to 10 m."""

BRIGHT_REFLECTANCE = 0.3
"""Reflectance of what NAIP shows as 255, so that both sensors show the same ground in the same colours."""

COUNTS = 10_000
"""Counts for a reflectance of 1."""

COUNT_STEP = 4
"""Counts come in steps of so many, a third of a grey level of the LR image: files are a fifth smaller."""

OFFSET_COUNTS = 1000
"""Added to the counts since baseline 04.00."""

FIRST_OFFSET_BASELINE = "04.00"

_NOISE_COUNTS = 2.0
_WATER_NIR = 60
_VEGETATION_EXCESS = 30


@dataclass(frozen=True, slots=True)
class Acquisition:
    """One pass and one processing of it."""

    day: date
    baseline: str = "05.09"
    """Processing baseline, of two digits each; from 04.00 on the counts carry the offset."""
    generated: date | None = None
    """Day of processing; the day after the pass if None."""
    cloud_share: float = 0.0
    """Share of the sky with clouds, 0..1, besides the standing cloud."""
    swath_share: float = 1.0
    """Share of the world, from the west, that the swath covers."""
    platform: str = "B"
    """A or B."""
    orbit: int = 113
    """Relative orbit."""

    @property
    def moment(self) -> datetime:
        """When, UTC: the satellites pass at about 10:30 local time."""
        return datetime.combine(self.day, time(18, 41, 19, 24000), UTC)

    @property
    def offset(self) -> int:
        """Counts to subtract."""
        return OFFSET_COUNTS if self.baseline >= FIRST_OFFSET_BASELINE else 0

    def name(self, granule: Granule, region: str) -> str:
        """Item id as the Planetary Computer's: S2B_MSIL2A_20230605T184119_R113_T10SGJ_20230606T230200.

        The time of processing tells the regions apart that share a granule.
        """
        passed = self.moment.strftime("%Y%m%dT%H%M%S")
        made = f"{self.processed:%Y%m%d}T{processing_time(region)}"
        return f"S2{self.platform}_MSIL2A_{passed}_R{self.orbit:03d}_T{granule.name}_{made}"

    @property
    def processed(self) -> date:
        """Day of processing."""
        return self.generated or self.day + timedelta(days=1)


def processing_time(region: str) -> str:
    """Time of day at which a region's passes are said to be processed, HHMMSS."""
    minutes, seconds = (ord(letter) - ord("A") for letter in region)
    return f"23{minutes:02d}{seconds:02d}"


@dataclass(frozen=True, slots=True)
class Shares:
    """What a granule's classification counts, percent of the observed pixels; `no_data` of all pixels."""

    high: float
    medium: float
    cirrus: float
    shadow: float
    vegetation: float
    bare: float
    water: float
    no_data: float

    @property
    def cloud(self) -> float:
        """As eo:cloud_cover: high, medium and cirrus together."""
        return self.high + self.medium + self.cirrus


class GranuleGround:
    """The ground under one granule, averaged once and seen by every pass."""

    def __init__(self, landscape: Landscape, granule: Granule, part: Bounds) -> None:
        """Choose the part of the granule that the world fills.

        Args:
            landscape: what lies below.
            granule: tile of the Sentinel-2 grid.
            part: west, south, east, north of the part to render, metres.
        """
        self.landscape, self.granule = landscape, granule
        self.frame = PixelFrame.covering(granule.epsg, BAND_METRES, part, multiple=2)
        self.scl_frame = PixelFrame.covering(granule.epsg, SCL_METRES, self.frame.bounds)

    @functools.cached_property
    def _means(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean bytes in summer and in winter, each of shape (4, height, width)."""
        seasons = tuple(self.landscape.atlas(winter).coarser(4) for winter in (0.0, 1.0))
        means = tuple(np.empty((4, self.frame.height, self.frame.width), np.float32) for _ in seasons)
        fine = round(BAND_METRES / SAMPLE_METRES)
        samples = PixelFrame.covering(self.granule.epsg, SAMPLE_METRES, self.frame.bounds)
        for block in blocks(samples):
            rows = slice(block.rows.start // fine, block.rows.stop // fine)
            columns = slice(block.columns.start // fine, block.columns.stop // fine)
            for mean, packed in zip(means, self.landscape.pixels(block.frame, seasons), strict=True):
                mean[:, rows, columns] = _averaged(packed, fine)
        return means[0], means[1]

    def reflectance(self, day: date) -> NDArray[np.float32]:
        """Mean reflectance of the ground on a day, shape (4, height, width): red, green, blue, infrared."""
        summer, winter = self._means
        share = np.float32(season(day))
        scale = np.float32(BRIGHT_REFLECTANCE / 255)
        return ((1 - share) * summer + share * winter) * scale

    @functools.cached_property
    def clear_classes(self) -> NDArray[np.uint8]:
        """SCL under a clear summer sky, shape (height, width) at 20 m."""
        red, _, _, near_infrared = self._means[0][:, ::2, ::2]
        vegetation = near_infrared - red > _VEGETATION_EXCESS
        classes = np.where(vegetation, SCL_VEGETATION, SCL_BARE)
        return np.where(near_infrared < _WATER_NIR, SCL_WATER, classes).astype(np.uint8)


def _averaged(packed: NDArray[np.uint32], fine: int) -> NDArray[np.float32]:
    """Means of squares of `fine` x `fine` packed pixels, shape (4, height / fine, width / fine)."""
    height, width = packed.shape
    means = np.empty((4, height // fine, width // fine), np.float32)
    for first in (0, 1):
        # Two bands at a time, each in its half of the word: a sum of 25 bytes needs 13 bits.
        halves = (packed >> np.uint32(8 * first)) & np.uint32(0x00FF00FF)
        columns = np.add.reduce(halves.reshape(height // fine, fine, width), axis=1)
        sums = sum(columns[:, start::fine] for start in range(1, fine)) + columns[:, ::fine]
        means[first] = (sums & np.uint32(0xFFFF)) / np.float32(fine * fine)
        means[first + 2] = (sums >> np.uint32(16)) / np.float32(fine * fine)
    return means


def observe(ground: GranuleGround, acquisition: Acquisition, sky: Sky, stem: Path) -> Shares:
    """Write the bands and the classification of one pass.

    Args:
        ground: the granule.
        acquisition: when, and how processed.
        sky: what hides the ground.
        stem: begin of the names of the four COGs; where all are there, they are left alone.

    Returns:
        What the classification counts, over the part of the granule that was rendered.

    Raises:
        OSError: the folder cannot be written.
    """
    classes = sky.classify(ground.scl_frame, ground.landscape.home, ground.clear_classes)
    paths = [stem.with_name(f"{stem.name}_{band}.tif") for band in (*BANDS, "SCL")]
    if not all(path.exists() for path in paths):
        _write_bands(ground, acquisition, classes, paths[:3], sky.seed)
        whole = (slice(0, classes.shape[0]), slice(0, classes.shape[1]), classes[None])
        write_cog(
            paths[3],
            ground.scl_frame,
            [whole],
            bands=1,
            dtype="uint8",
            nodata=SCL_NO_DATA,
            overviews=Resampling.nearest,
        )
    return _shares(classes)


def _write_bands(
    ground: GranuleGround,
    acquisition: Acquisition,
    classes: NDArray[np.uint8],
    paths: list[Path],
    seed: int,
) -> None:
    at_10_m = classes.repeat(2, axis=0).repeat(2, axis=1)
    seen = seen_through(ground.reflectance(acquisition.day)[:3], at_10_m)
    generator = np.random.default_rng(seed)
    for band, path in zip(seen, paths, strict=True):
        noise = generator.standard_normal(band.shape, dtype=np.float32) * np.float32(_NOISE_COUNTS)
        steps = np.rint((band * COUNTS + acquisition.offset + noise) / COUNT_STEP)
        counts = np.clip(steps * COUNT_STEP, 1, 65_535).astype(np.uint16)
        counts[at_10_m == SCL_NO_DATA] = 0
        whole = (slice(0, band.shape[0]), slice(0, band.shape[1]), counts[None])
        write_cog(path, ground.frame, [whole], bands=1, dtype="uint16", nodata=0)


def _shares(classes: NDArray[np.uint8]) -> Shares:
    counts = np.bincount(classes.ravel(), minlength=12)
    observed = max(1, int(counts.sum() - counts[SCL_NO_DATA]))

    def percent(number: int) -> float:
        return round(100 * int(counts[number]) / observed, 6)

    return Shares(
        high=percent(9),
        medium=percent(8),
        cirrus=percent(10),
        shadow=percent(3),
        vegetation=percent(SCL_VEGETATION),
        bare=percent(SCL_BARE),
        water=percent(SCL_WATER),
        no_data=round(100 * int(counts[SCL_NO_DATA]) / classes.size, 6),
    )
