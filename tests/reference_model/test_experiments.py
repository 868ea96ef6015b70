"""A protocol is fixed first, a killed seed goes on, and the report leaves no ordering out."""

import csv
import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from gl10m.manifest.parquet import NoFileTargetError
from reference_model.experiments.cli import reproduce_orderings
from reference_model.experiments.gates import gates_of
from reference_model.experiments.orderings import SeedResult, outcome
from reference_model.experiments.phase_map import cells, read_phase_map, run_phase_map
from reference_model.experiments.protocol import Gates, Ordering, ProtocolError
from reference_model.experiments.protocol_files import maps, protocol_of, protocols, read_protocol
from reference_model.experiments.run import run_protocol
from reference_model.run import RunMismatchError
from tests.reference_model.small_protocol import SMALL_PROTOCOL


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("experiment")
    run_protocol(protocol_of(SMALL_PROTOCOL), out, say=lambda _: None)
    return out


def test_the_report_holds_every_seed_run_and_ordering(finished: Path) -> None:
    protocol = protocol_of(SMALL_PROTOCOL)
    text = (finished / "small.md").read_text()
    for one in protocol.orderings:
        assert f"| {one.id} | {one.claim} |" in text
    assert all(f"| {name} |" in text for name in protocol.runs)
    assert text.count("**not separable**") + text.count("**confirmed**") + text.count("**reversed**") == 3
    with (finished / "small.csv").open() as table:
        assert {(row["seed"], row["run"]) for row in csv.DictReader(table)} == {
            (str(seed), name) for seed in protocol.seeds for name in protocol.runs
        }
    with (finished / "small-differences.csv").open() as table:
        assert len(list(csv.DictReader(table))) == 6


def test_a_report_of_some_seeds_says_that_others_are_missing(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    assert "Interim" not in (copy / "small.md").read_text()
    (copy / "seed-2" / "small.json").unlink()
    run_protocol(protocol_of(SMALL_PROTOCOL), copy, say=lambda _: None, seeds=[1])
    text = (copy / "small.md").read_text()
    assert "**Interim: 1 of 2 registered seeds are not run yet." in text
    assert "so far" in text
    assert "came out" not in text


def test_random_tiles_cost_what_the_sampler_bought(finished: Path) -> None:
    runs = json.loads((finished / "seed-1" / "small.json").read_text())["runs"]
    assert runs["random"]["OBR"] == pytest.approx(runs["ours"]["OBR"], abs=0.005)
    assert runs["lr-only"]["OBR"] == 0


def test_thresholds_buy_all_and_nothing_at_their_ends(finished: Path) -> None:
    sweep = json.loads((finished / "seed-1" / "small.json").read_text())["sweep"]
    assert [one["OBR"] for one in sweep][::2] == [1.0, 0.0]


@pytest.mark.parametrize("lost", [("small.json",), ("small.json", "scores", "model.safetensors", "rows")])
def test_a_seed_that_was_cut_off_ends_in_the_same_bytes(
    finished: Path, tmp_path: Path, lost: tuple[str, ...]
) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    for name in lost:
        path = copy / "seed-2" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run_protocol(protocol_of(SMALL_PROTOCOL), copy, say=lambda _: None, seeds=[2])
    for name in ("small.md", "small.csv", "small-differences.csv", "seed-2/small.json"):
        assert (copy / name).read_bytes() == (finished / name).read_bytes(), name


def test_another_protocol_is_refused_in_the_same_folder(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "seed-1" / "small.json").unlink()
    changed = deepcopy(SMALL_PROTOCOL)
    changed["knobs"]["most_rubble"] = 2
    with pytest.raises(RunMismatchError, match="knobs differ"):
        run_protocol(protocol_of(changed), copy, say=lambda _: None)


def result(seed: int, better: float, worse: float) -> SeedResult:
    return SeedResult(
        seed=seed,
        runs={"a": {"base/mAP@100": better, "OBR": 0.1}, "b": {"base/mAP@100": worse, "OBR": 0.12}},
        resampled={"a": np.full(9, better), "b": np.full(9, worse)},
        training={},
        sweep=(),
    )


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ((0.10, 0.12, 0.08, 0.11, 0.09), "confirmed"),
        ((-0.10, -0.12, -0.08, -0.11, -0.09), "reversed"),
        ((0.10, -0.12, 0.08, -0.11, 0.09), "not separable"),
        ((0.0, 0.0, 0.0), "not separable"),
    ],
)
def test_an_ordering_is_judged_over_seeds(differences: tuple[float, ...], verdict: str) -> None:
    ordering = Ordering(id="O1", claim="a above b", better="a", worse="b")
    judged = outcome(ordering, [result(seed, 0.5 + value, 0.5) for seed, value in enumerate(differences)])
    assert judged.comparison.verdict == verdict
    assert judged.apart == pytest.approx(0.02)


def test_gates_name_what_does_not_hold() -> None:
    figures = {"full-no-predictor": 0.3, "prevalence": 0.15, "completion": 0.5, "spread": 0.8}
    for fusion in ("product", "structural", "semantic", "additive"):
        figures |= {f"range {fusion}": 0.5, f"captured {fusion}": 0.9}
    failing = [gate.name for gate in gates_of(figures, Gates(), 0.123) if not gate.holds]
    assert failing == ["full observation without predictor / prevalence"]


def changed(**values: object) -> dict[str, Any]:
    return deepcopy(SMALL_PROTOCOL) | values


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (changed(seeds=[101]), r"\[101\] are both"),
        (changed(rows=["ours", "mine"]), "got mine"),
        (changed(knobs={"zone": 3}), "protocol.knobs has the keys .*got 'zone'"),
        (
            changed(orderings=[{"id": "O", "claim": "", "better": "full", "worse": "ours"}]),
            "ordering O compares full, which the protocol does not run",
        ),
        (changed(target_obr="much"), r"protocol\.target_obr: .*got 'much'\. Mend it"),
        (changed(name="../../other"), "name is that of its files"),
        (changed(seeds=[]), "one at least"),
        (changed(rows=["ours"], curve=[]), "need the rows full-no-predictor"),
        ([1, 2], "is a mapping of keys"),
    ],
)
def test_a_protocol_that_is_none_is_refused(values: object, told: str) -> None:
    with pytest.raises(ProtocolError, match=told):
        protocol_of(values)


def test_a_seed_that_is_not_registered_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="write its own protocol"):
        run_protocol(protocol_of(SMALL_PROTOCOL), tmp_path, say=lambda _: None, seeds=[7])


def test_a_report_that_cannot_be_written_is_told_before_anything_is_run(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(NoFileTargetError, match="taken, above"):
        run_protocol(
            protocol_of(SMALL_PROTOCOL), tmp_path / "out", say=lambda _: None, report_to=tmp_path / "taken"
        )
    assert not (tmp_path / "out").exists()


def test_protocols_of_the_package_can_be_read() -> None:
    assert "orderings" in protocols()
    for name in protocols():
        assert read_protocol(name).name == name


@pytest.mark.slow
def test_a_map_turns_two_knobs_and_marks_cells_that_fail_a_gate(tmp_path: Path) -> None:
    base, asked = tmp_path / "base.yaml", tmp_path / "map.yaml"
    base.write_text(yaml.safe_dump(SMALL_PROTOCOL))
    of = {"name": "map", "of": str(base), "seeds": [5], "orderings": ["O1"]}
    turned = {"down": "most_rubble", "down_values": [0, 9], "across": "lr_noise", "across_values": [0.01]}
    asked.write_text(yaml.safe_dump(of | turned))
    text = run_phase_map(read_phase_map(asked), tmp_path / "out", say=lambda _: None)
    assert text == (tmp_path / "out" / "map.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith(("| 0 ", "| 9 "))]
    assert len(lines) == 2
    assert all(line.count("|") == 3 and "(" in line for line in lines)  # six steps teach nothing
    assert run_phase_map(read_phase_map(asked), tmp_path / "out", say=lambda _: None) == text


def test_maps_of_the_package_can_be_read() -> None:
    for name in maps():
        asked = read_phase_map(name)
        assert len(cells(asked)) == len(asked.down_values) * len(asked.across_values)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"down": "height"}, "no knob 'height'"),
        ({"orderings": ["O99"]}, "asked for O99"),
        ({"down_values": (2.5,)}, "a whole number; asked for 2.5"),
    ],
)
def test_a_map_of_what_is_not_there_is_refused(values: dict[str, Any], told: str) -> None:
    asked = replace(read_phase_map("phases"), **values)
    with pytest.raises(ProtocolError, match=told):
        cells(asked)


BOMB = "\n".join(["- &a0 [1, 1]", *(f"- &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))])
"""2 ** 60 numbers, spelled in a page."""


@pytest.mark.parametrize("content", [b"a: [1", b"\xff\xfe\x00", b"a: 2026-13-45", b"[" * 100_000])
def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    for read in (read_protocol, read_phase_map):
        with pytest.raises(ProtocolError, match=r"YAML in UTF-8; .*mine.yaml is none"):
            read(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (BOMB, "is a mapping of keys"),
        ("1: a\nb: c", "got 'b', 1"),
        ("#" * (1 << 21), "at most 1048576 bytes"),
    ],
)
def test_a_protocol_that_means_harm_is_refused_at_once(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(ProtocolError, match=told):
        read_protocol(tmp_path / "mine.yaml")


def test_a_value_that_would_fill_memory_is_told_by_its_beginning() -> None:
    value: list[Any] = [1, 1]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(ProtocolError, match=r"protocol\.name: ") as caught:
        protocol_of(changed(name=value))
    assert len(str(caught.value)) < 1000


def test_an_unknown_protocol_is_one_clear_line() -> None:
    ran: Callable[..., Any] = CliRunner().invoke
    told = ran(reproduce_orderings, ["--protocol", "nothing"])
    assert isinstance(told.exception, FileNotFoundError)
    assert "orderings" in str(told.exception)
