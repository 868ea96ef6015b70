"""Errors in a class map that name the line of the file."""

import re

from pydantic import ValidationError

_CLASS = re.compile(r"\s*\[\[\s*classes\s*\]\]")
_NAME = re.compile(r"\s*name\s*=\s*(.+?)\s*$")


class ClassMapError(ValueError):
    """A class map breaks a rule of its format."""


def located(path: str, text: str, error: ValidationError) -> ClassMapError:
    """Turn the findings of pydantic into one message with the line and the class of each.

    Args:
        path: name of the file.
        text: its content.
        error: what the validation found.
    """
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    findings = []
    for finding in errors:
        place = finding["loc"]
        if place == ("classes",) and len(errors) > 1:
            continue  # "too few classes", since the invalid ones were not counted: an echo
        line, name = _line_of(text.splitlines(), place)
        where = ".".join(str(part) for part in (place[2:] if name else place))
        what = finding["msg"].removeprefix("Value error, ")
        about = f"{path}, line {line}" + (f", class {name}" if name else "")
        findings.append(f"{about}: {where + ': ' if where else ''}{what}")
    return ClassMapError("\n".join(findings))


def _line_of(lines: list[str], place: tuple[int | str, ...]) -> tuple[int, str]:
    """Line (from 1) that a finding is about, as near as the text allows, and the name of its class."""
    blocks = [number for number, line in enumerate(lines) if _CLASS.match(line)] + [len(lines)]
    match place:
        case ("classes", int(number), *rest) if number < len(blocks) - 1:
            first, block = blocks[number], lines[blocks[number] : blocks[number + 1]]
            name = next((found[1].strip("\"'") for line in block if (found := _NAME.match(line))), "")
            return first + _line_in_class(block, rest) + 1, name
        case _:
            return _line_of_key(lines, str(place[0]) if place else "") + 1, ""


def _line_in_class(block: list[str], rest: list[int | str]) -> int:
    """Line (from 0) within the text of one class."""
    match rest:
        case [("rules" | "exclude") as key, int(number), *_]:
            start = _line_of_key(block, key)
            entries = [n for n, line in enumerate(block) if n > start and line.lstrip().startswith("{")]
            return entries[number] if number < len(entries) else start
        case [key, *_]:
            return _line_of_key(block, str(key))
        case _:
            return 0


def _line_of_key(lines: list[str], key: str) -> int:
    """Line (from 0) that sets a key, or 0 where none does."""
    setting = re.compile(rf"\s*{re.escape(key)}\s*=")
    return next((number for number, line in enumerate(lines) if setting.match(line)), 0)
