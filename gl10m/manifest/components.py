"""Which members hang together, by ties between two of them."""

import numpy as np
from numpy.typing import NDArray

Members = NDArray[np.int64]


def components(count: int, one: Members, other: Members) -> Members:
    """The smallest member of each member's connected component.

    All ties are worked on at once: each round hands the smaller name over every tie, to the member and to
    the one it is named after, then shortens the chains of names. The rounds grow with the logarithm of the
    longest chain, not with the number of members (Zhang, Azad and Hu, FastSV, 2020).

    Args:
        count: members, 0 to count - 1.
        one: shape (ties,).
        other: shape (ties,); the order of ties and within one does not matter.

    Returns:
        Shape (count,).
    """
    name = np.arange(count)
    while True:
        before, grand = name.copy(), name[name]
        for here, there in ((one, other), (other, one)):
            np.minimum.at(name, before[here], grand[there])
            np.minimum.at(name, here, grand[there])
        name = np.minimum(name, grand)
        if np.array_equal(name, before):
            return name
