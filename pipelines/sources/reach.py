"""Which hosts we may be sent to: by the hrefs of a catalogue, by its next page, by a redirect.

Whoever names a catalogue on this machine or in a network of his own may be led on within it. A catalogue of
the public internet may not: an href or a redirect to 10.0.0.5, to localhost or to a cloud's metadata address
would let a stranger ask, through us, what only our network may be asked (server-side request forgery). Names
are judged by the address that was in fact connected to: one that changes its meaning gains nothing.
"""

import functools
import ipaddress
import socket
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self
from urllib.parse import urlsplit

import requests
import requests.adapters
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from pipelines.sources.asset_urls import RefusedAddressError, redacted

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
        ),
    )
)
"""Where clouds tell a machine its own credentials: AWS, Google and others, Azure's host, Alibaba, Oracle."""

METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
"""Names of the same."""


class Zone(IntEnum):
    """How far away an address is; one may be led further away, never nearer."""

    HERE = 0
    """This machine."""
    OURS = 1
    """Private networks."""
    WORLD = 2
    """The public internet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Where one source may lead. Small, hashable and picklable."""

    host: str
    """Host of the address that the user gave."""

    hosts: tuple[str, ...] = ()
    """Hosts that may be read, and with each all names below it; all that the zone allows if empty."""
    trusted: tuple[str, ...] = ()
    """Those among them that may lie in a private network, since the user named them."""

    @classmethod
    def of(cls, address: str, hosts: tuple[str, ...] = (), trusted: tuple[str, ...] = ()) -> Self:
        """The reach of a source that the user named by its address.

        Args:
            address: http or https.
            hosts: hosts that it may lead to beside its own and the trusted ones.
            trusted: hosts that the user named. If neither names any, it may lead to every host that is no
                nearer than itself.
        """
        host = _host(address)
        return cls(host=host, hosts=(host, *hosts, *trusted) if hosts or trusted else (), trusted=trusted)

    def check(self, address: str) -> None:
        """Refuse an address by what stands in it; no name is looked up.

        Raises:
            RefusedAddressError: another host than those allowed, or one that is nearer than the source.
        """
        host = _host(address)
        if self.hosts and not _is_among(host, self.hosts):
            raise RefusedAddressError(
                f"{redacted(address)} is on none of the hosts that this source may lead to "
                f"({', '.join(self.hosts)}); nothing was asked of it. Add its host to `hosts` in "
                "[network] if you trust it."
            )
        literal = _literal(host)
        if host in METADATA_NAMES or (literal is not None and not self._admits(literal, host)):
            raise self._refused(redacted(address), host)

    def check_found(self, address: str) -> None:
        """Refuse an address also by what its name means now, before another library connects to it.

        Raises:
            RefusedAddressError: as of `check`.
        """
        self.check(address)
        host = _host(address)
        for found in _found(host):
            if not self._admits(found, host):
                raise self._refused(redacted(address), str(found))

    def check_peer(self, peer: str, host: str) -> None:
        """Refuse a connection by the address at its other end.

        Args:
            peer: an IP address.
            host: the name that was asked for.

        Raises:
            RefusedAddressError: it is nearer than the source.
        """
        found = _literal(peer.partition("%")[0])
        if found is None or not self._admits(found, host):
            raise self._refused(host, peer)

    def _admits(self, address: Address, host: str) -> bool:
        zone = zone_of(address)
        if zone is None:
            return False
        return zone >= _zone_of_host(self.host) or _is_among(host, self.trusted)

    def _refused(self, what: str, found: str) -> RefusedAddressError:
        return RefusedAddressError(
            f"{what} leads to {found}, which is on this machine, in a private network, or tells credentials; "
            f"{self.host} is not, and may not lead there. Nothing was read. A catalogue in the same network "
            "may; or name the host in `hosts` of [network]."
        )


def zone_of(address: Address) -> Zone | None:
    """How far away an address is; None for those that nobody is ever led to: link-local ones and metadata."""
    while isinstance(address, ipaddress.IPv6Address):
        inner = (
            address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1] or _nat64(address)
        )
        if inner is None:
            break
        address = inner
    if address in METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        return None
    if address.is_loopback:
        return Zone.HERE
    return Zone.WORLD if address.is_global else Zone.OURS


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    inside = address in ipaddress.ip_network("64:ff9b::/96")
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if inside else None


def _host(address: str) -> str:
    """The host of an address, small letters, no closing dot.

    Raises:
        RefusedAddressError: it has none.
    """
    try:
        host = urlsplit(address).hostname
    except ValueError:
        host = None
    if not host:
        raise RefusedAddressError(f"an address has a host; got {redacted(address)[:200]!r}")
    return host.rstrip(".").lower()


def _is_among(host: str, hosts: tuple[str, ...]) -> bool:
    return any(host == own or host.endswith(f".{own}") for own in hosts)


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _found(host: str) -> list[Address]:
    """Addresses of a name; none where it has none, which whoever connects will say."""
    try:
        told = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    found = (_literal(str(place[0]).partition("%")[0]) for *_, place in told)
    return [address for address in found if address is not None]


@functools.lru_cache(maxsize=256)
def _zone_of_host(host: str) -> Zone:
    """The zone of a host that the user named: the nearest that its name means. Looked up once."""
    literal = _literal(host)
    zones = [zone_of(address) for address in ([literal] if literal is not None else _found(host))]
    return min((zone for zone in zones if zone is not None), default=Zone.WORLD)


@functools.cache
def _connections(reach: Reach) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Pools whose connections look at the other end before a byte is sent."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _looked_at(super()._new_conn(), reach, self.host)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _looked_at(super()._new_conn(), reach, self.host)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _looked_at(made: socket.socket, reach: Reach, host: str) -> socket.socket:
    try:
        reach.check_peer(str(made.getpeername()[0]), host)
    except BaseException:
        made.close()
        raise
    return made


def bound(pools: urllib3.PoolManager, reach: Reach) -> urllib3.PoolManager:
    """The same pools, whose connections keep within a reach; not for a proxy, which is the peer itself."""
    pools.pool_classes_by_scheme = _connections(reach)
    return pools


class ReachAdapter(requests.adapters.HTTPAdapter):
    """Lets a session of requests, redirects and all, go no nearer than a reach allows."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - the library's own
        """Make the pools."""
        super().init_poolmanager(*arguments, **named)
        bound(self.poolmanager, self._reach)

    def send(self, request: requests.PreparedRequest, *arguments: Any, **named: Any) -> requests.Response:  # noqa: ANN401 - the library's own
        """Send one request; each redirect comes by here.

        Raises:
            RefusedAddressError: it leads where it must not.
        """
        self._reach.check(str(request.url))
        return super().send(request, *arguments, **named)


def session(reach: Reach) -> requests.Session:
    """A session that keeps within a reach; its caller closes it."""
    made = requests.Session()
    made.mount("http://", ReachAdapter(reach))
    made.mount("https://", ReachAdapter(reach))
    return made
