"""Signatures that some archives ask for: made just before reading, never stored, never logged."""

import math
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from urllib.parse import urlsplit

import requests

from pipelines.sources.asset_urls import redacted
from pipelines.sources.imagery import SourceUnavailableError
from pipelines.sources.passing import PassingFault, raise_if_passing
from pipelines.sources.patience import PATIENT, Patience
from pipelines.sources.retrying import GaveUpError, persist

RENEW_SECONDS = 300.0
"""A token is renewed so long before it ends, or at half of its life if that is shorter: a read that begins
with it has time to end."""

LONGEST_TOKEN = 4096
"""Characters of a token at most; real ones have some 200."""

_PUBLIC = "ai4edatasetspublicassets"
"""The one account of the archive that needs no signature."""


class Signer(StrEnum):
    """Who signs the addresses of a source."""

    NONE = "none"
    """Nobody: the rasters are open."""

    PLANETARY_COMPUTER = "planetary-computer"
    """Shared access signatures of the Planetary Computer, anonymous or with a subscription key.

    The endpoint is read from PC_SDK_SAS_URL and the key from PC_SDK_SUBSCRIPTION_KEY, as its own library
    does.
    """

    def sign(self, address: str, patience: Patience = PATIENT) -> str:
        """The address to read from now; a credential, so neither stored nor shown.

        Args:
            address: unsigned href of an asset.
            patience: with the token server.

        Raises:
            SourceUnavailableError: the token server does not answer.
        """
        container = _container(address) if self is Signer.PLANETARY_COMPUTER else None
        return address if container is None else f"{address}?{_token(container, address, patience)}"

    def forget(self, signed: str) -> bool:
        """Drop a signature that the archive refused (status 403), so that the next one is asked for anew.

        Args:
            signed: what `sign` gave; a signature that was renewed since then is kept.

        Returns:
            False where it was dropped before: the refusal of another request was the first.
        """
        query = urlsplit(signed).query
        with _ONE_AT_A_TIME:
            known = [container for container, token in _TOKENS.items() if token.query == query]
            for container in known:
                del _TOKENS[container]
        return bool(known)


@dataclass(frozen=True, slots=True)
class _Token:
    """A token and the moment from which it is not used any more."""

    query: str = field(repr=False)
    renew_at: float
    """By time.monotonic(), which no change of the clock moves; infinite where only the store can tell."""


_TOKENS: dict[tuple[str, str], _Token] = {}
_ONE_AT_A_TIME = threading.Lock()
"""Many ranges are asked for together; one of them asks for their token."""


def _container(address: str) -> tuple[str, str] | None:
    """Account and container of the archive that an address lies in; None where nothing is to be signed."""
    # Imported here: the library takes a third of a second, and most readers sign nothing.
    from planetary_computer.sas import BLOB_STORAGE_DOMAIN  # noqa: PLC0415 - see above

    parts = urlsplit(address)
    account, _, domain = parts.netloc.partition(".")
    if f".{domain}" != BLOB_STORAGE_DOMAIN or account == _PUBLIC or parts.query:
        return None
    return account, parts.path.split("/")[1]


def _token(container: tuple[str, str], address: str, patience: Patience) -> str:
    """The token at hand, or a new one if it ends soon."""
    with _ONE_AT_A_TIME:
        known = _TOKENS.get(container)
        if known is None or time.monotonic() >= known.renew_at:
            known = _TOKENS[container] = _granted(container, address, patience)
        return known.query


def _granted(container: tuple[str, str], address: str, patience: Patience) -> _Token:
    """A token from the server, asked with the archive's own settings.

    The library's own call has no timeout, so a token server that stalls would hold a worker for ever.

    Raises:
        SourceUnavailableError: there is none to be had.
    """
    from planetary_computer.settings import Settings  # noqa: PLC0415 - as above

    settings = Settings.get()
    endpoint = f"{settings.sas_url}/{container[0]}/{container[1]}"
    key = {"Ocp-Apim-Subscription-Key": settings.subscription_key} if settings.subscription_key else {}

    def ask(_: int) -> _Token:
        wait = (patience.connect_seconds, patience.stall_seconds)
        # A redirect is not followed: the key would go with it.
        with requests.get(endpoint, headers=key, timeout=wait, allow_redirects=False) as answer:
            raise_if_passing(answer.status_code, answer.headers)
            if answer.status_code != requests.codes.ok:
                raise _RefusedError(f"the token server answered with HTTP {answer.status_code}")
            return _read(answer)

    fault = ""
    try:
        return persist(endpoint, ask, patience)
    except (GaveUpError, _RefusedError) as error:
        fault = str(error)
    except requests.RequestException as error:
        fault = f"the token server cannot be asked ({type(error).__name__})"
    raise SourceUnavailableError(
        f"no signature for {redacted(address)}: {fault}. "
        "Check PC_SDK_SAS_URL and PC_SDK_SUBSCRIPTION_KEY, or try again later."
    )


class _RefusedError(Exception):
    """The token server will not sign."""


def _read(answer: requests.Response) -> _Token:
    """The token in an answer.

    Its life is measured by the server's own clock (Date), so that a wrong clock here does no harm. One that
    is over when it begins says that some clock is wrong: the server's, that of a cache before it, or ours
    where the answer has no date. The store knows: the token is used until it is refused.

    Raises:
        PassingFault: there is none.
    """
    query, life = "", 0.0
    try:
        about = answer.json()
        expiry = datetime.fromisoformat(about["msft:expiry"])
        life = (expiry if expiry.tzinfo else expiry.replace(tzinfo=UTC)).timestamp() - _clock(answer)
        query = str(about["token"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        query = ""  # whatever it was, it is no token
    if not 0 < len(query) <= LONGEST_TOKEN or not query.isascii() or not query.isprintable() or " " in query:
        raise PassingFault("no token in the answer")
    if not life > 0:
        return _Token(query, math.inf)
    return _Token(query, time.monotonic() + life - min(RENEW_SECONDS, life / 2))


def _clock(answer: requests.Response) -> float:
    """What time it is by the server's clock; by ours where it does not say. Seconds since 1970."""
    try:
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return time.time()
