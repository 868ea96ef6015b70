"""Signatures that some archives ask for: made just before reading, never stored, never logged."""

import threading
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import requests

from pipelines.sources.asset_urls import redacted
from pipelines.sources.imagery import SourceUnavailableError

TOKEN_ATTEMPTS = 4
"""How often the token server is asked before the read fails."""

TOKEN_PAUSE_SECONDS = 0.3
"""First pause between those, seconds; doubled each time."""


class Signer(StrEnum):
    """Who signs the addresses of a source."""

    NONE = "none"
    """Nobody: the rasters are open."""

    PLANETARY_COMPUTER = "planetary-computer"
    """Shared access signatures of the Planetary Computer, anonymous or with a subscription key.

    The endpoint is read from PC_SDK_SAS_URL and the key from PC_SDK_SUBSCRIPTION_KEY, as its own library
    does.
    """

    def sign(self, address: str) -> str:
        """The address to read from now; a credential, so neither stored nor shown.

        Args:
            address: unsigned href of an asset.

        Raises:
            SourceUnavailableError: the token server does not answer.
        """
        return address if self is Signer.NONE else _sign_planetary_computer(address)

    def forget(self, signed: str) -> None:
        """Drop the signature of an address that was refused, so that the next one is asked for anew.

        Args:
            signed: what `sign` gave; a signature that was renewed since then is kept.
        """
        if self is Signer.PLANETARY_COMPUTER:
            _forget_planetary_computer(signed)


_one_at_a_time = threading.Lock()
"""Many ranges are asked for together; one of them asks for their token."""


def _sign_planetary_computer(address: str) -> str:
    """Sign with the archive's own library; its token cache renews a token a minute before it ends."""
    # Imported here: the library takes a third of a second, and most readers sign nothing.
    from planetary_computer import sas  # noqa: PLC0415 - see above

    with _one_at_a_time:
        return _signed(address, sas)


def _forget_planetary_computer(signed: str) -> None:
    from planetary_computer import sas  # noqa: PLC0415 - as above

    with _one_at_a_time:
        for key, token in list(sas.TOKEN_CACHE.items()):
            if token.token in signed:
                del sas.TOKEN_CACHE[key]


def _signed(address: str, sas: Any) -> str:  # noqa: ANN401 - the library has no types
    parts = urlsplit(address)
    account, _, domain = parts.netloc.partition(".")
    try:
        if f".{domain}" == sas.BLOB_STORAGE_DOMAIN:
            container = parts.path.split("/")[1]
            # The library itself would wait minutes; its cache then serves the call below.
            sas.get_token(account, container, TOKEN_ATTEMPTS - 1, TOKEN_PAUSE_SECONDS)
        return str(sas.sign_url(address))
    except (requests.RequestException, ValueError, TypeError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        fault = f"HTTP {status}" if status else type(error).__name__
        raise SourceUnavailableError(
            f"no signature for {redacted(address)}: the token server answered with {fault}. "
            "Check PC_SDK_SAS_URL and PC_SDK_SUBSCRIPTION_KEY, or try again later."
        ) from None
