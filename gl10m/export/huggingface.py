"""Parquet files of each split, as the Hugging Face hub has them: images, and classes by name."""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from gl10m.export.pixels import Format
from gl10m.export.samples import TOLD, EncodedScene
from gl10m.manifest.schema import SCENES
from gl10m.store.layout import IMAGE, SCENES_A_ROW_GROUP, plain_feature

LOADING: Final = """```python
from datasets import load_dataset

scenes = load_dataset("PATH", split="SPLIT")  # streaming=True reads as it goes
scenes[0]["lr"], scenes[0]["hr"][0]  # images
scenes.features["class_ids"].feature.names  # the classes by id
```

`tiles` are the numbers of the images in `hr`, in the same order."""


def export_schema(class_names: tuple[str, ...]) -> pa.Schema:
    """Columns of the files, with the features that `datasets` shall make of them.

    Args:
        class_names: by class id.
    """
    kinds: dict[str, pa.DataType] = {
        "class_ids": pa.list_(pa.int64()),  # as int64 alone `datasets` takes a number for a class
        "bounds": pa.list_(pa.float64()),
    }
    fields = [pa.field(name, kinds.get(name, SCENES.schema.field(name).type)) for name in TOLD]
    fields += [
        pa.field("tiles", pa.list_(pa.int64())),
        pa.field("lr", IMAGE),
        pa.field("hr", pa.list_(IMAGE)),
    ]
    features = {field.name: _feature(field, class_names) for field in fields}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _feature(field: "pa.Field[Any]", class_names: tuple[str, ...]) -> dict[str, Any]:
    if field.name == "class_ids":
        return {"_type": "List", "feature": {"_type": "ClassLabel", "names": list(class_names)}}
    if field.name == "lr":
        return {"_type": "Image"}
    if field.name == "hr":
        return {"_type": "List", "feature": {"_type": "Image"}}
    if isinstance(field.type, pa.ListType):
        return {"_type": "List", "feature": plain_feature(field.type.value_type)}
    return plain_feature(field.type)


def write_parquet(path: Path, *, scenes: Iterable[EncodedScene], schema: pa.Schema) -> None:
    """Write one file, 16 scenes a row group, so that no reader needs more than some 60 MB at a time.

    Raises:
        OSError: the file cannot be written.
    """
    waiting: list[dict[str, Any]] = []
    with pq.ParquetWriter(
        path,
        schema,
        compression="none",  # JPEG does not compress
        use_dictionary=False,
        write_statistics=["scene_id", "state", "naip_date", "sentinel2_date"],
        write_page_index=True,
        write_page_checksum=True,
    ) as writer:
        for scene in scenes:
            waiting.append(_row(scene))
            if len(waiting) == SCENES_A_ROW_GROUP:
                writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
                waiting = []
        if waiting:
            writer.write_table(pa.Table.from_pylist(waiting, schema=schema))


def _row(scene: EncodedScene) -> dict[str, Any]:
    name = scene.about["scene_id"]
    tiles = scene.about.get("tiles", [])
    return {
        **{column: scene.about[column] for column in TOLD},
        "tiles": tiles,
        "lr": {"bytes": scene.lr, "path": f"{name}.lr.jpg"},
        "hr": [
            {"bytes": image, "path": f"{name}.hr.{tile:02d}.jpg"}
            for tile, image in zip(tiles, scene.hr, strict=True)
        ],
    }


def huggingface(class_names: tuple[str, ...]) -> Format:
    """Parquet files in data/, for a data set with these classes.

    Args:
        class_names: by class id.
    """
    write = functools.partial(write_parquet, schema=export_schema(class_names))
    return Format("huggingface", "data/", ".parquet", write, LOADING)
