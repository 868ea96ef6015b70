"""docs/classes.md says what the class map says, and what the real extracts hold."""

import re
from pathlib import Path

import pytest

from gl10m.scene.class_map import ClassMap
from pipelines.class_report import count
from scripts.classes_page import PAGE, meanings
from tests.worlds import REAL_OSM

COMMAND = "run: python -m scripts.classes_page, for new figures with the extracts that the page names"


def rows(title: str) -> list[list[str]]:
    """Cells of a table of the page, its two head lines left out."""
    part = PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")][1:]


def test_the_meanings_are_those_of_the_map(class_map: ClassMap) -> None:
    assert PAGE.read_text(encoding="utf-8").startswith(meanings(class_map)), COMMAND


def extracts() -> list[tuple[int, Path]]:
    named = re.findall(r"^(\d+)\. `(\S+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [(int(number), REAL_OSM / name) for number, name in named]


@pytest.mark.parametrize(("column", "path"), extracts(), ids=lambda part: getattr(part, "name", None))
def test_the_figures_are_those_of_the_extract(column: int, path: Path, class_map: ClassMap) -> None:
    if not path.is_file():
        pytest.skip(f"the real extract {path.name} is not here")
    found = count(path, class_map)
    told = [int(row[column]) for row in rows("Polygons in real files")]
    assert told == [found.polygons[number] for number in range(66)], COMMAND
    lost = {row[0]: int(row[column]) for row in rows("What was let go")}
    assert {reason: number for reason, number in lost.items() if number} == found.rejected, COMMAND
