"""`torch.compile` for the blocks of a network, where nearly all of its time goes."""

from collections.abc import Iterable

from torch import nn


def compile_blocks(*networks: nn.Module) -> None:
    """Have the blocks of some networks compiled in place, when they are first called.

    Block by block, because all blocks of a network share one compiled code, and what is about them (choosing
    tiles, laying them out) has shapes that change with every batch. Names of weights stay as they are. A
    batch of another size is compiled anew. Results agree with uncompiled ones to rounding, not to the bit.

    Args:
        networks: each with `blocks`, or with a `network` that has them; others are left alone.
    """
    for network in networks:
        inner = getattr(network, "network", network)
        blocks: Iterable[nn.Module] = getattr(inner, "blocks", ())
        for block in blocks:
            block.compile(dynamic=False)
