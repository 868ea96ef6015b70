"""What makes equal runs give equal bytes: chance seeded stage by stage, and a fixed number of threads."""

import contextlib
import hashlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch work with this many threads, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def seeded(seed: int, stage: str) -> Iterator[torch.Generator]:
    """Fix all randomness of one stage, so that it does not depend on the stages before it.

    Yields:
        A generator for draws; PyTorch's global one, which initialises layers, has the same seed inside.
    """
    number = int.from_bytes(hashlib.sha256(f"{seed}:{stage}".encode()).digest()[:4], "big")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number)
        yield torch.Generator().manual_seed(number)
