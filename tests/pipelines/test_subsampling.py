from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gl10m.manifest.schema import CANDIDATES
from gl10m.scene.class_map import ClassMap
from pipelines.stages.subsampling import PAPER_RATE, SubsamplingParameters, retention, subsample
from tests.scene.test_class_map import MINIMAL

DEFAULT = SubsamplingParameters()


def candidates(anchors: list[int], state: str = "CA", also: int | None = None) -> pa.Table:
    """One candidate for each anchor class, perhaps with one more class in the footprint."""
    rows = [
        {
            "scene_id": f"{state}-w{number}",
            "state": state,
            "osm_id": f"way/{number}",
            "anchor_class": anchor,
            "class_ids": sorted({anchor} if also is None else {anchor, also}),
        }
        for number, anchor in enumerate(anchors, start=1)
    ]
    return pa.Table.from_pylist(rows, schema=CANDIDATES.schema)


def spread_as_in_the_paper(class_map: ClassMap, share: float) -> list[int]:
    return [c.id for c in class_map.concepts for _ in range(round((c.paper_count or 0) * share))]


def test_the_retention_of_the_paper_on_the_counts_of_the_paper(class_map: ClassMap) -> None:
    keep = retention(class_map, PAPER_RATE)
    counts = np.array([concept.paper_count for concept in class_map.concepts])
    assert (keep * counts).sum() / counts.sum() == pytest.approx(273_250 / 319_060)
    assert round(100 * (keep * counts).sum() / counts.sum(), 1) == 85.6
    assert (keep[counts < 15_000] == 1).all()  # rare classes lose none
    assert (np.diff(keep) <= 0).all()  # the more frequent, the more is given up
    capped = (keep * counts)[keep < 1]
    assert capped == pytest.approx(np.full(len(capped), capped[0]))


def test_it_is_reproduced_by_lots(class_map: ClassMap) -> None:
    anchors = spread_as_in_the_paper(class_map, 0.05)
    outcome = subsample(candidates(anchors), "CA", class_map, DEFAULT)
    assert outcome.kept.num_rows / outcome.read == pytest.approx(0.856, abs=0.005)
    assert set(outcome.dropped["reason"].to_pylist()) == {"SUBSAMPLED"}
    assert outcome.kept.schema.equals(CANDIDATES.schema)


@given(st.lists(st.integers(0, 65), max_size=40), st.lists(st.integers(0, 65), max_size=40))
def test_another_state_changes_no_choice(class_map: ClassMap, one: list[int], other: list[int]) -> None:
    california, maine = candidates(one), candidates(other, "ME")
    alone = subsample(california, "CA", class_map, DEFAULT).kept["scene_id"].to_pylist()
    both = (
        subsample(pa.concat_tables([maine, california]), "CA", class_map, DEFAULT)
        .kept["scene_id"]
        .to_pylist()
    )
    assert [name for name in both if str(name).startswith("CA")] == alone


def test_a_footprint_with_a_rare_class_is_never_given_up(class_map: ClassMap) -> None:
    forest, prison, shipyard = 65, 13, 2
    assert subsample(candidates([forest] * 500), "CA", class_map, DEFAULT).kept.num_rows < 300
    assert subsample(candidates([forest] * 500, also=shipyard), "CA", class_map, DEFAULT).kept.num_rows == 500
    assert subsample(candidates([forest] * 500, also=prison), "CA", class_map, DEFAULT).kept.num_rows < 300


def test_seeds_and_rates(class_map: ClassMap) -> None:
    many = candidates([65] * 300)

    def chosen(wanted: SubsamplingParameters) -> list[object]:
        return list(subsample(many, "CA", class_map, wanted).kept["scene_id"].to_pylist())

    def seeded(seed: int) -> list[object]:
        return chosen(SubsamplingParameters(seed=seed))

    def rated(rate: float) -> list[object]:
        return chosen(SubsamplingParameters(rate=rate))

    assert seeded(1) == seeded(1) != seeded(2)
    assert len(rated(1)) == 300
    assert set(rated(0.5)) < set(rated(0.8))  # a smaller share is a part of the larger
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        SubsamplingParameters(rate=0)


@given(st.floats(0.01, 1))
def test_the_rate_is_met_exactly(class_map: ClassMap, rate: float) -> None:
    keep = retention(class_map, rate)
    counts = np.array([concept.paper_count for concept in class_map.concepts])
    assert (keep * counts).sum() / counts.sum() == pytest.approx(rate)
    assert (keep <= 1).all()


def test_a_map_without_counts_gives_all_classes_the_same_rate(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINIMAL)
    assert retention(ClassMap.from_file(tmp_path / "mine.toml"), 0.7).tolist() == [0.7]


def test_no_candidate_no_choice(class_map: ClassMap) -> None:
    outcome = subsample(CANDIDATES.empty(), "CA", class_map, DEFAULT)
    assert (outcome.read, outcome.kept.num_rows) == (0, 0)


def kept_names(rows: pa.Table, state: str, class_map: ClassMap, target: int) -> list[str]:
    wanted = SubsamplingParameters(target=target)
    return [str(name) for name in subsample(rows, state, class_map, wanted).kept["scene_id"].to_pylist()]


@given(st.lists(st.integers(0, 65), max_size=60), st.integers(1, 70), st.randoms())
def test_a_target_is_met_to_the_candidate_in_any_order(
    class_map: ClassMap, anchors: list[int], target: int, chance: Random
) -> None:
    rows = candidates(anchors)
    protected = sum(
        (class_map.concepts[anchor].paper_count or 0) <= DEFAULT.protected_count for anchor in anchors
    )
    kept = kept_names(rows, "CA", class_map, target)
    assert len(kept) == min(len(anchors), max(target, protected))
    order = list(range(len(anchors)))
    chance.shuffle(order)
    assert sorted(kept_names(rows.take(pa.array(order, pa.int64())), "CA", class_map, target)) == sorted(kept)
    assert set(kept) <= set(
        kept_names(rows, "CA", class_map, target + 1)
    )  # a smaller target is a part of a larger


def test_a_target_takes_from_the_frequent_classes_first(class_map: ClassMap) -> None:
    forest, lake, golf = 65, 60, 40
    rows = candidates([forest] * 500 + [lake] * 50 + [golf] * 10)
    outcome = subsample(rows, "CA", class_map, SubsamplingParameters(target=130))
    counts = np.bincount(outcome.kept["anchor_class"].to_numpy(), minlength=66)
    assert (counts[forest], counts[lake], counts[golf]) == (70, 50, 10)
    assert outcome.dropped.num_rows == 430
    assert "keeps 0.1400" in str(outcome.dropped["detail"][0])


def test_a_target_is_each_states_own(class_map: ClassMap) -> None:
    california, maine = candidates([65] * 40), candidates([65] * 7, "ME")
    alone = kept_names(california, "CA", class_map, 12)
    assert len(alone) == 12
    assert len(kept_names(maine, "ME", class_map, 12)) == 7
    assert kept_names(california, "CA", class_map, 12) == alone


def test_a_rate_and_a_target_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match=r"either a rate or a target.*Take one of them away"):
        SubsamplingParameters(rate=0.5, target=10)
    with pytest.raises(ValueError, match="1 candidate a state or more"):
        SubsamplingParameters(target=0)
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        SubsamplingParameters(rate=float("nan"))
