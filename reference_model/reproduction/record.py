"""What one method reached at one cost with one seed, and where the number comes from: one JSON file each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from reference_model.json_file import read_json, write_json

MEASURED: Literal["measured"] = "measured"
NEEDS_WEIGHTS: Literal["needs weights"] = "needs weights"
NEEDS_DATA: Literal["needs data"] = "needs data"

Status = Literal["measured", "needs weights", "needs data"]

FOLDER = "records"


class RecordDamagedError(ValueError):
    """A file of results is not what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a number comes from."""

    software: str
    """Name and version."""

    commit: str
    """Of the checkout, "+" behind it where files differ from it; "none" outside of one."""

    device: str
    encoder: str
    preset: str
    data_set: str
    """SHA-256 of names, places and labels of the scenes; see `Catalogue.digest`."""

    pretrain: str
    """"none", or "gl10m" where the predictor was first trained on another GL-10M build."""

    settings: str
    """SHA-256 of everything that decides the run but the seed."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A number and its 95 % interval over the held-out scenes; no interval where none is defined."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One method at one cost with one seed."""

    method: str
    target_obr: float | None
    """Share of tiles that was asked for; None for a method that buys none or all."""

    seed: int
    status: Status
    needs: str = ""
    """Hub id or name of the data, where they are missing."""

    rows: tuple[str, ...] = ()
    """Rows of the paper that it fills: "table 1/ours"."""

    metrics: Mapping[str, Measurement] = field(default_factory=dict)
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """AP by metric and class name; classes without a positive are left out."""

    provenance: Provenance

    @property
    def name(self) -> str:
        """The file, without its ending."""
        return f"{identity(self.method, self.target_obr)}.seed-{self.seed}"


def identity(method: str, target_obr: float | None) -> str:
    """Name of a method at a cost: "ours@0.123", "full"."""
    return method if target_obr is None else f"{method}@{target_obr:g}"


def write_record(folder: Path, record: Record) -> None:
    """Store a record, whole or not at all; the same record gives the same bytes.

    Args:
        folder: where records lie.
        record: what is stored.

    Raises:
        OSError: it cannot be written.
    """
    write_json(folder / f"{record.name}.json", asdict(record))


def read_records(folder: Path) -> tuple[Record, ...]:
    """All records of a folder, by name.

    Raises:
        RecordDamagedError: a file is not what was written.
    """
    return tuple(read_record(path) for path in sorted(folder.glob("*.json")))


def read_record(path: Path) -> Record:
    """One record.

    Raises:
        FileNotFoundError: there is none.
        RecordDamagedError: the file is not what was written.
    """
    try:
        told: Any = read_json(path)
        told["metrics"] = {name: Measurement(**one) for name, one in told["metrics"].items()}
        told["provenance"] = Provenance(**told["provenance"])
        told["rows"] = tuple(told["rows"])
        return _checked(Record(**told))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RecordDamagedError(
            f"{path} holds no record of this version ({str(error)[:200]}). Delete it and run the command "
            "again."
        ) from error


def _checked(record: Record) -> Record:
    """The record, where its values are what their types say: they end in tables beside published ones."""
    if record.status not in get_args(Status):
        raise ValueError(f"status {record.status!r}")
    words = (record.method, record.needs, *record.rows, *asdict(record.provenance).values())
    if not all(isinstance(word, str) for word in words):
        raise TypeError("a name in it is no text")
    measured = record.metrics.values()
    numbers = [record.seed, *(one.value for one in measured)]
    numbers += [value for classes in record.per_class.values() for value in classes.values()]
    maybe = [record.target_obr, *(edge for one in measured for edge in (one.low, one.high))]
    numbers += [value for value in maybe if value is not None]
    if not all(isinstance(number, int | float) for number in numbers):
        raise TypeError("a number in it is none")
    return record
