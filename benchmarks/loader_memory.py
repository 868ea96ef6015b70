"""Memory of a process that loads, and of its workers, epoch after epoch."""

import contextlib
import os
import re
from pathlib import Path
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

from gl10m import GL10MDataset
from gl10m.loader import BatchLoader, GL10MStream

WORKERS = 4
EPOCHS = 4


def memory_of(processes: list[int]) -> tuple[float, float]:
    """Proportional and resident set size of some processes together, MB; shared pages count once in the first."""
    total = {"Pss": 0, "Rss": 0}
    for process in processes:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            for name in total:
                total[name] += int(re.findall(rf"^{name}:\s+(\d+)", text, re.MULTILINE)[0])
    return total["Pss"] / 1024, total["Rss"] / 1024


def children() -> list[int]:
    """Processes that this one has started."""
    with contextlib.suppress(OSError):
        return [int(number) for number in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    return []


def memory_section(root: Path, tiles: int) -> None:
    """After each epoch, and at its peak: 4 workers by fork and by spawn, and threads."""

    def workers(context: str) -> tuple[Any, Any]:
        stream = GL10MStream(GL10MDataset(root, tiles=tiles), batch_size=4, threads=1, depth=1)
        loader = DataLoader(
            stream,
            batch_size=None,
            num_workers=WORKERS,
            persistent_workers=True,
            multiprocessing_context=context,
        )
        return stream, loader

    def threads() -> tuple[Any, Any]:
        stream = GL10MStream(GL10MDataset(root, tiles="all"))
        return stream, stream

    def batches() -> tuple[Any, Any]:
        dataset = GL10MDataset(root, tiles=tiles)
        sampler: Any = DistributedSampler(dataset, num_replicas=1, rank=0)
        return sampler, BatchLoader(dataset, BatchSampler(sampler, 16, drop_last=False))

    makers = {
        f"DataLoader, {WORKERS} workers, fork": lambda: workers("fork"),
        f"DataLoader, {WORKERS} workers, spawn": lambda: workers("spawn"),
        "GL10MStream, 2 threads, whole scenes": threads,
        "BatchLoader, 2 threads": batches,
    }
    print("| MB after epoch 1, 2, ... | PSS | RSS | peak PSS |\n|---|--:|--:|--:|")
    for title, make in makers.items():
        epochs, loader = make()
        after, peaks = [], []
        for epoch in range(EPOCHS):
            epochs.set_epoch(epoch)
            peak = 0.0
            for item in loader:
                del item
                peak = max(peak, memory_of([os.getpid(), *children()])[0])
            after.append(memory_of([os.getpid(), *children()]))
            peaks.append(peak)
        del loader, epochs
        columns = [[pss for pss, _ in after], [rss for _, rss in after], peaks]
        told = [", ".join(f"{value:.0f}" for value in column) for column in columns]
        print(f"| {title} | {' | '.join(told)} |")
