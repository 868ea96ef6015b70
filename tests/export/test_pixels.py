"""Exports with images: the tools they are for read them, and their bytes depend on nothing else."""

import io
import json
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from gl10m import GL10MDataset
from gl10m.export.folder import RECORD, ExportExistsError, exporting
from gl10m.export.huggingface import huggingface
from gl10m.export.pixels import Format, export_pixels
from gl10m.export.selection import ExportSelectionError, TileChoice, select
from gl10m.export.webdataset import WEBDATASET
from gl10m.manifest import parquet
from gl10m.manifest.schema import SCENES, SPLITS
from gl10m.report.hub import HubSplitError, hub_splits
from gl10m.store.layout import StoreError
from gl10m.store.reader import DamagedImageError
from tests.export.conftest import Run, contents
from tests.store.small_scenes import CLASSES, METADATA, lr_jpeg, numbers, tile_jpeg

TWELVE = TileChoice.parse("12")


def tars(folder: Path) -> list[str]:
    return sorted(map(str, folder.glob("*.tar")))


def test_webdataset_reads_the_tars(small: Path, tmp_path: Path) -> None:
    assert export_pixels(select(small), tmp_path / "tars", TileChoice.parse("all"), 3, WEBDATASET) == 4
    read = webdataset.WebDataset(tars(tmp_path / "tars"), shardshuffle=False).decode("pil")
    scenes = {scene["__key__"]: scene for scene in read}
    assert len(scenes) == 10
    scene = scenes["TX-w1001"]
    assert scene["json"]["class_names"] == ["Golf course"]
    assert scene["json"]["tiles"] == list(range(100))
    assert numbers(np.asarray(scene["hr.42.jpg"]).transpose(2, 0, 1)) == (42, 1)
    assert scene["lr.jpg"].size == (268, 268)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_reads_the_tars(small: Path, tmp_path: Path, *, streaming: bool) -> None:
    export_pixels(select(small), tmp_path / "tars", TWELVE, 3, WEBDATASET)
    by_card = datasets.load_dataset(str(tmp_path / "tars"), split="val", streaming=streaming)
    files = {"train": str(tmp_path / "tars" / "train-*.tar")}
    by_files = datasets.load_dataset("webdataset", data_files=files, split="train", streaming=streaming)
    assert [scene["json"]["scene_id"] for scene in by_card] == ["WA-w1000", "WA-w1001"]
    found = list(by_files)
    assert len(found) == 8
    assert found[0]["hr.11.jpg"].size == (268, 268)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_reads_the_hubs_layout(small: Path, tmp_path: Path, *, streaming: bool) -> None:
    selection = select(small)
    export_pixels(selection, tmp_path / "hub", TWELVE, 3, huggingface(selection.class_names))
    found = datasets.load_dataset(str(tmp_path / "hub"), streaming=streaming)
    assert sorted(found) == ["train", "val"]
    scenes = list(found["train"])
    assert len(scenes) == 8
    classes = found["train"].features["class_ids"].feature
    assert classes.names == list(CLASSES)
    assert classes.int2str(scenes[1]["class_ids"]) == ["Golf course"]
    tile = np.asarray(scenes[1]["hr"][5]).transpose(2, 0, 1)
    assert numbers(tile)[0] == scenes[1]["tiles"][5]


def test_images_travel_undecoded(small: Path, tmp_path: Path) -> None:
    selection = select(small, ["val"])
    export_pixels(selection, tmp_path / "hub", TileChoice.parse("3,47"), 9, huggingface(CLASSES))
    (row, _) = pq.read_table(tmp_path / "hub" / "data" / "val-00000-of-00001.parquet").to_pylist()
    assert row["lr"]["bytes"] == lr_jpeg(0)
    assert [tile["bytes"] for tile in row["hr"]] == [tile_jpeg(0, 3), tile_jpeg(0, 47)]


def test_drawn_tiles_are_those_of_the_loader(small: Path) -> None:
    dataset = GL10MDataset(small, tiles=12, seed=4)
    choice = TileChoice.parse("12", 4)
    for sample in (dataset[index] for index in range(len(dataset))):
        assert choice.of(sample["scene_id"]) == sample["tiles"].tolist()


@pytest.mark.parametrize("kind", [WEBDATASET, huggingface(CLASSES)], ids=lambda kind: kind.name)
def test_the_same_choice_gives_the_same_bytes(small: Path, tmp_path: Path, kind: Format) -> None:
    for name in ("one", "two"):
        export_pixels(select(small), tmp_path / name, TWELVE, 3, kind)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    before = (tmp_path / "one" / RECORD).stat().st_mtime_ns
    export_pixels(select(small), tmp_path / "one", TWELVE, 3, kind)  # which stands already
    assert (tmp_path / "one" / RECORD).stat().st_mtime_ns == before
    with pytest.raises(ExportExistsError, match="--out"):
        export_pixels(select(small), tmp_path / "one", TileChoice.parse("none"), 3, kind)


def test_a_tar_holds_plain_jpeg_and_json_with_no_time_and_no_owner(small: Path, tmp_path: Path) -> None:
    export_pixels(select(small, ["val"]), tmp_path / "tars", TWELVE, 9, WEBDATASET)
    (path,) = (tmp_path / "tars").glob("*.tar")
    with tarfile.open(path) as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.uname, member.pax_headers) == (0, 0, "", {})
            assert member.isreg()
            opened = tar.extractfile(member)
            assert opened is not None
            content = opened.read()
            if member.name.endswith(".json"):
                assert json.loads(content)["scene_id"] == member.name.split(".")[0]
            else:
                assert member.name.endswith(".jpg")
                assert Image.open(io.BytesIO(content)).size == (268, 268)


def test_a_killed_export_leaves_no_folder_and_goes_on(small: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    export_pixels(select(small), whole, TileChoice.parse("all"), 1, WEBDATASET)
    command = [sys.executable, "-m", "gl10m", "export", "webdataset", "--root", str(small)]
    command += ["--out", str(out), "--scenes-a-file", "1"]
    partial = tmp_path / "out.partial"
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while running.poll() is None and len(list(partial.glob("[a-z]*.tar"))) < 2 and time.monotonic() < until:
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not out.exists() or contents(out) == contents(whole)
    (partial if partial.exists() else tmp_path).joinpath(".tmp-left").write_bytes(b"half a file")
    for tar in partial.glob("[a-z]*.tar"):
        assert tar.read_bytes() == (whole / tar.name).read_bytes()
    subprocess.run(command, check=True, capture_output=True)
    assert contents(out) == contents(whole)
    assert not partial.exists()


def test_files_of_strangers_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportExistsError, match="what no export has made"), exporting(tmp_path / "out", {}):
        pass
    assert (tmp_path / "out.partial" / "thesis.txt").exists()


class Stopped(Exception):  # noqa: N818 - what a kill looks like from inside
    pass


def write(out: Path, *names: str, stopped: bool = False) -> None:
    """An export of these files and no others."""
    with exporting(out, {"names": names}) as folder:
        assert folder is not None
        for name in names:
            folder.write_text(name, name)
        if stopped:
            raise Stopped


@pytest.mark.parametrize("survived", range(4))
def test_a_stop_while_another_export_is_cleared_away_is_survived(
    survived: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Stopped):
        write(tmp_path / "out", "a", "b", "z", stopped=True)
    removed: list[Path] = []
    unlink = Path.unlink

    def limited(path: Path, *, missing_ok: bool = False) -> None:
        if len(removed) == survived:
            raise Stopped
        removed.append(path)
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", limited)
        with pytest.raises(Stopped):
            write(tmp_path / "out", "a")
    write(tmp_path / "out", "a")
    assert sorted(contents(tmp_path / "out")) == ["a", RECORD]


@pytest.mark.parametrize("name", ["../evil.tar", "/etc/passwd", "a/../b", "", "a//b", ".hidden"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with exporting(tmp_path / "out", {}) as folder:
        assert folder is not None
        with pytest.raises(ValueError, match="is named with"):
            folder.write_text(name, "evil")
    assert sorted(contents(tmp_path)) == [f"out/{RECORD}"]


@pytest.mark.parametrize("evil", ["../../evil", "/tmp/evil", "train\n", "a" * 99])  # noqa: S108 - a name, no path
def test_an_evil_split_makes_no_file(small: Path, tmp_path: Path, evil: str) -> None:
    root = tmp_path / "root"
    shutil.copytree(small, root)
    path = root / "manifests" / "splits.parquet"
    rows = parquet.read(path, SPLITS).to_pylist()
    rows[0]["split"] = evil
    parquet.write(path, SPLITS.empty().from_pylist(rows, schema=SPLITS.schema), SPLITS, METADATA)
    with pytest.raises(ExportSelectionError, match="a split is named with"):
        select(root)


def test_an_evil_scene_makes_no_file(small: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(small, root)
    path = root / "manifests" / "scenes.parquet"
    rows = parquet.read(path, SCENES).to_pylist()
    rows[0]["scene_id"] = "../../../evil"
    parquet.write(path, SCENES.empty().from_pylist(rows, schema=SCENES.schema), SCENES, METADATA)
    with pytest.raises(StoreError, match="which is in no index"):
        select(root)


def test_a_flipped_bit_stops_the_export(small: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(small, root)
    shard = root / "data" / "WA-00000-of-00001.parquet"
    content = bytearray(shard.read_bytes())
    content[content.index(tile_jpeg(1, 50)) + 700] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DamagedImageError, match="HR tile 50 of scene WA-w1001"):
        export_pixels(select(root), tmp_path / "out", TileChoice.parse("all"), 9, WEBDATASET)
    assert not (tmp_path / "out").exists()
    export_pixels(select(root), tmp_path / "few", TileChoice.parse("none"), 9, WEBDATASET)


@pytest.mark.parametrize("text", ["many", "-1", "101", "3,3", "", ",", "³"])
def test_tiles_that_are_none(text: str) -> None:
    with pytest.raises(ExportSelectionError):
        TileChoice.parse(text)


def test_splits_keep_their_names_apart_on_the_hub() -> None:
    assert hub_splits(["train", "base-1"]) == {"train": "train", "base-1": "base_1"}
    with pytest.raises(HubSplitError):
        hub_splits(["base-1", "base_1"])
    with pytest.raises(HubSplitError):
        hub_splits(["all"])


def test_the_command_chooses_and_says_what_it_wrote(built: Path, tmp_path: Path, gl10m: Run) -> None:
    ended = gl10m(
        "export", "huggingface", "--root", built, "--out", tmp_path / "a", "--states", "ca", "--tiles", "3,"
    )
    assert ended.returncode == 0, ended.stderr
    count = parquet.read(built / "manifests" / "scenes.parquet", SCENES, ["scene_id"]).num_rows
    assert f"{count} scenes in 1 files" in ended.stdout
    told = (tmp_path / "a" / "DATA_LICENCES.md").read_text()
    assert "© OpenStreetMap contributors" in told
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    bad = gl10m("export", "webdataset", "--root", built, "--out", tmp_path / "b", "--split", "train")
    assert bad.returncode == 2
    assert "Run `gl10m split`" in bad.stderr
