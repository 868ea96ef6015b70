"""Which file Geofabrik offers for a region: the dated one, so that a download never changes under way."""

import json
import os
import re
from dataclasses import dataclass
from urllib.parse import urljoin

from pipelines.sources.asset_urls import unsigned
from pipelines.sources.download import DownloadError, NotOfferedError, small_text
from pipelines.sources.patience import Patience
from pipelines.sources.reach import Reach

GEOFABRIK = "https://download.geofabrik.de"
"""Where the extracts are kept, an MD5 beside each."""

MIRROR = "GL10M_GEOFABRIK"
"""Environment variable that names the root of a mirror, laid out as Geofabrik's server is."""

INDEX = "index-v1-nogeom.json"
"""The index of all extracts, without outlines; some 500 kB."""

LONGEST_INDEX, LONGEST_LISTING, LONGEST_MD5 = 32 << 20, 4 << 20, 4096
"""Bytes of an index, of a listing of a folder and of an MD5 file at most."""

_MD5 = re.compile(r"\s*([0-9a-f]{32})\b(?:\s+\*?(\S{1,200}))?")
_LATEST = "-latest.osm.pbf"


@dataclass(frozen=True, slots=True)
class Offer:
    """One file on the server."""

    address: str
    md5: str
    """Hexadecimal."""


def root() -> str:
    """The server to ask: $GL10M_GEOFABRIK, else Geofabrik's own.

    Raises:
        RefusedAddressError: the variable holds no http or https address.
    """
    return unsigned(os.environ.get(MIRROR) or GEOFABRIK).rstrip("/")


def offered(region: str, base: str, patience: Patience) -> Offer:
    """The newest extract of a region, by its dated name where the server has one.

    The index names the file that is replaced every day. The folder's listing shows the dated files with
    their MD5; the newest is taken, and only where there is none the replaced file itself.

    Args:
        region: id in the index: us/california.
        base: root of the server.
        patience: how long to try.

    Raises:
        DownloadError: the server does not answer, does not know the region, or gives no MD5.
    """
    latest = _indexed(region, base, patience)
    folder, _, name = latest.rpartition("/")
    dated = _newest_dated(f"{folder}/", name.removesuffix(_LATEST), patience) if _LATEST in name else None
    address = f"{folder}/{dated}" if dated else latest
    try:
        md5, named = promised_md5(address, patience)
    except NotOfferedError as error:
        raise DownloadError(f"{address} has no MD5 beside it, so what comes cannot be checked.") from error
    # Behind the name that is replaced every day may stand the MD5 of a dated file: that one is asked for.
    if dated is None and re.fullmatch(re.escape(name.removesuffix(_LATEST)) + r"-\d{6}\.osm\.pbf", named):
        address = f"{folder}/{named}"
    return Offer(address, md5)


def promised_md5(address: str, patience: Patience) -> tuple[str, str]:
    """The MD5 in the file beside an address, and the file name in it ("" where there is none).

    Raises:
        NotOfferedError: there is no such file.
        DownloadError: it holds no MD5, or cannot be read.
    """
    text, _ = small_text(f"{address}.md5", LONGEST_MD5, patience)
    found = _MD5.match(text)
    if found is None:
        raise DownloadError(f"{address}.md5 holds no MD5, so what comes cannot be checked.")
    return found[1], (found[2] or "").rpartition("/")[2]


def _indexed(region: str, base: str, patience: Patience) -> str:
    """Address of a region's newest file, as the index gives it."""
    text, _ = small_text(f"{base}/{INDEX}", LONGEST_INDEX, patience)
    try:
        found = {
            feature["properties"]["id"]: feature["properties"]["urls"]["pbf"]
            for feature in json.loads(text)["features"]
            if "pbf" in feature["properties"].get("urls", {})
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DownloadError(f"{base}/{INDEX} is not the index it should be ({error}).") from error
    if not isinstance(found.get(region), str):
        raise DownloadError(f"{base}/{INDEX} has no extract {region}; it has {len(found)} others.")
    address = unsigned(found[region])
    Reach.of(base).check_found(address)
    return address


def _newest_dated(folder: str, stem: str, patience: Patience) -> str | None:
    """Name of the newest dated file of a region that has an MD5, from the listing of its folder."""
    try:
        listing, _ = small_text(folder, LONGEST_LISTING, patience)
    except NotOfferedError:
        return None
    links = {
        urljoin(folder, link).rpartition("/")[2] for link in re.findall(r'href="([^"]{1,300})"', listing)
    }
    dated = re.compile(re.escape(stem) + r"-\d{6}\.osm\.pbf")
    names = [link for link in links if dated.fullmatch(link) and f"{link}.md5" in links]
    return max(names, default=None)
