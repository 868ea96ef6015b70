"""Writes docs/configuration.md from the parameters themselves.

    python -m scripts.configuration_page

Names, defaults and meanings come from the dataclasses behind `--config` and from the docstrings under their
fields, so that the page cannot say what the code does not.
"""

import argparse
import ast
import inspect
import itertools
import json
import textwrap
from dataclasses import Field, fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

from gl10m.scene.acquisition import Window
from pipelines.config import NETWORK, BuildParameters
from pipelines.sources.patience import PATIENT
from pipelines.stages.footprints import PRESETS, FootprintParameters

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
"""Where the page stands."""

HEAD = """\
# Configuration

<!-- Written by `python -m scripts.configuration_page`; change the docstrings of the parameters instead. -->

`gl10m build --config build.toml` changes any number below; what the file does not name keeps its default.
An unknown section or key is an error, and so is a value of the wrong kind. A changed number redoes only the
stages that depend on it, and stands in the metadata of every manifest (`gl10m.configuration`). The section
`[network]` alone decides nothing of what a data set holds and stands nowhere; docs/faults.md explains it.
"""

PRESET = """\
`preset = "sar"` begins with the rule of the SAR benchmark, the likely ancestor of GL-10M, in place of the
defaults:
{}.
Keys beside it override it. The ancestor takes closed ways alone; here relations count too.
`gl10m candidates --osm FILE --compare-presets` prints what each preset keeps of a file, and
[classes.md](classes.md) what each keeps of the real extracts at hand."""


class UndocumentedParameterError(ValueError):
    """A parameter has no docstring under it."""


def page() -> str:
    """The whole page, Markdown."""
    sections = [
        (section.name, getattr(BuildParameters(), section.name)) for section in fields(BuildParameters)
    ]
    sections.append((NETWORK, PATIENT))
    parts = [HEAD]
    parts += [_section(name, parameters) for name, parameters in sections]
    parts.append(_all(sections))
    return "\n".join(parts)


def _section(name: str, parameters: Any) -> str:  # noqa: ANN401 - any stage's dataclass
    """One stage: what its parameters are for, then a table of them."""
    kind = type(parameters)
    meanings = _meanings(kind)
    lines = [f"## [{name}]", "", _sentence(inspect.getdoc(kind) or ""), ""]
    lines += ["| key | default | meaning |", "|---|---|---|"]
    for parameter in fields(kind):
        shown = _toml(getattr(parameters, parameter.name))
        lines.append(
            f"| `{parameter.name}` | {f'`{shown}`' if shown else 'none'} | {meanings[parameter.name]} |"
        )
    if name == "footprints":
        lines += ["", *_presets()]
    return "\n".join([*lines, ""])


def _presets() -> list[str]:
    """The presets of the footprints, in words and numbers."""
    about, sar = PRESETS["default"], PRESETS["sar"]
    changed = [
        f"`{field.name} = {_toml(getattr(sar, field.name))}`"
        for field in fields(FootprintParameters)
        if getattr(sar, field.name) != getattr(about, field.name)
    ]
    return [PRESET.format(", ".join(changed))]


def _meanings(kind: type) -> dict[str, str]:
    """The docstring under each field of a dataclass, on one line.

    Raises:
        UndocumentedParameterError: a field has none.
    """
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    statements = body.body if isinstance(body, ast.ClassDef) else []
    found: dict[str, str] = {}
    for named, said in itertools.pairwise(statements):
        if (
            isinstance(named, ast.AnnAssign)
            and isinstance(named.target, ast.Name)
            and isinstance(said, ast.Expr)
            and isinstance(said.value, ast.Constant)
            and isinstance(said.value.value, str)
        ):
            found[named.target.id] = _sentence(said.value.value)
    missing = [field.name for field in _fields(kind) if field.name not in found]
    if missing:
        raise UndocumentedParameterError(f"{kind.__name__} says nothing of {', '.join(missing)}")
    return found


def _fields(kind: type) -> tuple[Field[Any], ...]:
    return fields(kind) if is_dataclass(kind) else ()


def _sentence(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _toml(value: object) -> str:
    """A value as TOML writes it; empty for none, which TOML cannot say."""
    match value:
        case None:
            return ""
        case Window():
            return f"{{ first = {value.first}, last = {value.last} }}"
        case bool():
            return str(value).lower()
        case int() | float() | date():
            return str(value)
        case str():
            return json.dumps(value)  # TOML's basic strings know JSON's escapes
        case tuple():
            return f"[{', '.join(_toml(part) for part in value)}]"
        case _:
            raise TypeError(f"no TOML for {type(value).__name__}; add it to scripts/configuration_page.py")


def _all(sections: list[tuple[str, Any]]) -> str:
    """All defaults as one file to begin with."""
    lines = ["## All defaults", "", "```toml"]
    for name, parameters in sections:
        lines.append(f"[{name}]")
        for parameter in fields(type(parameters)):
            shown = _toml(getattr(parameters, parameter.name))
            lines.append(f"{parameter.name} = {shown}" if shown else f"# {parameter.name} =")
        lines.append("")
    return "\n".join([*lines[:-1], "```", ""])


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
