"""Tables from records: every row of the paper, every number with its origin, in three formats."""

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gl10m.report.funnel import published
from reference_model.json_file import read_json, write_json
from reference_model.reproduction import model_card
from reference_model.reproduction.correlation import kendall, spearman
from reference_model.reproduction.formats import as_csv, as_latex, as_markdown
from reference_model.reproduction.intervals import over_scenes, summarise
from reference_model.reproduction.other_rows import other_tables
from reference_model.reproduction.paper import paper_table, paper_tables
from reference_model.reproduction.publish import headline
from reference_model.reproduction.record import (
    MEASURED,
    NEEDS_DATA,
    NEEDS_WEIGHTS,
    Measurement,
    Provenance,
    Record,
    RecordDamagedError,
    read_record,
    read_records,
    write_record,
)
from reference_model.reproduction.table import NOT_RUN, Line, ResultTable, result_table
from reference_model.reproduction.trials import OF_FIGURE_4B, trials

ORIGIN = Provenance(
    software="gl10m 9.9",
    commit="0123abcd",
    device="cpu (AVX2)",
    encoder="small",
    preset="tiny",
    data_set="d" * 64,
    pretrain="none",
    settings="5" * 64,
)

METRICS = {"base/mAP@100": Measurement(0.4, 0.3, 0.5), "OBR": Measurement(0.12)}


def record(method: str, obr: float | None, seed: int = 0, value: float = 0.4) -> Record:
    metrics = METRICS | {"base/mAP@100": Measurement(value, value - 0.1, value + 0.1)}
    return Record(
        method=method, target_obr=obr, seed=seed, status=MEASURED, metrics=metrics, provenance=ORIGIN
    )


def line(result: ResultTable, row: str) -> Line:
    return next(one for one in result.lines if one.row.id == row)


# The paper's own numbers.


def test_every_row_of_the_papers_tables_is_there() -> None:
    assert {table.number: sum(not row.extra for row in table.rows) for table in paper_tables()} == {
        1: 11,
        2: 13,
        3: 4,
        4: 4,
        5: 7,
        6: 10,
    }


def test_numbers_that_the_paper_prints_twice_are_the_same() -> None:
    ours = {
        n: next(row for row in paper_table(n).rows if row.id == name).paper
        for n, name in ((1, "ours"), (4, "sampler-predictor"), (6, "default"))
    }
    for other in (4, 6):
        assert ours[other]["base/mAP@100"] == ours[1]["base/mAP@100"] == 0.636
        assert ours[other]["seconds"] == ours[1]["seconds"]
    splits = {row.id: row.paper for row in paper_table(5).rows}
    assert sum(splits[name]["scenes"] for name in ("train", "val", "test")) == splits["total"]["scenes"]
    assert splits["total"]["hr-observations"] == 100 * splits["total"]["scenes"]


def test_table_5_is_the_published_counts_of_the_manifests() -> None:
    told, rows = published(), {row.id: row.paper for row in paper_table(5).rows}
    assert {name: rows[name]["scenes"] for name in told["splits"]} == told["splits"]
    counted = (rows["indexed"]["scenes"], rows["download"]["scenes"], rows["final"]["scenes"])
    assert counted == (told["indexed"], told["for_download"], told["complete"])
    assert rows["total"]["hr-observations"] == told["hr_tiles"]


def test_every_number_of_a_row_belongs_to_a_column() -> None:
    for table in paper_tables():
        metrics = {column.metric for column in table.columns}
        assert len({row.id for row in table.rows}) == len(table.rows)
        assert all(set(row.paper) <= metrics for row in table.rows)
        assert all(row.extra != bool(row.paper) for row in table.rows)


def test_a_method_at_one_cost_is_run_once_whatever_asks_for_it() -> None:
    todo = trials()
    assert len({trial.key for trial in todo}) == len(todo)
    (ours,) = [trial for trial in todo if trial.key == "ours@0.123"]
    assert set(ours.rows) >= {"table 1/ours", "table 4/sampler-predictor", "table 6/default", OF_FIGURE_4B}


# Records.


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = replace(record("ours", 0.123), rows=("table 1/ours",), per_class={"mAP@100": {"Dam": 0.5}})
    write_record(tmp_path, written)
    assert read_records(tmp_path) == (written,)
    assert (tmp_path / "ours@0.123.seed-0.json").exists()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"method": 1}', "null", '{"seed": NaN}', "[" * 200_000, "\xff"]
)
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ours.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(RecordDamagedError, match=r"ours\.json"):
        read_record(path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"status": "sure"}, "status 'sure'"),
        ({"seed": None}, "a number in it is none"),
        ({"metrics": {"OBR": {"value": "low"}}}, "a number in it is none"),
        ({"metrics": {"OBR": {"value": None}}}, "a number in it is none"),
        ({"per_class": {"mAP@100": {"Dam": []}}}, "a number in it is none"),
        ({"rows": [1]}, "a name in it is no text"),
        ({"needs": " " * (1 << 25)}, "at most 16777216 are read"),
    ],
)
def test_a_record_that_lies_does_not_reach_a_table(
    tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    write_record(tmp_path, record("ours", 0.123))
    (path,) = tmp_path.glob("*.json")
    write_json(path, read_json(path) | changes)
    with pytest.raises(RecordDamagedError, match=told):
        read_record(path)


# Rows.


def test_a_row_tells_what_it_waits_for() -> None:
    waiting = [
        replace(record("remoteclip", None), status=NEEDS_WEIGHTS, needs="chendelong/RemoteCLIP", metrics={}),
        replace(record("sar-night-lights", 0.236), status=NEEDS_DATA, needs="VIIRS night lights", metrics={}),
    ]
    result = result_table(paper_table(1), waiting)
    assert line(result, "remoteclip").status == "needs weights (chendelong/RemoteCLIP)"
    assert line(result, "sar-night-lights").status == "needs data (VIIRS night lights)"
    assert line(result, "ours").status == NOT_RUN
    assert not any(one.ours for one in result.lines)


def test_several_seeds_become_a_mean_with_students_interval() -> None:
    values = [0.40, 0.44, 0.45]
    result = result_table(paper_table(4), [record("ours", 0.123, seed, v) for seed, v in enumerate(values)])
    found = line(result, "sampler-predictor").ours["base/mAP@100"]
    scipy_stats = pytest.importorskip("scipy.stats", reason="pip install scipy")
    low, high = scipy_stats.t.interval(0.95, 2, np.mean(values), scipy_stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high), abs=1e-6)
    assert found.over == "seeds"
    assert line(result, "sampler-predictor").seeds == (0, 1, 2)


def test_the_head_of_the_report_has_the_numbers_of_the_tables() -> None:
    tables = [result_table(paper_table(1), [record("ours", 0.123, seed, 0.4 + seed / 10) for seed in (0, 1)])]
    assert line(tables[0], "ours").ours["base/mAP@100"].mean == pytest.approx(0.45)
    assert headline(tables, 2, 18) == (
        ("rows measured", f"1 of {len(tables[0].lines)}"),
        ("seeds", "2"),
        ("scenes held out", "18"),
        ("OBR", "0.120"),
        ("Base mAP@100", "0.450"),
    )
    assert len(headline([result_table(paper_table(1), [])], 1, 18)) == 3


def test_one_seed_keeps_its_interval_over_scenes() -> None:
    found = summarise([Measurement(0.4, 0.3, 0.5)])
    assert (found.mean, found.low, found.high, found.over) == (0.4, 0.3, 0.5, "scenes")


def test_a_row_that_is_measured_in_part_says_what_is_missing() -> None:
    zero_shot = replace(record("ours", 0.123), metrics={"all/mAP": Measurement(0.3, 0.2, 0.4)})
    found = line(result_table(paper_table(3), [zero_shot]), "ours")
    assert found.status == "measured; needs data (EuroSAT, BigEarthNet)"


def test_what_a_table_of_the_paper_asks_for_is_no_other_row() -> None:
    records = [record(trial.method, trial.target_obr) for trial in trials()]
    assert other_tables(records) == ()
    (table,) = other_tables([*records, record("sar-hr-max", None), record("of-a-package-that-is-gone", 0.1)])
    assert [row.id for row in table.rows] == ["of-a-package-that-is-gone@0.1", "sar-hr-max"]
    assert line(result_table(table, [record("sar-hr-max", None)]), "sar-hr-max").ours["OBR"].mean == 0.12


# Formats.


def filled() -> ResultTable:
    return result_table(paper_table(6), [record("ours", 0.123), record("structural", 0.123, 0, 0.35)])


def test_csv_has_every_row_and_the_whole_origin_of_every_number() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(filled()))))
    assert [row["row"] for row in rows] == [row.id for row in paper_table(6).rows]
    for row in rows:
        if row["base/mAP@100"]:
            assert row["data_set"] == "d" * 64
            assert row["commit"] == "0123abcd"
            assert row["seeds"] == "0"
            assert row["interval over"] == "scenes"
            assert (
                float(row["base/mAP@100 low"]) < float(row["base/mAP@100"]) < float(row["base/mAP@100 high"])
            )
        else:
            assert row["status"] == NOT_RUN
            assert not row["commit"]
        assert row["row"] == "cross-only" or float(row["base/mAP@100 paper"]) > 0


def test_markdown_is_a_table_with_one_width() -> None:
    text = as_markdown(filled())
    table = [one for one in text.splitlines() if one.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", one) for one in table]
    assert len({len(row) for row in cells}) == 1
    assert len(table) == 2 + len(paper_table(6).rows)
    assert "0.400 [0.300, 0.500]* (0.636)" in text
    assert "- a: gl10m 9.9, commit 0123abcd, cpu \\(AVX2\\), encoder small" in text


def test_a_number_stands_nowhere_without_its_origin() -> None:
    for one in filled().lines:
        assert bool(one.ours) == bool(one.origins)


def test_latex_is_balanced_and_every_row_has_all_cells() -> None:
    text = as_latex(filled())
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    closed = re.findall(r"\\end\{(\w+)\}", text)
    assert opened == list(reversed(closed)) == ["table", "tabular"]
    body = text.split(r"\begin{tabular}")[1].split(r"\end{tabular}")[0]
    columns = len(re.findall("[lr]", body.split("}")[0]))
    rows = [one for one in body.splitlines() if one.endswith(r"\\") and not one.startswith(r"\multicolumn")]
    assert len(rows) == 1 + len(paper_table(6).rows)
    assert {len(re.findall(r"(?<!\\)&", one)) + 1 for one in rows} == {columns}
    bare = re.sub(r"\\[&%$#_{}]|%.*", "", text)
    assert bare.count("{") == bare.count("}")
    assert not set("#$&_^~%") & set(re.sub(r"[&]| \\\\", "", bare).replace("\n", ""))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no LaTeX on this machine")
def test_latex_compiles(tmp_path: Path) -> None:
    tables = "".join(as_latex(result_table(table, [record("ours", 0.123)])) for table in paper_tables())
    (tmp_path / "t.tex").write_text(rf"\documentclass{{article}}\begin{{document}}{tables}\end{{document}}")
    subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_the_model_card_is_front_matter_that_yaml_reads_and_the_measured_rows() -> None:
    text = model_card.model_card(ORIGIN, [0], [filled()], "40 scenes taught.")
    _, front, body = text.split("---\n", 2)
    told = yaml.safe_load(front)
    result = told["model-index"][0]["results"][0]
    assert {"type": "mAP", "name": "base/mAP@100", "value": 0.4} in result["metrics"]
    assert r"| Structural only | 0.350 \[0.250, 0.450\]\* |" in body
    assert "Semantic only" not in body


# Statistics.

samples = st.lists(st.integers(0, 4), min_size=2, max_size=12)


@given(samples, st.randoms(use_true_random=False))
def test_rank_correlations_are_those_of_scipy(one: list[int], random: object) -> None:
    scipy_stats = pytest.importorskip("scipy.stats", reason="pip install scipy")
    other = list(one)
    random.shuffle(other)  # type: ignore[attr-defined]
    first, second = np.array(one, float), np.array(other, float)
    if len(set(one)) == 1:
        assert np.isnan(kendall(first, second))
        assert np.isnan(spearman(first, second))
        return
    assert kendall(first, second) == pytest.approx(scipy_stats.kendalltau(first, second).statistic)
    assert spearman(first, second) == pytest.approx(scipy_stats.spearmanr(first, second).statistic)


def test_an_interval_over_scenes_holds_the_mean_and_leaves_nan_out() -> None:
    values = [0.1, float("nan"), 0.5, 0.6]
    found = over_scenes(values)
    assert found.mean == pytest.approx(0.4)
    assert found.low is not None
    assert found.high is not None
    assert 0.1 <= found.low < found.mean < found.high <= 0.6
    with pytest.raises(ValueError, match="none has one"):
        over_scenes([float("nan")])
