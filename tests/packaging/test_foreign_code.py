"""Nothing that runs code out of a file is called, but where both ends are processes of our own."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("gl10m", "pipelines", "reference_model")

DANGEROUS = {
    "pickle.load",
    "pickle.loads",
    "torch.load",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "marshal.loads",
    "shelve.open",
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "shutil.unpack_archive",
    "np.load",
    "numpy.load",
    "rasterio.open",
}
METHODS = {"extractall"}
"""Of archives, whoever holds them."""

BETWEEN_US = {
    "gl10m/storage/relay.py": "a pipe to a process that this one started",
    "pipelines/sources/isolated_child.py": "a socket to the process that started this one",
    "pipelines/execution/tasks.py": "from the build over Dask, which pickles too: TLS beyond the machine",
}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def harmless(name: str, call: ast.Call) -> bool:
    """Called so that no code of a file is run, and no file of another kind is opened."""
    said = {one.arg: ast.unparse(one.value) for one in call.keywords}
    match name:
        case "torch.load":
            return said.get("weights_only") == "True"
        case "np.load" | "numpy.load":
            return said.get("allow_pickle") == "False"
        case "rasterio.open":
            writes = len(call.args) > 1 and ast.unparse(call.args[1]) == "'w'"
            return said.get("driver") == "'GTiff'" or writes
        case _:
            return False


def test_no_file_runs_code() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno} {name}"
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        for name, call in calls(path)
        if (name in DANGEROUS or name.rpartition(".")[2] in METHODS)
        and not harmless(name, call)
        and str(path.relative_to(ROOT)) not in BETWEEN_US
    ]
    assert found == []


def test_what_is_pickled_between_us_is_still_there() -> None:
    for place in BETWEEN_US:
        assert any(name.startswith("pickle.load") for name, _ in calls(ROOT / place)), place


def test_no_shell_reads_a_name() -> None:
    shells = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        for _, call in calls(path)
        if any(one.arg == "shell" and ast.unparse(one.value) != "False" for one in call.keywords)
    ]
    assert shells == []
