"""A package of someone else brings an encoder and a row, each in one file, by its entry points."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_model.baselines.entry import Assets
from reference_model.baselines.registry import BASELINES
from reference_model.encoding import encoded
from reference_model.face import Setting
from reference_model.methods.registry import methods, outcomes
from reference_model.networks.published import ForeignEntryError, open_published
from reference_model.reproduction.bench import Bench, measure_all
from reference_model.reproduction.other_rows import other_tables, other_trials
from reference_model.reproduction.record import read_records
from reference_model.reproduction.table import result_table
from reference_model.run import Run
from reference_model.scenes import read_catalogue
from tests.reference_model.own_rows import NORTH
from tests.reference_model.test_reproduction_tables import ORIGIN
from tests.reference_model.worlds import World

PAGE = Path(__file__).parents[2] / "docs" / "baselines.md"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `pip install` leaves of such a package: a folder on the path with its entry points."""
    folder = tmp_path / "site" / "own_rows-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: own-rows\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[gl10m.encoders]\ncolours = tests.reference_model.own_rows:colours\n"
        "[gl10m.baselines]\nnorth = tests.reference_model.own_rows:NORTH\n"
    )
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


@pytest.mark.usefixtures("installed")
def test_a_row_of_another_package_stands_among_the_others_and_runs(setting: Setting) -> None:
    assert methods().keys() >= {*BASELINES, "ours", "north"}
    (outcome,) = outcomes(setting, "north", [0.1])
    assert outcome.obr == pytest.approx(0.1)
    assert outcome.scores.shape == (6, 5)


@pytest.mark.usefixtures("installed")
def test_a_row_of_another_package_is_measured_where_it_is_named(setting: Setting, tmp_path: Path) -> None:
    said: list[str] = []
    bench = Bench(setting=setting, records=tmp_path, origin=ORIGIN, assets=Assets(), say=said.append)
    measure_all(bench, other_trials(["north"]))
    assert said == [f"[1/1] north at OBR 0.1, seed {setting.job.seed}"]
    (record,) = records = read_records(tmp_path)
    assert record.metrics["OBR"].value == pytest.approx(0.1)
    (shown,) = [line for table in other_tables(records) for line in result_table(table, records).lines]
    assert (shown.row.label, shown.row.input, shown.ours["OBR"].mean) == ("north", "LR + HR", 0.1)


def test_the_row_that_the_page_shows_runs_as_it_stands(setting: Setting) -> None:
    shown = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (code,) = [part for part in shown if "NORTH" in part]
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the page's own example
    entry, rows = names["NORTH"], torch.from_numpy(setting.job.roles.test)
    method = entry.make(setting, Assets(), 0)
    method.fit()
    selected = method.plan(rows, entry.paper_obr)
    ours = NORTH.make(setting, Assets(), 0)
    assert torch.equal(selected, ours.plan(rows, NORTH.paper_obr))
    assert torch.equal(method.rank(method.embed(rows, selected)), ours.rank(ours.embed(rows, selected)))


@pytest.mark.usefixtures("installed")
def test_an_encoder_of_another_package_encodes_a_data_set(setting: Setting, tmp_path: Path) -> None:
    world = World(2)
    encoder = open_published("colours")
    job = replace(setting.job, scenes=world, catalogue=read_catalogue(world, ()), run=Run(tmp_path))
    features = encoded(job, encoder)
    assert features.hr.shape == (2, 100, 4, 4)
    assert features.lr.shape == (2, 16, 4)
    assert not any(one.requires_grad for one in encoder.parameters())
    assert torch.equal(features.hr[..., 3], torch.ones(2, 100, 4, dtype=torch.float16))


def test_what_is_not_installed_is_not_known() -> None:
    assert "north" not in methods()
    with pytest.raises(ValueError, match=r"an encoder is one of clip, .*asked for 'colours'"):
        open_published("colours")


def test_an_entry_point_that_holds_something_else_is_told(installed: Path) -> None:
    (installed / "entry_points.txt").write_text(
        "[gl10m.encoders]\ncolours = pathlib:PurePosixPath\n"
        "[gl10m.baselines]\nsouth = tests.reference_model.own_rows:NORTH\n"
    )
    with pytest.raises(TypeError, match=r"entry point south .* must hold an Entry of that name"):
        methods()
    with pytest.raises(TypeError, match=r"entry point colours .* gives PurePosixPath"):
        open_published("colours", Path("weights.pth"))
    (installed / "entry_points.txt").write_text(
        "[gl10m.encoders]\nsiglip2 = tests.reference_model.own_rows:colours\n"
        "[gl10m.baselines]\nours = tests.reference_model.own_rows:NORTH\n"
    )
    with pytest.raises(ForeignEntryError, match=r"ours .* has the name of another row"):
        methods()
    with pytest.raises(ForeignEntryError, match=r"siglip2 .* has the name of another encoder"):
        open_published("siglip2", Path("weights.safetensors"))
    (installed / "entry_points.txt").write_text("[gl10m.baselines]\nsouth = tests.reference_model:NONE\n")
    with pytest.raises(ForeignEntryError, match=r"south .* cannot be imported .* uninstall it"):
        methods()


@pytest.mark.parametrize("command", ["train-reference", "reproduce"])
def test_the_commands_take_encoders_of_other_packages(installed: Path, command: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", "from gl10m.cli import main; main()", command, "--help"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": f"{Path.cwd()}:{installed.parent}"},
    )
    assert "|colours]" in "".join(told.stdout.split())
