"""The command as a person meets it: help, errors, exit codes, imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.class_cli import classes

HEAVY = {
    "torch",
    "dask",
    "distributed",
    "rasterio",
    "geopandas",
    "pyarrow",
    "ee",
    "shapely",
    "numpy",
    "osmium",
}


def gl10m(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "GL10M_DEBUG"}
    return subprocess.run(
        [sys.executable, "-m", "gl10m", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment,
    )


def test_help_names_the_commands_in_the_order_of_use() -> None:
    shown = gl10m("--help").stdout
    order = ["build", "split", "verify", "train-reference"]
    places = [shown.index(f"\n  {name} ") for name in order]
    assert places == sorted(places)


def test_help_loads_no_engine() -> None:
    commands = (
        "gl10m.cli, gl10m.export.cli, pipelines.cli, reference_model.cli, reference_model.inference.cli, "
        "reference_model.zeroshot.cli"
    )
    code = f"import sys, {commands}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(loaded.stdout.split())


def test_building_does_not_import_torch() -> None:
    code = "import sys, pipelines.build; print('torch' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "False"


COMMANDS = [
    "build",
    "candidates",
    "coverage",
    "plan",
    "world",
    "status",
    "split",
    "stats",
    "report",
    "view",
    "trace",
    "picture",
    "verify",
    "card",
    "export huggingface",
    "export webdataset",
    "export stac",
    "export croissant",
    "train-reference",
    "evaluate-reference",
    "reproduce",
    "plan-tiles",
    "evaluate-zeroshot",
    "classes list",
    "classes explain",
    "classes check",
    "classes schema",
    "classes report",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str) -> None:
    shown = gl10m(*command.split(), "--help")
    assert shown.returncode == 0
    assert f"gl10m {command}" in shown.stdout.replace("Usage:", "").split("Example", 1)[1]


BAD_INPUT = [
    (["build", "--states", "ZZ"], "no such state: ZZ"),
    (["build", "--states", "CALIFORNIA"], "a state is two letters"),
    (["build", "--states", "CA", "--source", "stac"], "--stac-url"),
    (["build", "--states", "CA", "--stac-url", "http://127.0.0.1:9"], "Add --source stac"),
    (["coverage", "--states", "CA", "--stac-url", "http://127.0.0.1:9"], "Add --source stac"),
    (
        ["build", "--states", "CA", "--source", "synthetic", "--sentinel2-collection", "mine"],
        "--sentinel2-collection names a collection of a STAC API",
    ),
    (["build", "--states", "CA,TX", "--osm", "a.osm.pbf"], "does not say which of CA, TX"),
    (["build", "--states", "CA", "--osm", "TX=a.osm.pbf"], "not among --states CA"),
    (["build", "--states", "CA", "--osm", "nothing.osm.pbf", "--source", "synthetic"], "no OSM file at"),
    (["build", "--states", "CA", "--osm", "CA=", "--source", "synthetic"], "no OSM file at"),
    (
        ["build", "--states", "CA", "--osm", "http://127.0.0.1:9/town.zip"],
        "an address of an OSM file ends in",
    ),
    (
        ["build", "--states", "CA", "--source", "synthetic", "--items", "x=y"],
        "the sensors are naip, sentinel-2",
    ),
    (["build", "--states", "CA", "--source", "earth-engine", "--items", "no.parquet"], "file at no.parquet"),
    (["build", "--states", "XX", "--source", "synthetic"], "the demo world has the 11 states of the paper"),
    (["build", "--states", "CA", "--source", "synthetic", "--scheduler", "nope"], "`dask scheduler"),
    (["build", "--states", "CA", "--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers"),
    (["compact", "nope"], "gl10m build"),
    (["plan", "--states", ""], "a state is two letters"),
    (["build", "--states", ","], "a state is two letters"),
    (["build", "--states", "CA", "--config", "nothing.toml"], "no configuration file"),
    (["coverage", "--states", "ME", "--source", "synthetic"], "Build it first: gl10m build --states ME"),
    (["stats"], "gl10m build"),
    (["plan-tiles", "--run", "nothing", "--out", "order.parquet"], "gl10m train-reference"),
    (["evaluate-zeroshot", "--run", "nothing", "--eurosat", "nothing"], "EuroSAT_RGB.zip"),
    (["split"], "gl10m build"),
    (["card"], "gl10m build"),
    (["export", "webdataset", "--out", "tars"], "gl10m build"),
    (["export", "croissant"], "gl10m build"),
    (["report"], "gl10m build"),
    (["view"], "gl10m build"),
    (["split", "--by", "state", "--seed", "3"], "--seed is for --by group or random or block"),
    (["split", "--by", "concept", "--fractions", "train=1"], "--fractions is for --by group"),
    (["trace", "CA-w1"], "gl10m build"),
    (["trace", "-200,4"], "longitude comes first"),
    (["trace", "37.7,-122.4"], "Is the order swapped? -122.4,37.7 is a place"),
    (["trace", "1,2,3"], "a place is LON,LAT in degrees"),
    (["status"], "gl10m build"),
    (["candidates", "--osm", "nothing.osm"], "no OSM file at"),
    (["candidates", "--osm", "ftp://host/town.osm.pbf"], "only http:// and https:// addresses are read"),
    (["candidates", "--osm", "http://127.0.0.1:9/town.zip"], "an address of an OSM file ends in"),
    (["classes", "list", "--class-map", "nothing.toml"], "no class map at nothing.toml"),
    (["classes", "report", "nothing.osm.pbf"], "there is no OSM file nothing.osm.pbf"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD_INPUT)
def test_bad_input_is_one_line_with_a_remedy(tmp_path: Path, arguments: list[str], said: str) -> None:
    ended = gl10m(*arguments, cwd=tmp_path)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("gl10m:")]
    assert len(lines) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["natural=water", "natural=wood"], "an object has each key once; got natural=water, natural=wood"),
        (["natural=water", "--area", "nan"], "'nan' is no number"),
    ],
)
def test_what_no_object_has_is_not_explained(asked: list[str], said: str) -> None:
    ended = CliRunner().invoke(classes, ["explain", *asked])
    assert ended.exit_code == 2
    assert said in " ".join(ended.output.split())


def test_each_fault_of_a_class_map_is_a_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('version = 2\nname = "my map"\nclasses = []\n')
    ended = gl10m("classes", "check", "mine.toml", cwd=tmp_path)
    assert ended.returncode == 2
    assert [line.split(":")[0] for line in ended.stderr.splitlines()] == [
        f"mine.toml, line {number}" for number in (1, 2, 3)
    ]
    other = gl10m("classes", "list", "--class-map", "mine.toml", cwd=tmp_path)
    assert len(other.stderr.splitlines()) == 1


def test_a_folder_of_the_users_called_pipelines_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "__init__.py").write_text("raise RuntimeError('the wrong house')")
    assert gl10m("build", "--help", cwd=tmp_path).returncode == 0
