"""Which classes meet which tile: 100 x N bits a scene, packed for the manifests."""

import numpy as np
from numpy.typing import NDArray

from gl10m.scene.grid import TILES


def pack_tile_labels(labels: NDArray[np.bool_]) -> bytes:
    """Pack the labels of the tiles as they stand in the manifests.

    Args:
        labels: shape (100, N); True where class N meets the tile.

    Returns:
        100 rows of N bits, each padded to whole bytes, first class in the highest bit.

    Raises:
        ValueError: there are not 100 rows.
    """
    if labels.ndim != 2 or len(labels) != TILES:  # noqa: PLR2004 - tiles by classes
        raise ValueError(f"tile labels have shape ({TILES}, classes); got {labels.shape}")
    return np.packbits(labels.astype(np.bool_), axis=1).tobytes()


def unpack_tile_labels(packed: bytes, classes: int) -> NDArray[np.bool_]:
    """Unpack what `pack_tile_labels` packed.

    Args:
        packed: 100 rows of whole bytes.
        classes: number of classes N.

    Returns:
        Shape (100, N); True where class N meets the tile.

    Raises:
        ValueError: the length does not fit the number of classes.
    """
    width = -(-classes // 8)
    if len(packed) != TILES * width:
        raise ValueError(
            f"tile labels of {classes} classes are {TILES * width} bytes long; got {len(packed)}: "
            "the class map is not the one that they were made with"
        )
    rows = np.frombuffer(packed, np.uint8).reshape(TILES, width)
    return np.unpackbits(rows, axis=1, count=classes).astype(np.bool_)
