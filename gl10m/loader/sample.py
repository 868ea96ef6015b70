"""What one item of the data set is: names, shapes and types. A plain dict, so that any collation works."""

from typing import TypedDict

from torch import Tensor


class Sample(TypedDict):
    """One scene. Columns of the scenes manifest that were asked for stand beside these keys.

    Images are uint8, red, green, blue, north-west first. In memory the channels of a pixel lie together
    (torch calls it channels_last).
    """

    image: Tensor
    """uint8 (3, 268, 268): the LR image, Sentinel-2."""

    hr: Tensor
    """uint8 (n, 3, 268, 268): the HR tiles asked for, NAIP; n may be 0."""

    tiles: Tensor
    """int64 (n,): their numbers; tile = 10 * row + column, row 0 in the north, column 0 in the west."""

    label: Tensor
    """bool (N,): which classes are in the footprint, by class id."""

    bounds: Tensor
    """float64 (4,): west, south, east, north of the footprint, degrees, EPSG:4326."""

    index: int
    """Place of the scene in the data set."""

    scene_id: str
    """Stable name: CA-w123."""

    state: str
    """Region code: CA."""


class Batch(TypedDict):
    """Scenes with unequal numbers of tiles, packed: see `gl10m.loader.collate`."""

    image: Tensor
    """uint8 (B, 3, 268, 268)."""

    hr: Tensor
    """uint8 (sum of n, 3, 268, 268): the tiles of the first scene, then those of the second."""

    tiles: Tensor
    """int64 (sum of n,)."""

    scene: Tensor
    """int64 (sum of n,): place in the batch of the scene that each tile belongs to."""

    offsets: Tensor
    """int64 (B + 1,): the tiles of scene b are offsets[b] to offsets[b + 1]."""

    label: Tensor
    """bool (B, N)."""

    bounds: Tensor
    """float64 (B, 4)."""

    index: Tensor
    """int64 (B,)."""

    scene_id: list[str]
    state: list[str]
