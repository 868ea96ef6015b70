"""What an export with images says of each scene: the same in every format."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from gl10m.export.selection import Selection, TileChoice
from gl10m.store.encoded import EncodedImages

TOLD: Final = (
    "scene_id",
    "state",
    "osm_id",
    "longitude",
    "latitude",
    "bounds",
    "class_ids",
    "naip_date",
    "sentinel2_date",
    "days_between",
    "cloud_cover",
    "fallback",
)
"""Columns of table SCENES that travel with the images; none of them is ever null."""


@dataclass(frozen=True, slots=True)
class EncodedScene:
    """One scene with its images as they are encoded."""

    about: dict[str, Any]
    """TOLD, with `split` and, where there are any, the numbers of the `tiles`."""
    lr: bytes
    hr: list[bytes]


def encoded_scenes(
    selection: Selection, split: str, rows: pa.Table, tiles: TileChoice, images: dict[str, EncodedImages]
) -> Iterator[EncodedScene]:
    """Read scenes, one at a time.

    Args:
        selection: what they are of.
        split: their split.
        rows: of table SCENES.
        tiles: which of their tiles.
        images: of the selection.

    Raises:
        FileNotFoundError: a shard is missing.
        StoreError: an image is damaged.
    """
    for told in rows.select(list(TOLD)).to_pylist():
        chosen = tiles.of(told["scene_id"])
        lr, hr = images[told["state"]].read(told["scene_id"], chosen)
        told["split"] = split
        told["class_names"] = [selection.class_names[number] for number in told["class_ids"]]
        if chosen:
            told["tiles"] = chosen
        yield EncodedScene(told, lr, hr)
