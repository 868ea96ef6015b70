"""A run folder: its settings, its weights, its log. Every file in it is whole or absent.

A stage of training is finished when its file stands in the folder, so a killed run continues at the last
finished stage. Weights are safetensors; nothing is pickled.
"""

import contextlib
import fcntl
import hashlib
import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import gl10m
from gl10m.manifest.parquet import TEMPORARY, replacing

CONFIGURATION = "config.json"
LOG = "log.jsonl"
LOCK = ".lock"


class RunMismatchError(ValueError):
    """A run folder holds a run with other settings, or on another data set."""


class RunBusyError(RuntimeError):
    """Another process is at work in the run folder."""


class RunDamagedError(ValueError):
    """A file of the run folder cannot be read."""


class Run:
    """An open run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, name: str) -> bool:
        """Whether a file of that name is finished."""
        return (self.folder / name).exists()

    def write_weights(self, name: str, state: Mapping[str, Tensor]) -> None:
        """Store tensors as `name`, a safetensors file."""
        whole = {key: tensor.detach().contiguous().clone() for key, tensor in sorted(state.items())}
        with replacing(self.folder / name) as temporary:
            save_file(whole, temporary)

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
        try:
            return load_file(path)
        except safetensors.SafetensorError as error:
            raise RunDamagedError(
                f"{path} is damaged ({error}). Delete it and run the command again."
            ) from error

    def write_checkpoint(self, stage: str, state: Mapping[str, Any]) -> None:
        """Keep the state of an unfinished stage, in the place of what was kept before."""
        with replacing(self.folder / f"{stage}.checkpoint") as temporary:
            torch.save(dict(state), temporary)

    def read_checkpoint(self, stage: str) -> dict[str, Any] | None:
        """The state of an unfinished stage, None where there is none. Only tensors and plain values are read.

        Raises:
            RunDamagedError: the file is not what was written.
        """
        path = self.folder / f"{stage}.checkpoint"
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise RunDamagedError(
                f"{path} is damaged ({error}). Delete it and run the command again: the stage begins anew."
            ) from error
        return state

    def drop_checkpoint(self, stage: str) -> None:
        """Forget the state of a stage that is finished."""
        (self.folder / f"{stage}.checkpoint").unlink(missing_ok=True)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Store a JSON object as `name`; the same value gives the same bytes."""
        with replacing(self.folder / name) as temporary:
            temporary.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read the JSON object `name`.

        Raises:
            RunDamagedError: it is none.
        """
        path = self.folder / name
        try:
            value = json.loads(path.read_text())
        except ValueError as error:
            raise RunDamagedError(
                f"{path} is damaged ({error}). Delete it and run the command again."
            ) from error
        if not isinstance(value, dict):
            raise RunDamagedError(f"{path} holds no JSON object. Delete it and run the command again.")
        return value

    def log(self, **record: object) -> None:
        """Append one line to log.jsonl."""
        with (self.folder / LOG).open("a") as lines:
            lines.write(json.dumps(record, sort_keys=True) + "\n")


@contextlib.contextmanager
def open_run(folder: Path, settings: Mapping[str, Any]) -> Iterator[Run]:
    """Open a run folder for one process, or make it.

    Args:
        folder: where the run lives.
        settings: what decides the result; JSON. A folder that was made with others is refused.

    Raises:
        RunMismatchError: the folder holds another run.
        RunBusyError: another process has it open.
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunBusyError(
                f"another process is at work in {folder}. Wait for it, or choose another --out."
            ) from None
        for leftover in folder.glob(f"{TEMPORARY}*-*"):
            leftover.unlink(missing_ok=True)
        run = Run(folder)
        wanted = json.loads(json.dumps(settings))
        if run.has(CONFIGURATION):
            _must_match(folder, run.read_json(CONFIGURATION).get("settings", {}), wanted)
        else:
            run.write_json(CONFIGURATION, {"settings": wanted, "made_with": made_with()})
        yield run


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch work with this many threads, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def made_with() -> dict[str, object]:
    """What else the exact bytes of the weights depend on, beside the settings."""
    return {
        "gl10m": gl10m.__version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


@contextlib.contextmanager
def seeded(seed: int, stage: str) -> Iterator[torch.Generator]:
    """Fix all randomness of one stage, so that it does not depend on the stages before it.

    Yields:
        A generator for draws; PyTorch's global one, which initialises layers, has the same seed inside.
    """
    number = int.from_bytes(hashlib.sha256(f"{seed}:{stage}".encode()).digest()[:4], "big")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number)
        yield torch.Generator().manual_seed(number)


def _must_match(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    different = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if different:
        raise RunMismatchError(
            f"{folder} holds a run with other settings: {', '.join(different)} differ. "
            "Choose another folder with --out, or delete this one."
        )
