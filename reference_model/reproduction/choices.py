"""What was chosen where the paper is silent, with the values that a run really used."""

import importlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from gl10m.report.markdown import row, text

FILE = "choices.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One thing that the paper leaves open."""

    thing: str
    paper: str
    ours: str
    why: str
    values: tuple[str, ...]
    """Where the values lie; see the file."""


class UnknownValueError(LookupError):
    """The table of choices names a value that a run does not have."""


def choices() -> tuple[Choice, ...]:
    """All choices, in the order of the model."""
    told = tomllib.loads(files("reference_model.reproduction").joinpath(FILE).read_text(encoding="utf-8"))
    return tuple(Choice(**(one | {"values": tuple(one["values"])})) for one in told["choice"])


def used(choice: Choice, run: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Names and values that a run used.

    Args:
        choice: one of the table.
        run: what is known of it: "settings" as in config.json, "calibration", "novel classes", "provenance".

    Raises:
        UnknownValueError: the table names a value that is not there.
    """
    return tuple((_last(place), _shown(_value(place, run))) for place in choice.values)


def page(run: Mapping[str, Any]) -> str:
    """The choices as Markdown; see `used` for `run`."""
    lines = [
        "# What was chosen where the paper is silent",
        "",
        "Made from the configuration of the run and from the code that ran; no value is typed in by hand.",
        "",
        row("thing", "the paper", "here", "why", "values used"),
        row(*["---"] * 5),
    ]
    for one in choices():
        values = "; ".join(f"{name} = {value}" for name, value in used(one, run))
        lines.append(row(*(text(cell) for cell in (one.thing, one.paper, one.ours, one.why, values))))
    return "\n".join(lines) + "\n"


def _value(place: str, run: Mapping[str, Any]) -> object:
    source, _, path = place.partition(": ")
    try:
        if source.startswith("reference_model."):
            return getattr(importlib.import_module(source), path)
        found: Any = run[source]
        for key in path.split("."):
            found = found[key]
    except (KeyError, TypeError, AttributeError, ImportError) as error:
        raise UnknownValueError(f"{FILE} names {place!r}, which this run does not have ({error})") from error
    return found


def _last(place: str) -> str:
    return place.partition(": ")[2]


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(one)}" for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_shown(one) for one in value) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
