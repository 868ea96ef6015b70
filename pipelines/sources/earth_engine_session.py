"""Earth Engine through its own client library: signed in once a process, asked again, errors told apart.

The library would try a call again by itself, five times and blindly, and then say what went wrong without the
HTTP status. Its own tries are switched off here, and its requests go through `earth_engine_transport`, which
notes status and Retry-After; so a call is tried again by `persist` alone, and by what the server said.
"""

import functools
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import ee
import google.auth
import googleapiclient.errors
from google.auth.exceptions import GoogleAuthError, TransportError

from pipelines.sources.asset_urls import RefusedAddressError, redacted, unsigned, without_queries
from pipelines.sources.earth_engine_transport import Transport
from pipelines.sources.imagery import DamagedRasterError, SourceUnavailableError
from pipelines.sources.passing import PASSING, PassingFault
from pipelines.sources.patience import PATIENT, Patience
from pipelines.sources.retrying import GaveUpError, persist

HIGH_VOLUME = "https://earthengine-highvolume.googleapis.com"
"""The endpoint that Earth Engine's documentation names for many automated requests without aggregation."""

ADDRESS = "EARTHENGINE_URL"
"""Environment variable: another address of the API, such as the standard endpoint or a proxy."""

PROJECTS = ("EARTHENGINE_PROJECT", "GOOGLE_CLOUD_PROJECT")
"""Environment variables that name the Cloud project whose quota is used; the first that is set."""

KEY_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
"""Environment variable: path of a service account's key, Google's usual one."""

SCOPES = ("https://www.googleapis.com/auth/earthengine.readonly",)
"""What a service account asks to be allowed: reading suffices for every call made here."""

MOST_A_SECOND = 10.0
"""Requests that one process begins in a second, evenly. A project may begin 100."""

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{1,98}[a-z0-9]")
_QUOTA = re.compile(r"quota exceeded|exceeded .*quota|rate ?limit|too many", re.IGNORECASE)
_TOO_MUCH = re.compile(
    r"Total request size|Pixel grid dimensions|User memory limit|Computation timed out|"
    r"Response size exceeds|Computed value is too large",
    re.IGNORECASE,
)
_TOKENS = re.compile(r"ya29\.\S+|Bearer\s+\S+|eyJ[\w-]+\.[\w.-]+", re.IGNORECASE)

_Answer = TypeVar("_Answer")
_LOCK = threading.Lock()


class EarthEngineAccessError(SourceUnavailableError):
    """Nobody is signed in, no project pays with its quota, or the account may not use Earth Engine."""


class RequestTooLargeError(ValueError):
    """One computation asks for more bytes, pixels, memory or time than Earth Engine gives; ask for a part."""


class Refusal(Exception):  # noqa: N818 - never leaves this module but for its name in the log
    """One attempt that failed; its text holds no token and no request."""

    def __init__(
        self, said: str, *, status: int | None = None, wait: float | None = None, connected: bool = True
    ) -> None:
        super().__init__(said)
        self.status, self.wait, self.connected = status, wait, connected

    @property
    def damaged(self) -> bool:
        """Whether Earth Engine thought all was well, and its answer is no good."""
        return self.status == 200  # noqa: PLR2004 - OK

    @property
    def too_much(self) -> bool:
        """Whether a smaller request may do."""
        return bool(_TOO_MUCH.search(str(self)))

    @property
    def quota(self) -> bool:
        """Whether more was asked for than the project's quota allows at the moment."""
        return self.status == 429 or (self.status == 403 and bool(_QUOTA.search(str(self))))  # noqa: PLR2004

    @property
    def passing(self) -> bool:
        """Whether the same request may be answered later; no status means no whole answer."""
        if self.too_much:
            return False
        return self.status is None or self.status in PASSING or self.quota or self.damaged

    def fault(self) -> PassingFault:
        """What it is to `persist`."""
        kind = "damaged answer" if self.damaged else f"status {self.status}"
        said = str(self) if self.status is None else f"{kind}: {self}"
        return PassingFault(said, wait=self.wait, connected=self.connected, by_host=not self.damaged)


def call(what: str, ask: Callable[[], _Answer], patience: Patience) -> _Answer:
    """Make one call of the client library, a few times while Earth Engine is busy.

    Args:
        what: names the call in errors: "the pixels of COPERNICUS/S2_SR_HARMONIZED/...".
        ask: calls the library, which is signed in by then; raises ValueError if the answer is no good.
        patience: how long to try, and how fast.

    Raises:
        EarthEngineAccessError: no credentials, no project, or no permission.
        RequestTooLargeError: a smaller request may do.
        SourceUnavailableError: quota is used up, or the service cannot be reached.
        DamagedRasterError: the request itself is refused, or its answer is no good.
    """
    evenly = replace(patience, requests_per_second=min(patience.requests_per_second, MOST_A_SECOND), burst=1)
    last: list[Refusal] = []

    def attempt(_: int) -> _Answer:
        try:
            return _once(ask, patience)
        except Refusal as refusal:
            if not refusal.passing:
                raise
            last[:] = [refusal]
        raise last[0].fault()

    try:
        return persist(_address(), attempt, evenly)
    except Refusal as refusal:
        error = _told(what, refusal)
    except GaveUpError as gave_up:
        error = _given_up(what, str(gave_up), last[0] if last else None)
    # Raised outside the handler, so that no exception with a request in it hangs on to it.
    raise error


def sign_in(patience: Patience = PATIENT) -> None:
    """Sign in now instead of at the first call, so that a build without credentials ends at its beginning.

    Args:
        patience: how long to try.

    Raises:
        EarthEngineAccessError: no credentials, no project, or no permission.
        SourceUnavailableError: the service cannot be reached.
    """
    try:
        call("the list of its functions", lambda: None, patience)
    except (DamagedRasterError, RequestTooLargeError) as error:
        fault = str(error)
    else:
        return
    raise SourceUnavailableError(fault)


def _once(ask: Callable[[], _Answer], patience: Patience) -> _Answer:
    """One attempt.

    Raises:
        Refusal: it failed.
        EarthEngineAccessError: no credentials or no project.
    """
    transport = _connected(patience)
    transport.forget()
    try:
        return ask()
    except (ee.EEException, googleapiclient.errors.Error, GoogleAuthError, OSError, ValueError) as error:
        refusal = _refusal(error, transport)
    raise refusal


def _refusal(error: Exception, transport: Transport | None) -> Refusal:
    """What an exception of the library and its helpers tells, with the last answer's status."""
    status, wait = transport.noted if transport else (None, None)
    said = _plain(str(getattr(error, "reason", None) or error)) or type(error).__name__
    if isinstance(error, GoogleAuthError):
        return Refusal(f"no access token ({said})", status=None if error.retryable else 401)
    if isinstance(error, OSError):
        return Refusal(said, connected=not isinstance(error, ConnectionRefusedError))
    return Refusal(said, status=status, wait=wait)


def _plain(said: str) -> str:
    """A message of another library in one short line, without tokens, queries and markup."""
    line = " ".join(re.sub(r"<[^>]*>", " ", said).split())
    return _TOKENS.sub("[token]", without_queries(line))[:200]


def _told(what: str, refusal: Refusal) -> Exception:
    """The error that a refusal for good is to the rest of the pipeline."""
    said = f"Earth Engine does not give {what}: HTTP {refusal.status}: {refusal}"
    if refusal.too_much:
        return RequestTooLargeError(said)
    if refusal.status in {401, 403}:
        return EarthEngineAccessError(
            f"{said}. Sign in with `earthengine authenticate` or name a service account's key in {KEY_FILE}; "
            f"the project in {PROJECTS[0]} must be registered for Earth Engine (docs/earth-engine.md)."
        )
    return DamagedRasterError(said)


def _given_up(what: str, said: str, last: Refusal | None) -> Exception:
    """The error that the last of several refusals is; none if the service was left alone."""
    said = f"Earth Engine does not give {what}: {said}"
    if last is not None and last.damaged:
        return DamagedRasterError(said)
    advice = ""
    if last is not None and last.quota:
        advice = " Give fewer --workers, or ask for more quota (docs/earth-engine.md)."
    return SourceUnavailableError(f"{said}. The next run asks again.{advice}")


def _connected(patience: Patience) -> Transport:
    """The library, signed in with what the environment names; once a process.

    Raises:
        Refusal: the service does not answer.
        EarthEngineAccessError: no credentials or no project.
    """
    with _LOCK:
        project = next((os.environ[name] for name in PROJECTS if os.environ.get(name)), None)
        return _initialised(_address(), project, os.environ.get(KEY_FILE), patience.connect_seconds)


@functools.lru_cache(maxsize=1)
def _initialised(
    address: str, project: str | None, key_file: str | None, connect_seconds: float
) -> Transport:
    """Initialise the library, whose state is one for the whole process."""
    if project is not None and not _PROJECT.fullmatch(project):
        raise EarthEngineAccessError(
            f"{PROJECTS[0]} names a Cloud project, such as my-project-123; got {project[:40]!r}"
        )
    credentials = _credentials(key_file)
    transport = Transport(connect_seconds)
    # It would write bodies of answers into the log.
    logging.getLogger("googleapiclient.http").setLevel(logging.ERROR)
    ee.Reset()
    ee.data.setMaxRetries(0)
    try:
        # It also asks another host which data sets are deprecated, and warns if that cannot be reached.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ee.Initialize(credentials, url=address, project=project, http_transport=transport)
    except (ee.EEException, googleapiclient.errors.Error, GoogleAuthError, OSError, ValueError) as error:
        if ee.NO_PROJECT_EXCEPTION in str(error):
            refusal: Exception = EarthEngineAccessError(
                "Earth Engine needs a Cloud project whose quota is used: name one that is registered for it "
                f"in {PROJECTS[0]} or with `earthengine set_project`"
            )
        else:
            refusal = _refusal(error, transport)
    else:
        return transport
    raise refusal


def _address() -> str:
    """Address of the API.

    Raises:
        EarthEngineAccessError: it is none to which a token may be sent.
    """
    given = os.environ.get(ADDRESS) or HIGH_VOLUME
    try:
        address = unsigned(given).rstrip("/")
    except RefusedAddressError as error:
        raise EarthEngineAccessError(f"{ADDRESS} names the address of the API: {error}") from None
    parts = urlsplit(address)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise EarthEngineAccessError(
            f"{ADDRESS} is an https:// address, since an access token is sent to it; got {redacted(given)}"
        )
    return address


def _credentials(key_file: str | None) -> Any:  # noqa: ANN401 - google-auth has several kinds
    """A service account, where its key is named; else the user's own sign-in.

    Raises:
        Refusal: the token server does not answer.
        EarthEngineAccessError: there is neither.
    """
    try:
        if key_file:
            return google.auth.default(scopes=SCOPES)[0]
        return ee.data.get_persistent_credentials()
    except TransportError:
        fault: Exception = Refusal("no access token (the token server does not answer)")
    except (GoogleAuthError, ee.EEException, OSError, ValueError):
        # What was raised may name the key's path and parts of its content.
        problem = f"{KEY_FILE} names no file with a key" if key_file else "nobody is signed in"
        fault = EarthEngineAccessError(
            f"no credentials for Earth Engine: {problem}. Run `earthengine authenticate` once, or name a "
            f"service account's key in {KEY_FILE}."
        )
    raise fault
