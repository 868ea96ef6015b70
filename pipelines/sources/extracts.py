"""OSM extracts: a file at hand, or the state's extract from Geofabrik."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import requests
import stamina
from tqdm import tqdm

from gl10m.manifest.parquet import replacing
from gl10m.scene.states import states

GEOFABRIK = "https://download.geofabrik.de/north-america"
"""Where the extracts of the US states are kept, with an MD5 file beside each."""

CHUNK = 1 << 20
"""Bytes read at a time."""

_MD5 = re.compile(r"[0-9a-f]{32}")


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


def local_extract(path: Path) -> Extract:
    """An OSM file at hand.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return Extract(existing(path), _sha256(path), path.name)


def existing(path: Path) -> Path:
    """The path of an OSM file, if it is one.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no OSM file at {path}. Check the path given with --osm.")
    return path


def geofabrik_extract(region: str, folder: Path, base: str = GEOFABRIK) -> Extract:
    """The latest extract of one of the 11 states, downloaded once and checked against its MD5.

    Args:
        region: code of one of the 11 states.
        folder: where downloads are kept; a file whose MD5 still holds is not fetched again.
        base: server to ask.

    Raises:
        ExtractUnavailableError: the server cannot be reached, or the file does not match its MD5.
        KeyError: the region is none of the 11 states.
    """
    address = f"{base}/{states()[region].geofabrik}-latest.osm.pbf"
    target = folder / f"{region}.osm.pbf"
    try:
        expected = _promised_md5(address + ".md5")
        if not (target.is_file() and _md5(target) == expected):
            _download(address, target, expected)
    except requests.RequestException as error:
        raise ExtractUnavailableError(
            f"{address} cannot be downloaded ({type(error).__name__}). Try again later, or give a file with "
            f"--osm {region}=FILE."
        ) from error
    return Extract(target, _sha256(target), f"{address} md5 {expected}")


@stamina.retry(on=requests.ConnectionError, attempts=3, wait_max=5)
def _promised_md5(address: str) -> str:
    answer = requests.get(address, timeout=(5, 30))
    answer.raise_for_status()
    found = _MD5.match(answer.text.strip())
    if found is None:
        raise ExtractUnavailableError(f"{address} holds no MD5. Try again later, or give a file with --osm.")
    return found.group()


def _download(address: str, target: Path, expected: str) -> None:
    with replacing(target) as temporary:
        with requests.get(address, stream=True, timeout=(5, 60)) as answer:
            answer.raise_for_status()
            size = int(answer.headers.get("Content-Length", 0)) or None
            bar = tqdm(total=size, unit="B", unit_scale=True, desc=target.name, disable=None)
            with temporary.open("wb") as file, bar:
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
        found = _md5(temporary)
        if found != expected:
            raise ExtractUnavailableError(
                f"{address} has MD5 {found} but its server promises {expected}: the download was cut or the "
                "extract was just replaced. Run the same command again."
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        # MD5 is what the server offers; it guards against cut downloads, not against an attacker.
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def cache_folder() -> Path:
    """Where downloads are kept between builds: $XDG_CACHE_HOME/gl10m, else ~/.cache/gl10m."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gl10m"
