"""Table 2's rows: heads that learn, a policy whose reward rises, and what none of them may read."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor

from reference_model.baselines.covariates import SyntheticLights
from reference_model.baselines.entry import Assets
from reference_model.baselines.patchdrop import (
    PENALTY,
    PatchDrop,
    mean_of_chosen,
    reward,
    scene_precision,
)
from reference_model.baselines.probes import classification, new_probe, trained_probe
from reference_model.baselines.tile_scores import mean_tokens
from reference_model.determinism import seeded
from reference_model.face import Setting
from reference_model.methods.registry import methods, outcomes
from reference_model.metrics.retrieval import average_precision, ranked_relevance
from reference_model.networks.sampler import Sampler
from reference_model.run import Run
from tests.reference_model.settings import blinded
from tests.reference_model.worlds import OBJECTS

ROWS = (
    "sar-hr-supervised",
    "sar-lr-hr-supervised",
    "sar-llm-supervised",
    "sar-lr-supervised",
    "sar-supervised",
    "night-lights-supervised",
    "patchdrop",
)
SPARSE = ("sar-supervised", "night-lights-supervised", "patchdrop")


def lights(setting: Setting) -> Assets:
    return Assets(covariate=SyntheticLights(setting.job.catalogue, frozenset(range(OBJECTS))))


def rows_of(setting: Setting, role: str) -> Tensor:
    return torch.from_numpy(getattr(setting.job.roles, role))


@pytest.mark.parametrize("name", ROWS)
def test_every_row_scores_every_class_and_reads_its_weights_back(setting: Setting, name: str) -> None:
    entry = methods()[name]
    first = list(outcomes(setting, name, entry.budgets(0.123), assets=lights(setting)))
    files = {path: path.read_bytes() for path in setting.job.run.folder.glob("baseline-*")}
    again = list(outcomes(setting, name, entry.budgets(0.123), assets=lights(setting)))
    assert {path: path.read_bytes() for path in setting.job.run.folder.glob("baseline-*")} == files
    for one, other in zip(first, again, strict=True):
        assert one.scores.shape == (6, 5)
        assert one.scores.isfinite().all()
        assert torch.equal(one.scores, other.scores)
        assert torch.equal(one.selected, other.selected)
        if not entry.sparse:
            assert one.obr == entry.paper_obr


@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.parametrize("target", [0.123, 0.269])
def test_the_budget_is_met_on_validation_scenes_to_a_tile(setting: Setting, name: str, target: float) -> None:
    val = rows_of(setting, "val")
    outcome = next(outcomes(setting, name, [target], rows=val, assets=lights(setting)))
    assert abs(int(outcome.selected.sum()) - target * 100 * len(val)) <= 1


@pytest.mark.parametrize("name", SPARSE)
def test_a_plan_reads_no_hr_tile_and_an_embedding_none_but_the_planned(setting: Setting, name: str) -> None:
    entry, test = methods()[name], rows_of(setting, "test")
    method = entry.make(setting, lights(setting), 0)
    method.fit()
    selected = method.plan(test, 0.236)
    scores = method.rank(method.embed(test, selected))
    (setting.job.run.folder / "baseline-disagreement.safetensors").unlink(missing_ok=True)
    blind = entry.make(
        replace(setting, features=blinded(setting.features, test, selected)), lights(setting), 0
    )
    blind.fit()
    assert torch.equal(blind.plan(test, 0.236), selected)
    assert torch.equal(blind.rank(blind.embed(test, selected)), scores)


def test_a_head_learns_more_than_how_frequent_classes_are(setting: Setting) -> None:
    """Inputs that hold the labels in a random mixture, under noise."""
    job, test = setting.job, rows_of(setting, "test")
    generator = torch.Generator().manual_seed(0)
    mixture = torch.randn(5, 24, generator=generator)
    inputs = job.catalogue.labels.float() @ mixture + 0.1 * torch.randn(20, 24, generator=generator)
    probe = trained_probe(job, "mixture", 24, lambda rows, _: inputs[rows])
    with torch.no_grad():
        before = classification(new_probe(job, 24)(inputs[test]), job.catalogue.labels[test])
        after = classification(probe(inputs[test]), job.catalogue.labels[test])
    assert after < 0.8 * before


def test_the_mean_of_all_tokens_is_that_of_the_observed_tiles(setting: Setting) -> None:
    rows = torch.tensor([3, 5])
    selected = torch.zeros(2, 100, dtype=torch.bool)
    selected[0, [7, 50]] = True
    tokens = mean_tokens(setting.features, rows, selected)
    torch.testing.assert_close(tokens[0], setting.features.hr[3, [7, 50]].float().mean(dim=(0, 1)))
    assert torch.equal(tokens[1], torch.zeros_like(tokens[1]))


def test_the_precision_of_a_scene_is_average_precision_over_its_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 9, generator=generator)
    labels = torch.rand(40, 9, generator=generator) < 0.4
    labels[:, 0] |= ~labels.any(dim=1)
    wanted = average_precision(ranked_relevance(logits.T.numpy(), labels.T.numpy()), 9)
    torch.testing.assert_close(scene_precision(logits, labels).double(), torch.from_numpy(wanted))
    assert scene_precision(logits[:1], torch.zeros(1, 9, dtype=torch.bool)) == 0


def test_the_reward_grows_with_precision_and_shrinks_with_tiles() -> None:
    none, all_tiles = torch.zeros(1, 100, dtype=torch.bool), torch.ones(1, 100, dtype=torch.bool)
    one, nothing = torch.ones(1), torch.zeros(1)
    assert reward(one, none) == 1
    assert reward(one, all_tiles) == 0
    assert reward(nothing, none) == reward(nothing, all_tiles) == PENALTY


@pytest.fixture(scope="module")
def told_by_tiles(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """One of six classes a scene, which only the grey tiles tell, and LR shows where those are."""
    catalogue = setting.job.catalogue
    grey = catalogue.tile_labels[..., :OBJECTS].any(dim=-1)
    labels = F.one_hot(torch.arange(20) % 6, 6).bool()
    hr = 0.1 * torch.randn(20, 100, 4, 24, generator=torch.Generator().manual_seed(0))
    hr[..., :6] += 10 * (grey[:, :, None, None] & labels[:, None, None])
    of_tiles = grey[..., None] & labels[:, None]
    other = replace(catalogue, labels=labels, tile_labels=of_tiles, class_names=tuple("abcdef"))
    job = replace(setting.job, catalogue=other, run=Run(tmp_path_factory.mktemp("told")))
    return replace(setting, job=job, features=replace(setting.features, hr=hr.half()))


def test_the_policy_earns_more_than_at_its_start_and_finds_the_tiles_that_tell(
    told_by_tiles: Setting,
) -> None:
    job, test = told_by_tiles.job, rows_of(told_by_tiles, "test")
    method = PatchDrop(told_by_tiles, "patchdrop")
    method.fit()
    assert method.policy is not None
    with seeded(job.seed, "patchdrop-policy"):
        start = Sampler(job.preset.sampler, features=24).eval()

    def earned(policy: Sampler) -> float:
        with torch.no_grad():
            selected = policy(job.overviews(test), told_by_tiles.features.context(test)) >= 0
            ranked = method.rank(method.embed(test, selected))
        return float(reward(scene_precision(ranked, job.catalogue.labels[test]), selected).mean())

    assert earned(method.policy) > max(0.9, earned(start) + 0.2)
    telling = job.catalogue.tile_labels[test].any(dim=-1)
    bought = method.plan(test, 0.05)
    assert telling[bought].float().mean() > 5 * telling.float().mean()


def test_the_mean_of_chosen_tiles_is_that_of_each_try() -> None:
    tiles = torch.randn(2, 100, 3, generator=torch.Generator().manual_seed(0))
    tried = torch.rand(4, 2, 100, generator=torch.Generator().manual_seed(1)) < 0.2
    tried[1, 1] = False
    means = mean_of_chosen(tiles, tried)
    torch.testing.assert_close(means[2, 0], tiles[0][tried[2, 0]].mean(dim=0))
    assert torch.equal(means[1, 1], torch.zeros(3))
