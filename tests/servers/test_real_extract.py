"""From a real OSM extract to a tensor: rendered imagery, real servers, the installed command."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from gl10m.loader import GL10MDataset
from gl10m.manifest import parquet
from gl10m.manifest.schema import FUNNEL, REJECTIONS, SCENES
from scripts.build_extracts import gl10m
from scripts.local_servers import LocalServers

EXTRACT = Path(__file__).parents[3] / "shared/data/osm/felton_california.osm.pbf"

pytestmark = [
    pytest.mark.servers,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not EXTRACT.exists(), reason="needs the extracts in ../shared/data/osm"),
]


@dataclass(frozen=True)
class Built:
    """A finished build whose servers still run."""

    root: Path
    servers: LocalServers

    def build_again(self) -> str:
        source = ("--source", "stac", "--stac-url", self.servers.stac_url)
        return gl10m("build", "--states", "CA", "--osm", EXTRACT, *source, "--root", self.root)

    def files(self) -> dict[str, bytes]:
        """Everything that a reader of the data set sees."""
        parts = ("data", "index", "manifests")
        found = [path for part in parts for path in sorted((self.root / part).rglob("*")) if path.is_file()]
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder = tmp_path_factory.mktemp("felton")
    gl10m("world", "--osm", EXTRACT, "--out", folder / "world", "--state", "CA")
    with LocalServers(folder / "world", folder / "servers") as servers:
        build = Built(folder / "dataset", servers)
        build.build_again()
        yield build


def test_the_build_makes_scenes(built: Built) -> None:
    scenes = parquet.read(built.root / "manifests/scenes.parquet", SCENES).to_pylist()
    assert scenes
    assert {scene["state"] for scene in scenes} == {"CA"}
    assert all(scene["scene_id"].startswith("CA-") for scene in scenes)


def test_every_row_is_accounted_for_at_every_stage(built: Built) -> None:
    funnel = parquet.read(built.root / "manifests/funnel.parquet", FUNNEL).to_pylist()
    dropped = parquet.read(built.root / "manifests/rejections.parquet", REJECTIONS).to_pylist()
    assert len(funnel) > 5
    for stage in funnel:
        assert stage["kept"] + stage["rejected"] + stage["failed"] == stage["read"], stage
        assert stage["failed"] == 0, stage
        named = [row for row in dropped if row["stage"] == stage["stage"]]
        assert len(named) == stage["rejected"], stage
    assert funnel[-1]["kept"] == parquet.read(built.root / "manifests/scenes.parquet", SCENES).num_rows


def test_a_scene_is_a_tensor(built: Built) -> None:
    scene = GL10MDataset(built.root, tiles="all")[0]
    assert scene["image"].dtype == scene["hr"].dtype == torch.uint8
    assert tuple(scene["image"].shape) == (3, 268, 268)
    assert tuple(scene["hr"].shape) == (100, 3, 268, 268)
    assert scene["label"].shape == (66,)
    assert scene["label"].any()


def test_both_sensors_show_the_same_ground(built: Built) -> None:
    """The HR mosaic, averaged to LR pixels, fits the LR image where it lies, and nowhere beside it."""
    dataset = GL10MDataset(built.root, tiles="all")
    for scene in map(dataset.__getitem__, range(len(dataset))):
        red = scene["hr"][:, 0].float().reshape(10, 10, 268, 268).transpose(1, 2).reshape(1, 2680, 2680)
        coarse = avg_pool2d(red, 10)[0]
        beside = [coarse.roll(step, axis) for step in (-1, 1) for axis in (0, 1)]
        turned = [coarse.flip(0), coarse.flip(1), coarse.T]
        fits = [correlation(other, scene["image"][0].float()) for other in (coarse, *beside, *turned)]
        assert fits[0] > 1.02 * max(fits[1:]), fits


def correlation(one: Tensor, other: Tensor) -> float:
    """Pearson's, over the pixels where LR is valid (not 0)."""
    valid = other > 0
    return float(torch.corrcoef(torch.stack([one[valid], other[valid]]))[0, 1])


def test_pixels_came_by_ranges(built: Built) -> None:
    answered = [request for request in built.servers.requests() if request.method == "GET"]
    assert answered
    assert {request.status for request in answered} == {206}
    assert built.servers.searches() > 0


def test_a_second_run_fetches_nothing_and_changes_nothing(built: Built) -> None:
    requests, files = len(built.servers.requests()), built.files()
    built.build_again()
    assert len(built.servers.requests()) == requests
    assert built.files() == files


def test_the_data_set_is_whole(built: Built) -> None:
    gl10m("verify", "--deep", "--root", built.root)
