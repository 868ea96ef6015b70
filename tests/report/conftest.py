"""A data set that was really built and split, and a browser that looks at its pages."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gl10m.report import splitting
from gl10m.report.split_request import SplitRequest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="session")
def town_root(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A town as `gl10m build` leaves it, journal included; a copy, since it is split here."""
    root = tmp_path_factory.mktemp("report") / "town"
    shutil.copytree(built, root)
    splitting.split_root(root, SplitRequest())
    return root


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where screenshots are kept."""
    folder = Path(os.environ.get("CI_ARTEFACTS", "build")) / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
