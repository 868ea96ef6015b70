"""What all tests of the reference model share."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from reference_model.face import Setting
from tests.reference_model.settings import SPLITS, opened
from tests.reference_model.worlds import World


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Networks this small run faster on one thread, and bytes depend on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """A world, and a run folder with its encoder and its features."""
    world, folder = World(len(SPLITS)), tmp_path_factory.mktemp("prepared") / "run"
    with opened(world, folder):
        pass
    return world, folder


@pytest.fixture(scope="module")
def setting(prepared: tuple[World, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    """A setting on that world, whose run folder the tests of one file share."""
    world, folder = prepared
    with opened(world, shutil.copytree(folder, tmp_path_factory.mktemp("setting") / "run")) as made:
        yield made


@pytest.fixture
def another(prepared: tuple[World, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Makes a run folder with the encoder and the features, in which no method has learned anything."""
    return lambda name: shutil.copytree(prepared[1], tmp_path / name)
