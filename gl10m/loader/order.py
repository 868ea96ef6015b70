"""In which order the scenes of an epoch come, and which of them are whose.

The order is a function of the seed, the epoch and the data set alone. Ranks take turns in it, and so do the
workers of a rank: who reads how fast changes nothing, and a place in it is one number.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Uneven = Literal["keep", "drop", "pad"]
"""What happens to the scenes that do not divide evenly among ranks."""

BUFFER: Final = 1024
"""Scenes over which a shuffle mixes neighbouring shards: eight shards of 128."""


class OrderError(ValueError):
    """What was asked for orders no scenes."""


@dataclass(frozen=True, kw_only=True)
class EpochOrder:
    """The order of the scenes of each epoch, and the share of one rank."""

    shards: NDArray[np.int64]
    """Shape (scenes,): number of the shard that each scene lies in."""
    seed: int = 0
    """Of the shuffle."""
    shuffle: bool = True
    """Whether shards and scenes are shuffled; otherwise scenes come as they lie."""
    buffer: int = BUFFER
    """After the shards are shuffled, a scene moves by less than so many places; as many as there are scenes
    give a shuffle without regard to shards, 1 leaves the scenes of a shard together."""
    rank: int = 0
    """Which of the ranks this is, from 0."""
    world: int = 1
    """How many ranks share the scenes."""
    uneven: Uneven = "keep"
    """Where the scenes do not divide evenly among ranks: the first ranks have one more ("keep"), the last
    scenes of the epoch are left out ("drop"), or its first ones come twice ("pad")."""

    def __post_init__(self) -> None:
        if self.world < 1 or not 0 <= self.rank < self.world:
            raise OrderError(f"a rank is one of 0..world-1; got rank {self.rank} of world {self.world}")
        if self.buffer < 1:
            raise OrderError(f"a shuffle buffer holds at least 1 scene; got {self.buffer}")
        if self.uneven not in get_args(Uneven):
            raise OrderError(f"uneven is one of {', '.join(get_args(Uneven))}; got {self.uneven!r}")

    @property
    def fingerprint(self) -> str:
        """What must be the same for a place in one order to be that in another."""
        told = hashlib.sha256(np.ascontiguousarray(self.shards, np.int64).tobytes())
        told.update(repr((self.seed, self.shuffle, self.shuffle and self.buffer, self.uneven)).encode())
        return told.hexdigest()[:16]

    def of_all(self, epoch: int) -> NDArray[np.int64]:
        """Places in the data set of all scenes, in the order of an epoch: shape (scenes,)."""
        count = len(self.shards)
        if not self.shuffle:
            return np.arange(count)
        generator = np.random.default_rng((self.seed, epoch))
        _, shard = np.unique(self.shards, return_inverse=True)
        rank_of_shard = generator.permutation(int(shard.max(initial=-1)) + 1)
        by_shard = np.argsort(rank_of_shard[shard], kind="stable")
        # Each scene moves back by less than `buffer` places, as if it waited in a buffer of that size.
        moved = np.arange(count) + self.buffer * generator.random(count)
        return by_shard[np.argsort(moved, kind="stable")]

    def share(self, seen: int = 0) -> int:
        """How many scenes `own` gives."""
        left = len(self.shards) - seen
        if self.uneven == "keep":
            return -(-max(0, left - self.rank) // self.world)
        return left // self.world if self.uneven == "drop" else -(-left // self.world)

    def own(self, epoch: int, seen: int = 0) -> NDArray[np.int64]:
        """Places in the data set of this rank's scenes.

        Args:
            epoch: number of the epoch.
            seen: how many scenes of the epoch all ranks together have had; they are left out.
        """
        order = self.of_all(epoch)
        rest = order[seen:]
        over = len(rest) % self.world
        if over and self.uneven == "drop":
            rest = rest[: len(rest) - over]
        elif over and self.uneven == "pad":
            rest = np.concatenate([rest, np.resize(order, self.world - over)])
        return rest[self.rank :: self.world]
