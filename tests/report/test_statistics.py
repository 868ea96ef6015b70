"""Table 5 beside a data set's own counts."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gl10m.manifest import parquet
from gl10m.manifest.schema import FUNNEL, SCENES
from gl10m.report import statistics
from gl10m.report.statistics import STATISTICS


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    parquet.write(tmp_path / "manifests/scenes.parquet", SCENES.empty(), SCENES, {})
    parquet.write(tmp_path / "manifests/funnel.parquet", FUNNEL.empty(), FUNNEL, {})
    return tmp_path


PAPER = [
    ("train", 86_008, 8_600_800, 66, 8, 100),
    ("val", 8_069, 806_900, 66, 1, 100),
    ("test", 9_943, 994_300, 66, 2, 100),
    ("total", 104_020, 10_402_000, 66, 11, 100),
]


@pytest.mark.parametrize("row", PAPER, ids=lambda row: row[0])
def test_the_papers_table_5_stands_beside(empty: Path, row: tuple[str, int, int, int, int, int]) -> None:
    counts = [count for count in statistics.count_root(empty).counts if count.section == "Table 5: splits"]
    assert tuple(count.paper for count in counts if count.name == row[0]) == row[1:]


def test_the_papers_mean_is_figure_6s(empty: Path) -> None:
    counts = statistics.count_root(empty).counts
    (mean,) = (count for count in counts if count.measure == "labels a scene" and count.section == "labels")
    assert mean.paper == pytest.approx(584_010 / 94_077)
    assert mean.value is None


def test_an_empty_data_set_has_counts_of_nothing(empty: Path) -> None:
    text = statistics.count_root(empty).text
    assert "0 (86,008)" in text
    assert "nan" not in text


def test_counts_are_written_as_parquet(empty: Path) -> None:
    found = statistics.count_root(empty)
    found.write(empty / "counts.parquet")
    assert parquet.read(empty / "counts.parquet", STATISTICS).equals(found.table)
    assert pq.read_schema(empty / "counts.parquet").names == STATISTICS.names
