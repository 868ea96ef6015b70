"""How patiently and how fast the network is asked: the parameters of `pipelines.sources.retrying`."""

import re
from dataclasses import dataclass

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How the network is asked: how patiently, how fast, and when not at all.

    It decides no row and no pixel, so it takes part in no key and stands in no manifest. Pace and circuits
    are kept by each worker process for itself.
    """

    attempts: int = 6
    """How often one page, token, raster or range is asked for before its scene fails."""

    seconds: float = 300.0
    """After so long no attempt follows a failed one. Downloads of extracts go on as long as bytes come."""

    connect_seconds: float = 5.0
    """Patience with a connection."""

    stall_seconds: float = 60.0
    """Patience with an answer: without a byte for so long the attempt has failed."""

    slowest: float = 1000.0
    """Bytes a second; slower than this on average over `stall_seconds` is a stall."""

    wait_initial: float = 0.3
    """Seconds before the second attempt; doubled each time."""

    wait_max: float = 30.0
    """Seconds between two attempts at most."""

    jitter: float = 1.0
    """Seconds added to a wait at random, so that many who were cut do not come back at once."""

    longest_wait: float = 120.0
    """Seconds that a server may ask to wait (Retry-After). One that asks for more is not asked again by this
    call, and its circuit opens for as long as it asks."""

    requests_per_second: float = 50.0
    """Requests that one worker process sends to one host, on average."""

    burst: int = 50
    """Requests that may go at once after a time of rest."""

    requests_in_flight: int = 16
    """Ranges of rasters that one worker process asks for at the same time; a scene of NAIP has some 12."""

    megabytes_in_flight: int = 256
    """Megabytes of rasters asked for and not yet decoded; a scene of NAIP has some 54."""

    circuit_failures: int = 3
    """Calls that fail in a row, each after all its attempts, before the host's circuit opens."""

    circuit_seconds: float = 60.0
    """Seconds for which a host is left alone then: every call fails at once; after it, one attempt tries."""

    hopeless_batches: int = 10
    """Batches that end in a row, in all workers together, with failed scenes and no good one before the build
    stops."""

    hosts: tuple[str, ...] = ()
    """Hosts beside its own that a catalogue may lead to with hrefs, pages and redirects, and all names below
    them, in a private network, too; if empty, any host that is no nearer than the catalogue (SECURITY.md)."""

    def __post_init__(self) -> None:
        """Refuse what cannot be waited for.

        Raises:
            ValueError: a number is not above 0; waits and jitter may be 0.
        """
        waits = {"wait_initial", "wait_max", "jitter", "longest_wait", "slowest"}
        for name in self.__slots__:
            value = getattr(self, name)
            if name == "hosts":
                _check_hosts(value)
            elif value < 0 or (value == 0 and name not in waits) or value != value:  # noqa: PLR0124 - NaN
                raise ValueError(f"{name} is a number above 0; got {value}")


def _check_hosts(hosts: tuple[str, ...]) -> None:
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise ValueError(
                f"hosts are names without scheme, port and path, as data.example.org; got {host[:80]!r}"
            )


PATIENT = Patience()
"""For people's own builds."""
