"""A scene that kills its reader takes no neighbour with it, and is tried again by the next run."""

import contextlib
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest
import shapely

from gl10m.manifest import parquet
from gl10m.manifest.columns import values, where
from gl10m.manifest.schema import FUNNEL, REJECTIONS, SCENES
from gl10m.scene.acquisition import Window
from gl10m.scene.footprint import Footprint
from pipelines import build as builds
from pipelines.inputs import BuildRequest, open_sources
from pipelines.region import Sources
from pipelines.sources.imagery import HighResolution, Imagery, LowResolution, Sensor
from pipelines.sources.patience import Patience
from tests.pipelines.town import Town, contents


@dataclass(frozen=True)
class Deadly:
    """A real source, whose reader dies of one place as if the kernel had killed it."""

    source: Imagery
    longitude: float
    latitude: float

    def search(self, sensor: Sensor, area: shapely.Geometry, window: Window) -> pa.Table:
        return self.source.search(sensor, area, window)

    def read_sentinel2(self, item: pa.Table, footprint: Footprint) -> LowResolution:
        apart = abs(footprint.longitude - self.longitude) + abs(footprint.latitude - self.latitude)
        if apart < 1e-9:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.source.read_sentinel2(item, footprint)

    def read_naip(self, items: pa.Table, footprint: Footprint) -> HighResolution:
        return self.source.read_naip(items, footprint)


def request(town: Town, root: Path) -> BuildRequest:
    return BuildRequest(
        root=root,
        regions=("CA",),
        lr_source="stac",
        hr_source="stac",
        stac_url=town.address,
        osm=(str(town.osm),),
        workers=2,
    )


@pytest.mark.slow
def test_only_the_scene_that_kills_is_lost_and_the_next_run_tries_it_again(
    built: Path, town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = parquet.read(built / "manifests" / "scenes.parquet", SCENES)
    assert scenes.num_rows > 1
    poison = scenes.slice(scenes.num_rows // 2, 1).to_pylist()[0]

    def deadly(
        asked: BuildRequest, stack: contextlib.ExitStack, most_cloud_percent: float, patience: Patience
    ) -> Sources:
        sources = open_sources(asked, stack, most_cloud_percent, patience)
        return replace(sources, lr=Deadly(sources.lr, poison["longitude"], poison["latitude"]))

    root = tmp_path / "root"
    with monkeypatch.context() as patched:
        patched.setattr(builds, "open_sources", deadly)
        report = builds.build(request(town, root))
    assert report.failed == 1
    assert "WORKER_LOST 1" in report.text
    kept = values(parquet.read(root / "manifests" / "scenes.parquet", SCENES), "scene_id")
    assert set(kept) == set(values(scenes, "scene_id")) - {poison["scene_id"]}
    lost = where(parquet.read(root / "manifests" / "rejections.parquet", REJECTIONS), "outcome", {"failed"})
    assert values(lost, "subject") == [poison["scene_id"]]
    assert values(lost, "reason") == ["WORKER_LOST"]
    for row in parquet.read(root / "manifests" / "funnel.parquet", FUNNEL).to_pylist():
        assert row["read"] == row["kept"] + row["rejected"] + row["failed"]
    assert builds.build(request(town, root)).failed == 0
    assert contents(root) == contents(built)
