"""What a rerun does again: just what depends on what has changed, software included."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gl10m.manifest import parquet
from gl10m.manifest.columns import values
from gl10m.manifest.schema import FUNNEL, ITEMS
from gl10m.scene.class_map import ClassMap
from gl10m.scene.rejection import STAGES
from gl10m.store.integrity import verify
from gl10m.store.shard import open_shard
from pipelines import fetch, region
from pipelines.config import BuildParameters
from pipelines.execution import software as versions_of
from pipelines.execution.fragments import Receipts, scene_key
from pipelines.execution.journal import Journal
from pipelines.execution.software import PIXELS, PLACES, software
from pipelines.execution.workplace import ForeignWorkerError, Workplace
from pipelines.region import RegionJob, Sources, item_marks, prepare
from pipelines.sources.patience import Patience
from pipelines.sources.stac import StacImagery
from tests.pipelines.town import Town, contents

BEFORE_IMAGES = ("polygons", "classes", "footprints", "coverage", "subsampling", "matching")


@pytest.fixture
def job(town: Town, tmp_path: Path) -> RegionJob:
    source = StacImagery(url=town.address, patience=Patience())
    catalogue = f"{town.address} collection"
    journal = Journal(tmp_path / "root")
    return RegionJob(
        region="CA",
        osm=town.osm,
        osm_sha256="of the file",
        class_map=ClassMap.bundled(),
        sources=Sources(
            lr=source,
            lr_name="stac",
            lr_catalogue=catalogue,
            hr=source,
            hr_name="stac",
            hr_catalogue=catalogue,
        ),
        parameters=BuildParameters(),
        limit=None,
        journal=journal,
        workplace=Workplace.of(journal),
    )


def keys(job: RegionJob) -> dict[str, str]:
    """Content key of the work of each stage, after it was done."""
    prepare(job)
    names = (path.name for path in (job.journal.root / ".gl10m" / "stages" / "CA").glob("*.kept.parquet"))
    return {name.split("-")[0]: name for name in names}


def since(stage: str) -> set[str]:
    return set(BEFORE_IMAGES[BEFORE_IMAGES.index(stage) :])


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ({"osm_sha256": "of another file"}, "polygons"),
        ({"limit": 3}, "subsampling"),
        ("footprints.thinning_degrees", "footprints"),
        ("coverage.most_cloud_percent", "coverage"),
        ("matching.days_each_side", "matching"),
    ],
    ids=str,
)
def test_another_input_or_parameter_makes_its_stage_stale_and_those_after_it(
    job: RegionJob, changed: dict[str, Any] | str, first: str
) -> None:
    before = keys(job)
    if isinstance(changed, str):
        section, _, name = changed.partition(".")
        old = getattr(job.parameters, section)
        value = getattr(old, name)
        changed = {"parameters": replace(job.parameters, **{section: replace(old, **{name: value * 0.9})})}
    after = keys(replace(job, **changed))
    assert {stage for stage in before if before[stage] != after[stage]} == since(first)


@pytest.mark.parametrize("stage", BEFORE_IMAGES)
def test_other_code_makes_its_stage_stale_and_those_after_it(
    job: RegionJob, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys(job)
    monkeypatch.setitem(region.VERSIONS, stage, 99)
    after = keys(job)
    assert {name for name in before if before[name] != after[name]} == since(stage)


def with_other(names: tuple[str, ...] | str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {**software(), **dict.fromkeys([names] if isinstance(names, str) else names, "99.9")}
    monkeypatch.setattr(versions_of, "software", lambda: other)


@pytest.mark.parametrize("name", PLACES)
def test_other_software_that_places_makes_all_stages_stale(
    job: RegionJob, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys(job)
    with_other(name, monkeypatch)
    after = keys(job)
    assert {stage for stage in before if before[stage] != after[stage]} == since("polygons")


@pytest.mark.parametrize("name", [*PIXELS, *(f"code of {stage}" for stage in fetch.VERSIONS)])
def test_other_software_or_code_of_pixels_makes_every_image_stale(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fetch.parameters_key(BuildParameters())
    if name.startswith("code of "):
        monkeypatch.setitem(fetch.VERSIONS, name.removeprefix("code of "), 99)
    else:
        with_other(name, monkeypatch)
    assert fetch.parameters_key(BuildParameters()) != before


def test_software_that_only_writes_files_makes_no_image_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fetch.parameters_key(BuildParameters())
    with_other("pyarrow", monkeypatch)
    assert fetch.parameters_key(BuildParameters()) == before


def test_what_the_catalogue_says_of_an_item_is_part_of_the_key_and_its_address_is_not(built: Path) -> None:
    items = parquet.read(built / "manifests" / "items.parquet", ITEMS)
    assert list(item_marks(items)) == values(items, "item_id")
    row = {
        "scene_id": "CA-w1",
        "bounds": [0.0, 0.0, 0.024, 0.024],
        "naip_items": [name for name in values(items, "item_id") if "m_" in name][:1],
        "sentinel2_items": [name for name in values(items, "item_id") if "S2" in name][:1],
    }

    def key(table: pa.Table) -> str:
        return scene_key(row, "parameters", ("lr", "hr"), item_marks(table))

    def changed(name: str, column: list[object]) -> pa.Table:
        place = items.schema.get_field_index(name)
        field = items.schema.field(name)
        return items.set_column(place, field, pa.array(column, field.type))

    assert row["naip_items"]
    assert row["sentinel2_items"]
    moved = changed("assets", [[("image", "https://elsewhere.example/a.tif")]] * items.num_rows)
    assert key(moved) == key(items)
    assert key(changed("offset", [-0.5] * items.num_rows)) != key(items)
    assert key(changed("generated", ["2030"] * items.num_rows)) != key(items)


def pretend(folder: Path, package: str, version: str) -> dict[str, str]:
    """An environment in which all processes find another version of a package."""
    about = folder / f"{package}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    return {"PYTHONPATH": str(folder)}


@pytest.mark.slow
def test_a_rerun_with_other_software_says_so_and_makes_its_images_again(
    built: Path, town: Town, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    assert town.build(root).returncode == 0
    funnel = parquet.read(root / "manifests" / "funnel.parquet", FUNNEL).to_pylist()
    asked = funnel[STAGES.index("lr")]["read"]
    other = pretend(tmp_path / "other", "pillow", "99.9")
    ended = town.build(root, **other)
    assert ended.returncode == 0, ended.stderr
    assert "pillow 99.9 in place of" in ended.stderr
    assert f"imagery: {asked} scenes to fetch, {asked} of them anew" in ended.stderr
    made_with = json.loads(parquet.metadata_of(root / "manifests" / "scenes.parquet")["gl10m.software"])
    assert made_with["CA"]["pillow"] == "99.9"
    back = town.build(root)
    assert back.returncode == 0, back.stderr
    assert contents(root) == contents(built)


def test_a_worker_with_other_versions_is_refused(tmp_path: Path) -> None:
    place = Workplace.of(Journal(tmp_path))
    with pytest.raises(ForeignWorkerError, match=r"pillow .* in place of 99\.9"):
        replace(place, software={**place.software, "pillow": "99.9"}).check()


def test_manifests_and_shards_tell_of_their_making_and_of_no_clock_host_or_user(
    built: Path, town: Town
) -> None:
    (shard,) = (built / "data").glob("*.parquet")
    for path in (built / "manifests" / "scenes.parquet", shard):
        about = parquet.metadata_of(path)
        assert json.loads(about["gl10m.software"])["CA"] == software()
        assert json.loads(about["gl10m.configuration"])["CA"]["matching"]["days_each_side"] == 183
        inputs = json.loads(about["gl10m.inputs"])
        assert inputs["CA.osm_date"] == "2023-06-01"
        assert inputs["CA.lr"] == town.address
        assert {"osm", "naip", "sentinel-2"} <= set(json.loads(about["gl10m.licences"]))
    with open_shard(shard) as file:
        assert file.read(columns=["naip_items", "sentinel2_items"]).num_rows
    assert verify(built) == []
    assert Receipts(Journal(built)).published().num_rows
