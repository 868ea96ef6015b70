"""The process that reads spoiled inputs: it may die, and says before each one which it is about to read.

python -m tests.fuzz.child SEED PLAN     with PLAN = MODULE:CLASS,FIRST,COUNT[,STEP] and so on, by blanks
"""

import gc
import json
import logging
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from tests.fuzz.subject import Subject, subject_named

MEMORY_BYTES = 12 << 30
"""Address space of the process: numpy, GDAL and PyTorch reserve a few gigabytes that they never touch."""

SECONDS = 10
"""CPU time of one input at most."""

OURS = ("gl10m", "pipelines", "reference_model", "builtins.FileNotFoundError")
"""Where the classes of documented errors come from."""


def verdict(subject: Subject, number: int, seed: int) -> dict[str, Any]:
    """What became of one input: "same", "other" or "refused", or a finding with its reason."""
    chance = random.Random(f"{seed}:{subject.name}:{number}")
    spoiled = subject.spoil(chance)
    begun = time.process_time()
    finding = ""
    try:
        kind = "same" if subject.read(spoiled) else "other"
        if kind == "other" and subject.vouched:
            finding = "other data in silence"
    except subject.errors as error:
        kind, finding = "refused", _unclear(error)
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        kind, finding = "bare", _where(error)
    took = time.process_time() - begun
    if took > SECONDS and not finding:
        finding = f"took {took:.0f} s of CPU time"
    return {"kind": kind, "name": spoiled.name, "finding": finding}


def _unclear(error: Exception) -> str:
    """What is wrong with the words of an error that is documented."""
    home = f"{type(error).__module__}.{type(error).__name__}"
    if not home.startswith(OURS):
        return f"an error of another library: {_where(error)}"
    return "" if len(str(error)) > 8 else f"an error without words: {error!r}"


def _where(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if "/tests/" not in f.filename and "/lib/" not in f.filename
    ]
    place = ours[-1] if ours else last
    return f"{type(error).__name__}: {str(error)[:160]} at {Path(place.filename).name}:{place.lineno}"


def peak_mebibytes() -> int:
    """The most memory of this process; `ru_maxrss` would count what its parent had when it was begun."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seed = int(sys.argv[1])
    say = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # whatever a reader or its C library prints is no message
    for part in sys.argv[2:]:
        place, first, count = part.split(",")
        with tempfile.TemporaryDirectory(prefix="gl10m-fuzz-") as folder:
            print(json.dumps({"at": [place, -1]}), file=say, flush=True)
            subject = subject_named(place)
            try:
                subject.prepare(Path(folder))
            except ModuleNotFoundError as error:
                print(json.dumps({"skipped": [place, str(error)]}), file=say, flush=True)
                continue
            for number in range(int(first), int(first) + int(count)):
                print(json.dumps({"at": [place, number]}), file=say, flush=True)
                found = verdict(subject, number, seed)
                print(
                    json.dumps({"done": [place, number], "peak": peak_mebibytes(), **found}),
                    file=say,
                    flush=True,
                )
            if closing := getattr(subject, "close", None):
                closing()
            del subject
            gc.collect()


if __name__ == "__main__":
    main()
