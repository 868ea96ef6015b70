"""`gl10m` whose preset tiny is over in seconds, and which says what it does.

`python -m tests.torture.brief ARGUMENTS` saves the state of an unfinished stage at every second step, so that a
kill meets every kind of state, and prints a line for each scene that it encodes and for each step that it takes:
what was finished before a kill must not be said again after it.
"""

import sys
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gl10m.cli import main
from reference_model import feature_cache, optimise, presets
from tests.reference_model.trained import BRIEF


def speak() -> None:
    """Shorten the preset, save often, and print what is done."""
    presets.PRESETS = {**presets.PRESETS, "tiny": BRIEF}
    optimise.SAVE_SECONDS, optimise.LOG_EVERY = 0.0, 2
    feature_cache.KEPT_EVERY = 2
    encode, take = feature_cache._encoded, optimise.Training.take  # noqa: SLF001 - told of, and not changed

    def encoded(scenes: Any, index: int, *others: Any, **named: Any) -> Any:  # noqa: ANN401 - handed on
        print(encoding(index), flush=True)
        return encode(scenes, index, *others, **named)

    def taken(self: optimise.Training, terms: Mapping[str, Tensor]) -> None:
        print(step(self.stage, self.step), flush=True)
        take(self, terms)

    feature_cache._encoded = encoded  # noqa: SLF001
    optimise.Training.take = taken  # type: ignore[method-assign]


def encoding(scene: int) -> str:
    """The line about a scene."""
    return f"encodes scene {scene}"


def step(stage: str, number: int) -> str:
    """The line about a step."""
    return f"takes step {number} of {stage}"


if __name__ == "__main__":
    speak()
    sys.exit(main())
