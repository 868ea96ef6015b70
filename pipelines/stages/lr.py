"""The LR image of each matched candidate: Sentinel-2, masked, filled, rendered, checked (A.1 to A.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gl10m.manifest.outcome import Outcome
from gl10m.manifest.schema import LR_FETCHED
from gl10m.scene.footprint import Footprint
from gl10m.scene.rejection import Reason
from gl10m.store.codec import encode_lr
from pipelines.sources.imagery import Imagery, Sensor
from pipelines.stages.composites import COMPOSITES, Composite
from pipelines.stages.fetching import Added, ItemLookup, Unfit, fetch_rows
from pipelines.stages.quality import CLASSES, INVALID, MOST_BLACK, black_share

COUNTS_PER_REFLECTANCE = 10_000
"""Counts of a reflectance of 1, the unit that renderings of Sentinel-2 are stated in."""

WHITE_COUNTS = 3000
"""Reflectance in counts that is rendered as 255."""

MOST_ITEMS = 4
"""Items read for one image: the best, and three to fill what is masked in it."""

MOST_HELD = 64
"""Items that one image may ask for; a median of so many holds 55 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LRParameters:
    """How the LR image is made, and its limits."""

    most_black: float = MOST_BLACK
    """Share of black or missing pixels above which the scene is rejected (A.3)."""

    most_cloud: float = MOST_BLACK
    """Share of pixels still under cloud after filling above which the scene is rejected as cloudy. They are
    masked, so this is a part of the black pixels, and the same limit; a smaller one asks for clearer
    images."""

    composite: Literal["first_valid", "single", "median"] = "first_valid"
    """How items become one image: the best item, its masked pixels filled from the next ones; the best item
    alone; or the median of all of them, as composites of an Earth Engine archive are made."""

    most_items: int = MOST_ITEMS
    """Items read for one image at most, of those that matching keeps (`matching.most_sentinel2`). Up to 64; a
    median holds all of them, 0.9 MB each."""

    invalid_classes: tuple[int, ...] = INVALID
    """Classes of the scene classification layer whose pixels do not count: no data, defective, cloud shadow,
    clouds of medium and high probability, thin cirrus. Add 11 and snow does not count either."""

    def __post_init__(self) -> None:
        """Refuse what is no share, no class, or too many items.

        Raises:
            ValueError: a value is out of its range.
        """
        if not 1 <= self.most_items <= MOST_HELD:
            raise ValueError(f"most_items is 1 to {MOST_HELD}; got {self.most_items}")
        if not set(self.invalid_classes) <= set(range(CLASSES)):
            raise ValueError(f"invalid_classes are of 0 to {CLASSES - 1}; got {self.invalid_classes}")
        if not (0 <= self.most_black <= 1 and 0 <= self.most_cloud <= 1):
            raise ValueError(
                f"most_black and most_cloud are shares, 0 to 1; got {self.most_black} and {self.most_cloud}"
            )


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
        count = min(named.num_rows, parameters.most_items)
        reads = (imagery.read_sentinel2(named.slice(i, 1), footprint) for i in range(count))
        return COMPOSITES[parameters.composite](reads, parameters.invalid_classes)

    def finish(composite: Composite) -> Added:
        return _checked(composite, parameters)

    return fetch_rows("lr", state, matched, LR_FETCHED, read=read, finish=finish)


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
