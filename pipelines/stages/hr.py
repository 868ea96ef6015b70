"""The 100 HR tiles of each scene whose LR image passed: NAIP, mosaicked, cut, checked (paper A.1 to A.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gl10m.manifest.outcome import Outcome
from gl10m.manifest.schema import FETCHED
from gl10m.scene.footprint import Footprint
from gl10m.scene.grid import cut, row_and_column
from gl10m.scene.rejection import Reason
from gl10m.store.codec import encode_tile
from pipelines.sources.imagery import HighResolution, Imagery, Sensor
from pipelines.stages.fetching import Added, ItemLookup, Unfit, fetch_rows
from pipelines.stages.quality import MOST_BLACK, black_tiles


@dataclass(frozen=True, slots=True, kw_only=True)
class HRParameters:
    """Limits of the HR tiles."""

    most_black: float = MOST_BLACK
    """Share of black or missing pixels in any one tile above which the pair is rejected (A.3)."""

    def __post_init__(self) -> None:
        """Refuse what is no share.

        Raises:
            ValueError: the limit is not within 0..1.
        """
        if not 0 <= self.most_black <= 1:
            raise ValueError(f"most_black is a share, 0 to 1; got {self.most_black}")


def fetch_hr(
    lr_fetched: pa.Table, items: pa.Table, imagery: Imagery, state: str, parameters: HRParameters
) -> Outcome:
    """Fetch, cut, check and encode the 100 HR tiles of each scene.

    Args:
        lr_fetched: schema LR_FETCHED.
        items: schema ITEMS, with the items that the rows name.
        imagery: where to read.
        state: region code, for the account.
        parameters: limits.

    Returns:
        Stage "hr"; kept rows of schema FETCHED; rejected with BLACK_HR; failed with SourceUnavailableError or
        DamagedRasterError.
    """
    lookup = ItemLookup(items, Sensor.NAIP)

    def read(row: Mapping[str, Any], footprint: Footprint) -> HighResolution:
        return imagery.read_naip(lookup.rows(row["naip_items"]), footprint)

    def finish(mosaic: HighResolution) -> Added:
        return _checked(mosaic, parameters)

    return fetch_rows("hr", state, lr_fetched, FETCHED, read=read, finish=finish)


def black_of(mosaic: HighResolution) -> NDArray[np.float32]:
    """Share of black pixels in each tile, by tile number, 0..1.

    Black is what A.3 screens for: all channels 0, whether that was measured or not.
    """
    red, green, blue = mosaic.pixels
    return black_tiles(((red | green | blue) == 0) | ~mosaic.observed)


def _checked(mosaic: HighResolution, parameters: HRParameters) -> Added:
    """The columns of a mosaic whose tiles all pass.

    Raises:
        Unfit: one tile does not.
    """
    shares = black_of(mosaic)
    worst = int(np.argmax(shares))
    if shares[worst] > parameters.most_black:
        row, column = row_and_column(worst)
        raise Unfit(
            Reason.BLACK_HR,
            f"tile {worst} (row {row}, column {column}) is {shares[worst]:.3f} black, at most "
            f"{parameters.most_black}; {int((shares > parameters.most_black).sum())} of 100 tiles are",
        )
    return {
        "black_hr": shares.tolist(),
        "hr": [encode_tile(np.ascontiguousarray(tile)) for tile in cut(mosaic.pixels)],
    }
