"""`GL10MStream`: every scene of an epoch once, in an order that can be left and taken up anywhere."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import distributed
from torch.utils.data import IterableDataset, get_worker_info

from gl10m.loader.ahead import ahead, depth_for, one_by_one
from gl10m.loader.collate import collate
from gl10m.loader.dataset import GL10MDataset
from gl10m.loader.order import BUFFER, EpochOrder, Uneven


class StreamStateError(ValueError):
    """A state belongs to another stream, or to another number of workers."""


class GL10MStream(IterableDataset[Any]):
    """The scenes of a data set shard by shard, shuffled, shared among ranks and workers.

    What a scene holds is the data set's: `GL10MDataset(root, "train", tiles="all")` streams whole scenes.
    Threads read and decode ahead. Iterate over it directly, or hand it to a DataLoader with
    `batch_size=None`: items come in the same order, whatever the number of threads and workers.

    Call `set_epoch` before every epoch, as of PyTorch's DistributedSampler; otherwise each one is the same.

    Example:
        >>> stream = GL10MStream(GL10MDataset("gl10m-data", tiles="all"), batch_size=4)  # doctest: +SKIP
        >>> for epoch in range(3):  # doctest: +SKIP
        ...     stream.set_epoch(epoch)
        ...     for batch in stream:
        ...         train(batch)
    """

    def __init__(
        self,
        dataset: GL10MDataset,
        *,
        batch_size: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        buffer: int = BUFFER,
        rank: int | None = None,
        world: int | None = None,
        uneven: Uneven = "keep",
        threads: int = 2,
        depth: int | None = None,
    ) -> None:
        """Stream a data set.

        Args:
            dataset: the scenes, and what is read of each. Its transform is applied in the thread that
                iterates, one sample after another, so that random ones can be repeated.
            batch_size: scenes a batch of `gl10m.loader.collate`; samples one by one if None. The last batch
                may be smaller.
            seed: of the shuffle.
            shuffle: whether shards and scenes are shuffled.
            buffer: places by which a scene moves at most after its shards were shuffled. Only places move,
                no pixels: a buffer takes no memory.
            rank: this process's place among those that share the scenes; PyTorch's if None, 0 if it is not
                distributed.
            world: how many share them; likewise.
            uneven: what happens where the scenes do not divide evenly among ranks: the first ranks have one
                more ("keep", no scene lost or repeated), the last scenes are left out ("drop"), or the first
                ones come twice ("pad"). Training in step needs one of the latter two.
            threads: items decoded at a time, in each worker. With 0 the thread that iterates decodes, when
                it asks for an item: the least work in all, for workers of a DataLoader above all.
            depth: further items read or decoded ahead; if None, 4 from a bucket, and from a folder
                1, or 0 where threads is 0.

        Raises:
            OrderError: no such rank, buffer or `uneven` (a ValueError).
            ValueError: another number is below its least.
        """
        size = 1 if batch_size is None else batch_size
        depth = depth_for(dataset.source, threads, 4) if depth is None else depth
        least = {"batch_size": (size, 1), "threads": (threads, 0), "depth": (depth, 0)}
        for name, (number, lowest) in least.items():
            if number < lowest:
                raise ValueError(f"{name} is at least {lowest}; got {number}")
        self.dataset = dataset
        self.batch_size = batch_size
        self.threads, self.depth = threads, depth
        together = distributed.is_available() and distributed.is_initialized()
        self.order = EpochOrder(
            shards=dataset.shards,
            seed=seed,
            shuffle=shuffle,
            buffer=buffer,
            rank=rank if rank is not None else distributed.get_rank() if together else 0,
            world=world if world is not None else distributed.get_world_size() if together else 1,
            uneven=uneven,
        )
        self._place = (0, 0, 0)
        """Epoch, scenes that all ranks had seen where this iteration began, and items taken since by this
        worker."""
        self._loaded = False
        """Whether the next iteration begins at that place."""

    def set_epoch(self, epoch: int) -> None:
        """Iterate over this epoch from now on, in living workers too; a loaded state of it stays."""
        self.dataset.set_epoch(epoch)

    def __len__(self) -> int:
        """Items of this rank in a whole epoch."""
        return math.ceil(self.order.share() / (self.batch_size or 1))

    def __iter__(self) -> Iterator[Any]:
        """Samples or batches of this rank; of this worker's share where a DataLoader asks.

        Raises:
            FileNotFoundError: a shard is missing.
            StoreError: a shard or an image is damaged.
        """
        seen, taken = self._current() if self._loaded else (0, 0)
        self._loaded = False
        self._place = (self.dataset.epoch, seen, taken)
        return self._iterate(self._items(seen)[taken:])

    def state_dict(self, taken: int | None = None) -> dict[str, Any]:
        """Where the iteration stands: after the item that was handed out last.

        It holds the order of the scenes, no state of random transforms.

        Args:
            taken: where a DataLoader's workers iterate, which this object does not see: how many items of the
                epoch were taken from it since it was begun or a state was loaded.

        Returns:
            Plain numbers and texts, fit for `torch.save` and JSON.
        """
        worker = get_worker_info()
        seen, own = self._current()
        if taken is not None:
            seen, own = seen if self._loaded else 0, taken
        if worker is None:
            # All ranks are in step: what this one has had stands for all.
            scenes = min(own * (self.batch_size or 1), self.order.share(seen)) * self.order.world
            seen, own = min(seen + scenes, len(self.dataset)), 0
        return {
            "epoch": self.dataset.epoch,
            "seen": seen,
            "taken": own,
            "workers": worker.num_workers if worker else 0,
            "batch_size": self.batch_size,
            "order": self.order.fingerprint,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration begin where another one stood.

        It may have other threads, workers, another batch size and another number of ranks, unless the state
        is of one worker of several, as `torchdata`'s StatefulDataLoader keeps them.

        Raises:
            StreamStateError: it is no state of a stream, or of another data set, seed, shuffle or share, or
                of one of several workers and loaded elsewhere.
        """
        worker = get_worker_info()
        workers = worker.num_workers if worker else 0
        if missing := sorted(self.state_dict().keys() - state.keys()):
            raise StreamStateError(
                f"a state is what `state_dict` gave; this has no {', '.join(missing)}. Load one of those."
            )
        if state["order"] != self.order.fingerprint:
            raise StreamStateError(
                "the state is of a stream with other scenes, seed, shuffle, buffer or uneven. Open the "
                "stream as it was when the state was saved."
            )
        partial = state["workers"] > 0
        if partial and (state["workers"] != workers or state["batch_size"] != self.batch_size):
            raise StreamStateError(
                f"the state is of one of {state['workers']} workers with batch_size {state['batch_size']}; "
                f"here are {workers} with {self.batch_size}. Load it with the same numbers."
            )
        self.dataset.set_epoch(int(state["epoch"]))
        self._place = (int(state["epoch"]), int(state["seen"]), int(state["taken"]))
        self._loaded = True

    def _current(self) -> tuple[int, int]:
        """The place in the present epoch: its beginning, if what is known is of another one."""
        epoch, seen, taken = self._place
        return (seen, taken) if epoch == self.dataset.epoch else (0, 0)

    def _iterate(self, items: list[list[int]]) -> Iterator[Any]:
        fetch, decode, depth = self.dataset.fetch, self.dataset.decode, self.depth
        if self.threads:
            decoded = ahead(items, fetch, decode, threads=self.threads, depth=depth)
        else:
            decoded = one_by_one(items, fetch, decode, depth=depth)
        for samples in decoded:
            epoch, seen, taken = self._place
            self._place = (epoch, seen, taken + 1)
            item = self._item(samples)
            del samples  # what the user has let go is used again for the next item
            yield item
            del item

    def _items(self, seen: int) -> list[list[int]]:
        """Scenes of each item of this worker, after so many scenes of all ranks."""
        own = self.order.own(self.dataset.epoch, seen).tolist()
        size = self.batch_size or 1
        items = [own[first : first + size] for first in range(0, len(own), size)]
        worker = get_worker_info()
        return items[worker.id :: worker.num_workers] if worker else items

    def _item(self, samples: list[dict[str, Any]]) -> Any:  # noqa: ANN401 - what the transform makes of it
        done = [self.dataset.transformed(sample) for sample in samples]
        return done[0] if self.batch_size is None else collate(done)
