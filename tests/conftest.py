"""Fixtures that several rooms share."""

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from gl10m.scene.class_map import ClassMap
from pipelines.world.server import serve
from pipelines.world.world import world_from_osm
from tests.pipelines.town import FLOWN, TOWN, Town
from tests.torture.arena import Arena, arena
from tests.worlds import write_world

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium")

# A shell that starts the tests in the background hands on that Ctrl-C is ignored, and tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

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


@pytest.fixture(scope="session")
def tried(built: Path, town: Town, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `built`, after a dry run with another class map: the same scenes, other limits of area."""
    folder = tmp_path_factory.mktemp("tried")
    shutil.copytree(built, folder / "root")
    bundled = (Path(__file__).parents[1] / "class_maps" / "gl10m-66.toml").read_text()
    (folder / "mine.toml").write_text(bundled.replace("[5e3, 2e7]", "[5e3, 3e7]"))
    ended = town.build(folder / "root", "--dry-run", "--class-map", str(folder / "mine.toml"))
    assert ended.returncode == 0, ended.stderr
    return folder / "root"


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with arena(tmp_path_factory.mktemp("arena")) as made:
        yield made


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()
