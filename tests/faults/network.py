"""A bad network for whole builds: the proxy as its users start it, and patience with it."""

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.fault_proxy import KINDS

OPEN = tuple(kind for kind in KINDS if kind != "expired token")
"""What the network can do to an archive without signatures."""

ROOT = Path(__file__).parents[2]
QUICK = "stall_seconds = 1\nwait_initial = 0.05\nwait_max = 0.5\njitter = 0.1\n"
"""Patience with a network whose stalls last 2 seconds."""


@dataclass(frozen=True)
class Network:
    address: str

    def tally(self) -> dict[str, Any]:
        """Requests, faults, and faults by kind."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{self.address}/faults", timeout=60) as answer:
            return dict(json.load(answer))


@contextlib.contextmanager
def bad_network(rate: float, seed: int, *more: str) -> Iterator[Network]:
    """The proxy as its users start it."""
    asked = ["--rate", str(rate), "--seed", str(seed), "--stall", "2", *more]
    command = [sys.executable, "-m", "scripts.fault_proxy", *asked]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            yield Network(proxy.stdout.readline().strip())
        finally:
            proxy.terminate()
            proxy.communicate(timeout=60)


def patience(folder: Path, more: str = "attempts = 12") -> str:
    """A configuration that loses little time with stalls and waits; gives its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "build.toml").write_text(f"[network]\n{QUICK}{more}\n")
    return str(folder / "build.toml")
