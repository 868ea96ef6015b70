"""Numbers drawn from names: the same on every machine, in every run, whoever else takes part."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def lots(purpose: str, names: Iterable[str]) -> NDArray[np.uint64]:
    """Draw a lot for each name.

    Args:
        purpose: what the lots are for; lots for different purposes have nothing to do with each other.
        names: identities such as way/123 or CA-w123.

    Returns:
        Shape (n,), uint64, evenly spread over 0..2^64 - 1: the first bytes of a keyed BLAKE2b digest.
    """
    key = hashlib.blake2b(purpose.encode(), digest_size=32).digest()
    drawn = b"".join(hashlib.blake2b(name.encode(), digest_size=8, key=key).digest() for name in names)
    return np.frombuffer(drawn, dtype=">u8").astype(np.uint64)
