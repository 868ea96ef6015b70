"""Searches that are kept between builds: the same state and year is not asked for twice in a month.

A catalogue changes: images are processed anew, flights are delivered late. So a search counts for DAYS_KEPT
days, and is kept at all only if its days were over for SETTLED_DAYS when it was made. A data set of its own
keeps its items for as long as it lives (docs/decisions/0010).
"""

import contextlib
import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import shapely

from gl10m.manifest import parquet
from gl10m.manifest.provenance import digest
from gl10m.manifest.schema import ITEMS
from gl10m.scene.acquisition import Window
from gl10m.scene.footprint import Footprint
from pipelines.sources.imagery import HighResolution, Imagery, LowResolution, Sensor
from pipelines.sources.item_index import SEARCHED_AT, now
from pipelines.sources.items import within

_LOG = logging.getLogger("gl10m")

DAYS_KEPT = 30
"""A search older than this is made anew."""

SETTLED_DAYS = 30
"""Days that must have passed since the last one searched, or the search is not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSearches:
    """A source whose searches are kept on disk; it reads as the source itself. Small and picklable."""

    source: Imagery
    name: str
    """What stands for the catalogue: address and collections, no secrets."""
    folder: Path
    """Where searches are kept, GeoParquet."""
    days_kept: int = DAYS_KEPT
    """How long a search counts; 0 asks anew every time."""

    def search(self, sensor: Sensor, area: shapely.Geometry, window: Window) -> pa.Table:
        """Find items, see `Imagery.search`: from a kept search of at least this ground and these days."""
        for path in sorted(self._folder.glob(f"{sensor.value}-*.parquet")):
            kept = self._read(path, area, window)
            if kept is not None:
                return kept
        moment = now()
        found = self.source.search(sensor, area, window).replace_schema_metadata({SEARCHED_AT: moment})
        if datetime.fromisoformat(moment).date() - window.last >= timedelta(days=SETTLED_DAYS):
            self._keep(found, sensor, area, window, moment)
        return found

    def read_sentinel2(self, item: pa.Table, footprint: Footprint) -> LowResolution:
        """Read one item, see `Imagery.read_sentinel2`."""
        return self.source.read_sentinel2(item, footprint)

    def read_naip(self, items: pa.Table, footprint: Footprint) -> HighResolution:
        """Mosaic items, see `Imagery.read_naip`."""
        return self.source.read_naip(items, footprint)

    @property
    def _folder(self) -> Path:
        return self.folder / digest([self.name, ITEMS.names])[:16]

    def _read(self, path: Path, area: shapely.Geometry, window: Window) -> pa.Table | None:
        """The items asked for out of a kept search; None where it is too old, too small or damaged."""
        with contextlib.suppress(parquet.ManifestError, KeyError, ValueError, shapely.errors.ShapelyError):
            about = parquet.metadata_of(path)
            age = datetime.now(UTC) - datetime.fromisoformat(about[SEARCHED_AT])
            first, last = (date.fromisoformat(about[f"gl10m.{end}_day"]) for end in ("first", "last"))
            recent = abs(age) < timedelta(days=self.days_kept)  # its clock may have been ahead
            reaches = first <= window.first and window.last <= last
            if recent and reaches and shapely.covers(shapely.from_wkt(about["gl10m.area"]), area):
                items = parquet.read(path, ITEMS)
                shapely.prepare(area)
                here = shapely.intersects(area, shapely.from_wkb(items["geometry"].to_numpy()))
                found = within(items.filter(pa.array(here)), window)
                return found.replace_schema_metadata({SEARCHED_AT: about[SEARCHED_AT]})
        return None

    def _keep(
        self, found: pa.Table, sensor: Sensor, area: shapely.Geometry, window: Window, moment: str
    ) -> None:
        about = {
            "gl10m.catalogue": self.name,
            SEARCHED_AT: moment,
            "gl10m.first_day": str(window.first),
            "gl10m.last_day": str(window.last),
            "gl10m.area": shapely.to_wkt(area, rounding_precision=-1),
            "gl10m.items": str(found.num_rows),
        }
        name = f"{sensor.value}-{window.first}-{digest([about['gl10m.area'], str(window.last)])[:16]}.parquet"
        try:
            parquet.write(self._folder / name, found, ITEMS, about)
        except OSError as error:
            # The search is at hand; only the next build will have to ask again.
            _LOG.warning("a search is not kept: %s", error)
