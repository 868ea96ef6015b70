"""Text from data in Markdown: shown as it is, whatever it holds."""

import html
import re

_MEANT = re.compile(r"([\\`*_{}\[\]()#+!|~])")


def text(value: object) -> str:
    """A text that no renderer takes for markup, in one line."""
    plain = html.escape(" ".join(str(value).split()), quote=False)
    return _MEANT.sub(r"\\\1", plain)


def row(*cells: str) -> str:
    """One row of a table; the cells are Markdown already."""
    return f"| {' | '.join(cells)} |"
