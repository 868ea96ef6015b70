"""A small data set of three regions, and other tools' readers kept off the network and the home folder."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gl10m.report.card import write_card
from tests.store.small_scenes import build

SPLITS = {"CA": "train", "TX": "train", "WA": "val"}

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = build(tmp_path_factory.mktemp("small") / "root", SPLITS, CA=5, TX=3, WA=2)
    write_card(root)
    return root


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` asks nobody, and caches below the test's own folder."""
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hub")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def gl10m() -> Run:
    """The command as a person runs it."""

    def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "gl10m", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
