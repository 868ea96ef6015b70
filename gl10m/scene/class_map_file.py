"""A class map as it stands in a TOML file: its form, its JSON schema, and how it is read."""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from gl10m.scene.class_map_errors import ClassMapError, Fault, faults_between, faults_of, located
from gl10m.scene.concept import MOST_CONCEPTS, Concept
from gl10m.scene.tag_rule import Strict

FORM = "class_maps/README.md"
"""Where the form is described, named in errors."""


class ClassMapFile(Strict):
    """A class map: concepts and the OpenStreetMap tags that mean them."""

    version: Literal[1]
    """Of the form."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """What the map is called: gl10m-66."""

    classes: tuple[Concept, ...] = Field(min_length=1, max_length=MOST_CONCEPTS)
    """In the order of their ids."""


def json_schema() -> dict[str, Any]:
    """The form as JSON schema, for editors that check TOML while one types.

    It says less than `read_class_map`: not that a rule accepts its example, nor that ids run without a gap.
    """
    return ClassMapFile.model_json_schema()


def read_class_map(path: Path) -> tuple[str, tuple[Concept, ...]]:
    """Read a class map.

    Args:
        path: TOML in the form that class_maps/README.md describes.

    Returns:
        Its name and its concepts.

    Raises:
        ClassMapError: the file is not such a map; the message names the line and the class.
        FileNotFoundError: there is no such file.
    """
    text = _text_of(path)
    try:
        parsed = tomllib.loads(text)
    except ValueError as error:  # no TOML, or a number of thousands of digits
        raise ClassMapError(f"{path} is not TOML: {error}. {FORM} shows the form of a class map.") from None
    except RecursionError:
        raise ClassMapError(f"{path} is no class map: its values are nested without end.") from None
    try:
        written = ClassMapFile.model_validate(parsed)
    except ValidationError as error:
        raise _located(path, text, parsed, faults_of(error)) from None
    faults = faults_between(written.classes)
    if faults:
        raise _located(path, text, parsed, faults)
    return written.name, written.classes


def _located(path: Path, text: str, parsed: dict[str, Any], faults: list[Fault]) -> ClassMapError:
    return located(str(path), text, parsed, faults)


def _text_of(path: Path) -> str:
    """The text of the file, without the mark that some editors put before it.

    Raises:
        ClassMapError: it is not UTF-8 text, or is a folder.
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no class map at {path}. Check the path; a copy of class_maps/gl10m-66.toml is a good beginning."
        )
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ClassMapError(
            f"{path}, line {line}: a class map is UTF-8 text, and this is not ({error.reason}). "
            "Save it as UTF-8."
        ) from None
