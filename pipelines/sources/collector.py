"""Python's cycle collector, told to wait while many objects without cycles are made.

A hundred thousand items or footprints alive at once set it off again and again, and each time it looks at all
of them: 40 % of the time of an index. They are freed by their reference counts all the same.
"""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused_collector() -> Iterator[None]:
    """Collect no cycles while the block, or the function so decorated, runs."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
