"""The authors' published model as rows: from files of the published form, from none, from wrong ones."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import Tensor

from gl10m.scene.class_map import ClassMap
from reference_model.baselines import crossso_model, crossso_transfer
from reference_model.baselines.crossso_names import names
from reference_model.baselines.crossso_policy import read_fusion, read_policy
from reference_model.baselines.crossso_rows import ClasswiseRow, best_tiles
from reference_model.baselines.entry import Assets
from reference_model.face import Method, Setting
from reference_model.methods.registry import methods, outcomes
from reference_model.networks import crossso_files, published
from reference_model.networks.checkpoint_names import CheckpointNamesError
from reference_model.networks.crossso import GRAFT_SPACE, VISION_LANGUAGE, Completer, CompleterShape
from reference_model.networks.crossso_files import (
    find_file,
    read_completer,
    read_graft_patches,
    read_router,
)
from reference_model.networks.crossso_router import Router
from reference_model.networks.published import ENCODERS
from reference_model.networks.published_files import (
    LegacyCheckpointError,
    WeightsDamagedError,
    WeightsNotFoundError,
    read_tensors,
)
from reference_model.networks.vision_transformer import Shape
from reference_model.reproduction.bench import Bench, measure_all
from reference_model.reproduction.cli import reproduce
from reference_model.reproduction.record import NEEDS_WEIGHTS, read_records
from reference_model.reproduction.trials import trials
from tests.reference_model import crossso_published as made
from tests.reference_model.crossso_published import Sizes
from tests.reference_model.test_reproduction_tables import ORIGIN
from tests.reference_model.worlds import WorldScene

TINY = Sizes(dim=64, depth=1, graft_dim=32, words=32)
ROWS = ("crossso", "crossso-classwise", "crossso-transfer")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files, small; `dino.safetensors` and the two text towers beside them."""
    folder = made.write_published(tmp_path_factory.mktemp("crossso"), TINY)
    save_file(made.dino(TINY), folder / "dino.safetensors")
    made.write_text_tower(folder / "words", TINY.words)
    made.write_text_tower(folder / "graft words", TINY.graft_dim, seed=8)
    return folder


@dataclass(frozen=True)
class Small:
    """What the tables say of the published networks while a test runs."""

    dino: Shape
    language: CompleterShape
    space: CompleterShape


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Small:
    """Tables that say that they are so small."""
    shapes = {}
    for name in ("dinov2-registers", "graft"):
        shape = ENCODERS[name].shape
        assert shape is not None
        projection = TINY.graft_dim if shape.projection else None
        shapes[name] = replace(
            shape, dim=TINY.dim, depth=TINY.depth, heads=4, hidden=4 * TINY.dim, projection=projection
        )
    table = {**ENCODERS, **{name: replace(ENCODERS[name], shape=shape) for name, shape in shapes.items()}}
    for module in (published, crossso_files, crossso_model):
        monkeypatch.setattr(module, "ENCODERS", table)
    language = replace(VISION_LANGUAGE, dim=TINY.dim, heads=4, depth=1, words=TINY.words)
    monkeypatch.setattr(crossso_model, "VISION_LANGUAGE", language)
    space = replace(GRAFT_SPACE, dim=TINY.graft_dim, heads=4, depth=1)
    monkeypatch.setattr(crossso_transfer, "GRAFT_SPACE", space)
    return Small(shapes["dinov2-registers"], language, space)


def assets(files: Path) -> Assets:
    weights = {"crossso": files, "dinov2-registers": files / "dino.safetensors"}
    return Assets(
        weights=weights, texts={"crossso": files / "words", "crossso-transfer": files / "graft words"}
    )


def fitted(setting: Setting, name: str, files: Path) -> Method:
    method = methods()[name].make(setting, assets(files), 0)
    method.fit()
    return method


def test_the_networks_have_the_published_names_and_shapes() -> None:
    """At their full size, without memory."""
    shape = ENCODERS["dinov2-registers"].shape
    assert shape is not None
    with torch.device("meta"):
        ours = [Completer(VISION_LANGUAGE), Completer(GRAFT_SPACE), Router(shape)]
    weights = [sum(one.numel() for one in network.parameters()) for network in ours]
    assert weights == [115_093_762, 53_153_792, 89_338_881]


def test_every_concept_is_said_as_the_authors_say_it() -> None:
    ours = ClassMap.bundled().names
    said = {names().said(one) for one in ours}
    assert len(said) == 66
    assert said >= {"airport hangar", "american football", "religious building", "wind farm", "skate park"}
    paired = [names().in_policy(one, made.POLICY_NAMES) for one in ours]
    missing = {
        "fall",
        "bridge",
        "residential",
        "equestrian",
        "shooting",
        "icerink",
        "commercialarea",
        "garden",
    }
    assert {one for one in paired if one} == set(made.POLICY_NAMES) - missing
    assert names().in_policy("Overpass", made.POLICY_NAMES) is None
    assert names().said_by_policy("football") == "amfootball"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ROWS)
def test_a_row_runs_from_the_published_files(setting: Setting, files: Path, name: str) -> None:
    entry = methods()[name]
    first, again = (
        next(outcomes(setting, name, entry.budgets(0.123), assets=assets(files))) for _ in range(2)
    )
    assert first.scores.shape == (6, 5)
    assert torch.isfinite(first.scores).all()
    assert torch.equal(first.scores, again.scores)
    # 12 tiles by the published number, or those of the class of five that asks for most.
    bought = {"crossso": 12, "crossso-classwise": 12, "crossso-transfer": 0}[name]
    assert first.selected.sum(dim=1).tolist() == [bought] * 6


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ROWS)
def test_no_tile_is_read_but_those_that_were_planned(setting: Setting, files: Path, name: str) -> None:
    method, rows = fitted(setting, name, files), torch.from_numpy(setting.job.roles.test)[:2]
    scenes: list[WorldScene] = [setting.job.scenes.scene(int(row)) for row in rows]  # type: ignore[misc]
    for one in scenes:
        one.asked.clear()
    selected = method.plan(rows, 0.05)
    assert [one.asked for one in scenes] == [[], []]
    method.embed(rows, selected)
    for one, where in zip(scenes, selected, strict=True):
        assert sorted(one.asked) == where.nonzero()[:, 0].tolist()


@pytest.mark.usefixtures("small")
def test_a_class_is_scored_from_its_own_share_of_the_tiles(setting: Setting, files: Path) -> None:
    """Of five classes Solar farm is unknown to the policy and gets 12; a class that gets 0 sees LR alone."""
    row, rows = fitted(setting, "crossso-classwise", files), torch.from_numpy(setting.job.roles.test)[:2]
    assert isinstance(row, ClasswiseRow)
    counts = dict(zip(setting.job.catalogue.class_names, row._counts(), strict=True))  # noqa: SLF001
    told = made.counts()
    assert counts == {
        "Golf course": told["golf"],
        "Solar farm": 12,
        "Marina": told["marina"],
        "Forest": told["forest"],
        "Farmland": told["farmland"],
    }
    selected = row.plan(rows, 0.5)
    whole = row.embed(rows, selected)
    fewest = min(counts, key=lambda one: counts[one])
    place = setting.job.catalogue.class_names.index(fewest)
    fewer = best_tiles(row._worth(rows), counts[fewest])  # noqa: SLF001
    torch.testing.assert_close(row.embed(rows, fewer)[:, place], whole[:, place])
    assert not torch.equal(row.embed(rows, fewer), whole)


def test_policy_and_mixture_are_read_from_the_header(files: Path) -> None:
    path = files / "vision_language_predictor.safetensors"
    policy, fusion = read_policy(path), read_fusion(path)
    assert [policy.count(name) for name in made.POLICY_NAMES] == list(made.counts().values())
    assert policy.count(None) == 12
    spread = fusion.spreads["skate"]
    away = torch.tensor([-2.0, 0.0, 3.0])  # in deviations from the median of LR
    scores = fusion.mixed("skate", torch.zeros(3), spread.lr_median + away * spread.lr_mad)
    # hr_mad times 0.25 below and 0.5 above, beyond 0.8.
    torch.testing.assert_close(scores, 0.11 * torch.tensor([-0.25 * 1.2, 0.0, 0.5 * 2.2]))
    assert torch.equal(fusion.mixed(None, away, away), away)


def policy(count: object) -> str:
    return json.dumps({"per_class": [{"name": "tennis", "Pc": count}]})


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ({}, "carries no pc_policy"),
        ({"pc_policy": "[1]"}, "no JSON object"),
        ({"pc_policy": "{"}, "carries no pc_policy"),
        ({"pc_policy": policy(101)}, "whole number from 0 to 100"),
        ({"pc_policy": policy(1.5)}, "whole number from 0 to 100"),
        ({"pc_policy": json.dumps({"per_class": [{"name": 3, "Pc": 1}]})}, "a class has a name"),
    ],
)
def test_a_policy_that_is_none_is_refused(tmp_path: Path, header: dict[str, str], told: str) -> None:
    save_file({"one": torch.zeros(1)}, tmp_path / "a.safetensors", metadata=header)
    with pytest.raises(WeightsDamagedError, match=told):
        read_policy(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"method": "mean"}, "method 'mean'"),
        ({"tail_threshold": -1}, "not negative"),
        ({"positive_weight": float("nan")}, "finite number"),
        ({"positive_weight": 10**400}, "OverflowError"),
        ({"positive_weight": "0.5"}, "a number is wanted"),
        ({"statistics": {"class_names": ["a"], "hr_mad": [], "lr_median": [], "lr_mad": []}}, "zip"),
    ],
)
def test_a_mixture_that_is_none_is_refused(tmp_path: Path, change: dict[str, object], told: str) -> None:
    header = {"fusion": json.dumps({**json.loads(made.notes()["fusion"]), **change})}
    save_file({"one": torch.zeros(1)}, tmp_path / "a.safetensors", metadata=header)
    with pytest.raises(WeightsDamagedError, match=told):
        read_fusion(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ROWS)
def test_a_missing_file_is_named_with_its_hub_id_and_nothing_starts_at_random(
    setting: Setting, name: str, tmp_path: Path
) -> None:
    absent = Assets(weights={"crossso": tmp_path})
    with pytest.raises(WeightsNotFoundError, match=r"xiehaoai/CrossSO.* no random weights"):
        next(outcomes(setting, name, [0.1], assets=absent))


@pytest.mark.usefixtures("small")
def test_each_of_the_other_files_is_named_too(setting: Setting, files: Path, tmp_path: Path) -> None:
    whole = assets(files)
    without_dino = replace(
        whole, weights={**whole.weights, "dinov2-registers": tmp_path / "model.safetensors"}
    )
    with pytest.raises(WeightsNotFoundError, match="facebook/dinov2-with-registers-base"):
        next(outcomes(setting, "crossso", [0.1], assets=without_dino))
    for name, tower in (("crossso", "patch32"), ("crossso-transfer", "patch16")):
        without_words = replace(whole, texts={name: tmp_path})
        with pytest.raises(WeightsNotFoundError, match=f"openai/clip-vit-base-{tower}.*--row-texts"):
            next(outcomes(setting, name, [0.1], assets=without_words))


def test_a_file_of_safetensors_goes_before_a_ckpt(tmp_path: Path) -> None:
    (tmp_path / "graft_naip.ckpt").touch()
    assert find_file("graft_naip.ckpt", tmp_path).name == "graft_naip.ckpt"
    (tmp_path / "graft_naip.safetensors").touch()
    assert find_file("graft_naip.ckpt", tmp_path).name == "graft_naip.safetensors"


class Hyperparameters(dict[str, int]):
    """Stands for the objects of omegaconf in GRAFT's files."""


def test_a_ckpt_of_tensors_is_read_and_one_with_other_objects_is_refused(tmp_path: Path) -> None:
    state = made.graft(TINY, 5)
    path = tmp_path / "graft_naip.ckpt"
    torch.save({"state_dict": state, "epoch": 3}, path)
    assert read_tensors(path).keys() == state.keys()
    torch.save({"state_dict": state, "hyper_parameters": Hyperparameters(width=3)}, path)
    with pytest.raises(
        LegacyCheckpointError, match=r"as graft_naip\.safetensors, as docs/baselines\.md shows"
    ):
        read_tensors(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsDamagedError, match="cannot be read as weights"):
        read_tensors(path)


@pytest.mark.usefixtures("small")
def test_a_reproduction_goes_on_past_such_a_file_and_says_what_to_do(
    setting: Setting, files: Path, tmp_path: Path
) -> None:
    for one in ("feature_predictor", "graft_naip"):
        shutil.copy(files / f"{one}.safetensors", tmp_path)
    torch.save({"hyper_parameters": Hyperparameters(width=3)}, tmp_path / "graft_sentinel.ckpt")
    bench = Bench(
        setting=setting,
        records=tmp_path / "records",
        origin=ORIGIN,
        assets=Assets(weights={"crossso": tmp_path}),
        say=lambda line: None,  # noqa: ARG005
    )
    measure_all(bench, [one for one in trials() if one.method == "crossso-transfer"])
    (record,) = read_records(bench.records)
    assert record.status == NEEDS_WEIGHTS
    assert record.needs is not None
    assert "save its state dict once as graft_sentinel.safetensors" in record.needs


def changed(files: Path, name: str, folder: Path, **change: Tensor | None) -> Path:
    """A published file with parts taken out or put in."""
    state = {**load_file(files / name), **{part: one for part, one in change.items() if one is not None}}
    for part, one in change.items():
        if one is None:
            del state[part]
    save_file(state, folder / name)
    return folder / name


def test_a_part_too_many_or_too_few_or_of_another_shape_is_told(
    small: Small, files: Path, tmp_path: Path
) -> None:
    def router(**change: Tensor | None) -> None:
        read_router(changed(files, "router.safetensors", tmp_path, **change), small.dino)

    def language(**change: Tensor | None) -> None:
        name = "vision_language_predictor.safetensors"
        read_completer(changed(files, name, tmp_path, **change), small.language)

    def feature(**change: Tensor | None) -> None:
        name = "feature_predictor.safetensors"
        read_completer(changed(files, name, tmp_path, **change), small.space)

    def graft(**change: Tensor | None) -> None:
        read_graft_patches(changed(files, "graft_naip.safetensors", tmp_path, **change))

    one = torch.zeros(1)
    with pytest.raises(CheckpointNamesError, match=r"1 parts are missing \(6.bias\)"):
        router(**{"model.router_head.net.7.bias": None})
    with pytest.raises(CheckpointNamesError, match=r"unknown 6\.bias"):
        router(**{"model.router_head.net.6.bias": one})
    with pytest.raises(CheckpointNamesError, match=r"optimizer\.step"):
        router(**{"optimizer.step": one})
    with pytest.raises(CheckpointNamesError, match="parts are missing"):
        router(**{"model.backbone.model.encoder.layer.0.norm1.weight": None})
    with pytest.raises(CheckpointNamesError, match=r"missing \(unseen\)"):
        language(mask_token=None)
    with pytest.raises(CheckpointNamesError, match="1 are unknown"):
        language(**{"predictor.layers.7.norm1.weight": one})
    with pytest.raises(CheckpointNamesError, match=r"tile_place has shape \(1,\)"):
        language(**{"tile_pos_embed.pos": one})
    with pytest.raises(CheckpointNamesError, match=r"missing \(up.bias\)"):
        feature(**{"core.upsample_head.upsample.bias": None})
    with pytest.raises(CheckpointNamesError, match=r"missing \(projector.1.weight\)"):
        graft(**{"projector.1.weight": None})
    with pytest.raises(CheckpointNamesError, match="text_model"):
        graft(**{"text_model.one": one})


def test_what_the_authors_pass_over_in_their_predictors_is_passed_over(
    small: Small, files: Path, tmp_path: Path
) -> None:
    """A file of training may hold a copy of the encoder, which they read from its own file."""
    extra = {"encoder.embeddings.cls_token": torch.zeros(1)}
    path = changed(files, "vision_language_predictor.safetensors", tmp_path, **extra)
    assert isinstance(read_completer(path, small.language), Completer)


def test_the_commands_know_the_rows(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    told = CliRunner().invoke(
        reproduce,
        [
            "--root",
            str(tmp_path),
            "--out",
            str(tmp_path / "out"),
            "--row-weights",
            f"no-row={tmp_path / 'x'}",
        ],
    )
    assert told.exit_code == 2
    assert "crossso, crossso-classwise, crossso-transfer, dinov2-registers" in " ".join(told.output.split())
