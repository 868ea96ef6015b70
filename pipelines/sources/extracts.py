"""OSM extracts: a file at hand, a file at an address, or the state's extract from Geofabrik."""

import contextlib
import hashlib
import logging
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from gl10m.scene.states import states
from gl10m.storage.place import Place
from pipelines.sources import geofabrik, libosmium
from pipelines.sources.asset_urls import redacted, unsigned
from pipelines.sources.download import DownloadError, NotOfferedError, download, unchanged
from pipelines.sources.isolated import ChildFailedError, ChildLostError, Limits, run
from pipelines.sources.osm_file import SUFFIXES, OsmFileError, check_name
from pipelines.sources.partial_file import Whole, recall, remember
from pipelines.sources.patience import PATIENT, Patience

_LOG = logging.getLogger("gl10m")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")
_DATED = re.compile(r"-(\d{2})(\d{2})(\d{2})\.osm")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class ExtractUnavailableError(ConnectionError):
    """An extract cannot be downloaded, or what came is not what the server promised."""


@dataclass(frozen=True, slots=True)
class Extract:
    """One OSM file with its digest, which stands for its content in every key."""

    path: Path
    sha256: str
    source: str
    """Where it came from: a file name, or an address without secrets."""

    licence: str = "osm"
    """Key of gl10m.manifest.provenance.LICENCES."""

    date: str | None = field(default=None)
    """Moment or day of OSM that it shows, UTC, ISO 8601; None where neither header nor name tells."""

    @property
    def provenance(self) -> dict[str, str]:
        """What manifests say of it."""
        about = {"osm": f"{self.source} sha256 {self.sha256}"}
        return about | ({"osm_date": self.date} if self.date else {})


def local_extract(path: Path) -> Extract:
    """An OSM file at hand.

    Raises:
        FileNotFoundError: there is no such file.
        OsmFileError: the name does not tell a format, or the file is empty.
    """
    return _extract(existing(path), path.name)


def existing(path: Path) -> Path:
    """The path of an OSM file, if it is one by its name.

    Raises:
        FileNotFoundError: there is no such file.
        OsmFileError: the name does not tell a format, or the file is empty.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no OSM file at {path}. Check the path given with --osm.")
    check_name(path)
    return path


def geofabrik_extract(
    region: str,
    folder: Path,
    base: str,
    patience: Patience = PATIENT,
) -> Extract:
    """The newest extract of one of the 11 states: pinned by date, downloaded once, checked against its MD5.

    Args:
        region: code of one of the 11 states.
        folder: where downloads are kept, each below its MD5; one that is there is checked, not fetched again.
        base: root of the server.
        patience: how long to try.

    Raises:
        ExtractUnavailableError: the server cannot be reached, or the file does not match its MD5.
        CacheError: the file cannot be written.
        KeyError: the region is none of the 11 states.
    """
    state = states()[region]
    try:
        offer = geofabrik.offered(state.geofabrik, base, patience)
        target = folder / "osm" / offer.md5[:16] / file_name(offer.address)
        if not (target.is_file() and _digest(target, "md5") == offer.md5):
            download(offer.address, target, md5=offer.md5, patience=patience)
    except DownloadError as error:
        raise ExtractUnavailableError(f"{error} Or give a file: --osm {region}=FILE.") from error
    return _extract(target, f"{offer.address} md5 {offer.md5}")


def remote_extract(
    address: str,
    folder: Path,
    patience: Patience = PATIENT,
) -> Extract:
    """An OSM file at an address of the user's, downloaded once and asked for again when it changed.

    Where the server has `ADDRESS.md5`, the file is checked against it.

    Args:
        address: http or https; its path ends as an OSM file's name does.
        folder: where downloads are kept.
        patience: how long to try.

    Raises:
        RefusedAddressError: no plain http or https address.
        OsmFileError: the name is not that of an OSM file.
        ExtractUnavailableError: the server cannot be reached, or the file does not match its MD5.
        CacheError: the file cannot be written.
    """
    shown = unsigned(address)
    target = folder / "osm" / hashlib.sha256(shown.encode()).hexdigest()[:16] / file_name(shown)
    try:
        md5 = _beside(address, patience)
        if not _current(address, target, md5, patience):
            whole = download(address, target, md5=md5, patience=patience)
            remember(_record(target), {**asdict(whole), "sha256": _digest(target, "sha256")})
    except DownloadError as error:
        raise ExtractUnavailableError(f"{error} Or give a file at hand with --osm FILE.") from error
    name = redacted(shown)  # what a query holds may be a key
    return _extract(target, f"{name} md5 {md5}" if md5 else name)


def pinned_extract(
    region: str,
    folder: Path,
    pin: Place,
    patience: Patience = PATIENT,
) -> Extract:
    """The Geofabrik extract with which a data set was begun, or the newest where it was begun with none.

    A build goes on for days and Geofabrik replaces its files every day: without a pin the candidates would
    change under the images.

    Args:
        region: code of one of the 11 states.
        folder: where downloads are kept.
        pin: small file of the data set that remembers; delete it to take a newer extract.
        patience: how long to try.

    Raises:
        ExtractUnavailableError: there is no pin that holds, and the newest cannot be downloaded.
        CacheError: a file cannot be written.
    """
    known = recall(pin)
    name, digest = str(known.get("name", "")), str(known.get("md5", ""))
    if _NAME.fullmatch(name) and re.fullmatch(r"[0-9a-f]{32}", digest):
        target = folder / "osm" / digest[:16] / name
        if target.is_file() and _digest(target, "md5") == digest:
            return _extract(target, str(known.get("source", name)))
        _LOG.warning(
            "%s, with which %s was begun, is no longer in %s: taking the newest", name, region, folder
        )
    extract = geofabrik_extract(region, folder, geofabrik.root(), patience)
    md5 = extract.source.rpartition(" ")[2]
    remember(pin, {"name": extract.path.name, "md5": md5, "source": extract.source})
    return extract


def _beside(address: str, patience: Patience) -> str | None:
    """The MD5 beside an address, or None where there is none or the address holds a query."""
    if urlsplit(address).query:
        return None
    try:
        return geofabrik.promised_md5(address, patience)[0]
    except NotOfferedError:
        return None


def _current(address: str, target: Path, md5: str | None, patience: Patience) -> bool:
    """Whether the file that was downloaded before is whole and still the server's."""
    if not target.is_file():
        return False
    if md5 is not None:
        return _digest(target, "md5") == md5
    known = recall(_record(target))
    whole = Whole.of(known)
    kept = whole is not None and known.get("sha256") == _digest(target, "sha256")
    return whole is not None and kept and unchanged(address, whole, patience)


def _record(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def file_name(address: str) -> str:
    """The file name in an address, which becomes one of ours.

    Raises:
        OsmFileError: it is not that of an OSM file.
    """
    name = urlsplit(address).path.rpartition("/")[2]
    if not _NAME.fullmatch(name) or not name.endswith(SUFFIXES):
        raise OsmFileError(
            f"an address of an OSM file ends in {', '.join(SUFFIXES)}; got {redacted(address)}. Download it "
            "yourself and give the file with --osm."
        )
    return name


def _extract(path: Path, source: str) -> Extract:
    return Extract(path, _digest(path, "sha256"), source, date=extract_date(path))


def extract_date(path: Path) -> str | None:
    """When OSM looked as the file shows it: from its header, else from its name (california-250101.osm.pbf).

    Returns:
        2025-01-01T21:20:00Z, or 2025-01-01, or None. A file that cannot be read has no date; reading its
        objects says what is wrong with it.
    """
    with contextlib.suppress(ChildLostError, ChildFailedError):
        (said,) = run(libosmium.timestamp, str(path.absolute()), limits=Limits.of(path))
        if _INSTANT.fullmatch(said.decode()):
            return said.decode()
    dated = _DATED.search(path.name)
    return f"20{dated[1]}-{dated[2]}-{dated[3]}" if dated else None


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        # MD5 is what servers offer; it guards against cut downloads, not against an attacker.
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
