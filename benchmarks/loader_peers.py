"""The same JPEG bytes in other containers, and readers that give them back encoded.

A peer is measured with the same decoder as the loader, simplejpeg, so that containers are compared and not
decoders; where its own way of decoding is what its users get, it has a row of its own.
"""

import io
import json
import sys
import tarfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Scenes = Callable[[], Iterator[list[bytes]]]
"""Whole scenes: the LR image and 100 tiles of each, encoded."""


def write_webdataset(folder: Path, scenes: list[list[bytes]]) -> None:
    folder.mkdir()
    with tarfile.open(folder / "scenes-000000.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, images in enumerate(scenes):
            for place, image in enumerate(images):
                entry = tarfile.TarInfo(f"{number:06d}.{place:03d}.jpg")
                entry.size = len(image)
                tar.addfile(entry, io.BytesIO(image))


def webdataset(folder: Path) -> Scenes:
    import webdataset as wds  # noqa: PLC0415 - a peer

    def scenes() -> Iterator[list[bytes]]:
        dataset = wds.WebDataset(str(folder / "scenes-000000.tar"), shardshuffle=False)
        for sample in dataset:
            yield [sample[f"{place:03d}.jpg"] for place in range(101)]

    return scenes


def hugging_face(root: Path, cache: Path) -> Any:
    import datasets  # noqa: PLC0415 - a peer

    datasets.disable_progress_bars()
    files = [str(path) for path in sorted((root / "data").glob("*.parquet"))]
    return datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(cache))


def undecoded(dataset: Any) -> Any:
    import datasets  # noqa: PLC0415 - a peer

    plain = datasets.Image(decode=False)
    return (
        dataset.select_columns(["lr", "hr"]).cast_column("lr", plain).cast_column("hr", datasets.List(plain))
    )


def hugging_face_scenes(dataset: Any) -> Scenes:
    plain = undecoded(dataset)

    def scenes() -> Iterator[list[bytes]]:
        for row in plain:
            yield [row["lr"]["bytes"], *(image["bytes"] for image in row["hr"])]

    return scenes


def _mosaic() -> Any:
    # Its package imports text and vision models that are not needed here.
    for name in ("streaming.text", "streaming.vision", "streaming.multimodal"):
        sys.modules.setdefault(name, types.ModuleType(name))
    import streaming  # noqa: PLC0415 - a peer

    return streaming


def write_mosaic(folder: Path, scenes: list[list[bytes]]) -> None:
    columns = {f"{place:03d}": "bytes" for place in range(101)}
    with _mosaic().MDSWriter(out=str(folder), columns=columns, size_limit=1 << 28) as writer:
        for images in scenes:
            writer.write({f"{place:03d}": image for place, image in enumerate(images)})


def mosaic(folder: Path) -> Scenes:
    dataset = _mosaic().StreamingDataset(local=str(folder), shuffle=False, batch_size=1)

    def scenes() -> Iterator[list[bytes]]:
        for sample in dataset:
            yield [sample[f"{place:03d}"] for place in range(101)]

    return scenes


def write_litdata(folder: Path, scenes: list[list[bytes]]) -> None:
    from litdata.streaming.writer import BinaryWriter  # noqa: PLC0415 - a peer

    folder.mkdir()
    writer = BinaryWriter(str(folder), chunk_bytes=1 << 26)
    for number, images in enumerate(scenes):
        writer.add_item(number, {f"{place:03d}": image for place, image in enumerate(images)})
    writer.done()
    writer.merge()


def litdata(folder: Path) -> Scenes:
    from litdata import StreamingDataset  # noqa: PLC0415 - a peer

    dataset = StreamingDataset(str(folder), shuffle=False)

    def scenes() -> Iterator[list[bytes]]:
        for sample in dataset:
            yield [sample[f"{place:03d}"] for place in range(101)]

    return scenes


def write_lance(folder: Path, scenes: list[list[bytes]]) -> None:
    """One row an image; scene n begins at row 101 n. Files of a row group's size each."""
    import lance  # noqa: PLC0415 - a peer
    import pyarrow as pa  # noqa: PLC0415

    table = pa.table({"image": pa.array([image for images in scenes for image in images], pa.binary())})
    lance.write_dataset(table, str(folder), max_rows_per_file=101 * 128)


def lance_dataset(where: str, options: dict[str, str] | None = None) -> Any:
    import lance  # noqa: PLC0415 - a peer

    return lance.dataset(where, storage_options=options)


def lance_scenes(dataset: Any) -> Scenes:
    def scenes() -> Iterator[list[bytes]]:
        for batch in dataset.scanner(columns=["image"], batch_size=101, scan_in_order=True).to_batches():
            yield [memoryview(image.as_buffer()).cast("B") for image in batch["image"]]

    return scenes


def lance_images(dataset: Any, scenes: list[int], tiles: list[list[int]]) -> list[Any]:
    """The LR image and tiles of some scenes with one take."""
    rows = [
        101 * scene + place
        for scene, own in zip(scenes, tiles, strict=True)
        for place in (0, *(t + 1 for t in own))
    ]
    found = dataset.take(rows, columns=["image"])["image"]
    return [memoryview(image.as_buffer()).cast("B") for image in found]


def stored_scenes(root: Path) -> list[list[bytes]]:
    """All scenes of a data set, encoded."""
    from gl10m import GL10MDataset  # noqa: PLC0415 - after the environment is set

    dataset = GL10MDataset(root, tiles="all")
    encoded = [dataset.fetch([index]) for index in range(len(dataset))]
    return [[bytes(own.lr[0]), *map(bytes, own.hr)] for own in encoded]


def described(folder: Path) -> str:
    """The register of a bucket that holds the files of a folder as they are."""
    files = {
        str(path.relative_to(folder)): {
            "key": str(path.relative_to(folder)),
            "size": path.stat().st_size,
            "sha256": None,
        }
        for path in sorted(folder.rglob("*.*"))
        if path.is_file()
    }
    return json.dumps({"gl10m": 1, "files": files})


def chosen_tiles(scenes: int, count: int) -> list[list[int]]:
    """Random tiles of each scene, ascending."""
    return [
        np.sort(np.random.default_rng(scene).choice(100, count, replace=False)).tolist()
        for scene in range(scenes)
    ]
