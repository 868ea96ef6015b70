"""Protocols and phase maps as YAML files: found by name, bounded, and refused where one has a slip in it."""

import reprlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from reference_model.experiments.protocol import Protocol, ProtocolError

FOLDER = "protocols"

MOST_BYTES = 1 << 20
"""No protocol is longer."""

_Kind = TypeVar("_Kind")


def protocols() -> tuple[str, ...]:
    """Names of the protocols that come with the package."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def maps() -> tuple[str, ...]:
    """Names of the phase maps that come with the package."""
    return tuple(sorted(path.stem for path in (_folder() / "maps").glob("*.yaml")))


def bundled_protocol(source: str | Path) -> Path:
    """The file of a protocol or phase map.

    Args:
        source: the name of one that comes with the package, or a YAML file.

    Raises:
        FileNotFoundError: there is none.
    """
    named = [_folder() / f"{source}.yaml", _folder() / "maps" / f"{source}.yaml", Path(source)]
    for path in named:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"there is no protocol {source}. Name a YAML file, or one of {', '.join((*protocols(), *maps()))}."
    )


def _folder() -> Path:
    return Path(str(files("reference_model.experiments"))) / FOLDER


def read_protocol(source: str | Path) -> Protocol:
    """Read a protocol.

    Args:
        source: the name of one that comes with the package, or a YAML file.

    Raises:
        FileNotFoundError: there is none.
        ProtocolError: it is none.
    """
    return protocol_of(read_yaml(bundled_protocol(source)))


def read_yaml(path: Path) -> object:
    """The plain values of a YAML file.

    Raises:
        ProtocolError: it is none.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ProtocolError(f"a protocol or a map has at most {MOST_BYTES} bytes; {path} has more. Mend it.")
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # of YAML, of dates in it, of UTF-8
        reason = " ".join(str(error).split())[:200]
        raise ProtocolError(
            f"a protocol or a map is YAML in UTF-8; {path} is none ({reason}). Mend it."
        ) from error


def protocol_of(values: object) -> Protocol:
    """Build a protocol from plain values, as YAML gives them.

    Raises:
        ProtocolError: they make none.
    """
    check_keys(Protocol, values, "protocol")
    return validated(Protocol, values, "protocol")


def validated(kind: type[_Kind], values: object, where: str) -> _Kind:
    """Plain values as a dataclass.

    Args:
        kind: the dataclass.
        values: as YAML gives them.
        where: for the message.

    Raises:
        ProtocolError: they make none; the first value that is wrong is told.
    """
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first, *others = error.errors()
        place = ".".join((where, *map(str, first["loc"])))
        more = f", and {len(others)} more" if others else ""
        # Of aliases within aliases a few bytes spell gigabytes: only the beginning is spelled.
        got = reprlib.repr(first["input"])
        raise ProtocolError(f"{place}: {first['msg']}; got {got}{more}. Mend it.") from error


def check_keys(kind: type, values: object, where: str) -> None:
    """Refuse keys that nothing heeds: they are slips of the pen.

    Args:
        kind: the dataclass that is made from the values.
        values: a mapping, as YAML gives it.
        where: for the message.

    Raises:
        ProtocolError: a key is unknown, here or in a dataclass inside.
    """
    if not isinstance(values, Mapping):
        raise ProtocolError(f"{where} is a mapping of keys; got {reprlib.repr(values)}. Mend it.")
    known = {one.name for one in fields(kind)}
    if unknown := sorted(map(reprlib.repr, set(values) - known)):
        raise ProtocolError(
            f"{where} has the keys {', '.join(sorted(known))}; got {', '.join(unknown)}. Correct them."
        )
    for name, hint in get_type_hints(kind).items():
        if is_dataclass(hint) and isinstance(hint, type) and name in values:
            check_keys(hint, values[name], f"{where}.{name}")
