"""Nobody on the internet leads us into a network of our own: by an href, a page, a redirect or a name."""

import ipaddress
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from gl10m.scene.acquisition import Window
from gl10m.scene.footprint import Footprint
from pipelines.sources.asset_urls import RefusedAddressError
from pipelines.sources.byte_ranges import Ranges, Span
from pipelines.sources.cog import NAIP_IMAGE
from pipelines.sources.download import DownloadError, small_text
from pipelines.sources.gdal_raster import GdalReader
from pipelines.sources.geofabrik import INDEX, offered
from pipelines.sources.imagery import Sensor, SourceUnavailableError
from pipelines.sources.patience import Patience
from pipelines.sources.planetary_computer import API, planetary_computer
from pipelines.sources.reach import METADATA, Reach, Zone, session, zone_of
from pipelines.sources.stac import StacImagery
from tests.pipelines.imagery_server import Fault, World, serving
from tests.pipelines.ruler import naip_item

QUICK = Patience(attempts=1, connect_seconds=1, stall_seconds=2, wait_initial=0.01, jitter=0)
PUBLIC = Reach.of("https://stac.example.org/v1")
HERE = Reach.of("http://127.0.0.1:8080")
OURS = Reach.of("http://10.1.2.3/stac")


@pytest.fixture
def world() -> Iterator[World]:
    with serving(World(files={"x.tif": b"0123456789"})) as running:
        yield running


INSIDE = [
    "http://127.0.0.1/x.tif",
    "http://127.9.9.9:8080/x.tif",
    "http://[::1]/x.tif",
    "http://[::ffff:127.0.0.1]/x.tif",
    "http://[64:ff9b::7f00:1]/x.tif",
    "http://10.0.0.5/x.tif",
    "http://172.16.3.4/x.tif",
    "http://192.168.1.1/x.tif",
    "http://100.64.0.1/x.tif",
    "http://[fd12:3456::1]/x.tif",
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://[fe80::1]/x.tif",
    "http://[fd00:ec2::254]/latest/meta-data",
    "http://[::ffff:169.254.169.254]/x",
    "http://168.63.129.16/machine",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://0.0.0.0/x.tif",
    "http://224.0.0.1/x.tif",
]


@pytest.mark.parametrize("address", INSIDE)
def test_a_catalogue_of_the_internet_leads_to_no_address_inside(address: str) -> None:
    with pytest.raises(RefusedAddressError, match="private network, or tells credentials"):
        PUBLIC.check(address)


@pytest.mark.parametrize("address", [*INSIDE[10:16], "http://169.254.1.1/x"])
def test_nobody_is_led_to_metadata_not_even_by_a_catalogue_here(address: str) -> None:
    for reach in (HERE, OURS, Reach.of("http://10.1.2.3", trusted=("169.254.169.254",))):
        with pytest.raises(RefusedAddressError):
            reach.check(address)


def test_a_catalogue_leads_as_near_as_it_is_itself_and_anywhere_further() -> None:
    for reach, allowed in ((PUBLIC, {Zone.WORLD}), (OURS, {Zone.WORLD, Zone.OURS}), (HERE, set(Zone))):
        for zone, address in {
            Zone.WORLD: "https://93.184.216.34/x.tif",
            Zone.OURS: "http://10.0.0.9/x.tif",
            Zone.HERE: "http://127.0.0.1/x.tif",
        }.items():
            if zone in allowed:
                reach.check(address)
            else:
                with pytest.raises(RefusedAddressError):
                    reach.check(address)


@given(st.ip_addresses())
def test_every_address_has_one_zone_or_none(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    zone = zone_of(address)
    assert zone is None or address not in METADATA
    if zone is Zone.WORLD and isinstance(address, ipaddress.IPv4Address):
        assert address.is_global
        assert not address.is_multicast
    if isinstance(address, ipaddress.IPv4Address):
        assert zone_of(ipaddress.IPv6Address(f"::ffff:{address}")) == zone


def test_a_name_is_judged_by_the_address_that_is_connected_to(world: World) -> None:
    """localhost has no number in it, as a rebound name has none."""
    address = world.url.replace("127.0.0.1", "localhost") + "/x.tif"
    PUBLIC.check(address)
    with pytest.raises(RefusedAddressError, match=r"localhost leads to 127\.0\.0\.1"):
        Ranges(patience=QUICK, reach=PUBLIC).get(address, Span(0, 4))
    with session(PUBLIC) as asking, pytest.raises(RefusedAddressError):
        asking.get(address, timeout=2)
    with pytest.raises(RefusedAddressError):
        PUBLIC.check_found(address)
    with pytest.raises(RefusedAddressError):
        GdalReader(patience=QUICK, reach=PUBLIC).read(address, NAIP_IMAGE, Footprint(-121, 37))
    assert not world.requests, "not a byte was sent"
    trusting = Reach.of("https://stac.example.org", trusted=("localhost",))
    assert Ranges(patience=QUICK, reach=trusting).get(address, Span(0, 4)).body == b"0123"
    assert Ranges(patience=QUICK, reach=HERE).get(address, Span(0, 4)).body == b"0123"


@pytest.mark.parametrize(
    "inside", ["http://169.254.169.254/latest", "http://10.0.0.5/x.tif", "file:///etc/passwd"]
)
def test_no_redirect_leads_inside(world: World, inside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The public host is the server behind a proxy, so that only what is written out can be judged."""
    monkeypatch.setenv("http_proxy", world.url)
    monkeypatch.delenv("no_proxy", raising=False)
    world.fault = lambda _: Fault(302, b"", {"Location": inside})
    public = "http://data.example.org/x.tif"
    with pytest.raises((RefusedAddressError, SourceUnavailableError)):
        Ranges(patience=QUICK, reach=Reach.of(public)).get(public, Span(0, 4))
    with pytest.raises((RefusedAddressError, DownloadError)):
        small_text(public, 100, QUICK)
    assert {request.path for request in world.requests} == {"x.tif"}


def test_a_redirect_within_the_own_network_is_followed(world: World) -> None:
    world.files["y.tif"] = b"abcdefghij"
    world.fault = lambda request: (
        Fault(302, b"", {"Location": f"{world.url}/y.tif"}) if request.path == "x.tif" else None
    )
    assert Ranges(patience=QUICK, reach=HERE).get(f"{world.url}/x.tif", Span(0, 4)).body == b"abcd"
    assert small_text(f"{world.url}/x.tif", 100, QUICK)[0] == "abcdefghij"


def test_hosts_bound_a_catalogue_to_those_that_are_named() -> None:
    reach = Reach.of("https://stac.example.org", hosts=("blob.core.windows.net",))
    for good in ("https://naip.blob.core.windows.net/x.tif", "https://stac.example.org/page"):
        reach.check(good)
    for bad in (
        "https://example.org/x.tif",
        "https://blob.core.windows.net.evil.org/x.tif",
        "https://evilblob.core.windows.net/x.tif",
    ):
        with pytest.raises(RefusedAddressError, match="none of the hosts"):
            reach.check(bad)


def test_the_planetary_computer_leads_to_its_own_storage_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GL10M_PLANETARY_COMPUTER", raising=False)
    reach = planetary_computer(QUICK)._reader.reach  # noqa: SLF001 - what it reads with
    assert reach is not None
    reach.check("https://naipeuwest.blob.core.windows.net/naip/x.tif")
    reach.check(API)
    with pytest.raises(RefusedAddressError, match="none of the hosts"):
        reach.check("https://elsewhere.org/x.tif")


def test_a_next_page_leads_nowhere_else(world: World) -> None:
    item = naip_item("a", "2023-01-01", 26910, shapely.box(0, 0, 1, 1), href="http://127.0.0.1/a.tif")
    page = {"type": "FeatureCollection", "features": [item]}
    link = {"rel": "next", "href": "http://169.254.169.254/latest/meta-data", "method": "GET"}
    body = json.dumps({**page, "links": [link]}).encode()
    world.fault = lambda request: Fault(200, body) if request.method == "POST" else None
    imagery = StacImagery(url=world.url, patience=QUICK)
    with pytest.raises(SourceUnavailableError, match="tells credentials"):
        imagery.search(Sensor.NAIP, shapely.box(0, 0, 1, 1), Window(date(2023, 1, 1), date(2023, 1, 2)))


def test_an_index_of_extracts_leads_no_nearer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pbf = {"properties": {"id": "us/california", "urls": {"pbf": "http://127.0.0.1:1/ca-latest.osm.pbf"}}}
    world.files[INDEX] = json.dumps({"features": [pbf]}).encode()
    monkeypatch.setenv("http_proxy", world.url)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(RefusedAddressError):
        offered("us/california", "http://geofabrik.example.org", QUICK)


@pytest.mark.parametrize("hosts", [["https://x.org"], ["x.org/path"], ["X.ORG"], [""], ["a b"]])
def test_hosts_are_names(hosts: list[str], tmp_path: Path) -> None:
    from pipelines.config import ConfigurationError, load_patience

    file = tmp_path / "build.toml"
    file.write_text(f"[network]\nhosts = {json.dumps(hosts)}\n")
    with pytest.raises(ConfigurationError, match="hosts are names"):
        load_patience(file)
