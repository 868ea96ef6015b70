"""A time of day for Dask that goes on as the monotonic clock does, whatever is done to the machine's clock.

Dask and Tornado wait by the time of day: until `when - time()` has passed. Where the clock is set back by a
day between the two, what was to be sent in 2 ms is sent in a day, heartbeats stop, and a build hangs. Dask
itself takes such a clock as this on Windows (distributed/metrics.py), for its finer ticks.

On a cluster of one's own: `dask scheduler --preload pipelines.execution.steady_clock`, and so each worker.
"""

import sys
import time

from tornado.ioloop import IOLoop

_BEGUN = time.time() - time.monotonic()


def steady_time() -> float:
    """Seconds since 1970: by the clock as it was when this process began, by the monotonic one since then."""
    return _BEGUN + time.monotonic()


def install() -> None:
    """Let Dask and Tornado wait by this clock, in this process and from now on."""
    setattr(IOLoop, "time", staticmethod(steady_time))  # noqa: B010 - for all loops, so not assigned to one
    for name, module in list(sys.modules.items()):
        # Modules took the function by its name; those that are loaded later take it from distributed.metrics.
        if name.startswith("distributed.") and vars(module).get("time") is time.time:
            vars(module)["time"] = steady_time


def dask_setup(_server: object) -> None:
    """What Dask calls with a scheduler or worker that has this module as its preload."""
    install()
