"""Addresses of rasters: which are accepted, and how they are written down without their secrets."""

import ipaddress
import logging
import re
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from gl10m.storage.address import shown

MOST_CHARACTERS = 2048
"""An address longer than this is refused."""

_SIGNATURES = {"sig", "x-amz-signature", "x-goog-signature"}
"""Query parameters that make an address a credential: Azure SAS, S3 and Google Cloud Storage."""

_PLAIN = re.compile(r"https?://[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?/[A-Za-z0-9/._~-]*")
"""An address that needs no taking apart: host, port and path of the characters that mean only themselves."""

_QUERY = re.compile(r"\?[^\s'\"<>]*")


class RefusedAddressError(ValueError):
    """An address that is no plain http or https address; nothing was opened."""


def unsigned(address: str) -> str:
    """The address as it may be stored: checked, and without a signature.

    Args:
        address: href of an asset, or the root of an API.

    Raises:
        RefusedAddressError: the scheme is not http or https, there is no host, a password stands in it, or it
            holds characters that no address holds.
    """
    # Nearly all of some 200,000 addresses of a catalogue are plain, and a tenth of the time.
    if len(address) <= MOST_CHARACTERS and _PLAIN.fullmatch(address):
        return address
    return _taken_apart(address)


def _taken_apart(address: str) -> str:
    """The address as `unsigned` gives it, looked at part by part.

    Raises:
        RefusedAddressError: as there.
    """
    if len(address) > MOST_CHARACTERS or not address.isascii() or not address.isprintable() or " " in address:
        raise RefusedAddressError(
            f"an address has at most {MOST_CHARACTERS} printable characters, no space; got {address[:80]!r}"
        )
    try:
        parts = urlsplit(address)
        host, secret, _ = parts.hostname, parts.password, parts.port
    except ValueError as error:
        raise RefusedAddressError(
            f"an address has a host and perhaps a port of 0 to 65535; got {redacted(address)!r}"
        ) from error
    if parts.scheme not in {"http", "https"} or not host:
        raise RefusedAddressError(
            f"only http:// and https:// addresses are read; got {redacted(address)!r}. "
            "Serve local files over HTTP, and use the https address of a bucket."
        )
    if secret is not None or parts.username is not None:
        raise RefusedAddressError(f"an address must not hold a user name or password: {redacted(address)!r}")
    names = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    query = "" if names & _SIGNATURES else parts.query
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def passing(address: str) -> bool:
    """Whether an address means another server tomorrow: this machine, by name or by number."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def redacted(address: str) -> str:
    """The address as it may be shown: without query, fragment, user name and password."""
    return shown(address, MOST_CHARACTERS)


def without_queries(text: str) -> str:
    """A message of another library, all queries of addresses in it cut off."""
    return _QUERY.sub("", text)


class _NoQueries(logging.Filter):
    """Cuts the queries off the addresses in another library's log, since a signed address is a credential."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_queries(record.getMessage()), ()
        return True


def keep_queries_out_of(*loggers: str) -> None:
    """Let what these loggers say appear without the queries of addresses.

    Args:
        loggers: each by its full name; a filter does not reach a logger's children.
    """
    for name in loggers:
        logging.getLogger(name).addFilter(_NoQueries())
