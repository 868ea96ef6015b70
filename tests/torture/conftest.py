"""The arena, once for the room."""

from collections.abc import Iterator

import pytest

from tests.torture.arena import Arena, arena


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with arena(tmp_path_factory.mktemp("arena")) as made:
        yield made
