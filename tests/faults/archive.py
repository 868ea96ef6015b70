"""A signed archive on the loopback, as the Planetary Computer is one: catalogue, token server and store."""

import contextlib
import copy
import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import parse_qs

from tests.pipelines.imagery_server import Fault, Request, World, serving
from tests.pipelines.town import Town

STORE = "gl10m.blob.core.windows.net"
LIFE = timedelta(minutes=45)
NOW = timedelta(0)


@dataclass(frozen=True, slots=True)
class Clocks:
    """How the archive's clocks go, and what it tells of them."""

    life: timedelta = LIFE
    """How long the store takes a token."""
    told: timedelta = NOW
    """How much later than that its end is told to be: the clocks of store and token server disagree."""
    ahead: timedelta = NOW
    """The token server's clock, ahead of ours."""
    dated: bool = True
    """Whether its answers tell by their date what time it takes it to be."""


@dataclass
class Archive:
    """What signs and reads signatures. Change the clocks while it runs."""

    world: World
    key: str | None = None
    """The subscription key without which no token is given."""
    clocks: Clocks = field(default_factory=Clocks)
    granted: int = 0
    refused: int = 0
    """Requests of rasters whose token had ended, or that had none."""
    _ends: dict[str, float] = field(default_factory=dict)
    """Token to the moment of `time.monotonic` at which the store takes it no more."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Fault | None:
        """What the archive says in the place of its world's server."""
        if request.path.startswith("sas/"):
            return Fault(401) if self.key and request.key != self.key else self._token()
        if not request.path.endswith(".tif"):
            return None
        token = parse_qs(request.query).get("sig", [""])[0]
        with self._lock:
            if time.monotonic() < self._ends.get(token, 0.0):
                return None
            self.refused += 1
        return Fault(403)

    def _token(self) -> Fault:
        clocks = self.clocks
        with self._lock:
            self.granted += 1
            token = f"CANARYSIG{self.granted}"
            self._ends[token] = time.monotonic() + clocks.life.total_seconds()
        now = datetime.now(UTC) + clocks.ahead
        end = (now + clocks.life + clocks.told).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = json.dumps({"msft:expiry": end, "token": f"sv=1&sig={token}"}).encode()
        return Fault(200, body, {"Date": format_datetime(now, usegmt=True) if clocks.dated else ""})

    def environment(self, network: str) -> dict[str, str]:
        """Variables by which a build takes it for the Planetary Computer.

        Args:
            network: the proxy that finds the store.
        """
        return {
            "http_proxy": network,
            "GL10M_PLANETARY_COMPUTER": self.world.url,
            "PC_SDK_SAS_URL": f"{self.world.url}/sas",
        }

    @property
    def host(self) -> tuple[str, str]:
        """The option that tells the proxy where the store is."""
        return ("--host", f"{STORE}={self.world.url.removeprefix('http://')}")


@contextlib.contextmanager
def archive(world: World) -> Iterator[Archive]:
    """Put a world behind signatures.

    Args:
        world: rasters by path, and items with relative hrefs.
    """
    items = copy.deepcopy(world.items)
    for item in items:
        for asset in item["assets"].values():
            asset["href"] = f"http://{STORE}/{asset['href']}"
    with serving(World(files=world.files, items=items)) as own:
        signed = Archive(own)
        own.fault = signed.answer
        yield signed


@dataclass(frozen=True)
class SignedTown(Town):
    """A town whose imagery is the archive's; its builds need the archive's environment."""

    def command(self, root: Path | str, *more: str) -> list[str]:
        place = ["--states", "CA", "--osm", str(self.osm), "--root", str(root)]
        return [sys.executable, "-m", "gl10m", "build", *place, *more]
