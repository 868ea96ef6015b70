"""From scenes to a result: the whole way on a small world, and what may not leak on it."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from gl10m import GL10MDataset
from reference_model import encoding, stages
from reference_model.cli import table, train
from reference_model.feature_cache import extract
from reference_model.feature_files import FeatureCacheError, allocate
from reference_model.holdout import assign
from reference_model.inference.cli import plan_tiles
from reference_model.job import Job
from reference_model.json_file import read_json, write_json
from reference_model.metrics.observation_cost import calibrate
from reference_model.metrics.retrieval import NoEvaluableClassError
from reference_model.networks.encoder import SmallEncoder
from reference_model.networks.predictor import Predictor, PredictorParameters
from reference_model.networks.sampler import Sampler
from reference_model.objectives.losses import RunningMean, centred_cosine
from reference_model.objectives.masking import random_masks
from reference_model.optimise import Schedule, TrainingDivergedError, optimise
from reference_model.run import Run, RunBusyError, RunDamagedError, RunMismatchError, open_run
from reference_model.scenes import read_catalogue
from reference_model.train import Ground, Recipe, open_ground, train_reference
from reference_model.weights_file import write_weights
from tests.reference_model.trained import BRIEF
from tests.reference_model.worlds import World
from tests.store.small_scenes import build

SPLITS = ["train"] * 9 + ["val"] * 2 + ["test"] * 5

SMALL = replace(
    BRIEF,
    name="small test",
    pretraining=Schedule(steps=12, batch=16, learning_rate=1e-3),
    sampling=Schedule(steps=8, batch=4, learning_rate=1e-3),
    completion=Schedule(steps=8, batch=4, learning_rate=1e-3),
    alignment=Schedule(steps=8, batch=4, learning_rate=1e-3),
    random_draws=2,
)


@pytest.fixture(scope="module")
def world() -> World:
    return World(len(SPLITS))


def run(world: World, out: Path, seed: int = 0) -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    ground = Ground(scenes=world, catalogue=read_catalogue(world), splits=SPLITS)
    return train_reference(ground, out, Recipe(preset=SMALL), seed, said.append), said


@pytest.fixture(scope="module")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "first"
    run(world, out)
    return out


def test_a_run_leaves_weights_threshold_log_and_result(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()} - {"tensorboard"}  # where that is installed
    assert names == {
        *("config.json", "log.jsonl", ".lock", "features", "metrics.json"),
        *("encoder.safetensors", "text_tower.safetensors", "texts.safetensors", "classes.json"),
        *("supervision.json", "sampler.safetensors"),
        *("calibration.json", "predictor.safetensors", "model.safetensors"),
    }
    metrics = read_json(finished / "metrics.json")
    rows = metrics["observations"]
    assert list(rows) == ["LR only", "full", "sparse, random", "sparse, sampler"]
    assert rows["LR only"]["OBR"] == 0
    assert rows["full"]["OBR"] == 1
    assert rows["sparse, random"]["OBR"] == pytest.approx(rows["sparse, sampler"]["OBR"])
    assert metrics["scenes"] == {"train": 9, "val": 2, "test": 5}
    assert all(0 <= row[f"mAP@{k}"] <= 1 for row in rows.values() for k in SMALL.ranks)


def test_the_log_is_drawn_for_tensorboard_where_that_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with open_run(tmp_path, {}) as folder:
        folder.log(stage="sampler", step=0, sampling=0.5)
        folder.log(stage="sampler", step=50, sampling=0.25)
        folder.log(stage="predictor", spread=0.1)
    drawn = EventAccumulator(str(tmp_path / "tensorboard" / "sampler")).Reload()
    assert drawn.Tags()["scalars"] == ["sampling"]
    assert [(one.step, one.value) for one in drawn.Scalars("sampling")] == [(0, 0.5), (50, 0.25)]
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3


def test_tensorboard_shows_each_step_once_of_a_run_that_was_cut_off(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with open_run(tmp_path, {}) as folder:
        for step in range(0, 40, 10):
            folder.log(stage="sampler", step=step, sampling=1.0)
    with open_run(tmp_path, {}) as folder:
        for step in range(20, 60, 10):
            folder.log(stage="sampler", step=step, sampling=2.0)
    drawn = EventAccumulator(str(tmp_path / "tensorboard" / "sampler")).Reload()
    assert [one.step for one in drawn.Scalars("sampling")] == [0, 10, 20, 30, 40, 50]
    assert [one.value for one in drawn.Scalars("sampling")] == [1.0, 1.0, 2.0, 2.0, 2.0, 2.0]


def test_a_finished_run_is_shown_not_repeated(world: World, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.iterdir() if path.name != ".lock"}
    metrics, said = run(world, finished)
    assert said == [f"{finished} is a finished run; this is its result."]
    assert metrics == read_json(finished / "metrics.json")
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    world: World, finished: Path, tmp_path: Path
) -> None:
    run(world, tmp_path / "again")
    run(world, tmp_path / "other", seed=1)
    for name in ("metrics.json", "model.safetensors", "sampler.safetensors"):
        first = (finished / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == first
        assert (tmp_path / "other" / name).read_bytes() != first


@pytest.mark.parametrize("lost", [("model", "metrics"), ("sampler", "calibration", "model", "metrics")])
def test_a_run_that_was_cut_off_ends_in_the_same_bytes(
    world: World, finished: Path, tmp_path: Path, lost: tuple[str, ...]
) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    for name in lost:
        next(copy.glob(f"{name}.*")).unlink()
    (copy / "rows" / "part").mkdir(parents=True)
    for left in (".tmp-0123-model.safetensors", "rows/part/.tmp-4567-scores.safetensors"):
        (copy / left).write_bytes(b"half")
    (copy / "predictor.checkpoint").write_bytes(b"of a stage that had just ended")
    run(world, copy)
    assert (copy / "metrics.json").read_bytes() == (finished / "metrics.json").read_bytes()
    assert not [*copy.rglob(".tmp-*"), *copy.glob("*.checkpoint")]


def test_a_cache_that_was_finished_is_not_made_again(world: World, finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "metrics.json").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in (finished / "features").iterdir()}
    run(world, copy)
    assert {path.name: path.stat().st_mtime_ns for path in (copy / "features").iterdir()} == before


@pytest.mark.parametrize("lost", ["sampler.safetensors", "text_tower.safetensors", "classes.json"])
def test_what_a_finished_run_has_lost_is_made_anew(
    world: World, finished: Path, tmp_path: Path, lost: str
) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / lost).unlink()
    run(world, copy)
    assert (copy / lost).read_bytes() == (finished / lost).read_bytes()
    assert (copy / "metrics.json").read_bytes() == (finished / "metrics.json").read_bytes()


def test_a_run_without_its_settings_is_not_taken_for_another(
    world: World, finished: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "config.json").unlink()
    with pytest.raises(RunDamagedError, match=r"no config\.json that tells of which\. Bring it back"):
        run(world, copy, seed=5)
    (copy / "config.json").write_text("{}")
    with pytest.raises(RunDamagedError, match=r"config\.json is damaged .*Bring it back"):
        run(world, copy)


def test_other_pixels_are_another_data_set(tmp_path: Path) -> None:
    first, second = build(tmp_path / "first", CA=2), build(tmp_path / "second", CA=3)
    ground = open_ground(first)
    assert ground.catalogue.images == GL10MDataset(first).checksum() != GL10MDataset(second).checksum()
    repainted = replace(ground.catalogue, images=GL10MDataset(second).checksum())
    assert repainted.digest() != ground.catalogue.digest()


def test_a_part_of_a_checkpoint_that_became_a_folder_is_told(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_checkpoint("encoder", {"weights": torch.arange(8.0)})
    path = tmp_path / "encoder.checkpoint"
    content = path.read_bytes()
    for entry in re.finditer(rb"PK\x01\x02", content):
        spoiled = bytearray(content)
        spoiled[entry.start() + 38] ^= 0x10  # the attribute "directory"
        path.write_bytes(spoiled)
        with pytest.raises(RunDamagedError, match="packed or a folder"):
            run.read_checkpoint("encoder")


def test_a_cache_takes_its_room_when_it_is_begun(tmp_path: Path) -> None:
    allocate(tmp_path / "cache", {}, {"hr": ("float16", (3, 100, 700))})
    for path in (tmp_path / "cache").glob("*.npy"):
        assert path.stat().st_blocks * 512 >= path.stat().st_size


def test_a_run_folder_refuses_other_settings_and_a_second_process(world: World, finished: Path) -> None:
    with pytest.raises(RunMismatchError, match="seed differ"):
        run(world, finished, seed=5)
    with (
        open_run(finished, read_json(finished / "config.json")["settings"]),
        pytest.raises(RunBusyError, match="another process"),
    ):
        run(world, finished)


def test_the_plan_needs_no_hr(world: World) -> None:
    torch.manual_seed(0)
    encoder, sampler = SmallEncoder(SMALL.encoder), Sampler(SMALL.sampler, features=24)
    blind = World(len(SPLITS))
    for scene in blind.drawn:
        scene.mosaic = torch.zeros(0)
    with_hr = stages.predicted_worth(world, encoder, sampler)
    without = stages.predicted_worth(blind, encoder, sampler)
    assert torch.equal(without, with_hr)
    assert torch.equal(calibrate(without).select(without), calibrate(with_hr).select(with_hr))
    assert not any(scene.asked for scene in blind.drawn)


def test_permuted_labels_leave_the_supervision_identical(world: World, finished: Path) -> None:
    catalogue = read_catalogue(world)
    settings = read_json(finished / "config.json")["settings"]
    with open_run(finished, settings) as folder:
        job = Job(
            run=folder,
            preset=SMALL,
            seed=0,
            target_obr=0.123,
            scenes=world,
            catalogue=catalogue,
            roles=assign(SPLITS, catalogue.bounds, 0),
        )
        encoder, texts = encoding.trained_encoder(job)
        features = encoding.encoded(job, encoder)
        order = torch.randperm(len(world), generator=torch.Generator().manual_seed(1))
        permuted = replace(
            catalogue, labels=catalogue.labels[order], tile_labels=catalogue.tile_labels[order].flip(1)
        )
        first = stages.worth(job, features, texts)
        second = stages.worth(replace(job, catalogue=permuted), features, texts)
    assert first[0] == second[0]
    assert torch.equal(first[1], second[1])


def test_features_of_another_encoder_are_refused(tmp_path: Path) -> None:
    small = World(1)
    encoder = SmallEncoder(SMALL.encoder).requires_grad_(requires_grad=False)
    made = extract(
        small, encoder, tokens_per_side=2, folder=tmp_path / "features", made_from={"weights": "a"}
    )
    assert made.hr.shape == (1, 100, 4, 24)
    assert made.hr.dtype == torch.float16
    with pytest.raises(FeatureCacheError, match="weights differ"):
        extract(small, encoder, tokens_per_side=2, folder=tmp_path / "features", made_from={"weights": "b"})


def test_a_changed_feature_is_told_and_its_scene_alone_encoded_again(tmp_path: Path) -> None:
    encoder = SmallEncoder(SMALL.encoder).requires_grad_(requires_grad=False)
    folder = tmp_path / "features"

    def features(of: World) -> None:
        extract(of, encoder, tokens_per_side=2, folder=folder, made_from={})

    features(World(3))
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    tokens = np.load(folder / "hr.npy", mmap_mode="r+")
    tokens.view(np.uint8)[1, 50, 2, 7] ^= 4
    tokens.flush()
    with pytest.raises(FeatureCacheError, match=r"1 of 3 scenes .* of row 1\. Rename .* to \.tmp-features"):
        features(World(3))

    folder.rename(tmp_path / ".tmp-features")
    again = World(3)
    features(again)
    assert [bool(scene.asked) for scene in again.drawn] == [False, True, False]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == written


def test_an_encoder_that_gives_no_numbers_is_told_of_at_its_first_scene(tmp_path: Path) -> None:
    encoder = SmallEncoder(SMALL.encoder).requires_grad_(requires_grad=False)
    encoder.norm.bias[0] = torch.nan
    with pytest.raises(FeatureCacheError, match=r"something else of the overview of scene CA-w0"):
        extract(World(2), encoder, tokens_per_side=2, folder=tmp_path / "features", made_from={})


def test_a_feature_that_float16_does_not_know_is_told_of(tmp_path: Path) -> None:
    encoder = SmallEncoder(SMALL.encoder).requires_grad_(requires_grad=False)
    encoder.norm.bias[0] = 1e6
    with pytest.raises(FeatureCacheError, match=r"kept as float16; `hr` of scene CA-w0 holds a larger"):
        extract(World(1), encoder, tokens_per_side=2, folder=tmp_path / "features", made_from={})


def test_no_evaluable_class_is_a_clear_error(tmp_path: Path) -> None:
    unlabelled = World(len(SPLITS))
    for scene, split in zip(unlabelled.drawn, SPLITS, strict=True):
        if split == "test":
            scene.labels = torch.zeros_like(scene.labels)
    with pytest.raises(NoEvaluableClassError, match="Hold out more scenes"):
        run(unlabelled, tmp_path / "run")


def test_sixty_steps_teach_the_predictor_more_than_a_constant(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    ground = torch.randn(5, 8, generator=generator)
    kinds = torch.randint(0, 5, (24, 1, 1), generator=generator).expand(24, 10, 10).clone()
    kinds[:, :, 5:] = torch.randint(0, 5, (24, 1, 1), generator=generator)
    scenes = ground[kinds.flatten(1)][:, :, None] + 0.3 * torch.randn(24, 100, 1, 8, generator=generator)
    context = torch.stack([scenes[:, 0, 0], scenes[:, 9, 0]] * 2, dim=1)
    predictor = Predictor(
        PredictorParameters(dim=32, depth=1, heads=2, bottleneck=1),
        features=8,
        tokens_per_side=1,
        context_side=2,
    )
    mean, history = RunningMean(8), []

    def losses(_: int) -> dict[str, torch.Tensor]:
        rows = torch.randint(0, 24, (8,), generator=generator)
        selected = random_masks(8, generator)
        predicted = predictor(scenes[rows][selected], selected, context[rows])
        loss = centred_cosine(predicted, scenes[rows], mean(scenes[rows]))
        history.append(loss.item())
        return {"completion": loss}

    schedule = Schedule(steps=60, batch=8, learning_rate=3e-3)
    modules = {predictor: 1.0, mean: 1.0}
    optimise("smoke", modules, schedule, losses, journal=Run(tmp_path), generator=generator)
    assert history[0] > 0.9
    assert sum(history[-10:]) / 10 < 0.6


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    layer = torch.nn.Linear(1, 1)
    schedule = Schedule(steps=3, batch=1, learning_rate=1.0)
    with pytest.raises(TrainingDivergedError, match="stage x is nan at step 0"):
        optimise(
            "x",
            {layer: 1.0},
            schedule,
            lambda _: {"loss": layer.weight.sum() * torch.nan},
            journal=Run(tmp_path),
            generator=torch.Generator(),
        )


def test_a_data_set_on_the_disk_trains_without_a_split(tmp_path: Path) -> None:
    root = build(tmp_path, CA=16)
    out = tmp_path / "run"
    recipe = Recipe(preset=SMALL, target_obr=0.25)
    metrics = train_reference(open_ground(root), out, recipe, 0, lambda _: None)
    assert metrics["scenes"] == {"train": 10, "val": 2, "test": 4}
    assert "no test and no val split" in metrics["held_out"]
    assert metrics["classes"]["all"] == 3


def test_the_table_names_cost_quality_and_chance(finished: Path) -> None:
    shown = table(read_json(finished / "metrics.json") | {"preset": "tiny"})
    for words in (
        "LR only",
        "sparse, sampler",
        "OBR",
        "mAP@20",
        "chance level",
        "no reproduction",
        "of 5 have",
    ):
        assert words in shown


def test_a_folder_without_a_data_set_is_one_clear_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(train, ["--root", str(tmp_path / "nothing")])
    assert isinstance(result.exception, FileNotFoundError)
    assert "gl10m build" in str(result.exception)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("obr", ["nan", "NaN", "-0.1", "1.1", "inf", "some"])
def test_what_is_no_share_of_tiles_is_refused_and_leaves_nothing(tmp_path: Path, obr: str) -> None:
    out = tmp_path / "out"
    for command in (train, plan_tiles):
        run = ["--run", "run"] if command is plan_tiles else []
        result = CliRunner().invoke(command, [*run, "--out", str(out), f"--obr={obr}"])
        assert result.exit_code == 2
        assert "'--obr'" in result.output
    assert not out.exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"threshold": 7}, "a threshold of 7"),
        ({"low": "none"}, "on a scale from 'none'"),
        ({"obr": None}, "five finite numbers"),
    ],
)
def test_a_threshold_that_lies_does_not_choose_the_tiles(
    world: World, finished: Path, tmp_path: Path, change: dict[str, object], told: str
) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "metrics.json").unlink()
    write_json(copy / "calibration.json", read_json(copy / "calibration.json") | change)
    with pytest.raises(RunDamagedError, match=rf"calibration\.json .*{told}"):
        run(world, copy)


def test_class_names_of_another_space_are_told(world: World, finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "metrics.json").unlink()
    kept = load_file(copy / "texts.safetensors")
    write_weights(copy / "texts.safetensors", kept | {"embeddings": torch.zeros(5, 3)})
    with pytest.raises(RunDamagedError, match=r"texts\.safetensors .*\(5, 3\)"):
        run(world, copy)
