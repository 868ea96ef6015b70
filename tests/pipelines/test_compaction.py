"""Many small data sets become one: each scene once, shards full, every image's bytes as they were."""

import json
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gl10m import GL10MDataset
from gl10m.manifest import parquet
from gl10m.manifest.columns import values
from gl10m.manifest.schema import CANDIDATES, FUNNEL, REJECTIONS, SCENES
from gl10m.store import layout
from gl10m.store.integrity import verify
from gl10m.store.region_index import open_index
from pipelines.compaction import OverlappingPartsError, compact
from pipelines.publish import MixedClassMapError
from tests.pipelines.town import TOWN, Town, contents
from tests.worlds import write_world

WEST_HALF = ("n1", "n4", "n2", "w1", "w4", "w2")
"""Lines of the town's file that show its first, second and fourth place."""


@pytest.fixture(scope="module")
def counties(built: Path, town: Town, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The whole town, and a build of some of its places from an extract of its own."""
    folder = tmp_path_factory.mktemp("counties")
    lines = [line for line in TOWN.splitlines() if line.startswith(WEST_HALF)]
    osm = write_world(folder / "west-230601.osm.opl", "\n".join(lines))
    ended = Town(osm, town.address).build(folder / "west", "--workers", "2")
    assert ended.returncode == 0, ended.stderr
    return folder / "west", built


def crcs(root: Path) -> dict[str, list[int]]:
    index = open_index(root / "index/CA.arrow")
    return dict(zip(index.scene_ids, index.column("crc32").tolist(), strict=True))


def test_each_scene_is_there_once_with_the_bytes_it_had(counties: tuple[Path, Path], tmp_path: Path) -> None:
    west, whole = counties
    said = compact(tmp_path / "all", [west, whole])
    assert verify(tmp_path / "all", deep=True) == []
    found, own, other = crcs(tmp_path / "all"), crcs(whole), crcs(west)
    assert set(found) == set(own) | set(other)
    assert set(own) & set(other)
    assert all(sums in (own.get(name), other.get(name)) for name, sums in found.items())
    assert f"{len(set(own) & set(other))} were there once more" in said
    for tables in (tmp_path / "all" / "manifests",):
        funnel = parquet.read(tables / "funnel.parquet", FUNNEL).to_pylist()
        rejections = parquet.read(tables / "rejections.parquet", REJECTIONS)
        assert rejections.num_rows == sum(row["rejected"] + row["failed"] for row in funnel)
        assert values(rejections, "reason").count("DUPLICATE") == len(set(own) & set(other))
        candidates = values(parquet.read(tables / "candidates.parquet", CANDIDATES), "scene_id")
        assert len(candidates) == len(set(candidates))


def test_the_order_of_the_parts_and_a_second_run_change_nothing(
    counties: tuple[Path, Path], tmp_path: Path
) -> None:
    west, whole = counties
    compact(tmp_path / "one", [west, whole])
    compact(tmp_path / "other", [whole, west, whole])
    once = contents(tmp_path / "one")
    assert contents(tmp_path / "other") == once
    assert "all parts are in already" in compact(tmp_path / "one", [west])
    assert contents(tmp_path / "one") == once
    compact(tmp_path / "steps", [west])
    compact(tmp_path / "steps", [whole])
    steps = contents(tmp_path / "steps")
    assert {name: steps[name] for name in steps if name.startswith("index/")}.keys() == {"index/CA.arrow"}
    assert crcs(tmp_path / "steps") == crcs(tmp_path / "one")


def test_the_making_of_each_part_is_told(counties: tuple[Path, Path], tmp_path: Path) -> None:
    compact(tmp_path / "all", list(counties))
    about = parquet.metadata_of(tmp_path / "all/manifests/scenes.parquet")
    inputs = json.loads(about["gl10m.inputs"])
    assert {inputs[f"CA.build-{number}.osm"].split(" ")[0] for number in (1, 2)} == {
        "west-230601.osm.opl",
        "town-230601.osm.opl",
    }
    assert len(json.loads(about["gl10m.configuration"])["CA"]["builds"]) == 2
    assert "ODbL" in about["gl10m.licences"]


def test_one_part_alone_keeps_its_images_and_what_it_says_of_its_making(built: Path, tmp_path: Path) -> None:
    compact(tmp_path / "copy", [built])
    assert crcs(tmp_path / "copy") == crcs(built)
    own, other = (
        parquet.metadata_of(root / "manifests/scenes.parquet") for root in (built, tmp_path / "copy")
    )
    for name in ("gl10m.inputs", "gl10m.configuration", "gl10m.licences"):
        assert json.loads(own[name]) == json.loads(other[name])
    scenes = [parquet.read(root / "manifests/scenes.parquet", SCENES) for root in (built, tmp_path / "copy")]
    assert scenes[0].equals(scenes[1])


def test_shards_are_full_again(
    counties: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "SCENES_A_SHARD", 3)
    compact(tmp_path / "all", list(counties))
    index = open_index(tmp_path / "all/index/CA.arrow")
    counts = [(index.column("shard") == number).sum() for number in range(len(index.shards))]
    assert set(counts[:-1]) == {3}
    assert len(GL10MDataset(tmp_path / "all")) == len(index.scene_ids)


@pytest.mark.slow
def test_states_stand_side_by_side(built: Path, town: Town, tmp_path: Path) -> None:
    first = [part.replace("CA", "NV") for part in town.command(tmp_path / "nevada")]
    assert subprocess.run(first, capture_output=True, check=False).returncode == 0
    compact(tmp_path / "all", [tmp_path / "nevada", built])
    assert verify(tmp_path / "all", deep=True) == []
    assert set(GL10MDataset(tmp_path / "all").scene_ids) == {
        *GL10MDataset(built).scene_ids,
        *GL10MDataset(tmp_path / "nevada").scene_ids,
    }
    # A build of one of them forgets nothing of the other, whose part would else be counted twice.
    assert town.build(tmp_path / "all").returncode == 0
    assert compact(tmp_path / "all", [tmp_path / "nevada"]).startswith("NV: all parts are in already")


def test_parts_of_another_class_map_are_refused(built: Path, town: Town, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    bundled = (Path(__file__).parents[2] / "class_maps" / "gl10m-66.toml").read_text()
    mine.write_text(bundled.replace('"golf_course"', '"golf_links"'))
    shutil.copytree(built, tmp_path / "other")
    assert town.build(tmp_path / "other", "--class-map", str(mine)).returncode == 0
    with pytest.raises(MixedClassMapError, match="labelled with different ones"):
        compact(tmp_path / "all", [built, tmp_path / "other"])
    assert not (tmp_path / "all" / "index").exists()


def test_a_part_that_is_in_by_half_is_refused(counties: tuple[Path, Path], tmp_path: Path) -> None:
    west, whole = counties
    compact(tmp_path / "both", [west, whole])
    compact(tmp_path / "all", [west])
    with pytest.raises(OverlappingPartsError, match="in already, together with others"):
        compact(tmp_path / "all", [tmp_path / "both"])


def test_a_damaged_part_is_told_and_nothing_is_published(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "part")
    shard = tmp_path / "part/data/CA-00000-of-00001.parquet"
    content = bytearray(shard.read_bytes())
    content[int(open_index(built / "index/CA.arrow").column("hr_offset")[1]) + 3000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(layout.StoreError, match="its checksum is not the one in the index"):
        compact(tmp_path / "all", [tmp_path / "part"])
    assert not (tmp_path / "all" / "data").exists()


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from pipelines import compaction

    steps = int(sys.argv[1])

    def counted(operation):
        def step(*arguments, **options):
            global steps
            if steps == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            steps -= 1
            return operation(*arguments, **options)
        return step

    for name in ("write_shard", "write_index", "index_shard"):
        setattr(compaction, name, counted(getattr(compaction, name)))
    compaction.parquet.write = counted(compaction.parquet.write)
    Path.replace = counted(Path.replace)
    compaction.compact(Path(sys.argv[2]), [Path(part) for part in sys.argv[3:]])
"""


@pytest.mark.slow
def test_killed_anywhere_it_finishes_when_run_again(counties: tuple[Path, Path], tmp_path: Path) -> None:
    compact(tmp_path / "expected", list(counties))
    program = tmp_path / "killed.py"
    program.write_text(textwrap.dedent(KILLED))
    ends = 0
    for steps in (0, 1, 2, 4, 9, 12, 14, 17, 20, 22, 40):
        root = tmp_path / f"root{steps}"
        command = [sys.executable, str(program), str(steps), str(root), *map(str, counties)]
        ended = subprocess.run(command, capture_output=True, check=False)
        ends += ended.returncode == -signal.SIGKILL
        compact(root, list(counties))
        assert contents(root) == contents(tmp_path / "expected"), steps
    assert ends >= 8
