"""What every test of this room begins with."""

from collections.abc import Iterator

import pytest

from pipelines.sources import hosts
from pipelines.sources.retrying import counted


@pytest.fixture(autouse=True)
def strangers() -> Iterator[None]:
    """No host is known, and no fault was counted: ports come again, and circuits outlive a test."""
    hosts._HOSTS.clear()  # noqa: SLF001 - a process never forgets, a test must
    counted()
    yield
    hosts._HOSTS.clear()  # noqa: SLF001
