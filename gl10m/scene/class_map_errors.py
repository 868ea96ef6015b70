"""Errors in a class map that name the line of the file."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from gl10m.scene.concept import Concept
from gl10m.scene.tag_rule import TagRule

Place = tuple[int | str, ...]
"""Where in the file: ("classes", 3, "rules", 0, "when")."""

_CLASS = re.compile(r"\s*\[\[\s*classes\s*\]\]")
_SETTING = re.compile(r"\s*([A-Za-z0-9_-]+\s*=|\[\[)")
_SUBJECT = re.compile(r"^(Input|String|Tuple|Value|Dictionary) ")
_LONGEST = 80  # characters of a value that is shown


class ClassMapError(ValueError):
    """A class map breaks a rule of its format."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a class map."""

    place: Place
    words: str


def faults_of(error: ValidationError) -> list[Fault]:
    """What pydantic found, in the words of the format."""
    found = error.errors(include_url=False)
    faults = []
    for finding in found:
        place: Place = finding["loc"]
        echo = finding["type"] == "too_short" and any(
            other["loc"][: len(place)] == place and other is not finding for other in found
        )
        if echo:
            continue  # "too few rules", since the invalid ones were not counted
        if finding["type"] == "rule":
            place = (*place, "rules", finding["ctx"]["rule"])
        faults.append(Fault(place, _words(finding, place)))
    return faults


def faults_between(concepts: Sequence[Concept]) -> list[Fault]:
    """What is wrong with the classes of a map beside each other."""
    faults = [
        Fault(("classes", number, "id"), f"ids run 0, 1, 2 ... in the order of the file; got {concept.id}")
        for number, concept in enumerate(concepts)
        if concept.id != number
    ]
    for field in ("name", "slug"):
        used = Counter(getattr(concept, field) for concept in concepts)
        faults += [
            Fault(("classes", number, field), f"each {field} is used once; used twice: {text}")
            for number, concept in enumerate(concepts)
            if used[text := getattr(concept, field)] > 1
        ]
    if any(concept.paper_count is not None for concept in concepts):
        faults += [
            Fault(("classes", number), "all classes have a paper_count or none; it is missing here")
            for number, concept in enumerate(concepts)
            if concept.paper_count is None
        ]
    return faults


def located(path: str, text: str, parsed: dict[str, Any], faults: Iterable[Fault]) -> ClassMapError:
    """One error of all faults, a line of text for each, with the line of the file and the class.

    Args:
        path: name of the file.
        text: its content.
        parsed: what the TOML says.
        faults: what is wrong.
    """
    lines, said = text.splitlines(), []
    for fault in faults:
        name = _class_name(parsed, fault.place)
        line = _line_of(lines, fault.place) + 1
        where = ".".join(str(part) for part in (fault.place[2:] if name else fault.place))
        about = f"{path}, line {line}" + (f", class {name}" if name else "")
        said.append(f"{about}: {where + ': ' if where else ''}{fault.words}")
    return ClassMapError("\n".join(said))


def _words(finding: Any, place: Place) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    said = str(finding["msg"]).removeprefix("Value error, ")
    match finding["type"]:
        case "missing":
            return "it is missing"
        case "extra_forbidden":
            return f"there is no such key; there are {', '.join(_keys(place))}"
        case "value_error" | "rule":
            return said
        case _:
            shown = repr(finding["input"])
            shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
            return f"{_SUBJECT.sub('it ', said).replace(' after validation', '')}; got {shown}"


def _keys(place: Place) -> list[str]:
    """Keys that may stand where an unknown one was found."""
    if "rules" in place:
        return list(TagRule.model_fields)
    return list(Concept.model_fields) if len(place) > 1 else ["version", "name", "classes"]


def _class_name(parsed: dict[str, Any], place: Place) -> str:
    """Name of the class that a fault is about; empty where there is none."""
    match place, parsed.get("classes"):
        case ("classes", int(number), *_), list(classes) if number < len(classes):
            given = classes[number]
            return str(given.get("name", "")) if isinstance(given, dict) else ""
        case _:
            return ""


def _line_of(lines: list[str], place: Place) -> int:
    """Line (from 0) that a fault is about, as near as the text allows."""
    blocks = [number for number, line in enumerate(lines) if _CLASS.match(line)] + [len(lines)]
    match place:
        case ("classes", int(number), *rest) if number < len(blocks) - 1:
            return blocks[number] + _line_in_class(lines[blocks[number] : blocks[number + 1]], rest)
        case _:
            return _line_of_key(lines[: blocks[0]], str(place[0]) if place else "")


def _line_in_class(block: list[str], rest: list[int | str]) -> int:
    """Line (from 0) within the text of one class."""
    match rest:
        case [("rules" | "exclude") as key, int(number), *inner]:
            entries = _entries(block, key)
            if number >= len(entries):
                return _line_of_key(block, key)
            after = entries[number + 1] if number + 1 < len(entries) else len(block)
            wanted = str(inner[0]) if inner else ""
            return entries[number] + _line_of_key(block[entries[number] : after], wanted)
        case [key, *_]:
            return _line_of_key(block, str(key))
        case _:
            return 0


def _entries(block: list[str], key: str) -> list[int]:
    """Lines (from 0) at which the rules or exclusions of a class begin: `{ ... },` or `[[classes.rules]]`."""
    header = re.compile(rf"\s*\[\[\s*classes\s*\.\s*{key}\s*\]\]")
    tables = [place for place, line in enumerate(block) if header.match(line)]
    start = _line_of_key(block, key)
    if tables or not start:
        return tables
    rest = list(enumerate(block))[start + 1 :]
    listed = itertools.takewhile(lambda numbered: not _SETTING.match(numbered[1]), rest)
    return [place for place, line in listed if line.lstrip().startswith("{")]


def _line_of_key(lines: list[str], key: str) -> int:
    """Line (from 0) that sets a key, or 0 where none does."""
    setting = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*=""")
    return next((number for number, line in enumerate(lines) if setting.match(line)), 0)
