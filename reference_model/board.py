"""The log of a run for TensorBoard, where that is installed: a view of log.jsonl, which is always written."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = "tensorboard"
"""In the run folder: `tensorboard --logdir RUN`."""


class Board:
    """Curves, each stage in a folder of its own; nothing at all where TensorBoard is not installed."""

    def __init__(self, folder: Path) -> None:
        """Prepare to write into the run folder; nothing is made before the first value."""
        self._folder = folder / FOLDER
        self._writers: dict[object, Any] = {}
        found = importlib.util.find_spec("tensorboard")
        self._installed = (
            found is not None and found.origin is not None
        )  # a folder of that name is no package

    def add(self, record: Mapping[str, object]) -> None:
        """Draw the numbers of one line of the log that has a stage and a step."""
        stage, step = record.get("stage"), record.get("step")
        if not self._installed or not isinstance(step, int):
            return
        if stage not in self._writers:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - comes with TensorBoard

            # A run that was cut off repeats the steps since its last checkpoint: TensorBoard forgets what it
            # has of a stage from the first step that is written now.
            self._writers[stage] = SummaryWriter(self._folder / str(stage), purge_step=step)
        for name, value in record.items():
            if name != "step" and isinstance(value, (int, float)):
                self._writers[stage].add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is waiting."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
