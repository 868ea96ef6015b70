"""Fixtures that several rooms share."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from gl10m.scene.class_map import ClassMap
from tests.worlds import write_world

# The same examples in every run, and no clock: a busy machine is no failure.
settings.register_profile("gl10m", deadline=None, derandomize=True)
settings.load_profile("gl10m")


@pytest.fixture(scope="session")
def class_map() -> ClassMap:
    """The 66 concepts of GL-10M."""
    return ClassMap.bundled()


@pytest.fixture
def osm_world(tmp_path: Path) -> Callable[[str], Path]:
    """Write an OSM world given in a few lines of OPL and get its path."""

    def write(text: str, name: str = "world.opl") -> Path:
        return write_world(tmp_path / name, text)

    return write
