"""Dataset card and licences: true, the same wherever they are made, and safe to show."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gl10m.manifest import parquet
from gl10m.manifest.columns import values
from gl10m.manifest.provenance import LICENCES
from gl10m.manifest.schema import SCENES
from gl10m.report.card import native_card, write_card
from gl10m.report.data_licences import data_licences
from gl10m.report.facts import Facts, facts_of
from gl10m.report.markdown import text
from tests.store.small_scenes import build


def head(card: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return found


def facts(**changes: Any) -> Facts:  # noqa: ANN401 - any field
    values: dict[str, Any] = {
        "version": "1",
        "class_names": ("Lake",),
        "class_counts": (3,),
        "splits": {},
        "states": {"CA": 3},
        "naip_days": None,
        "sentinel2_days": None,
        "licences": {"osm": LICENCES["osm"]},
        "inputs": {},
    }
    return Facts(**(values | changes))


def test_a_build_publishes_its_card(built: Path) -> None:
    card = (built / "README.md").read_text()
    about = head(card)
    assert about["license_link"] == "DATA_LICENCES.md"
    assert about["size_categories"] == ["n<1K"]
    assert {"openstreetmap", "naip", "sentinel-2"} <= set(about["tags"])
    scenes = parquet.read(built / "manifests" / "scenes.parquet", SCENES, ["class_ids"])
    assert f"| all | {scenes.num_rows} |" in card
    schools = sum(52 in ids for ids in values(scenes, "class_ids"))
    assert f"| 52 | School | {schools} |" in card


def test_licences_name_the_sources_that_were_used_and_no_other(built: Path) -> None:
    told = (built / "DATA_LICENCES.md").read_text()
    assert "© OpenStreetMap contributors" in told
    assert "Share-alike" in told
    assert "Contains modified Copernicus Sentinel data 2023" in told
    assert "Imagery Program,\n2022" in told
    assert "Demo world" not in told
    assert "town-230601.osm.opl" in told.replace("\\", "")
    assert "2023-06-01" in told


def test_what_stands_is_not_written_again(built: Path) -> None:
    before = (built / "README.md").stat().st_mtime_ns
    assert write_card(built) == []
    assert (built / "README.md").stat().st_mtime_ns == before
    found = facts_of(built)
    assert native_card(found).encode() == (built / "README.md").read_bytes()
    assert data_licences(found).encode() == (built / "DATA_LICENCES.md").read_bytes()


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    root = build(tmp_path / "root", {"CA": "train"}, CA=1)
    (root / ".tmp-0123-README.md").write_text("half a ca")
    assert write_card(root) == []
    names = sorted(path.name for path in root.iterdir() if path.is_file())
    assert names == ["DATA_LICENCES.md", "README.md"]


def test_no_name_is_taken_for_markup() -> None:
    evil = "<script>alert(1)</script> | [x](javascript:y) `z`\n---\n# head"
    told = facts(class_names=(evil,), inputs={"CA.osm": evil})
    for page in (native_card(told), data_licences(told)):
        assert "<script>" not in page
        assert "\n# head" not in page
        assert not re.search(r"(?<!\\)\]\(javascript", page)
    assert head(native_card(told))["pretty_name"] == "GL-10M"
    assert text("a|b") == r"a\|b"


@pytest.mark.parametrize(
    ("scenes", "size"),
    [(999, "n<1K"), (1000, "1K<n<10K"), (104_020, "100K<n<1M")],
)
def test_the_size_category(scenes: int, size: str) -> None:
    assert head(native_card(facts(states={"CA": scenes})))["size_categories"] == [size]


def test_an_empty_data_set_has_a_card_too() -> None:
    card = native_card(facts(states={}, class_names=(), class_counts=()))
    assert "configs" not in head(card)
    assert "| all | 0 |" in card


def test_splits_of_whole_regions_are_the_hubs() -> None:
    told = facts(states={"CA": 2, "WA": 1}, splits={"train": {"CA": 2}, "val-1": {"WA": 1}})
    (default, *_) = head(native_card(told))["configs"]
    assert default["data_files"] == [
        {"split": "train", "path": ["data/CA-*.parquet"]},
        {"split": "val_1", "path": ["data/WA-*.parquet"]},
    ]


def test_a_source_that_nobody_named_is_not_made_up() -> None:
    told = facts(licences={})
    assert head(native_card(told))["license"] == "unknown"
    assert "do not say" in data_licences(told)
