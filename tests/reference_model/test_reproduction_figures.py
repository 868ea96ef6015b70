"""The numbers behind the figures, against plain ways to the same numbers."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pyproj import Geod

from reference_model.face import Setting
from reference_model.reproduction import failure_cases, tile_retrieval
from reference_model.reproduction.figures import (
    completions,
    curves,
    hallucination,
    sweep,
)
from reference_model.reproduction.figures.pca import Basis, reference_rows
from reference_model.reproduction.figures.thumbnails import hr_thumbnail
from reference_model.reproduction.intervals import Summary
from reference_model.reproduction.measure import DEPTHS
from reference_model.reproduction.parts import Parts, centred_cosines, open_parts
from reference_model.reproduction.record import MEASURED, Measurement, Record
from tests.reference_model.test_reproduction_tables import ORIGIN
from tests.reference_model.worlds import World


@pytest.fixture(scope="module")
def parts(setting: Setting) -> Parts:
    return open_parts(setting)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


# PCA.


def test_the_basis_is_that_of_a_singular_value_decomposition() -> None:
    tokens = torch.randn(200, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens = tokens * torch.arange(7, 0, -1)
    basis = Basis.fit(tokens.float())
    unit = tokens.float().double().numpy()
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    _, _, right = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    expected = right[:3] * np.sign(right[np.arange(3), np.abs(right[:3]).argmax(axis=1)])[:, None]
    np.testing.assert_allclose(basis.components.numpy(), expected, atol=1e-6)
    coordinates = (unit - unit.mean(axis=0)) @ expected.T
    np.testing.assert_allclose(basis.low.numpy(), np.percentile(coordinates, 1, axis=0), atol=1e-6)
    np.testing.assert_allclose(basis.project(tokens.float()).numpy(), coordinates, atol=1e-6)


def test_colours_do_not_depend_on_the_length_of_a_token() -> None:
    tokens = torch.randn(100, 4, 8, generator=torch.Generator().manual_seed(1))
    basis = Basis.fit(tokens.flatten(0, 1))
    picture = basis.picture(tokens)
    assert picture.shape == (20, 20, 3)
    assert picture.min() == 0
    assert picture.max() == 1
    np.testing.assert_allclose(basis.picture(7 * tokens), picture, atol=1e-6)


def test_a_basis_needs_tokens() -> None:
    with pytest.raises(ValueError, match="2 tokens of 3 channels"):
        Basis.fit(torch.zeros(1, 8))


def test_reference_scenes_are_fixed_and_spread_over_the_training_scenes() -> None:
    assert reference_rows(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    many = reference_rows(np.arange(1000)).tolist()
    assert (len(many), many[0], many[-1]) == (64, 0, 999)


# Completion and the sweep.


def test_threshold_zero_is_the_full_observation_and_one_is_none(parts: Parts) -> None:
    steps = sweep.sweep(parts, OursHere(parts))
    by_threshold = {step.set_to: step for step in steps if step.sweep == "threshold"}
    assert by_threshold[0.0].obr == 1
    assert by_threshold[0.0].everywhere.mean == pytest.approx(1, abs=1e-5)
    assert by_threshold[0.0].unobserved is None
    assert by_threshold[1.0].obr == 0
    shares = [step.obr for step in steps if step.sweep == "OBR"]
    assert shares == sorted(shares, reverse=True)


def test_a_progression_tells_a_slope_from_a_cliff() -> None:
    def steps(values: list[float]) -> list[sweep.Step]:
        return [
            sweep.Step(
                sweep="OBR",
                set_to=0,
                obr=1 - place / 10,
                everywhere=Summary(mean=value, low=None, high=None, over="nothing"),
                unobserved=None,
                quality=Measurement(0.0),
            )
            for place, value in enumerate(values)
        ]

    slope, largest, different = sweep.progression(steps([1.0, 0.9, 0.8, 0.7]))
    assert (slope, different) == (-1.0, 4)
    assert largest == pytest.approx(1 / 3)
    assert sweep.progression(steps([1.0, 1.0, 1.0, 0.2]))[1] == 1.0


class OursHere:
    """Scenes ranked by the mean of their completed tokens: enough of a method for these figures."""

    name = "ours-here"

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def fit(self) -> None: ...

    def plan(self, rows: torch.Tensor, target_obr: float) -> torch.Tensor:
        raise NotImplementedError

    def embed(self, rows: torch.Tensor, selected: torch.Tensor) -> torch.Tensor:
        return self.parts.completed(rows, selected).mean(dim=(1, 2))

    def rank(self, embedded: torch.Tensor) -> torch.Tensor:
        return embedded[:, : len(self.parts.setting.job.catalogue.class_names)]


# Hallucination.


def test_agreement_is_what_counting_says() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        found, truth = generator.random((10, 6)) < 0.3, generator.random(6) < 0.4
        truth[0] = True
        sets = [set(np.flatnonzero(row)) for row in found]
        own = set(np.flatnonzero(truth))
        agreement, jaccard = tile_retrieval.agree(torch.from_numpy(found), torch.from_numpy(truth))
        assert agreement == pytest.approx(sum(bool(one & own) for one in sets) / 10)
        assert jaccard == pytest.approx(np.mean([len(one & own) / len(one | own) for one in sets]))


def test_kilometres_are_those_of_a_sphere() -> None:
    geod = Geod(a=1000 * tile_retrieval.EARTH_RADIUS_KM, b=1000 * tile_retrieval.EARTH_RADIUS_KM)
    one, other = np.array([-120.0, 37.0]), np.array([[-119.9, 37.05], [-68.0, 45.0]])
    expected = [geod.inv(*one, *point)[2] / 1000 for point in other]
    np.testing.assert_allclose(tile_retrieval.kilometres(one, other), expected, rtol=1e-9)


def test_a_perfect_model_finds_the_tile_itself(parts: Parts) -> None:
    known = tile_retrieval.database(parts)
    queries = tile_retrieval.ask(parts, {"perfect": lambda rows, _: parts.full(rows)}, known)
    assert queries
    assert {query.rank for query in queries} == {1}
    assert min(query.cosine for query in queries) == pytest.approx(1, abs=1e-5)
    names = parts.setting.job.catalogue.scene_ids
    for query in queries[:20]:
        row, tile = query.asked.row, query.asked.tile
        truth = tile_retrieval.tile_vectors(parts.full(torch.tensor([row])), parts.mean)[0, tile]
        far = _far(parts, row, known)
        similar = [
            (float(known.vectors[place] @ truth), -place) for place in range(len(known.rows)) if far[place]
        ]
        expected = [known.vectors[-place] @ truth for _, place in sorted(similar, reverse=True)[:10]]
        found = [known.vectors[place] @ truth for place in query.neighbours]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert all(names[known.rows[place]] != names[row] for place in query.neighbours)


def _far(parts: Parts, row: int, known: tile_retrieval.Database) -> list[bool]:
    bounds = parts.setting.job.catalogue.bounds
    centres = (bounds[:, :2] + bounds[:, 2:]) / 2
    distances = tile_retrieval.kilometres(centres[row], centres[known.rows])
    return [float(distance) >= tile_retrieval.APART_KM for distance in distances]


def test_every_model_is_asked_for_the_same_tiles(parts: Parts) -> None:
    models = {"one": parts.completed, "two": lambda rows, _: parts.full(rows)}
    queries = tile_retrieval.ask(parts, models, tile_retrieval.database(parts))
    asked = {
        model: {(q.asked.bucket, q.asked.row, q.asked.tile) for q in queries if q.asked.model == model}
        for model in models
    }
    assert asked["one"] == asked["two"]


def test_a_data_set_of_one_town_is_asked_nothing_and_no_old_picture_stays(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tile_retrieval, "APART_KM", 10_000.0)
    (tmp_path / hallucination.PNG).write_bytes(b"of an earlier run")
    hallucination.draw_hallucination(parts, {"ours": parts.completed}, tmp_path)
    assert rows_of(tmp_path / hallucination.CSV) == rows_of(tmp_path / hallucination.QUERIES_CSV) == []
    assert not (tmp_path / hallucination.PNG).exists()


# Completions.


def test_where_everything_is_bought_nothing_is_completed_and_the_table_says_so(
    parts: Parts, tmp_path: Path
) -> None:
    whole = replace(parts, calibration=replace(parts.calibration, threshold=0.0))
    basis = Basis.fit(parts.full(reference_rows(parts.setting.job.roles.train)).flatten(0, 2))
    completions.draw_completions(whole, basis, {"ours": whole.completed}, tmp_path)
    (row,) = rows_of(tmp_path / completions.CSV)
    assert (row["OBR"], row["low"], row["scenes"]) == ("1", "", "0")
    assert (tmp_path / completions.PNG).stat().st_size > 0


# Failures.


def test_failures_are_mined_by_their_rules(parts: Parts) -> None:
    cases = failure_cases.mine(parts, OursHere(parts))
    assert len(cases) == len(parts.test_rows())
    for case in cases:
        assert ("missed" in case.modes) == (case.captured < failure_cases.LEAST_CAPTURED)
        if "complex" in case.modes:
            assert case.labels >= failure_cases.MANY_LABELS
    for mode in failure_cases.MODES:
        strengths = [case.strength(mode) for case in failure_cases.ranked_cases(cases, mode)]
        assert strengths == sorted(strengths, reverse=True)


# Pictures.


def record(method: str, obr: float | None, value: float) -> Record:
    depths = {f"base/mAP@{k}": Measurement(value, value - 0.1, value + 0.1) for k in DEPTHS}
    reached = {"lr-only": 0.0, "full": 1.0}.get(method, obr)
    return Record(
        method=method,
        target_obr=obr,
        seed=0,
        status=MEASURED,
        metrics=depths | {"OBR": Measurement(float(reached or 0))},
        provenance=ORIGIN,
    )


def test_curves_hold_what_the_records_hold(tmp_path: Path) -> None:
    records = [record("lr-only", None, 0.2), record("full", None, 0.5)]
    records += [record("ours", budget, 0.3 + budget / 3) for budget in curves.BUDGETS]
    assert curves.draw_depths(records, tmp_path, 18)
    assert curves.draw_budgets(records, tmp_path, 18)
    depths = rows_of(tmp_path / curves.A_CSV)
    assert [int(row["K"]) for row in depths] == list(DEPTHS)
    budgets = [row for row in rows_of(tmp_path / curves.B_CSV) if row["method"] == "sampler + predictor"]
    assert [float(row["OBR"]) for row in budgets] == [0, *curves.BUDGETS, 1]
    assert float(budgets[0]["Base mAP@100"]) == 0.2


def test_without_records_there_is_no_curve(tmp_path: Path) -> None:
    assert not curves.draw_budgets([], tmp_path, 18)
    assert not (tmp_path / curves.B_PNG).exists()
    assert rows_of(tmp_path / curves.B_CSV) == []


def test_the_cosine_of_a_token_with_itself_is_one(parts: Parts) -> None:
    tokens = parts.full(parts.test_rows()[:1])
    torch.testing.assert_close(
        centred_cosines(tokens, tokens, parts.mean), torch.ones(1, 100, tokens.shape[2])
    )


def test_a_thumbnail_has_its_tiles_where_they_lie() -> None:
    scene = World(1).scene(0)
    thumbnail = hr_thumbnail(scene)
    assert thumbnail.shape == (320, 320, 3)
    means = thumbnail.reshape(10, 32, 10, 32, 3).mean(axis=(1, 3)).reshape(100, 3)
    np.testing.assert_allclose(means, scene.mosaic.float().mean(dim=(2, 3)).numpy(), atol=1)
