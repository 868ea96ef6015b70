"""Memory does not grow from epoch to epoch, neither of a process nor of its workers."""

import multiprocessing
import os
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

from gl10m.loader import GL10MDataset, GL10MStream
from tests.store.small_scenes import build

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux tells"),
]

HELD = re.compile(r"^Pss_(?:Anon|Shmem):\s+(\d+)", re.MULTILINE)

WORKERS, EPOCHS, SCENES = 4, 8, 64
ALLOWED = 16.0
"""MB over all processes: a batch, 1 MB, that each worker may still hold, and its allocator's leftovers.
A tile kept of each batch would be 55 in four epochs."""


def memory() -> float:
    """Memory that this process and its children hold, shared pages once, MB.

    Pages of files are left out: they are the system's to take back, and a page of a library that another
    program maps as well is counted whole as soon as that program ends.
    """
    started = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    texts = [Path(f"/proc/{process}/smaps_rollup").read_text() for process in (os.getpid(), *started)]
    return sum(int(kB) for text in texts for kB in HELD.findall(text)) / 1024


def after_each_epoch(root: Path, context: str | None, keep: int = 0) -> list[float]:
    """What `memory` tells after each of `EPOCHS` epochs of which `keep` bytes a batch are kept."""
    stream = GL10MStream(GL10MDataset(root, tiles=4), batch_size=1, threads=1, depth=1)
    items: Any = stream
    if context:
        items = DataLoader(
            stream,
            batch_size=None,
            num_workers=WORKERS,
            persistent_workers=True,
            multiprocessing_context=context,
        )
    after, kept = [], []
    for epoch in range(EPOCHS):
        stream.set_epoch(epoch)
        for batch in items:
            kept.append(b"\x01" * keep)
            del batch
        after.append(memory())
    return after


def growth(root: Path, context: str | None, keep: int = 0) -> float:
    """MB that the last two epochs have over the third and fourth, in a process that did nothing before."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
        after = fresh.submit(after_each_epoch, root, context, keep).result()
    print(f"{context or 'threads'}: " + ", ".join(f"{told:.0f}" for told in after) + " MB after each epoch")  # noqa: T201 - figures for whoever asks with -s
    return min(after[-2:]) - min(after[2:4])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("world"), CA=SCENES)


@pytest.mark.parametrize("context", ["fork", "spawn", None])
def test_no_epoch_leaves_memory_behind(root: Path, context: str | None) -> None:
    assert growth(root, context) <= ALLOWED


def test_a_tile_kept_of_each_batch_would_be_seen(root: Path) -> None:
    assert growth(root, None, keep=3 * 268 * 268) > ALLOWED
