"""The LR image of each matched candidate: Sentinel-2, masked, filled, rendered, checked (A.1 to A.3)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gl10m.manifest.outcome import Outcome
from gl10m.manifest.schema import LR_FETCHED
from gl10m.scene.footprint import Footprint
from gl10m.scene.rejection import Reason
from gl10m.store.codec import encode_lr
from pipelines.sources.imagery import Imagery, LowResolution, Sensor
from pipelines.stages.fetching import Added, ItemLookup, Unfit, fetch_rows
from pipelines.stages.quality import MOST_BLACK, black_share, clouded, unusable

COUNTS_PER_REFLECTANCE = 10_000
"""Counts of a reflectance of 1, the unit that renderings of Sentinel-2 are stated in."""

WHITE_COUNTS = 3000
"""Reflectance in counts that is rendered as 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LRParameters:
    """Limits of the LR image."""

    most_black: float = MOST_BLACK
    """Share of black or missing pixels above which the scene is rejected (A.3)."""

    most_cloud: float = MOST_BLACK
    """Share of pixels still under cloud after filling above which the scene is rejected as cloudy. They are
    masked, so this is a part of the black pixels, and the same limit; a smaller one asks for clearer
    images."""

    def __post_init__(self) -> None:
        """Refuse what is no share.

        Raises:
            ValueError: a limit is not within 0..1.
        """
        if not (0 <= self.most_black <= 1 and 0 <= self.most_cloud <= 1):
            raise ValueError(
                f"most_black and most_cloud are shares, 0 to 1; got {self.most_black} and {self.most_cloud}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """The first item of a scene, its masked pixels filled from the next ones in rank."""

    reflectance: NDArray[np.float32]
    """Shape (3, 268, 268); means nothing where not usable."""

    usable: NDArray[np.bool_]
    """Shape (268, 268); True = some item shows the ground."""

    clouded: NDArray[np.bool_]
    """Shape (268, 268); True = not usable, and not for want of a measurement: the first item shows a
    cloud."""

    cloud_of_first: float
    """Share of pixels that the first item shows as cloud, shadow or cirrus, 0..1."""

    filled: float
    """Share of pixels taken from later items, 0..1."""


def fetch_lr(
    matched: pa.Table, items: pa.Table, imagery: Imagery, state: str, parameters: LRParameters
) -> Outcome:
    """Fetch, composite, check and encode the LR image of each candidate.

    Args:
        matched: schema MATCHED.
        items: schema ITEMS, with the items that the rows name.
        imagery: where to read.
        state: region code, for the account.
        parameters: limits.

    Returns:
        Stage "lr"; kept rows of schema LR_FETCHED; rejected with CLOUDY_LR or BLACK_LR; failed with
        SourceUnavailableError or DamagedRasterError.
    """
    lookup = ItemLookup(items, Sensor.SENTINEL2)

    def read(row: Mapping[str, Any], footprint: Footprint) -> Composite:
        named = lookup.rows(row["sentinel2_items"])
        reads = (imagery.read_sentinel2(named.slice(i, 1), footprint) for i in range(named.num_rows))
        return first_valid(reads)

    def finish(composite: Composite) -> Added:
        return _checked(composite, parameters)

    return fetch_rows("lr", state, matched, LR_FETCHED, read=read, finish=finish)


def first_valid(reads: Iterator[LowResolution]) -> Composite:
    """Composite of acquisitions by rank: the first valid value of each pixel.

    Args:
        reads: acquisitions, best first; the later ones are read only while pixels are masked.
    """
    first = next(reads)
    hidden = clouded(first.classification) & first.observed
    usable = ~unusable(first.classification, first.observed)
    reflectance, shown = first.reflectance.copy(), usable.copy()
    while not usable.all() and (later := next(reads, None)) is not None:
        fresh = ~usable & ~unusable(later.classification, later.observed)
        np.copyto(reflectance, later.reflectance, where=fresh)
        usable |= fresh
    return Composite(
        reflectance=reflectance,
        usable=usable,
        clouded=hidden & ~usable,
        cloud_of_first=black_share(hidden),
        filled=black_share(usable & ~shown),
    )


def render(reflectance: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Reflectance as bytes: 0 to 0.3 becomes 1 to 255, and 0 means invalid alone.

    Args:
        reflectance: shape (3, height, width).
        usable: shape (height, width).

    Returns:
        Shape (3, height, width), uint8.
    """
    level = np.rint(reflectance * np.float32(COUNTS_PER_REFLECTANCE * 255 / WHITE_COUNTS))
    return np.where(usable, np.clip(level, 1, 255), 0).astype(np.uint8)


def _checked(composite: Composite, parameters: LRParameters) -> Added:
    """The columns of an LR image that passes.

    Raises:
        Unfit: it does not.
    """
    black, cloud = black_share(~composite.usable), black_share(composite.clouded)
    if cloud > parameters.most_cloud:
        detail = f"{cloud:.3f} of the pixels are clouded in all items; at most {parameters.most_cloud}"
        raise Unfit(Reason.CLOUDY_LR, detail)
    if black > parameters.most_black:
        raise Unfit(Reason.BLACK_LR, f"{black:.3f} of the pixels are black; at most {parameters.most_black}")
    return {
        "black_lr": black,
        "cloud_lr": composite.cloud_of_first,
        "filled_lr": composite.filled,
        "lr": encode_lr(render(composite.reflectance, composite.usable)),
    }
