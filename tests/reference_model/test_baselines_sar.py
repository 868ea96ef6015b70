"""SAR's rows: what they buy, what they read, what they learn, and that they go on where they were cut off."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gl10m.resources import bundled
from reference_model.baselines import distillation
from reference_model.baselines.concept_scale import ConceptScaleError, read_scale, scale_by_precision
from reference_model.baselines.covariates import SyntheticLights
from reference_model.baselines.disagreement import DisagreementPlanner, symmetric_divergence
from reference_model.baselines.distillation import trained_student
from reference_model.baselines.entry import Assets, MissingAssetError
from reference_model.baselines.errors import NotFittedError
from reference_model.baselines.planners import drawn
from reference_model.baselines.space import crops
from reference_model.baselines.tile_scores import best_tile, mean_embedding, mean_of_best_tiles, mean_of_tiles
from reference_model.face import Setting
from reference_model.methods.registry import UnknownMethodError, methods, outcomes
from reference_model.optimise import Schedule
from reference_model.run import Run
from reference_model.scenes import SceneReader, Scenes
from tests.reference_model.settings import blinded, opened
from tests.reference_model.worlds import OBJECTS

SAR = ("sar-hr", "sar-hr-max", "sar-hr-top5", "sar-lr-hr", "sar-kd", "sar-sparse", "sar-night-lights")
SPARSE = ("sar-sparse", "sar-night-lights", "random-tiles")


class Blind:
    """Scenes that nothing may look at."""

    def __init__(self, scenes: Scenes) -> None:
        self.class_names = scenes.class_names
        self.count = len(scenes)

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> SceneReader:
        raise AssertionError(f"scene {index} was looked at")


def lights(setting: Setting) -> Assets:
    return Assets(covariate=SyntheticLights(setting.job.catalogue, frozenset(range(OBJECTS))))


def rows_of(setting: Setting, role: str) -> Tensor:
    return torch.from_numpy(getattr(setting.job.roles, role))


@pytest.mark.parametrize("name", [*SAR, "random-tiles"])
def test_every_row_scores_every_class_of_every_held_out_scene(setting: Setting, name: str) -> None:
    entry = methods()[name]
    for outcome in outcomes(setting, name, entry.budgets(0.123), assets=lights(setting)):
        assert outcome.scores.shape == (6, 5)
        assert outcome.scores.isfinite().all()
        assert outcome.selected.shape == (6, 100)
        if not entry.sparse:
            assert outcome.obr == entry.paper_obr


@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.parametrize("target", [0.123, 0.236, 0.0, 1.0])
def test_the_budget_is_met_on_validation_scenes_to_a_tile(setting: Setting, name: str, target: float) -> None:
    val = rows_of(setting, "val")
    outcome = next(outcomes(setting, name, [target], rows=val, assets=lights(setting)))
    assert abs(int(outcome.selected.sum()) - target * 100 * len(val)) <= 1


@pytest.mark.parametrize("name", SPARSE)
def test_a_plan_reads_no_hr_tile_and_an_embedding_reads_none_but_the_planned(
    setting: Setting, name: str
) -> None:
    entry, test = methods()[name], rows_of(setting, "test")
    method = entry.make(setting, lights(setting), 0)
    method.fit()
    selected = method.plan(test, 0.236)
    scores = method.rank(method.embed(test, selected))

    # What was scored before is forgotten: the plan is made anew.
    (setting.job.run.folder / "baseline-disagreement.safetensors").unlink(missing_ok=True)
    blind = blinded(setting.features, test, torch.zeros_like(selected))
    unread = entry.make(replace(setting, features=blind), lights(setting), 0)
    unread.fit()
    assert torch.equal(unread.plan(test, 0.236), selected)
    partly = entry.make(
        replace(setting, features=blinded(setting.features, test, selected)), lights(setting), 0
    )
    partly.fit()
    assert torch.equal(partly.rank(partly.embed(test, selected)), scores)


@pytest.mark.parametrize("name", SAR)
def test_a_second_fit_reads_the_weights_back_to_the_bit(
    setting: Setting, name: str, another: Callable[[str], Path]
) -> None:
    first = list(outcomes(setting, name, [0.236], assets=lights(setting)))
    files = {path: path.read_bytes() for path in setting.job.run.folder.glob("baseline-*")}
    again = list(outcomes(setting, name, [0.236], assets=lights(setting)))
    assert {path: path.read_bytes() for path in setting.job.run.folder.glob("baseline-*")} == files
    assert all(torch.equal(one.scores, other.scores) for one, other in zip(first, again, strict=True))
    # Another folder with the same encoder: what is learned there is the same.
    with opened(setting.job.scenes, another("run")) as other_setting:
        other = list(outcomes(other_setting, name, [0.236], assets=lights(other_setting)))
    assert all(torch.equal(one.scores, two.scores) for one, two in zip(first, other, strict=True))


def test_the_student_comes_nearer_to_its_teacher_on_scenes_it_never_saw(setting: Setting) -> None:
    held_out = torch.cat([rows_of(setting, "val"), rows_of(setting, "test")])
    teacher = mean_embedding(setting.features, held_out)
    before = setting.features.lr_embedding[held_out]
    after = distillation.student_embeddings(setting, trained_student(setting), held_out)
    assert (after * teacher).sum(dim=1).mean() > (before * teacher).sum(dim=1).mean() + 0.02


def test_a_student_that_was_cut_off_ends_in_the_same_bits(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, another: Callable[[str], Path]
) -> None:
    from reference_model import optimise as loop

    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    calls = 0

    def failing(*args: Tensor) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return whole_loss(*args)

    whole_loss = distillation.distillation_loss
    short = Schedule(steps=8, batch=2, learning_rate=1e-3)
    states = []
    for until in ("whole", "cut"):
        with opened(setting.job.scenes, another(until)) as made:
            brief = replace(made, job=replace(made.job, preset=replace(made.job.preset, distillation=short)))
            if until == "cut":
                monkeypatch.setattr(distillation, "distillation_loss", failing)
                with pytest.raises(KeyboardInterrupt):
                    trained_student(brief)
                assert not (tmp_path / until / distillation.STUDENT).exists()
                monkeypatch.setattr(distillation, "distillation_loss", whole_loss)
            trained_student(brief)
        states.append((tmp_path / until / distillation.STUDENT).read_bytes())
    assert states[0] == states[1]


def test_disagreement_is_zero_between_a_model_and_itself_and_symmetric() -> None:
    one, other = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(symmetric_divergence(one, one), torch.zeros(7))
    torch.testing.assert_close(symmetric_divergence(one, other), symmetric_divergence(other, one))
    p, q = one.softmax(-1), other.softmax(-1)
    by_hand = (p * (p / q).log()).sum(-1) + (q * (q / p).log()).sum(-1)
    torch.testing.assert_close(symmetric_divergence(one, other), by_hand)


def test_a_scene_is_looked_at_once_and_what_was_scored_is_kept(
    setting: Setting, another: Callable[[str], Path]
) -> None:
    with opened(setting.job.scenes, another("kept")) as made:
        first = DisagreementPlanner(made)
        first.fit()
        wanted = first.scores(torch.tensor([2, 5, 2]))
        dark = replace(made, job=replace(made.job, scenes=Blind(made.job.scenes)))
        again = DisagreementPlanner(dark)
        again.fit()
        assert torch.equal(again.scores(torch.tensor([5, 2])), wanted[[1, 0]])
        with pytest.raises(AssertionError, match="scene 7 was looked at"):
            again.scores(torch.tensor([5, 7]))


def test_crops_follow_the_tile_grid() -> None:
    numbered = (torch.arange(268)[:, None] // 26.8 * 10 + torch.arange(268)[None] // 26.8).clamp(max=99)
    parts = crops(numbered.byte().expand(2, 3, -1, -1))
    assert parts.shape == (200, 3, 27, 27)
    assert parts[:, 0, 13, 13].tolist() == [*range(100), *range(100)]


def test_night_lights_are_followed(setting: Setting) -> None:
    test = rows_of(setting, "test")
    covariate = SyntheticLights(setting.job.catalogue, frozenset(range(OBJECTS)))
    bounds = [tuple(setting.job.catalogue.bounds[int(row)].tolist()) for row in test]
    weights = torch.stack([covariate.of_scene(one) for one in bounds])
    outcome = next(
        outcomes(setting, "sar-night-lights", [0.1], rows=test, assets=Assets(covariate=covariate))
    )
    assert weights[outcome.selected].mean() > 2 * weights.mean()


def test_a_row_of_chance_has_several_draws_and_each_is_the_same_again(setting: Setting) -> None:
    first, again = (list(outcomes(setting, "random-tiles", [0.123])) for _ in range(2))
    assert len(first) == 5
    assert all(torch.equal(one.selected, other.selected) for one, other in zip(first, again, strict=True))
    assert not torch.equal(first[0].selected, first[1].selected)


def test_drawn_takes_the_highest_keys_of_all_scenes_together() -> None:
    keys = torch.arange(300.0).view(3, 100)
    assert drawn(keys, 0.5).sum(dim=1).tolist() == [0, 50, 100]


@given(st.integers(1, 4), st.floats(0, 1), st.integers(0, 99))
def test_any_budget_is_met_to_half_a_tile_and_nothing_better_is_left(
    scenes: int, target: float, seed: int
) -> None:
    keys = torch.randint(0, 20, (scenes, 100), generator=torch.Generator().manual_seed(seed)).double()
    selected = drawn(keys, target)
    assert abs(int(selected.sum()) - target * 100 * scenes) <= 0.5 + 1e-9
    if selected.any() and not selected.all():
        assert keys[selected].min() >= keys[~selected].max()


def test_pools_know_tiles_that_were_not_observed() -> None:
    scores = torch.full((2, 100, 1), torch.nan)
    scores[0, :7, 0] = torch.arange(7.0)
    assert [float(pool(scores)[0]) for pool in (mean_of_tiles, best_tile, mean_of_best_tiles)] == [3, 6, 4]
    assert all(pool(scores)[1].isnan().all() for pool in (mean_of_tiles, best_tile, mean_of_best_tiles))


def test_the_scale_is_that_of_the_better_precision_and_of_the_nearest_taught_word() -> None:
    labels = torch.tensor([[1, 1, 0], [1, 0, 1], [0, 1, 1], [0, 0, 1]], dtype=torch.bool)
    right, wrong = labels.float(), 1 - labels.float()
    lr, hr = right.clone(), wrong.clone()
    lr[:, 1], hr[:, 1] = wrong[:, 1], right[:, 1]
    words = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.2, 1.0]]), dim=1)
    taught = torch.tensor([0, 1])
    assert scale_by_precision(lr, hr, labels, taught, words).tolist() == [False, True, True]
    shuffled = labels.clone()
    shuffled[:, 2] = ~shuffled[:, 2]
    assert scale_by_precision(lr, hr, shuffled, taught, words).tolist() == [False, True, True]


def test_the_bundled_answers_cover_the_66_concepts() -> None:
    import tomllib

    classes = tomllib.loads(bundled("class_maps", "gl10m-66.toml").read_text())["classes"]
    path = bundled("class_maps", "concept_scale.toml")
    scale = read_scale(path, tuple(one["name"] for one in classes))
    assert 0 < int(scale.sum()) < 66
    assert tomllib.loads(path.read_text())["provenance"]["question"]
    with pytest.raises(ConceptScaleError, match=r"2 of 3 are missing .*\(Castle, Moat\)"):
        read_scale(path, ("Lake", "Castle", "Moat"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"scale = [", "no TOML"),
        (b"\xff\xfe", "no TOML"),
        (b"a = " + b"[" * 200_000, "no TOML"),
        (b'scale = "hr"', "must have a table `scale`"),
        (b"#" * (1 << 21), "more than 1048576 bytes"),
    ],
)
def test_a_file_without_answers_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "broken.toml").write_bytes(content)
    with pytest.raises(ConceptScaleError, match=told):
        read_scale(tmp_path / "broken.toml", ("Lake",))


def test_a_tile_is_not_drawn_by_what_is_no_number() -> None:
    keys = torch.zeros(2, 100, dtype=torch.float64)
    keys[1, 3] = torch.nan
    with pytest.raises(ValueError, match="1 of 200 are not"):
        drawn(keys, 0.1)


def test_the_row_of_answers_takes_a_file_for_other_classes(setting: Setting, tmp_path: Path) -> None:
    catalogue = replace(setting.job.catalogue, class_names=tuple("abcde"))
    renamed = replace(setting, job=replace(setting.job, catalogue=catalogue, run=Run(tmp_path)))
    with pytest.raises(ConceptScaleError, match="the row that goes by training precision"):
        next(outcomes(renamed, "sar-lr-hr-llm", [1.0]))
    mine = tmp_path / "mine.toml"
    mine.write_text("[scale]\n" + "".join(f'{name} = "hr"\n' for name in "abcde"))
    outcome = next(outcomes(renamed, "sar-lr-hr-llm", [1.0], assets=Assets(concept_scale=mine)))
    of_hr = next(outcomes(renamed, "sar-hr", [1.0]))
    assert torch.equal(outcome.scores.argsort(dim=0), of_hr.scores.argsort(dim=0))


def test_what_is_missing_is_named(setting: Setting) -> None:
    with pytest.raises(MissingAssetError, match="night-light rows need a raster"):
        next(outcomes(setting, "sar-night-lights", [0.236]))
    with pytest.raises(UnknownMethodError, match=r"sar-kd.*asked for 'sar'"):
        next(outcomes(setting, "sar", [0.236]))
    with pytest.raises(NotFittedError, match=r"Call fit\(\) first"):
        DisagreementPlanner(setting).scores(torch.tensor([0]))
