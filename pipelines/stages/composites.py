"""How the Sentinel-2 items of a scene become one image: the alternatives of `lr.composite`.

Each takes the items by rank and gives one image, the same in every run. `first_valid` is the default: the
best item, its masked pixels filled from the next ones, so that nearly all of an image shows one day.
`single` fills nothing. `median` is what composites of an Earth Engine archive do: no pixel of it was ever
seen as it is shown, but clouds that the classification missed are gone.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.imagery import LowResolution
from pipelines.stages.quality import black_share, hidden, unusable


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """One image of a scene out of one or several items."""

    reflectance: NDArray[np.float32]
    """Shape (3, 268, 268); means nothing where not usable."""

    usable: NDArray[np.bool_]
    """Shape (268, 268); True = some item shows the ground."""

    clouded: NDArray[np.bool_]
    """Shape (268, 268); True = not usable, and not for want of a measurement: the first item shows a
    cloud."""

    cloud_of_first: float
    """Share of pixels that the first item shows as cloud, shadow or cirrus, 0..1."""

    filled: float
    """Share of pixels that the first item does not show and others do, 0..1."""


def first_valid(reads: Iterator[LowResolution], invalid: tuple[int, ...]) -> Composite:
    """The first valid value of each pixel.

    Args:
        reads: acquisitions, best first; the later ones are read only while pixels are masked.
        invalid: classes of the scene classification whose pixels do not count.
    """
    first = next(reads)
    usable = ~unusable(first, invalid)
    reflectance = first.reflectance.copy()
    while not usable.all() and (later := next(reads, None)) is not None:
        fresh = ~usable & ~unusable(later, invalid)
        np.copyto(reflectance, later.reflectance, where=fresh)
        usable |= fresh
    return _composite(first, reflectance, usable, invalid)


def single(reads: Iterator[LowResolution], invalid: tuple[int, ...]) -> Composite:
    """The first acquisition alone; what it does not show stays masked.

    Args:
        reads: acquisitions, best first; only the first is read.
        invalid: see `first_valid`.
    """
    first = next(reads)
    return _composite(first, first.reflectance, ~unusable(first, invalid), invalid)


def median(reads: Iterator[LowResolution], invalid: tuple[int, ...]) -> Composite:
    """The median of the valid values of each pixel and band; of an even number the mean of the middle two.

    Args:
        reads: acquisitions; all are read and held together, 0.9 MB each.
        invalid: see `first_valid`.
    """
    every = list(reads)
    shown = np.stack([~unusable(read, invalid) for read in every])
    values = np.where(shown[:, None], np.stack([read.reflectance for read in every]), np.inf)
    values = np.sort(values, axis=0)  # what is not shown comes last
    count = np.maximum(shown.sum(axis=0), 1)
    low, high = (
        np.take_along_axis(values, np.broadcast_to(place, values[:1].shape), axis=0)[0]
        for place in ((count - 1) // 2, count // 2)
    )
    usable = np.asarray(shown.any(axis=0))
    middle = np.where(usable, (low + high) / 2, 0).astype(np.float32)
    return _composite(every[0], middle, usable, invalid)


COMPOSITES: Mapping[str, Callable[[Iterator[LowResolution], tuple[int, ...]], Composite]] = {
    "first_valid": first_valid,
    "single": single,
    "median": median,
}
"""By the value of `lr.composite`."""


def _composite(
    first: LowResolution,
    reflectance: NDArray[np.float32],
    usable: NDArray[np.bool_],
    invalid: tuple[int, ...],
) -> Composite:
    cloud = hidden(first, invalid)
    return Composite(
        reflectance=reflectance,
        usable=usable,
        clouded=cloud & ~usable,
        cloud_of_first=black_share(cloud),
        filled=black_share(usable & unusable(first, invalid)),
    )
