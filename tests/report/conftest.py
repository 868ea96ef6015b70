"""A data set that was really built and split."""

import os
import shutil
from pathlib import Path

import pytest

from gl10m.report import splitting
from gl10m.report.split_request import SplitRequest


@pytest.fixture(scope="session")
def town_root(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A town as `gl10m build` leaves it, journal included; a copy, since it is split here."""
    root = tmp_path_factory.mktemp("report") / "town"
    shutil.copytree(built, root)
    splitting.split_root(root, SplitRequest())
    return root


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where screenshots are kept."""
    folder = Path(os.environ.get("CI_ARTEFACTS", "build")) / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
