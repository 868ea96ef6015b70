"""What every test of this room begins with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gl10m.scene.class_map import ClassMap
from pipelines.sources import hosts
from pipelines.sources.retrying import counted
from pipelines.world.server import serve
from pipelines.world.world import world_from_osm
from tests.pipelines.town import FLOWN, TOWN, Town
from tests.worlds import write_world


@pytest.fixture(autouse=True)
def strangers() -> Iterator[None]:
    """No host is known, and no fault was counted: ports come again, and circuits outlive a test."""
    hosts._HOSTS.clear()  # noqa: SLF001 - a process never forgets, a test must
    counted()
    yield
    hosts._HOSTS.clear()  # noqa: SLF001


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    osm = write_world(folder / "town-230601.osm.opl", TOWN)
    world_from_osm(osm, folder / "world", "CA", ClassMap.bundled(), FLOWN)
    with serve(folder / "world") as address:
        yield Town(osm, address)


@pytest.fixture(scope="session")
def built(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built") / "root"
    ended = town.build(root, "--workers", "2")
    assert ended.returncode == 0, ended.stderr
    return root
