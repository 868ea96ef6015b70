"""A run folder: its settings, its weights, its log. Every file in it is whole or absent.

A stage of training is finished when its file stands in the folder, so a killed run continues at the last
finished stage. Weights are safetensors; nothing is pickled.
"""

import contextlib
import ctypes
import fcntl
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

import gl10m
from gl10m.manifest.parquet import TEMPORARY, replacing
from reference_model import json_file, weights_file
from reference_model.board import Board
from reference_model.networks.checkpoint_names import UNREADABLE

CONFIGURATION = "config.json"
LOG = "log.jsonl"
LOCK = ".lock"

ROWS = "rows"
"""Folder of the parts that rows share, inside the run folder, each a run folder under the same lock."""


class RunMismatchError(ValueError):
    """A run folder holds a run with other settings, or on another data set."""


class RunBusyError(RuntimeError):
    """Another process is at work in the run folder."""


class RunDamagedError(ValueError):
    """A file of the run folder cannot be read."""


OF_A_RUN = ("*.safetensors", "*.checkpoint", "calibration.json", "metrics.json", "features")
"""What a run folder holds beside its settings."""

_RESTORE = "Bring it back from a copy, or train anew with another --out."

_LONGEST = 200  # characters of another library's message

_Kind = TypeVar("_Kind")


class Run:
    """An open run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.board = Board(folder)

    def has(self, name: str) -> bool:
        """Whether a file of that name is finished."""
        return (self.folder / name).exists()

    def write_weights(self, name: str, state: Mapping[str, Tensor]) -> None:
        """Store tensors as `name`, a safetensors file with their digest."""
        weights_file.write_weights(self.folder / name, state)

    def read_weights(self, name: str) -> dict[str, Tensor]:
        """Read the tensors of `name`.

        Raises:
            FileNotFoundError: the stage that writes them has not finished; nothing random takes their place.
            RunDamagedError: the file is not what was written.
        """
        path = self.folder / name
        if not path.exists():
            raise FileNotFoundError(
                f"{path} is missing. Run `gl10m train-reference --out {self.folder}` again."
            )
        with self.fitting(name):
            return weights_file.read_weights(path)

    def load(self, name: str, **modules: nn.Module) -> None:
        """Put the tensors of `name` into modules; each tensor is called MODULE.PARAMETER.

        Raises:
            FileNotFoundError: as of `read_weights`.
            RunDamagedError: the file is not what was written, or of other modules.
        """
        state = self.read_weights(name)
        with self.fitting(name):
            for prefix, module in modules.items():
                own = {key: tensor for key, tensor in state.items() if key.startswith(f"{prefix}.")}
                module.load_state_dict({key.removeprefix(f"{prefix}."): own[key] for key in own})

    def read_as(self, name: str, kind: Callable[..., _Kind]) -> _Kind:
        """The values of `name`, a JSON or safetensors file, as what they describe.

        Raises:
            FileNotFoundError: as of `read_weights`.
            RunDamagedError: the file is not what was written, or says something else.
        """
        values = self.read_json(name) if name.endswith(".json") else self.read_weights(name)
        with self.fitting(name):
            return kind(**values)

    @contextlib.contextmanager
    def fitting(self, name: str) -> Iterator[None]:
        """Within it, what `name` holds is taken for what it should be.

        Raises:
            RunDamagedError: it is not.
        """
        path = self.folder / name
        try:
            yield
        except FileNotFoundError:
            raise
        except UNREADABLE as error:
            reason = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
            raise RunDamagedError(
                f"{path} is damaged, or of another run ({reason}). Delete it and run the command again: "
                "the stage that writes it begins anew."
            ) from error

    def write_checkpoint(self, stage: str, state: Mapping[str, Any]) -> None:
        """Keep the state of an unfinished stage, in the place of what was kept before.

        Raises:
            OSError: it cannot be written.
        """
        path = self.folder / f"{stage}.checkpoint"
        with replacing(path) as temporary:
            try:
                torch.save(dict(state), temporary)
            except RuntimeError as error:  # PyTorch tells of its position in the file, and of no disk
                raise OSError(
                    f"{path} cannot be written: the disk is full, or fails ({error}). Make room, and run the "
                    "same command again: it goes on."
                ) from error

    def read_checkpoint(self, stage: str) -> dict[str, Any] | None:
        """The state of an unfinished stage, None where there is none. Only tensors and plain values are read.

        Raises:
            RunDamagedError: the file is not what was written.
        """
        path = self.folder / f"{stage}.checkpoint"
        if not path.exists():
            return None
        with self.fitting(path.name):
            _compare_checksums(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(state, dict):
                raise TypeError(f"it holds no state but {type(state).__name__}")
            return state

    def finished(self, stage: str, name: str) -> bool:
        """Whether the file of a stage stands. What a kill between the two has left is forgotten."""
        stands = self.has(name)
        if stands:
            self.drop_checkpoint(stage)
        return stands

    def drop_checkpoint(self, stage: str) -> None:
        """Forget the state of a stage that is finished."""
        (self.folder / f"{stage}.checkpoint").unlink(missing_ok=True)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Store a JSON object as `name`, with its digest; the same value gives the same bytes."""
        json_file.write_json(self.folder / name, value)

    def read_json(self, name: str) -> dict[str, Any]:
        """Read the JSON object `name`.

        Raises:
            FileNotFoundError: it is missing.
            RunDamagedError: it is not what was written.
        """
        with self.fitting(name):
            return json_file.read_json(self.folder / name)

    def log(self, **record: object) -> None:
        """Append one line to log.jsonl, and to TensorBoard's log where that is installed."""
        with (self.folder / LOG).open("a") as lines:
            lines.write(json.dumps(record, sort_keys=True) + "\n")
        self.board.add(record)

    def rewind(self, stage: str, step: int) -> None:
        """Forget the lines of an unfinished stage from a step on, and half a line: they are written again."""
        path = self.folder / LOG
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if _stays(line, stage, step)]
        if kept != lines:
            with replacing(path) as temporary:
                temporary.write_bytes(b"".join(kept))


def _compare_checksums(path: Path) -> None:
    """Compare each part of a checkpoint with its CRC-32, which PyTorch writes and does not read.

    Raises:
        ValueError: one differs, or it is no such archive.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            # An attribute makes PyTorch's reader, but not zipfile, take a part for a folder, which is empty.
            odd = (one.compress_type != zipfile.ZIP_STORED or one.external_attr for one in parts.infolist())
            if any(odd):
                raise ValueError("a part of it is packed or a folder, and none is when it is written")
            changed = parts.testzip()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"it is no archive of PyTorch: {error}") from error
    if changed is not None:
        raise ValueError(f"its part {changed} is not what was written")


def expect_shape(found: Tensor, shape: Sequence[int]) -> None:
    """Hold a tensor of a file against the shape that it was written with; see `Run.fitting`.

    Raises:
        ValueError: it has another.
    """
    if tuple(found.shape) != tuple(shape):
        raise ValueError(f"a tensor of it has the shape {tuple(found.shape)}, and {tuple(shape)} was written")


def settings_of(folder: Path) -> dict[str, Any]:
    """The settings of a run folder, as in its config.json.

    Raises:
        FileNotFoundError: there is no such file.
        RunDamagedError: it is not what was written. The words are not those of other files, which may be
            deleted: this one alone tells what they belong to.
    """
    found = read_settled(folder, CONFIGURATION).get("settings")
    if not isinstance(found, dict):
        raise RunDamagedError(f"{folder / CONFIGURATION} holds no settings. {_RESTORE}")
    return found


def read_settled(folder: Path, name: str) -> dict[str, Any]:
    """A JSON file that says what a run is; to delete it, as others may be, would lose the run.

    Raises:
        FileNotFoundError: there is none.
        RunDamagedError: it is not what was written.
    """
    try:
        return Run(folder).read_json(name)
    except RunDamagedError as error:
        raise RunDamagedError(f"{folder / name} is damaged ({error.__cause__}). {_RESTORE}") from error


@contextlib.contextmanager
def open_run(folder: Path, settings: Mapping[str, Any]) -> Iterator[Run]:
    """Open a run folder for one process, or make it.

    Args:
        folder: where the run lives.
        settings: what decides the result; JSON. A folder that was made with others is refused.

    Raises:
        RunMismatchError: the folder holds another run.
        RunBusyError: another process has it open.
        RunDamagedError: its settings are damaged, or gone while other files stand.
        OSError: it cannot be written.
    """
    _give_back_memory()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(
            f"a run lives in a folder; {folder} is a file, or lies below one. Name another with --out."
        ) from error
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunBusyError(
                f"another process is at work in {folder}. Wait for it, or choose another --out."
            ) from None
        for own in (folder, *folder.glob(f"{ROWS}/*")):
            for leftover in own.glob(f"{TEMPORARY}*-*"):
                leftover.unlink(missing_ok=True)
        run = Run(folder)
        wanted = json.loads(json.dumps(settings))
        if run.has(CONFIGURATION):
            _must_match(folder, settings_of(folder), wanted)
        elif any(True for kind in OF_A_RUN for _ in folder.glob(kind)):
            raise RunDamagedError(
                f"{folder} holds files of a run, and no {CONFIGURATION} that tells of which. {_RESTORE}"
            )
        else:
            run.write_json(CONFIGURATION, {"settings": wanted, "made_with": made_with()})
        try:
            yield run
        finally:
            run.board.close()


def _give_back_memory() -> None:
    """Give the system what earlier runs of this process have freed.

    glibc keeps it between what is still in use: eight drawn worlds, one after another, came to 15 GB; in a
    like run 170 MB of 2.8 GB were in use. Other C libraries have no such call.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def made_with() -> dict[str, object]:
    """What else the exact bytes of the weights depend on, beside the settings."""
    return {
        "gl10m": gl10m.__version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def _stays(line: bytes, stage: str, step: int) -> bool:
    """Whether a line of the log is whole, and not of these steps."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(record, dict) or record.get("stage") != stage:
        return line.endswith(b"\n")
    found = record.get("step")
    return isinstance(found, int) and found < step


def _must_match(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    different = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if different:
        raise RunMismatchError(
            f"{folder} holds a run with other settings or of another data set: {', '.join(different)} "
            "differ. Name those that it was made with, or another folder."
        )
