"""Types of arguments that several scripts take."""

import argparse
import re

HIGHEST_PORT = 65_535


def port(text: str) -> int:
    """A port's number, 0 for a free one; to argparse as a `type`.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to {HIGHEST_PORT}, not {text[:20]!r}")
    return int(text)
