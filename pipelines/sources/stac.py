"""NAIP and Sentinel-2 from any STAC API: found by item search, read as cloud-optimised GeoTIFF over HTTP."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pystac
import pystac_client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from requests import Response

from gl10m.manifest.schema import ITEMS
from gl10m.scene.acquisition import Window
from gl10m.scene.footprint import Footprint
from pipelines.sources import cog
from pipelines.sources.asset_urls import redacted, unsigned, without_queries
from pipelines.sources.imagery import HighResolution, LowResolution, Sensor, SourceUnavailableError
from pipelines.sources.items import MalformedItemError, Row, item_row
from pipelines.sources.passing import PASSING, PassingFault, broken, retry_after
from pipelines.sources.patience import PATIENT, Patience
from pipelines.sources.raster import Reader
from pipelines.sources.retrying import GaveUpError, persist
from pipelines.sources.signing import Signer

log = logging.getLogger(__name__)

MOST_ITEMS = 500_000
"""A search that brings more is stopped: NAIP and Sentinel-2 of Texas are some 60,000 items in the paper's
windows."""


_UNANSWERED = (
    GaveUpError,
    APIError,
    pystac.STACError,
    NotImplementedError,
    LookupError,
    TypeError,
    ValueError,
)
"""What pystac-client raises when an API does not answer, or not as one."""

_KINDS = {"Catalog", "Collection", "Feature", "FeatureCollection"}
"""What a STAC API answers with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StacImagery:
    """Both sensors from one STAC API; see `pipelines.sources.imagery.Imagery`. Small and picklable."""

    url: str
    """Root of the API, http or https: https://planetarycomputer.microsoft.com/api/stac/v1."""

    naip_collection: str = "naip"
    """Collection id of NAIP."""

    sentinel2_collection: str = "sentinel-2-l2a"
    """Collection id of Sentinel-2 L2A; sentinel-2-c1-l2a at Earth Search."""

    signer: Signer = Signer.NONE
    """Who signs the rasters' addresses."""

    page_size: int = 250
    """Items a page: few requests, and answers of some 8 MB."""

    patience: Patience = PATIENT
    """How long and how fast pages and rasters are asked for."""

    def __post_init__(self) -> None:
        """Refuse what is no web address.

        Raises:
            RefusedAddressError: `url` is not http or https.
        """
        unsigned(self.url)

    def search(self, sensor: Sensor, bounds: tuple[float, float, float, float], window: Window) -> pa.Table:
        """Find the items of one sensor by one paged search.

        An item that lacks what a scene needs is left out with a warning in the log that names it and its
        fault: one bad item of an archive must not stop a state. If no item at all can be used, the catalogue
        speaks a language that is not ours, and the search fails.

        Args:
            sensor: which of the two.
            bounds: west, south, east, north, degrees, EPSG:4326.
            window: days of acquisition, both ends included, UTC.

        Returns:
            Schema ITEMS, sorted by item id, each item once.

        Raises:
            SourceUnavailableError: the catalogue does not answer, or is no STAC API.
            MalformedItemError: it has items, and none of them can be used.
        """
        rows: dict[str, Row] = {}
        faults: list[MalformedItemError] = []
        for item in self._found(sensor, bounds, window):
            try:
                row = item_row(item, sensor)
            except MalformedItemError as fault:
                log.warning("left out: %s", fault)
                faults.append(fault)
                continue
            if row["acquired"].date() in window:
                rows.setdefault(row["item_id"], row)
        if faults and not rows:
            raise MalformedItemError(f"none of {len(faults)} items can be used; the first: {faults[0]}")
        if faults:
            log.warning("%d of %d %s items left out", len(faults), len(faults) + len(rows), sensor)
        return pa.Table.from_pylist([rows[name] for name in sorted(rows)], schema=ITEMS.schema)

    def read_sentinel2(self, item: pa.Table, footprint: Footprint) -> LowResolution:
        """Read one Sentinel-2 item over a footprint; see `cog.read_sentinel2`."""
        return cog.read_sentinel2(item, footprint, Reader(signer=self.signer, patience=self.patience))

    def read_naip(self, items: pa.Table, footprint: Footprint) -> HighResolution:
        """Mosaic NAIP items over a footprint, the earlier row first; see `cog.read_naip`."""
        return cog.read_naip(items, footprint, Reader(signer=self.signer, patience=self.patience))

    def _found(
        self, sensor: Sensor, bounds: tuple[float, float, float, float], window: Window
    ) -> Iterator[dict[str, Any]]:
        """Items as the API sends them, page by page."""
        collection = self.naip_collection if sensor is Sensor.NAIP else self.sentinel2_collection
        try:
            client = pystac_client.Client.open(self.url, stac_io=_PatientIO(self.patience))
            search = client.search(
                collections=[collection],
                bbox=list(bounds),
                datetime=f"{window.first}/{window.last}",
                limit=self.page_size,
                max_items=None,
            )
            for count, item in enumerate(search.items_as_dicts()):
                if count >= MOST_ITEMS:
                    raise SourceUnavailableError(
                        f"the STAC API at {redacted(self.url)} brought over {MOST_ITEMS} {sensor} items; "
                        "ask for smaller bounds or a shorter window"
                    )
                yield item
        except _UNANSWERED as error:
            fault = without_queries(" ".join(str(error).split()))[:200] or type(error).__name__
            raise SourceUnavailableError(
                f"the STAC API at {redacted(self.url)} does not answer a search of collection {collection}: "
                f"{fault}. Check the address and the network, or try again later."
            ) from None


class _PatientIO(StacApiIO):
    """Requests of pystac-client, each tried again by the policy of the house."""

    def __init__(self, patience: Patience) -> None:
        super().__init__(timeout=(patience.connect_seconds, patience.stall_seconds), max_retries=None)
        self._patience = patience
        self._headers: Mapping[str, str] = {}
        self.session.hooks["response"].append(self._note)

    def request(self, href: str, *arguments: Any, **named: Any) -> str:  # noqa: ANN401 - the library's own
        """Ask once, or a few times.

        Raises:
            GaveUpError: no answer was good.
            APIError: the API refuses what was asked.
        """

        def ask(_: int) -> str:
            try:
                text = super(_PatientIO, self).request(href, *arguments, **named)
            except APIError as error:
                fault = self._passing(error)
                if fault is None:
                    raise
                raise fault from None
            return _whole(text)

        return persist(href, ask, self._patience)

    def _note(self, response: Response, *_: object, **__: object) -> None:
        self._headers = response.headers

    def _passing(self, error: APIError) -> PassingFault | None:
        """What passes of what the library says: a status, or what broke the connection."""
        status = getattr(error, "status_code", None)
        if status is None:
            return broken(error.__context__ or error)
        if status not in PASSING:
            return None
        return PassingFault(f"status {status}", wait=retry_after(self._headers))


def _whole(text: str) -> str:
    """A page that is one: what was cut or damaged, or is a proxy's own page, is asked for again.

    Raises:
        PassingFault: it is no JSON object of a kind that STAC knows.
    """
    try:
        page = json.loads(text)
    except (ValueError, RecursionError):
        page = None
    if not isinstance(page, dict) or page.get("type") not in _KINDS:
        raise PassingFault("no STAC in the answer")
    return text
