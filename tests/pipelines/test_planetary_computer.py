"""Signing by the archive's own library, against a token server on the loopback."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import numpy as np
import pytest
from planetary_computer.settings import Settings

from gl10m.scene.footprint import Footprint
from pipelines.sources import signing
from pipelines.sources.byte_ranges import Ranges, Span
from pipelines.sources.cog import NAIP_IMAGE
from pipelines.sources.imagery import DamagedRasterError, SourceUnavailableError
from pipelines.sources.patience import Patience
from pipelines.sources.raster import Reader
from pipelines.sources.signing import Signer
from tests.pipelines.imagery_server import Fault, Request, World, serving
from tests.pipelines.ruler import frame, write_tiff

HREF = "https://naipeuwest.blob.core.windows.net/naip/v002/ca/x.tif"
QUICK = Patience(attempts=2, stall_seconds=0.5, wait_initial=0.01, jitter=0)
TOKENS = "api/sas/v1/token/naipeuwest/naip"


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The token endpoint, asked with no key; the n-th token is signed SECRETn."""
    with serving(World()) as world:
        monkeypatch.setenv("PC_SDK_SAS_URL", f"{world.url}/api/sas/v1/token")
        monkeypatch.delenv("PC_SDK_SUBSCRIPTION_KEY", raising=False)
        Settings.get.cache_clear()
        signing._TOKENS.clear()  # noqa: SLF001 - a process keeps them, a test must not
        world.fault = granting(timedelta(minutes=45))
        yield world
    Settings.get.cache_clear()
    signing._TOKENS.clear()  # noqa: SLF001 - as above


def granting(life: timedelta) -> Callable[[Request], Fault | None]:
    def grant(request: Request) -> Fault | None:
        if request.path != TOKENS:
            return None
        end = (datetime.now(UTC) + life).strftime("%Y-%m-%dT%H:%M:%SZ")
        token = f"st=2023-01-01&se=2030-01-01&sp=rl&sv=2021-06-08&sr=c&sig=SECRET{request.number}"
        return Fault(200, json.dumps({"msft:expiry": end, "token": token}).encode())

    return grant


def test_one_token_serves_a_container_until_it_ends(tokens: World) -> None:
    first = Signer.PLANETARY_COMPUTER.sign(HREF)
    assert first.startswith(f"{HREF}?")
    assert first.endswith("sig=SECRET0")
    assert Signer.PLANETARY_COMPUTER.sign(HREF.replace("x.tif", "y.tif")).endswith("sig=SECRET0")
    assert [request.path for request in tokens.requests] == [TOKENS]


def test_a_token_is_renewed_before_it_ends(tokens: World) -> None:
    tokens.fault = granting(timedelta(seconds=2.5))  # by whole seconds 2 or 3: renewed after half of them
    begun = time.monotonic()
    first = Signer.PLANETARY_COMPUTER.sign(HREF)
    while Signer.PLANETARY_COMPUTER.sign(HREF) == first:
        time.sleep(0.05)
    assert 0.9 < time.monotonic() - begun < 2


def test_a_wrong_clock_here_does_no_harm(tokens: World) -> None:
    """The server says an hour from now, by a clock that is a day behind ours: the token is kept."""
    past = timedelta(days=1)

    def grant(request: Request) -> Fault | None:
        fault = granting(timedelta(hours=1) - past)(request)
        assert fault is not None
        return replace(fault, headers={"Date": format_datetime(datetime.now(UTC) - past, usegmt=True)})

    tokens.fault = grant
    assert Signer.PLANETARY_COMPUTER.sign(HREF) == Signer.PLANETARY_COMPUTER.sign(HREF)
    assert len(tokens.requests) == 1


@pytest.mark.usefixtures("tokens")
def test_a_token_that_was_refused_is_asked_for_again() -> None:
    first = Signer.PLANETARY_COMPUTER.sign(HREF)
    Signer.PLANETARY_COMPUTER.forget(first)
    second = Signer.PLANETARY_COMPUTER.sign(HREF)
    assert (first[-7:], second[-7:]) == ("SECRET0", "SECRET1")
    Signer.PLANETARY_COMPUTER.forget(first)  # refused late: it has been renewed since
    assert Signer.PLANETARY_COMPUTER.sign(HREF) == second


def test_many_threads_share_one_token(tokens: World) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(Signer.PLANETARY_COMPUTER.sign, [HREF] * 32))) == 1
    assert len(tokens.requests) == 1


def test_the_subscription_key_goes_to_the_token_server_alone(
    tokens: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", "CANARYKEY")
    Settings.get.cache_clear()
    signed = Signer.PLANETARY_COMPUTER.sign(HREF)
    assert "CANARYKEY" not in signed
    assert [request.key for request in tokens.requests] == ["CANARYKEY"]
    Signer.PLANETARY_COMPUTER.forget(signed)
    with serving(World()) as elsewhere:
        tokens.fault = lambda _: Fault(302, b"", {"Location": f"{elsewhere.url}/{TOKENS}"})
        with pytest.raises(SourceUnavailableError, match="HTTP 302"):
            Signer.PLANETARY_COMPUTER.sign(HREF)
        assert not elsewhere.requests


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"token": "x"}',
        b'{"token": "x y", "msft:expiry": "2999-01-01T00:00:00Z"}',
    ],
)
def test_what_is_no_token_is_asked_for_again(tokens: World, body: bytes) -> None:
    good = granting(timedelta(hours=1))
    tokens.fault = lambda request: Fault(200, body) if request.number == 0 else good(request)
    assert Signer.PLANETARY_COMPUTER.sign(HREF, QUICK).endswith("SECRET1")


@pytest.mark.parametrize("dated", [True, False])
def test_whether_a_token_has_ended_is_the_store_s_to_say(tokens: World, *, dated: bool) -> None:
    """Some clock is wrong: it seems to have ended long ago, and is used until it is refused."""
    body = b'{"token": "sig=GOOD", "msft:expiry": "1999-01-01T00:00:00Z"}'
    tokens.fault = lambda _: Fault(200, body, {} if dated else {"Date": ""})
    first = Signer.PLANETARY_COMPUTER.sign(HREF, QUICK)
    assert first == Signer.PLANETARY_COMPUTER.sign(HREF, QUICK) == f"{HREF}?sig=GOOD"
    assert len(tokens.requests) == 1
    assert Signer.PLANETARY_COMPUTER.forget(first)
    assert Signer.PLANETARY_COMPUTER.sign(HREF, QUICK) == first
    assert len(tokens.requests) == 2


def test_a_token_that_ended_for_another_range_takes_no_attempt(
    tokens: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten tokens end, each refused for a range beside this one, which has a single attempt."""
    monkeypatch.setenv("http_proxy", tokens.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    tokens.files["naip/z.tif"] = bytes(range(100))
    grant = tokens.fault

    def refuse(request: Request) -> Fault | None:
        if request.path == TOKENS or int(request.query.rpartition("SECRET")[2]) >= 20:
            return grant(request)
        Signer.PLANETARY_COMPUTER.forget(
            f"http://naipeuwest.blob.core.windows.net/naip/z.tif?{request.query}"
        )
        return Fault(403)

    tokens.fault = refuse
    ranges = Ranges(signer=Signer.PLANETARY_COMPUTER, patience=replace(QUICK, attempts=1))
    piece = ranges.get("http://naipeuwest.blob.core.windows.net/naip/z.tif", Span(10, 20))
    assert piece.body == bytes(range(10, 20))
    assert [request.path for request in tokens.requests].count(TOKENS) == 11


def test_a_store_that_refuses_every_token_ends_the_attempts(
    tokens: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", tokens.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    grant = tokens.fault
    tokens.fault = lambda request: grant(request) or Fault(403)
    ranges = Ranges(signer=Signer.PLANETARY_COMPUTER, patience=QUICK)
    with pytest.raises(SourceUnavailableError, match="in 2 attempts: status 403") as error:
        ranges.get("http://naipeuwest.blob.core.windows.net/naip/z.tif", Span(10, 20))
    assert "SECRET" not in str(error.value)
    assert error.value.__context__ is None
    assert [request.path for request in tokens.requests].count(TOKENS) == 2


def test_a_token_server_that_stalls_holds_nobody(tokens: World) -> None:
    tokens.fault = lambda _: Fault(stall=3.0)
    begun = time.monotonic()
    with pytest.raises(SourceUnavailableError, match="timeout"):
        Signer.PLANETARY_COMPUTER.sign(HREF, QUICK)
    assert time.monotonic() - begun < 3


def test_what_is_not_in_the_archive_is_not_signed(tokens: World) -> None:
    assert Signer.PLANETARY_COMPUTER.sign("http://127.0.0.1/x.tif") == "http://127.0.0.1/x.tif"
    assert Signer.NONE.sign(HREF) == HREF
    assert not tokens.requests


def test_a_token_server_that_refuses_is_named_without_secrets(tokens: World) -> None:
    tokens.fault = lambda _: Fault(401, b"SECRET")
    with pytest.raises(SourceUnavailableError, match=r"no signature for .*HTTP 401") as error:
        Signer.PLANETARY_COMPUTER.sign(HREF)
    assert "SECRET" not in str(error.value)
    assert error.value.__cause__ is None


def test_the_signature_reaches_the_store_and_nothing_else(
    tokens: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    footprint = Footprint(-121.0, 37.0)
    affine, height, width = frame(footprint, 26910, 20.0)
    tokens.files["naip/x.tif"] = write_tiff(
        tmp_path / "x.tif", np.full((4, height, width), 9, np.uint8), 26910, affine
    )
    monkeypatch.setenv("http_proxy", tokens.url)  # libcurl asks our server as if it were the archive
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    address = "http://naipeuwest.blob.core.windows.net/naip/x.tif"
    reader = Reader(signer=Signer.PLANETARY_COMPUTER, patience=Patience(attempts=1))
    with caplog.at_level("DEBUG"):
        patch = reader.read(address, NAIP_IMAGE, footprint)
        assert patch.valid.all()
        assert any("SECRET" in query for query in tokens.queries)
        tokens.files["naip/y.tif"] = b"II*\0 this is no raster"
        with pytest.raises(DamagedRasterError, match=r"y\.tif") as error:
            reader.read(address.replace("x.tif", "y.tif"), NAIP_IMAGE, footprint)
    assert "SECRET" not in str(error.value)
    assert error.value.__context__ is None
    assert "SECRET" not in caplog.text


def test_a_refused_signature_is_renewed_and_the_range_asked_for_again(
    tokens: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    footprint = Footprint(-121.0, 37.0)
    affine, height, width = frame(footprint, 26910, 20.0)
    pixels = np.full((4, height, width), 9, np.uint8)
    tokens.files["naip/z.tif"] = write_tiff(tmp_path / "z.tif", pixels, 26910, affine)
    monkeypatch.setenv("http_proxy", tokens.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    grant = tokens.fault

    def refuse_the_first(request: Request) -> Fault | None:
        return grant(request) or (Fault(403) if "SECRET0" in tokens.queries[-1] else None)

    tokens.fault = refuse_the_first
    reader = Reader(signer=Signer.PLANETARY_COMPUTER, patience=replace(QUICK, attempts=3))
    patch = reader.read("http://naipeuwest.blob.core.windows.net/naip/z.tif", NAIP_IMAGE, footprint)
    assert (patch.pixels == 9).all()
    assert [request.path for request in tokens.requests].count(TOKENS) == 2
