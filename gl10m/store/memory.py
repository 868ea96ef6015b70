"""A bound on memory while files of unknown origin are read: a small file can unpack into a very large one."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOM: Final = 6 << 30
"""Bytes that a check may take beside what the process holds already: several times what all manifests of the
paper's 104,020 scenes take, and a shard a core."""


@contextlib.contextmanager
def bounded(room: int = ROOM) -> Iterator[None]:
    """Let this process take so much more memory and not more: what wants more raises MemoryError.

    Files that are mapped do not count. The limit is the kernel's (RLIMIT_DATA) and of the whole process.

    Args:
        room: bytes.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _taken() + room
    limits = [limit for limit in (soft, hard, wanted) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _taken() -> int:
    """Bytes of this process that count; 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) << 10
    return 0
