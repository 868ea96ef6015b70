"""NAIP and Sentinel-2 from any STAC API: found by item search, read as cloud-optimised GeoTIFF over HTTP."""

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pystac
import pystac_client
import shapely
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from requests import Response

from gl10m.scene.acquisition import Window
from gl10m.scene.footprint import Footprint
from pipelines.sources import cog
from pipelines.sources.asset_urls import RefusedAddressError, redacted, unsigned, without_queries
from pipelines.sources.imagery import HighResolution, LowResolution, Sensor, SourceUnavailableError
from pipelines.sources.items import FIELDS, collected, item_table
from pipelines.sources.passing import PASSING, PassingFault, broken, retry_after
from pipelines.sources.patience import PATIENT, Patience
from pipelines.sources.raster import Reader
from pipelines.sources.reach import Reach, ReachAdapter
from pipelines.sources.retrying import GaveUpError, persist
from pipelines.sources.signing import Signer

MOST_PERCENT = 100.0
"""No limit of clouds."""

MOST_ITEMS = 500_000
"""A search that brings more is stopped: NAIP and Sentinel-2 of Texas are some 60,000 items in the paper's
windows."""


_UNANSWERED = (
    GaveUpError,
    APIError,
    pystac.STACError,
    NotImplementedError,
    LookupError,
    AttributeError,
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

    most_cloud_percent: float = 100.0
    """Sentinel-2 items with this much reported cloud or more are not asked for."""

    page_size: int = 1000
    """Items a page, of an API that leaves out what is not asked for: answers of 1 to 3 MB."""

    whole_page_size: int = 250
    """Items a page, of an API that sends whole items: answers of some 4 MB."""

    patience: Patience = PATIENT
    """How long and how fast pages and rasters are asked for."""

    hosts: tuple[str, ...] = ()
    """Hosts beside the API's own that its hrefs, pages and redirects may lead to, and all names below them;
    if empty any host that is no nearer than the API itself, see `pipelines.sources.reach`."""

    def __post_init__(self) -> None:
        """Refuse what is no web address.

        Raises:
            RefusedAddressError: `url` is not http or https.
        """
        unsigned(self.url)

    def search(self, sensor: Sensor, area: shapely.Geometry, window: Window) -> pa.Table:
        """Find the items of one sensor by one paged search.

        An item that lacks what a scene needs is left out with a warning in the log that names it and its
        fault: one bad item of an archive must not stop a state. If no item at all can be used, the catalogue
        speaks a language that is not ours, and the search fails.

        Args:
            sensor: which of the two.
            area: polygon or multipolygon that the items meet, degrees, EPSG:4326.
            window: days of acquisition, both ends included, UTC.

        Returns:
            Schema ITEMS, sorted by item id, each item once.

        Raises:
            SourceUnavailableError: the catalogue does not answer, or is no STAC API.
            MalformedItemError: it has items, and none of them can be used.
        """
        pages = (item_table(page, sensor) for page in self._pages(sensor, area, window))
        return collected(pages, sensor, window)

    def read_sentinel2(self, item: pa.Table, footprint: Footprint) -> LowResolution:
        """Read one Sentinel-2 item over a footprint; see `cog.read_sentinel2`."""
        return cog.read_sentinel2(item, footprint, self._reader)

    def read_naip(self, items: pa.Table, footprint: Footprint) -> HighResolution:
        """Mosaic NAIP items over a footprint, the earlier row first; see `cog.read_naip`."""
        return cog.read_naip(items, footprint, self._reader)

    @property
    def _reader(self) -> Reader:
        return Reader(signer=self.signer, patience=self.patience, reach=self._reach)

    @property
    def _reach(self) -> Reach:
        return Reach.of(self.url, self.hosts, self.patience.hosts)

    def _pages(
        self, sensor: Sensor, area: shapely.Geometry, window: Window
    ) -> Iterator[list[dict[str, Any]]]:
        """Items as the API sends them, page by page."""
        collection = self.naip_collection if sensor is Sensor.NAIP else self.sentinel2_collection
        count = 0
        try:
            client = _opened(self.url, self.patience, self._reach)
            # What an item row reads is a tenth of a real item; not every API can leave the rest out.
            sparing = client.conforms_to("FIELDS")
            clear = {"eo:cloud_cover": {"lt": self.most_cloud_percent}}
            choosing = sensor is Sensor.SENTINEL2 and client.conforms_to("QUERY")
            search = client.search(
                collections=[collection],
                intersects=shapely.to_geojson(area),
                datetime=f"{window.first}/{window.last}",
                limit=self.page_size if sparing else min(self.page_size, self.whole_page_size),
                fields=FIELDS[sensor] if sparing else None,
                query=clear if choosing and self.most_cloud_percent < MOST_PERCENT else None,
                max_items=None,
            )
            for page in search.pages_as_dicts():
                count += len(page["features"])
                if count > MOST_ITEMS:
                    raise SourceUnavailableError(
                        f"the STAC API at {redacted(self.url)} brought over {MOST_ITEMS} {sensor} items; "
                        "ask for a smaller region or a shorter window"
                    )
                yield page["features"]
        except _UNANSWERED as error:
            fault = without_queries(" ".join(str(error).split()))[:200] or type(error).__name__
            raise SourceUnavailableError(
                f"the STAC API at {redacted(self.url)} does not answer a search of collection {collection}: "
                f"{fault}. Check the address and the network, or try again later."
            ) from None


@functools.lru_cache(maxsize=8)
def _opened(url: str, patience: Patience, reach: Reach) -> pystac_client.Client:
    """The client of an API, asked for its first page once in a process."""
    return pystac_client.Client.open(url, stac_io=_PatientIO(patience, reach))


class _PatientIO(StacApiIO):
    """Requests of pystac-client, each tried again by the policy of the house."""

    def __init__(self, patience: Patience, reach: Reach) -> None:
        super().__init__(timeout=(patience.connect_seconds, patience.stall_seconds), max_retries=None)
        self.session.mount("http://", ReachAdapter(reach))
        self.session.mount("https://", ReachAdapter(reach))
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
        if isinstance(error.__context__, RefusedAddressError):
            raise error.__context__
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
