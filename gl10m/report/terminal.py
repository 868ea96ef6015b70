"""Text for a terminal: names as they are, but for what a terminal would obey."""

import unicodedata
from collections.abc import Sequence

_OBEYED = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
"""Unicode categories that move the cursor, colour, hide or turn text round, or break the line."""


def plain(text: object) -> str:
    r"""A name from the data as it can be shown: control characters stand as \x1b, HTML stays HTML."""
    return "".join(
        character if unicodedata.category(character) not in _OBEYED else ascii(character)[1:-1]
        for character in str(text)
    )


def columns(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Rows of texts as aligned lines.

    Args:
        rows: the head first; all of one length.
        left: so many columns from the left, and the last one, are flush left; the others flush right.
    """
    shown = [[plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[place]) for row in shown) for place in range(len(shown[0]))]
    lines = []
    for row in shown:
        cells = [
            cell.ljust(width) if place < left or place == len(widths) - 1 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
