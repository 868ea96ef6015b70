"""Where everything lies in a data set: names of shards and indexes, and the columns of both.

The format is told, for readers in other languages, in docs/store-format.md.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import pyarrow as pa

from gl10m.manifest.schema import FETCHED
from gl10m.scene.grid import TILES
from gl10m.scene.states import REGION_CODE
from gl10m.storage.place import AnyPlace

STORE_VERSION: Final = 1
"""Raised when a reader of the old shards or indexes would misread the new ones."""

SCENES_A_SHARD: Final = 128
"""Scenes in a shard at most: about 435 MB, as Hugging Face's own 500 MB."""

SCENES_A_ROW_GROUP: Final = 16
"""Scenes in a row group: about 54 MB. The LR images of a row group lie together and come with one request."""

SHARDS: Final = "data"
"""Folder of the shards in a data set."""

INDEXES: Final = "index"
"""Folder of the indexes in a data set."""

LENGTH_PREFIX: Final = 4
"""Bytes before each image in a shard that tell its length, little-endian: Parquet's PLAIN encoding."""

IMAGE: Final = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""How Hugging Face `datasets` stores an image; `path` is null."""

_SHARD_NAME = re.compile(r"([A-Z]{2})-([0-9]{5})-of-([0-9]{5})\.parquet")
_MAX_SHARDS = 99_999


class StoreError(ValueError):
    """A shard or an index is damaged, or is not what its place in the data set says."""


@dataclass(frozen=True, slots=True, order=True)
class ShardName:
    """The name of one shard: TX-00002-of-00081.parquet."""

    region: str
    """Region code, two capital letters."""

    number: int
    """From 0."""

    count: int
    """Shards of the region."""

    def __str__(self) -> str:
        return f"{self.region}-{self.number:05d}-of-{self.count:05d}.parquet"

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read a file name.

        Raises:
            StoreError: it is not the name of a shard.
        """
        match = _SHARD_NAME.fullmatch(name)
        if not match or not int(match[2]) < int(match[3]):
            raise StoreError(f"a shard is named after its region, as CA-00000-of-00003.parquet; got {name!r}")
        return cls(match[1], int(match[2]), int(match[3]))


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """Which scenes of a region, in the order of their ids, go into one shard."""

    name: ShardName
    first: int
    """Number of its first scene in the region."""
    scenes: int
    """How many scenes it holds."""


def plan_shards(region: str, scenes: int) -> list[PlannedShard]:
    """Cut a region's scenes, sorted by id, into shards.

    Args:
        region: region code.
        scenes: how many scenes the region has.

    Returns:
        Shards in order, all full but the last; none for no scene.

    Raises:
        ValueError: the region is not two capital letters, or has more scenes than shards can number.
    """
    count = -(-scenes // SCENES_A_SHARD)
    if not REGION_CODE.fullmatch(region) or scenes < 0 or count > _MAX_SHARDS:
        raise ValueError(
            f"a region is two capital letters with at most {_MAX_SHARDS * SCENES_A_SHARD} scenes; "
            f"asked for {region!r} with {scenes}"
        )
    starts = range(0, scenes, SCENES_A_SHARD)
    return [
        PlannedShard(ShardName(region, number, count), first, min(SCENES_A_SHARD, scenes - first))
        for number, first in enumerate(starts)
    ]


def shard_path(root: AnyPlace, name: ShardName) -> AnyPlace:
    """The file of a shard in the data set at `root`."""
    return root / SHARDS / str(name)


def index_path(root: AnyPlace, region: str) -> AnyPlace:
    """The file of a region's index in the data set at `root`."""
    return root / INDEXES / f"{region}.arrow"


def shard_schema(class_names: Sequence[str], metadata: Mapping[str, str]) -> pa.Schema:
    """Columns of a shard: those of FETCHED, with the images as Hugging Face `datasets` stores them.

    Args:
        class_names: names of the classes by id.
        metadata: provenance, see `Provenance.metadata`.
    """
    images: dict[str, pa.DataType] = {"lr": IMAGE, "hr": pa.list_(IMAGE)}
    fields = [
        field.with_type(images[field.name]) if field.name in images else field for field in FETCHED.schema
    ]
    features = {field.name: _feature(field.type) for field in fields}
    about: dict[bytes | str, bytes | str] = {
        "gl10m.store_version": str(STORE_VERSION),
        "gl10m.class_names": json.dumps(list(class_names)),
        "huggingface": json.dumps({"info": {"features": features}}),
    }
    about.update(sorted(metadata.items()))
    return pa.schema(fields, metadata=about)


def index_schema(classes: int) -> pa.Schema:
    """Columns of an index, without its metadata. One row a scene, sorted by scene id.

    Args:
        classes: how many classes the data set has.
    """
    columns: list[tuple[str, pa.DataType]] = [
        ("scene_id", pa.string()),
        ("shard", pa.int32()),  # place in the list of shards in the metadata
        ("row", pa.int32()),  # row in that shard
        ("lr_offset", pa.int64()),  # bytes from the start of the shard to the LR image
        ("lr_length", pa.int32()),  # bytes
        ("hr_offset", pa.int64()),  # to tile 0; each next tile follows behind its length prefix
        ("hr_length", pa.list_(pa.int32(), TILES)),
        ("crc32", pa.list_(pa.uint32(), TILES + 1)),  # of the LR image, then of each tile
        ("label", pa.list_(pa.uint8(), classes)),  # 1 where the class is in the footprint
        ("bounds", pa.list_(pa.float64(), 4)),  # west, south, east, north, degrees
        ("tile_labels", pa.binary()),  # packed as in FETCHED
    ]
    return pa.schema(columns)


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """The Hugging Face feature of a column of one type.

    Class ids are plain numbers: `datasets` takes a ClassLabel from a file only where it is stored as int64.
    """
    if kind.equals(IMAGE):
        return {"_type": "Image"}
    if isinstance(kind, pa.FixedSizeListType):
        return {"_type": "List", "feature": _feature(kind.value_type), "length": kind.list_size}
    if isinstance(kind, pa.ListType):
        return {"_type": "List", "feature": _feature(kind.value_type)}
    return plain_feature(kind)


def plain_feature(kind: pa.DataType) -> dict[str, Any]:
    """The Hugging Face feature of a column of plain values of one type."""
    # Arrow prints these three in its own way: double, float, date32[day].
    spelled: dict[pa.DataType, str] = {
        pa.float64(): "float64",
        pa.float32(): "float32",
        pa.date32(): "date32",
    }
    return {"_type": "Value", "dtype": spelled.get(kind, str(kind))}
