"""The model and its ablations as methods: what each buys, what each reads, what each leaves behind."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from reference_model.baselines.entry import Assets, MissingAssetError
from reference_model.baselines.errors import NotFittedError
from reference_model.experiments.ground import opened
from reference_model.experiments.protocol_files import protocol_of
from reference_model.experiments.runs import matched
from reference_model.face import Method, Setting
from reference_model.methods.ours import OURS, Assembled
from reference_model.methods.registry import methods
from reference_model.methods.representing import OtherPredictor, Ours, WithoutPredictor
from reference_model.metrics.observation_cost import obr
from tests.reference_model.small_protocol import SMALL_PROTOCOL


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    protocol = protocol_of(SMALL_PROTOCOL)
    with opened(protocol, 1, tmp_path_factory.mktemp("rows") / "run", lambda _: None) as (made, _):
        yield made


def fitted(setting: Setting, name: str) -> Method:
    method = OURS[name].make(setting, Assets(), 0)
    method.fit()
    return method


@pytest.fixture
def rows(setting: Setting) -> torch.Tensor:
    return torch.from_numpy(setting.job.roles.test)


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_row_plans_embeds_and_ranks_all_classes(
    setting: Setting, rows: torch.Tensor, name: str
) -> None:
    method, entry = fitted(setting, name), OURS[name]
    assert method.name == name == entry.name
    selected = method.plan(rows, 0.2)
    assert selected.shape == (24, 100)
    if not entry.sparse:
        assert obr(selected) == entry.paper_obr
    embedded = method.embed(rows, selected)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(24))
    assert method.rank(embedded).shape == (24, 4)


@pytest.mark.parametrize("name", ["ours", "no-predictor", "lr-filling", "predictor-without-lr", "cross-only"])
def test_tiles_that_were_not_bought_are_not_read(setting: Setting, rows: torch.Tensor, name: str) -> None:
    method = fitted(setting, name)
    selected = method.plan(rows, 0.1)
    honest = method.embed(rows, selected)
    hr = setting.features.hr.clone()
    for place, row in enumerate(rows):
        hr[row, ~selected[place]] = torch.nan
    blind = OURS[name].make(replace(setting, features=replace(setting.features, hr=hr)), Assets(), 0)
    blind.fit()
    assert torch.equal(blind.embed(rows, selected), honest)


def test_lr_is_not_read_by_the_predictor_without_it(setting: Setting, rows: torch.Tensor) -> None:
    lr = torch.full_like(setting.features.lr, torch.nan)
    blind = replace(setting, features=replace(setting.features, lr=lr))
    selected = torch.ones(len(rows), 100, dtype=torch.bool)
    without = OURS["full-without-lr"].make(blind, Assets(), 0)
    assert isinstance(without, Assembled)
    without.representation.fit()  # of the method alone: the sampler does read LR
    assert torch.equal(
        without.embed(rows, selected), fitted(setting, "full-without-lr").embed(rows, selected)
    )


def test_rows_that_differ_in_tiles_alone_share_one_checkpoint(setting: Setting, rows: torch.Tensor) -> None:
    selected = fitted(setting, "ours").plan(rows, 0.123)
    embedded = fitted(setting, "ours").embed(rows, selected)
    for name in ("random", "structural", "semantic", "additive", "full", "lr-only", "oracle-worth"):
        assert torch.equal(fitted(setting, name).embed(rows, selected), embedded), name
    for name in ("predictor-without-lr", "cross-only", "no-predictor", "lr-filling", "lr-head"):
        assert not torch.equal(fitted(setting, name).embed(rows, selected), embedded), name


def test_heads_are_of_one_size_whatever_they_see(setting: Setting) -> None:
    sizes = {}
    for name in ("ours", "lr-head", "no-predictor", "lr-filling", "predictor-without-lr"):
        method = fitted(setting, name)
        assert isinstance(method, Assembled)
        assert isinstance(method.representation, Ours | OtherPredictor | WithoutPredictor)
        sizes[name] = sum(one.numel() for one in method.representation.row.head.parameters())
    assert len(set(sizes.values())) == 1, sizes


def test_a_row_that_was_fitted_is_read_back(setting: Setting) -> None:
    fitted(setting, "no-predictor")
    kept = {path: path.stat().st_mtime_ns for path in setting.job.run.folder.rglob("*.safetensors")}
    fitted(setting, "no-predictor")
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_a_plan_meets_the_obr_that_another_row_has_realised(setting: Setting, rows: torch.Tensor) -> None:
    method = fitted(setting, "random")
    selected = matched(method, rows, budget=0.05, wanted=0.3, within=0.01)
    assert obr(selected) == pytest.approx(0.3, abs=0.005)
    kept = matched(method, rows, budget=0.3, wanted=0.302, within=0.01)
    assert torch.equal(kept, method.plan(rows, 0.3))


def test_a_data_set_without_unlabelled_scenes_has_no_row_without_pretraining(setting: Setting) -> None:
    roles = replace(setting.job.roles, unlabelled=setting.job.roles.unlabelled[:0])
    poor = replace(setting, job=replace(setting.job, roles=roles))
    with pytest.raises(MissingAssetError, match="no split `pretrain`"):
        OURS["without-pretraining"].make(poor, Assets(), 0)


def test_a_row_says_that_it_is_not_fitted(setting: Setting, rows: torch.Tensor) -> None:
    method = OURS["ours"].make(setting, Assets(), 0)
    with pytest.raises(NotFittedError, match=r"Call fit\(\) first"):
        method.plan(rows, 0.1)
    with pytest.raises(NotFittedError, match=r"Call fit\(\) first"):
        method.embed(rows, torch.zeros(24, 100, dtype=torch.bool))


def test_the_registry_holds_all_own_rows() -> None:
    assert set(OURS) <= set(methods())
