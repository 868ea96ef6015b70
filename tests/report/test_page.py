"""The report over data sets that are odd, hostile or hardly there."""

import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gl10m.manifest import parquet
from gl10m.manifest.schema import FUNNEL, REJECTIONS, SCENES
from gl10m.report.page.assembly import report_page, write_report
from gl10m.report.page.class_section import figure_6
from gl10m.report.page.markup import embedded
from tests.store.small_scenes import METADATA, build, written

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five scenes in the store, and an account of six candidates."""
    root = build(tmp_path / "set", splits={"CA": "train"}, CA=5)
    account = [{"stage": "consistency", "state": "CA", "read": 6, "kept": 5, "rejected": 1, "failed": 0}]
    lost = [
        {
            "stage": "consistency",
            "state": "CA",
            "subject": HOSTILE,
            "outcome": "rejected",
            "reason": HOSTILE,
            "detail": "",
        }
    ]
    for name, rows, declared in (("funnel", account, FUNNEL), ("rejections", lost, REJECTIONS)):
        table = pa.Table.from_pylist(rows, schema=declared.schema)
        parquet.write(root / "manifests" / f"{name}.parquet", table, declared, METADATA)
    return root


def scenes_changed(root: Path, change: str, values: "pa.Array[pa.StringScalar] | None" = None) -> None:
    """Replace a column of the scenes manifest, or drop it."""
    path = root / "manifests" / "scenes.parquet"
    table = pq.read_table(path)
    place = table.column_names.index(change)
    fresh = table.remove_column(place)
    if values is not None:
        fresh = fresh.add_column(place, table.schema.field(change), values)
    written(path, fresh.replace_schema_metadata(table.schema.metadata))


def notices(page: str, anchor: str) -> list[str]:
    section = page[page.index(f'<section id="{anchor}"') :].split("</section>", maxsplit=1)[0]
    return re.findall(r'<p class="notice"><strong>Note.</strong> (.*?)</p>', section)


def test_markup_in_names_is_text(root: Path) -> None:
    names = [f"CA-w{number}" for number in range(1000, 1004)] + [f"CA-{HOSTILE}"]
    scenes_changed(root, "scene_id", pa.array(names))
    page = report_page(root, samples=0)
    assert "<img src=x" not in page
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in page
    assert page.count("</script>") == 2  # the data and the script of the page itself


def test_a_sample_that_the_index_does_not_know_is_explained(root: Path) -> None:
    names = [f"CA-w{number}" for number in range(1000, 1004)] + [f"CA-{HOSTILE}"]
    scenes_changed(root, "scene_id", pa.array(names))
    (said,) = notices(report_page(root, samples=5), "samples")
    assert "holds no scene CA-&lt;/script&gt;" in said


def test_json_in_a_page_ends_no_script() -> None:
    text = embedded({"name": HOSTILE + "\u2028&"})
    assert not set("<>&\u2028") & set(text)


def test_a_missing_column_costs_its_own_figures_alone(root: Path) -> None:
    scenes_changed(root, "cloud_lr")
    page = report_page(root, samples=1)
    (said,) = notices(page, "quality")
    assert "lacks the columns cloud_lr" in said
    assert "Black or missing pixels of the worst HR tile" in page
    assert notices(page, "classes") == []


def test_without_labels_the_parts_that_need_them_say_so(root: Path) -> None:
    scenes_changed(root, "class_ids")
    page = report_page(root, samples=1)
    for anchor in ("classes", "map", "together", "samples"):
        assert "lacks the columns class_ids" in notices(page, anchor)[0]
    assert notices(page, "dates") == []


def test_an_empty_data_set_is_explained(root: Path) -> None:
    for folder in ("index", "data"):
        shutil.rmtree(root / folder)
    (root / "manifests" / "splits.parquet").unlink()
    parquet.write(root / "manifests" / "scenes.parquet", SCENES.empty(), SCENES, METADATA)
    page = report_page(root, samples=3)
    assert "There is no scene to show" in notices(page, "samples")[0]
    assert "No scene carries a class" in notices(page, "together")[0]
    assert any("kept 5 pairs, the scenes manifest holds 0" in said for said in notices(page, "funnel"))


def test_a_data_set_that_is_not_split_says_how_to_split_it(root: Path) -> None:
    (root / "manifests" / "splits.parquet").unlink()
    page = report_page(root, samples=0)
    assert "gl10m split" in notices(page, "map")[0]
    assert "all scenes are counted" in notices(page, "classes")[0]


def test_images_that_are_elsewhere_are_no_reason_to_fail(root: Path) -> None:
    shutil.rmtree(root / "data")
    assert "missing from data/" in notices(report_page(root, samples=2), "samples")[0]


def test_no_data_set_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gl10m build"):
        write_report(tmp_path, tmp_path / "report.html", samples=1)
    assert not (tmp_path / "report.html").exists()


def test_the_same_data_set_gives_the_same_bytes(root: Path) -> None:
    assert report_page(root, samples=3) == report_page(root, samples=3)


def test_figure_6_averages_the_labels_that_the_class_map_says() -> None:
    counts = figure_6()
    assert len(counts) == 66
    assert round(sum(counts.values()) / (86_008 + 8_069), 1) == 6.2


def test_the_page_may_load_nothing(root: Path) -> None:
    page = report_page(root, samples=1)
    assert 'content="default-src &#39;none&#39;; img-src data:;' in page
    assert not re.findall(r'(?:src|srcset)="(?!data:)', page)
    assert "style=" not in page.replace("style-src", "")
