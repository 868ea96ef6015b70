"""Numbers as people read them."""

NOTHING = "-"
"""What stands for a number that does not exist."""


def count(number: float) -> str:
    """12,345."""
    return f"{number:,.0f}"


def percent(part: float, whole: float) -> str:
    """12.3 %, or NOTHING where there is no whole."""
    return f"{100 * part / whole:.1f} %" if whole else NOTHING


def short(number: float) -> str:
    """Ticks of an axis: 950, 12k, 1.5M."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def round_up(number: float) -> float:
    """The next number with one digit that is 1, 2, 5 or 10: the end of an axis."""
    size = 1.0
    while size < number:
        size *= 10
    while size >= 10 * number > 0:
        size /= 10
    return next((size / divisor for divisor in (10, 5, 2) if size / divisor >= number), size)
