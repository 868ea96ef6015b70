"""Fixtures of the world's tests."""

from pathlib import Path

import pytest

from gl10m.scene.class_map import ClassMap
from pipelines.world.world import render_world
from tests.world.scenery import TINY, chequered


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory, class_map: ClassMap) -> Path:
    """One quarter quad that shows every class."""
    folder = tmp_path_factory.mktemp("tiny-world")
    render_world(chequered(class_map), folder, "TX", class_map, TINY)
    return folder
