"""Says in words that a source is asked again, and why."""

import logging

import stamina
from stamina.instrumentation import RetryDetails

_LOG = logging.getLogger("gl10m")


def announce_retries() -> None:
    """Let every retry of this process be told in one line of the log, without an address.

    An error that may be shown as it is says so by an attribute `told`; of any other only its kind is.
    """
    stamina.instrumentation.set_on_retry_hooks((_say,))


def _say(details: RetryDetails) -> None:
    _LOG.warning(
        "a source did not answer (%s); asking again in %.1f s",
        getattr(details.caused_by, "told", type(details.caused_by).__name__),
        details.wait_for,
    )
