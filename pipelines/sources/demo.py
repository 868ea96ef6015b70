"""The demo world as an imagery source like any other: its STAC API runs on the loopback while a build runs.

The server takes a free port, so its address differs from run to run. What is written down names the world
by an address that never changes and that no network resolves.
"""

from dataclasses import dataclass

import pyarrow as pa
import shapely

from gl10m.manifest.columns import values
from gl10m.manifest.schema import ITEMS
from gl10m.scene.acquisition import Window
from gl10m.scene.footprint import Footprint
from pipelines.sources.imagery import HighResolution, LowResolution, Sensor
from pipelines.sources.patience import PATIENT, Patience
from pipelines.sources.stac import StacImagery

CANONICAL = "http://demo.gl10m.invalid"
"""How manifests name the demo world; .invalid is reserved and resolves nowhere (RFC 2606)."""


@dataclass(frozen=True, slots=True)
class DemoImagery:
    """A STAC API at an address of the moment, written down under a lasting one."""

    address: str
    """http://127.0.0.1:PORT, of this run."""

    patience: Patience = PATIENT
    """How long and how fast it is asked."""

    @property
    def _api(self) -> StacImagery:
        return StacImagery(url=self.address, patience=self.patience)

    def search(self, sensor: Sensor, area: shapely.Geometry, window: Window) -> pa.Table:
        """Find items, see `Imagery.search`; their hrefs begin with CANONICAL."""
        found = self._api.search(sensor, area, window)
        return _moved(found, self.address, CANONICAL)

    def read_sentinel2(self, item: pa.Table, footprint: Footprint) -> LowResolution:
        """Read one item, see `Imagery.read_sentinel2`."""
        here = _moved(item, CANONICAL, self.address)
        return self._api.read_sentinel2(here, footprint)

    def read_naip(self, items: pa.Table, footprint: Footprint) -> HighResolution:
        """Mosaic items, see `Imagery.read_naip`."""
        here = _moved(items, CANONICAL, self.address)
        return self._api.read_naip(here, footprint)


def _moved(items: pa.Table, before: str, after: str) -> pa.Table:
    """Items whose hrefs begin with another address."""
    assets = [
        [(name, after + href.removeprefix(before) if href.startswith(before) else href) for name, href in row]
        for row in values(items, "assets")
    ]
    place = ITEMS.names.index("assets")
    return items.set_column(place, "assets", pa.array(assets, ITEMS.schema.field("assets").type))
