"""The wheel: what travels in it, and that it works away from the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(HOUSE)],
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("gl10m-*.whl")
    return built


def test_the_tables_and_the_marks_for_type_checkers_travel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "gl10m/_bundled/class_maps/gl10m-66.toml",
        "gl10m/_bundled/manifests/state_split.csv",
        "gl10m/_bundled/manifests/published_counts.json",
        "gl10m/report/page/outlines/states.json",
        "gl10m/report/page/outlines/NOTICE.txt",
        "gl10m/report/page/templates/report.html.j2",
        "gl10m/view/templates/view.js",
        "gl10m/py.typed",
        "pipelines/py.typed",
        "reference_model/py.typed",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "scripts/"))]


def test_an_installed_wheel_works_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)],
        check=True,
        capture_output=True,
    )
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "pipelines").mkdir(parents=True)
    code = f"""
import sys
sys.path.insert(0, {str(site)!r})
import gl10m
from gl10m.scene.class_map import ClassMap
from gl10m.scene.states import states
import pipelines.build
assert gl10m.__file__.startswith({str(site)!r}), gl10m.__file__
print(len(ClassMap.bundled()), len(states()))
"""
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=elsewhere, capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == ["66", "11"]
