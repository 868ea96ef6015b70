"""`BatchLoader`: batches of a data set by threads, where a DataLoader would start processes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from itertools import islice
from typing import Any

import torch

from gl10m.loader.ahead import ahead, depth_for
from gl10m.loader.collate import collate
from gl10m.loader.dataset import GL10MDataset
from gl10m.loader.sample import Batch
from gl10m.loader.scene import Encoded

Decoder = Callable[[Encoded], Sequence[dict[str, Any]]]
"""Makes samples of what was fetched: `GL10MDataset.decode`, or `gl10m.loader.gpu.NvjpegDecoder`."""


class PinnedMemoryError(RuntimeError):
    """There is no accelerator to pin memory for."""


class BatchLoader:
    """Reads and decodes batches ahead in threads, which spares the copies that worker processes make.

    Decoding does not hold Python's lock, so threads use all cores. Batches come in the sampler's order
    whatever the number of threads.

    Example:
        >>> order = DistributedSampler(dataset, num_replicas=1, rank=0, seed=0)  # doctest: +SKIP
        >>> loader = BatchLoader(dataset, BatchSampler(order, 16, drop_last=False))  # doctest: +SKIP
        >>> for batch in loader:  # doctest: +SKIP
        ...     train(batch["image"], batch["hr"], batch["offsets"])
    """

    def __init__(
        self,
        dataset: GL10MDataset,
        batches: Iterable[Sequence[int]],
        *,
        threads: int = 2,
        depth: int | None = None,
        pin_memory: bool = False,
        decoder: Decoder | None = None,
    ) -> None:
        """Load batches.

        Args:
            dataset: what is loaded. Its transform is applied in the thread that iterates, one sample after
                another, so that random ones can be repeated.
            batches: places in the data set of each batch's scenes: a list of lists, or a batch sampler of
                PyTorch's. To resume within an epoch it must give the same batches again, as one over
                `DistributedSampler` does after `set_epoch`.
            threads: batches decoded at a time.
            depth: further batches read or decoded ahead; if None, 1 from a folder and 2 from a bucket.
            pin_memory: copy tensors to page-locked memory, from which they go to a GPU while it computes.
            decoder: makes samples of encoded images; `GL10MDataset.decode` if None.

        Raises:
            PinnedMemoryError: memory is to be pinned, and there is no GPU.
            ValueError: another number is below its least.
        """
        depth = depth_for(dataset.source, threads, 2) if depth is None else depth
        if threads < 1 or depth < 0:
            raise ValueError(f"threads is at least 1, depth at least 0; got {threads} and {depth}")
        if pin_memory and not torch.cuda.is_available():
            raise PinnedMemoryError("memory is pinned for a GPU, and PyTorch sees none; leave pin_memory out")
        self.dataset, self.batches = dataset, batches
        self.threads, self.depth, self.pin_memory = threads, depth, pin_memory
        self._decoder = decoder or dataset.decode
        self._taken, self._loaded = 0, False

    def __len__(self) -> int:
        """Batches of a whole epoch.

        Raises:
            TypeError: the sampler does not say.
        """
        if not isinstance(self.batches, Sized):
            raise TypeError(f"a {type(self.batches).__name__} does not say how many batches it has")
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        """Batches of `gl10m.loader.collate`.

        Raises:
            IndexError: the sampler or the policy names what is not there.
            FileNotFoundError: a shard is missing.
            StoreError: a shard or an image is damaged.
        """
        first, self._taken = (self._taken, self._taken) if self._loaded else (0, 0)
        self._loaded = False
        return self._iterate(islice(self.batches, first, None))

    def state_dict(self) -> dict[str, int]:
        """Where the iteration stands: after the batch handed out last, or at the start of the next epoch.

        It holds neither the epoch nor the state of random transforms.
        """
        return {"taken": self._taken}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next iteration leave out the batches that another one had handed out; none is read."""
        self._taken, self._loaded = int(state["taken"]), True

    def _iterate(self, batches: Iterable[Sequence[int]]) -> Iterator[Batch]:
        fetch, decode = self.dataset.fetch, self._decoder
        for samples in ahead(batches, fetch, decode, threads=self.threads, depth=self.depth):
            self._taken += 1
            batch = collate([self.dataset.transformed(sample) for sample in samples])
            del samples  # what the user has let go is used again for the next batch
            yield _pinned(batch) if self.pin_memory else batch
            del batch
        self._taken = 0


def _pinned(batch: Batch) -> Batch:
    pinned: Any = {
        name: value.pin_memory() if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
    }
    checked: Batch = pinned
    return checked
