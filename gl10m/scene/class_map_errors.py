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
        if finding["type"] == "too_short" and len(errors) > 1:
            continue  # what is invalid is not counted: an echo of the error before
        line, name = _line_of(text.splitlines(), place)
        where = ".".join(str(part) for part in (place[2:] if name else place))
        what = finding["msg"].removeprefix("Value error, ")
        about = f"{path}, line {line}" + (f", class {name}" if name else "")
        findings.append(f"{about}: {where + ': ' if where else ''}{what}")
    return ClassMapError("\n".join(findings))


def _line_of(lines: list[str], place: tuple[int | str, ...]) -> tuple[int, str]:
    """Line (from 1) that a finding is about, as near as the text allows, and the name of its class."""
    blocks = [number for number, line in enumerate(lines) if _CLASS.match(line)]
    if len(place) < 2 or place[0] != "classes" or not isinstance(place[1], int) or place[1] >= len(blocks):  # noqa: PLR2004 - ("classes", number)
        key = str(place[0]) if place else ""
        return next(
            (n for n, line in enumerate(lines) if re.match(rf"\s*{re.escape(key)}\s*=", line)), 0
        ) + 1, ""
    first = blocks[place[1]]
    last = blocks[place[1] + 1] if place[1] + 1 < len(blocks) else len(lines)
    block = lines[first:last]
    name = next((found[1].strip("\"'") for line in block if (found := _NAME.match(line))), "")
    line = 0
    if len(place) > 2:  # noqa: PLR2004 - a field of the class
        line = next(
            (n for n, text in enumerate(block) if re.match(rf"\s*{re.escape(str(place[2]))}\s*=", text)), 0
        )
    if len(place) > 3 and isinstance(place[3], int) and place[2] in {"rules", "exclude"}:  # noqa: PLR2004 - an entry of a list, one a line
        entries = [n for n, text in enumerate(block) if n > line and text.lstrip().startswith("{")]
        line = entries[place[3]] if place[3] < len(entries) else line
    return first + line + 1, name
