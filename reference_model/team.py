"""The processes that train together under torchrun; one process is a team of its own.

Every process draws the whole batch from the same seed and works on its part of it, so that any number of them
computes the same step, up to the order of sums.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from reference_model.networks.compiling import compile_blocks

PATIENCE = timedelta(days=7)
"""How long the others wait while one trains what cannot be shared; torchrun ends all when one has failed."""

LAST_WORDS = 0.5
"""Seconds before the processes part. DistributedDataParallel keeps gloo's threads beyond their group, and one
that lets go of a tensor while the interpreter ends aborts the process, when all is done (PyTorch 2.13)."""

_Module = TypeVar("_Module", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Team:
    """One process among its like."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable
    compiled: bool = False
    """Whether the blocks of what is trained are compiled."""

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def part(self, batch: Tensor) -> Tensor:
        """This process's part of a batch, along the first dimension.

        Raises:
            ValueError: the batch cannot be cut into equal parts.
        """
        if len(batch) % self.size:
            raise ValueError(
                f"a batch is cut into equal parts; {len(batch)} cannot be among {self.size} processes. Start "
                "another number of them."
            )
        return batch.tensor_split(self.size)[self.rank]

    def wrapped(self, module: _Module) -> _Module:
        """A module whose gradients are averaged over the team, compiled where that was asked for."""
        if self.compiled:
            compile_blocks(module)
        if self.size == 1 or not any(one.requires_grad for one in module.parameters()):
            return module
        places = [self.device.index] if self.device.type == "cuda" else None
        # It is called as the module is; its type says less than that.
        return DistributedDataParallel(module, device_ids=places)  # type: ignore[return-value]

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor over the team, the same bits in every process."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.size
        return values

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            dist.barrier()


@contextlib.contextmanager
def team(device: str, *, compiled: bool = False) -> Iterator[Team]:
    """Join the processes that torchrun has started, if it has.

    Args:
        device: "cpu", "cuda", or "auto" for a GPU where there is one.
        compiled: whether `torch.compile` takes the blocks of what is trained.

    Raises:
        DeviceUnavailableError: there is no GPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceUnavailableError("no CUDA device is at hand; leave --device out to use the CPU.")
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(place)
    if size == 1:
        yield Team(device=place, compiled=compiled)
        return
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    try:
        yield Team(dist.get_rank(), size, place, compiled)
    finally:
        time.sleep(LAST_WORDS)
        dist.destroy_process_group()


class DeviceUnavailableError(RuntimeError):
    """The device that was asked for is not there."""
