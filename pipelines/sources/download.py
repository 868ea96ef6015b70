"""Files over HTTP that arrive whole or not at all, and go on where they stopped.

One connection, a name of our own, waits that the server may choose. A download that was cut goes on with
`Range` and `If-Range`, so that bytes of two versions never meet: a server whose file changed sends it anew.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import requests
from tqdm import tqdm

import gl10m
from pipelines.sources.asset_urls import redacted, unsigned
from pipelines.sources.hosts import host_of
from pipelines.sources.partial_file import CacheError, PartialFile, Whole, partial_file
from pipelines.sources.passing import BROKEN, PassingFault, broken, raise_if_passing
from pipelines.sources.patience import PATIENT, Patience
from pipelines.sources.reach import Reach, session
from pipelines.sources.retrying import GaveUpError, persist

_Answer = TypeVar("_Answer")

USER_AGENT = f"gl10m/{gl10m.__version__} (builds the GL-10M data set; arXiv:2604.11415)"
"""How a server knows us."""

CHUNK = 1 << 18
"""Bytes read at a time at most."""

MOST_BYTES = 200 * 10**9
"""A longer file is refused; the whole planet has some 90 GB."""

PROGRESS = 1 << 20
"""Bytes that a round of attempts must bring for another round to be worth it."""

_OK, _PARTIAL, _NOT_MODIFIED, _BEYOND = 200, 206, 304, 416
_MISSING = frozenset({403, 404, 410})  # storage that lists nothing says 403


class DownloadError(ConnectionError):
    """A file cannot be downloaded, or what came is not what the server promised."""


class NotOfferedError(DownloadError):
    """There is no such file at that address (status 403, 404 or 410)."""


@contextmanager
def _attempt(address: str, headers: dict[str, str], patience: Patience) -> Iterator[requests.Response]:
    """One answer, body not read yet; every failure is either one that passes or a DownloadError."""
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
    wait = (patience.connect_seconds, patience.stall_seconds)
    try:
        with (
            session(Reach.of(address)) as asking,
            asking.get(address, headers=headers, stream=True, timeout=wait) as answer,
        ):
            raise_if_passing(answer.status_code, answer.headers)
            if answer.status_code in _MISSING:
                raise NotOfferedError(
                    f"there is no {redacted(address)} (status {answer.status_code}). Check the address."
                )
            if answer.status_code not in {_OK, _PARTIAL, _NOT_MODIFIED, _BEYOND}:
                raise DownloadError(f"{redacted(address)} cannot be read: status {answer.status_code}.")
            yield answer
    except BROKEN as error:
        raise broken(error) from None
    except requests.RequestException as error:
        raise DownloadError(f"{redacted(address)} cannot be read ({type(error).__name__}).") from None


def _persist(address: str, ask: Callable[[int], _Answer], patience: Patience) -> _Answer:
    """Ask until an answer comes or patience ends.

    Raises:
        DownloadError: it ended.
    """
    said = ""
    try:
        return persist(address, ask, patience)
    except GaveUpError as error:
        said = str(error)
    raise DownloadError(f"{said}. What came so far is kept: run the same command again to go on.")


def small_text(address: str, most_bytes: int, patience: Patience) -> tuple[str, str]:
    """A small text, and where it was read after redirects.

    Args:
        address: http or https.
        most_bytes: a longer one is refused.
        patience: how long to try.

    Raises:
        NotOfferedError: there is none.
        DownloadError: it cannot be read, or is longer.
    """

    def ask(_: int) -> tuple[str, str]:
        with _attempt(address, {}, patience) as answer:
            content = answer.raw.read(most_bytes + 1, decode_content=True)
            if len(content) > most_bytes:
                raise DownloadError(f"{redacted(address)} is longer than {most_bytes:,} bytes.")
            return content.decode("utf-8", "replace"), unsigned(answer.url)

    return _persist(address, ask, patience)


def unchanged(address: str, whole: Whole, patience: Patience) -> bool:
    """Whether the server still offers the file that was read before; no body is transferred where it does.

    Raises:
        DownloadError: it cannot be asked.
    """
    if whole.validator is None:
        return False
    headers = {"If-None-Match": whole.etag} if whole.etag else {"If-Modified-Since": whole.validator}

    def ask(_: int) -> bool:
        with _attempt(address, headers, patience) as answer:
            return answer.status_code == _NOT_MODIFIED or _whole(answer) == whole

    return _persist(address, ask, patience)


def download(
    address: str,
    target: Path,
    *,
    md5: str | None = None,
    patience: Patience = PATIENT,
    most_bytes: int = MOST_BYTES,
) -> Whole:
    """Download a file to `target`, going on with what an earlier run left beside it in `.part`.

    Args:
        address: http or https.
        target: where the file comes to stand, whole.
        md5: what the file must have, hexadecimal; None where nobody said.
        patience: how long to try.
        most_bytes: a longer file is refused.

    Returns:
        What the server said of the file.

    Raises:
        DownloadError: it cannot be downloaded, or is not what was promised: then what came is deleted.
        CacheError: it cannot be written.
    """
    with partial_file(target) as part:
        _fill(address, part, replace(patience, seconds=math.inf), most_bytes)
        found = part.md5() if md5 else None
        if found != md5:
            part.discard()
            raise DownloadError(
                f"{redacted(address)} has MD5 {found} but its server promises {md5}: the file was damaged on "
                "its way or replaced just now. What came is deleted; run the same command again."
            )
        part.finish()
    if part.whole is None:
        raise CacheError(f"{target.name} was finished without being begun")
    return part.whole


def _fill(address: str, part: PartialFile, patience: Patience, most_bytes: int) -> None:
    """Rounds of attempts, as long as each brings the file on."""
    while True:
        before = part.size
        try:
            _persist(address, lambda _: _go_on(address, part, patience, most_bytes), patience)
        except NotOfferedError:
            raise
        except DownloadError:
            if part.size < before + PROGRESS:
                raise
            host_of(address).answered()  # slow or broken, but it is there
        else:
            return


def _go_on(address: str, part: PartialFile, patience: Patience, most_bytes: int) -> None:
    """One request for all that is missing."""
    known, have = part.whole, part.size
    headers: dict[str, str] = {}
    if known is not None and known.validator and have:
        if have == known.size:
            return
        headers = {"Range": f"bytes={have}-", "If-Range": known.validator}
    with _attempt(address, headers, patience) as answer:
        if not (headers and _continues(answer, known, have)):
            if answer.status_code != _OK:
                part.forget()
                raise PassingFault("the file changed")
            part.begin(_whole(answer))
        with tqdm(
            total=part.whole.size if part.whole else None,
            initial=part.size,
            unit="B",
            unit_scale=True,
            desc=part.target.name,
            disable=None,
        ) as bar:
            for content in _paced(answer, patience):
                if part.size + len(content) > most_bytes:
                    part.discard()
                    raise DownloadError(f"{redacted(address)} is longer than {most_bytes:,} bytes.")
                part.append(content)
                bar.update(len(content))
    if part.whole and part.whole.size not in {None, part.size}:
        raise PassingFault(f"cut short: {part.size:,} of {part.whole.size:,} bytes")


def _continues(answer: requests.Response, known: Whole | None, have: int) -> bool:
    """Whether an answer holds the rest of the same file."""
    said = answer.headers.get("Content-Range", "")
    span, _, total = said.removeprefix("bytes ").partition("/")
    now = _whole(answer)
    return (
        known is not None
        and answer.status_code == _PARTIAL
        and span.partition("-")[0] == str(have)
        and (known.size is None or total in {"*", str(known.size)})
        and now.address == known.address
        and now.etag == known.etag  # a part without the ETag of its whole may be one of another whole
        and now.modified in {None, known.modified}
    )


def _whole(answer: requests.Response) -> Whole:
    """What an answer says of the whole file."""
    etag = answer.headers.get("ETag", "")
    length = answer.headers.get("Content-Length", "")
    return Whole(
        address=_without_secrets(answer.url),
        etag=etag if etag.startswith('"') else None,  # a weak one (W/) does not vouch for bytes
        modified=answer.headers.get("Last-Modified"),
        size=int(length) if length.isdigit() else None,
    )


def _without_secrets(address: str) -> str:
    """The address, its query told by a digest alone: whatever its name, a parameter may be a key."""
    address, mark, query = unsigned(address).partition("?")
    return address + (f"{mark}{hashlib.sha256(query.encode()).hexdigest()[:16]}" if mark else "")


def _paced(answer: requests.Response, patience: Patience) -> Iterator[bytes]:
    """The body as it comes, as long as it comes fast enough."""
    begun, brought = time.monotonic(), 0
    while content := answer.raw.read1(CHUNK, decode_content=False):
        yield content
        brought += len(content)
        passed = time.monotonic() - begun
        if passed > patience.stall_seconds:
            if brought < passed * patience.slowest:
                raise PassingFault(f"stalled: {brought / passed:.0f} bytes a second")
            begun, brought = time.monotonic(), 0
