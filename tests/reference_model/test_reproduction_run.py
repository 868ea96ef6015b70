"""From a data set to the report: what stands in the folder, how it goes on after a kill, how it is opened."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from reference_model.baselines.entry import Assets
from reference_model.encoding import EncoderChoice
from reference_model.json_file import read_json, write_json
from reference_model.methods.registry import UnknownMethodError, methods
from reference_model.reproduction import reproduce as running
from reference_model.reproduction.bench import ForeignRecordError, bench_of, measure_all
from reference_model.reproduction.choices import choices, used
from reference_model.reproduction.cli import reproduce as command
from reference_model.reproduction.opening import opened_setting, recipe_of
from reference_model.reproduction.other_rows import other_trials
from reference_model.reproduction.paper import paper_table, paper_tables
from reference_model.reproduction.record import MEASURED, read_records
from reference_model.reproduction.table import result_table
from reference_model.reproduction.trials import trials
from reference_model.reproduction.zero_shot import EUROSAT, Folders, joined
from reference_model.run import RunMismatchError
from reference_model.scenes import read_catalogue
from reference_model.train import Ground, Recipe, train_reference
from tests.reference_model.settings import QUICK, SPLITS
from tests.reference_model.test_zeroshot import rgb_archive
from tests.reference_model.worlds import World

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ViewportSize

FEW = ("lr-only", "full", "ours", "sar-hr", "remoteclip", "sar-night-lights", "sar-hr-max", "scale-mae")
"""Rows of one training, one that learns nothing, two that wait for something, two that the paper lacks."""


def ground(scenes: int = 20) -> Ground:
    world = World(scenes)
    return Ground(scenes=world, catalogue=read_catalogue(world, novel=["Marina"]), splits=SPLITS)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reproduction") / "out"
    said: list[str] = []
    running.reproduce(ground(), folder, Recipe(preset=QUICK), [0], say=said.append, only=FEW)
    assert any("ours at OBR 0.123" in line for line in said)
    return folder


def table(out: Path, number: int) -> dict[str, dict[str, str]]:
    with (out / "tables" / f"table-{number}.csv").open(newline="") as lines:
        return {row["row"]: row for row in csv.DictReader(lines)}


def test_what_could_not_be_recognised_after_the_training_is_refused_before_it(tmp_path: Path) -> None:
    recipe = Recipe(preset=QUICK, encoder=EncoderChoice(name="of-another-package"))
    beside = running.Outside(folders=Folders(eurosat=tmp_path))
    with pytest.raises(running.NoModelError, match="this one has of-another-package"):
        running.reproduce(ground(), tmp_path / "out", recipe, [0], say=lambda _: None, outside=beside)
    assert not (tmp_path / "out").exists()


def test_every_method_of_the_tables_is_in_the_registry() -> None:
    assert {trial.method for trial in trials()} <= set(methods())


def test_every_row_of_the_paper_says_how_it_stands(out: Path) -> None:
    for one in paper_tables():
        assert one.number is not None
        rows = table(out, one.number)
        assert list(rows) == [row.id for row in one.rows]
        assert all(row["status"] for row in rows.values())
    first = table(out, 1)
    assert first["ours"]["status"] == "measured"
    assert float(first["full"]["OBR"]) == 1
    assert float(first["lr-only"]["OBR"]) == 0
    assert 0 < float(first["ours"]["OBR"]) < 1
    assert 0 < float(first["ours"]["base/mAP@100"]) <= 1
    assert first["remoteclip"]["status"] == "needs weights (chendelong/RemoteCLIP)"
    assert first["sar-night-lights"]["status"] == "needs data (VIIRS night lights)"
    assert first["sar"]["status"] == "not run"
    assert table(out, 6)["default"]["base/mAP@100"] == first["ours"]["base/mAP@100"]


def test_rows_that_no_table_of_the_paper_has_stand_in_their_own(out: Path) -> None:
    with (out / "tables" / "other-rows.csv").open(newline="") as lines:
        rows = {row["row"]: row for row in csv.DictReader(lines)}
    assert list(rows) == ["scale-mae", "sar-hr-max"]
    assert rows["sar-hr-max"]["status"] == "measured"
    assert float(rows["sar-hr-max"]["OBR"]) == 1
    assert 0 < float(rows["sar-hr-max"]["novel/mAP@100"]) <= 1
    assert rows["scale-mae"]["status"].startswith("needs weights (torchgeo/vit_large_patch16_224_fmow_rgb_")
    assert "### Other rows. " in (out / "tables" / "other-rows.md").read_text()
    assert r"\caption{Other rows: " in (out / "tables" / "other-rows.tex").read_text()
    assert '<section id="other-rows"' in (out / "report.html").read_text()
    assert "sar-hr-max" in (out / "MODEL_CARD.md").read_text()


def test_every_method_that_is_named_has_something_to_run() -> None:
    asked = {trial.method for trial in trials()}
    assert {trial.method for trial in other_trials(list(methods()))} == set(methods()) - asked


def test_base_and_novel_are_told_apart(out: Path) -> None:
    (record,) = [one for one in read_records(out / "records") if one.name == "ours@0.123.seed-0"]
    assert record.status == MEASURED
    assert record.metrics["base/classes"].value + record.metrics["novel/classes"].value == 5
    assert record.metrics["novel/mAP@100"].value == record.per_class["mAP@100"]["Marina"]


def test_every_figure_is_a_picture_with_numbers(out: Path) -> None:
    folder = out / "figures"
    names = {path.name for path in folder.iterdir()}
    numbers = {
        "figure-3.csv",
        "figure-4a.csv",
        "figure-4b.csv",
        "figure-5.csv",
        "figure-7.csv",
        "figure-8.csv",
    }
    assert numbers | {"figure-9.csv", "figure-3.png", "figure-5.png", "figure-7.png", "figure-8.png"} <= names
    for name in names:
        if name.endswith(".png"):
            with Image.open(folder / name) as picture:
                assert min(picture.size) > 200
                assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 50
        if name.endswith(".csv"):
            with (folder / name).open(newline="") as lines:
                assert len({len(row) for row in csv.reader(lines)}) == 1
    assert load_file(folder / "pca.safetensors")["components"].shape[0] == 3


def test_a_finished_run_measures_nothing_again(out: Path) -> None:
    said: list[str] = []
    before = {path: path.stat().st_mtime_ns for path in (out / "records").iterdir()}
    done = [trial for trial in trials() if trial.method in {"lr-only", "full", "sar-hr"}]
    with opened_setting(ground(), out / "seeds" / "0", Recipe(preset=QUICK), 0, said.append) as setting:
        measure_all(bench_of(setting, out / "records", Assets(), said.append), done)
    assert not [line for line in said if line.startswith("[")]
    assert before == {path: path.stat().st_mtime_ns for path in (out / "records").iterdir()}


def test_eurosat_joins_the_record_of_our_row(out: Path, tmp_path: Path) -> None:
    rgb_archive(tmp_path)
    folders = Folders(eurosat=tmp_path / "EuroSAT_RGB")
    (ours,) = [one for one in read_records(out / "records") if one.name == "ours@0.123.seed-0"]
    assert folders.wanted(ours) == (EUROSAT,)
    found = joined(ours, folders.opened(), out / "seeds" / "0", None, None)
    assert 0 <= found.metrics[EUROSAT].value <= 1
    assert folders.wanted(found) == ()
    (told,) = [line for line in result_table(paper_table(3), [found]).lines if line.row.method == "ours"]
    assert told.status == "measured; needs data (BigEarthNet)"
    assert told.ours[EUROSAT].mean == found.metrics[EUROSAT].value


def test_a_folder_of_another_data_set_is_refused(out: Path) -> None:
    with pytest.raises(RunMismatchError, match=r"scenes differ\. Name those that it was made with"):
        running.reproduce(ground(21), out, Recipe(preset=QUICK), [0], say=lambda _: None)


def test_torchrun_is_told_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(running.ManyProcessesError, match=r"started 2\. Train each seed under torchrun with"):
        running.reproduce(ground(), tmp_path, Recipe(preset=QUICK), [0], say=lambda _: None)


def test_an_evaluation_trains_nothing_that_was_lost(out: Path, tmp_path: Path) -> None:
    run = shutil.copytree(out / "seeds" / "0", tmp_path / "run")
    write_json(run / "metrics.json", {})
    (run / "sampler.safetensors").unlink()
    with pytest.raises(
        running.UnfinishedRunError, match=r"has lost sampler\.safetensors, and nothing is trained"
    ):
        running.evaluate_run(ground(), run, tmp_path / "shown", Recipe(preset=QUICK), 0, say=lambda _: None)


def test_records_of_another_run_are_refused(out: Path, tmp_path: Path) -> None:
    mixed = shutil.copytree(out, tmp_path / "mixed")
    record = mixed / "records" / "ours@0.123.seed-0.json"
    told = read_json(record)
    told["provenance"]["settings"] = "another"
    write_json(record, told)
    with pytest.raises(ForeignRecordError, match="is of another run"):
        running.reproduce(ground(), mixed, Recipe(preset=QUICK), [0], say=lambda _: None, only=("ours",))


def test_the_choices_show_the_values_of_the_run(out: Path) -> None:
    text = (out / "CHOICES.md").read_text()
    assert "preset.gain\\_weight = 1" in text
    assert "novel" not in text or "names = Marina" in text
    assert len(choices()) == 36
    with pytest.raises(LookupError, match="does not have"):
        used(choices()[0], {})


def test_the_card_has_front_matter_and_limits(out: Path) -> None:
    _, front, body = (out / "MODEL_CARD.md").read_text().split("---\n", 2)
    told = yaml.safe_load(front)
    assert told["library_name"] == "gl10m"
    assert told["model-index"][0]["results"]
    assert "## Limits" in body
    assert "reproduce no number of the paper" in body


def test_one_run_is_evaluated_without_training(out: Path, tmp_path: Path) -> None:
    run = out / "seeds" / "0"
    with pytest.raises(running.UnfinishedRunError, match="no finished run"):
        running.evaluate_run(ground(), run, tmp_path, Recipe(preset=QUICK), 0, say=lambda _: None)


@pytest.mark.slow
def test_a_finished_run_is_evaluated_without_training(out: Path, tmp_path: Path) -> None:
    here, run = ground(), shutil.copytree(out / "seeds" / "0", tmp_path / "run")
    train_reference(here, run, Recipe(preset=QUICK), 0, lambda _: None)
    before = {path.name: path.read_bytes() for path in run.glob("*.safetensors")}
    running.evaluate_run(here, run, tmp_path / "out", Recipe(preset=QUICK), 0, say=lambda _: None)
    assert before == {name: (run / name).read_bytes() for name in before}
    rows = table(tmp_path / "out", 4)
    assert rows["sampler-predictor"]["status"] == rows["random-predictor"]["status"] == "measured"
    assert rows["sampler"]["status"] == "not run"
    assert rows["sampler-predictor"]["base/mAP@100"] == table(out, 4)["sampler-predictor"]["base/mAP@100"]


def test_a_folder_that_holds_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no run"):
        recipe_of(tmp_path, EncoderChoice(), "cpu")


@pytest.mark.parametrize("seeds", ["", "a", "-1", "0,,1"])
def test_bad_seeds_are_refused(seeds: str) -> None:
    result = CliRunner().invoke(command, ["--out", "x", "--seeds", seeds])
    assert result.exit_code == 2
    assert "seeds are whole numbers" in result.output


def test_unknown_methods_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    names, folder = ("ours", "nothing-like-it"), tmp_path / "out"
    with pytest.raises(UnknownMethodError, match="nothing-like-it"):
        running.reproduce(ground(), folder, Recipe(preset=QUICK), [0], say=lambda _: None, only=names)
    assert not folder.exists()


@pytest.mark.parametrize(("width", "height"), [(1240, 760), (400, 800)])
def test_the_report_opens_without_a_word_or_a_request(
    browser: "Browser",
    out: Path,
    width: int,
    height: int,
) -> None:
    size: ViewportSize = {"width": width, "height": height}
    page = browser.new_context(viewport=size).new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((out / "report.html").as_uri())
    assert page.locator("main table").count() >= 8
    images = page.evaluate("[...document.images].map(image => image.complete && image.naturalWidth)")
    assert len(images) >= 6
    assert all(images)
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


KILLED = """
import sys
from pathlib import Path
from reference_model.train import Recipe
from reference_model.reproduction.reproduce import reproduce
from tests.reference_model.settings import QUICK
from tests.reference_model.test_reproduction_run import FEW, ground
reproduce(ground(), Path(sys.argv[1]), Recipe(preset=QUICK), [0], say=print, only=FEW)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment", ["seeds/0/encoder.safetensors", "records/full.seed-0.json", "tables/table-1.md"]
)
def test_a_killed_run_goes_on_to_the_same_bytes(out: Path, tmp_path: Path, moment: str) -> None:
    target = tmp_path / "killed"
    command_line = [sys.executable, "-c", KILLED, str(target)]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command_line, env=environment, stdout=subprocess.DEVNULL) as process:
        while not (target / moment).exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    subprocess.run(command_line, env=environment, check=True, stdout=subprocess.DEVNULL)
    wanted, found = files(out), files(target)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if wanted[name] != found[name]] == []


def files(folder: Path) -> dict[str, bytes]:
    """All that a run leaves, but times, and the settings, which tell of the process, too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "config.json" and not path.name.startswith("times.")
    }
