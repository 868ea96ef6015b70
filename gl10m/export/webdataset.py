"""Tars of JPEG and JSON, as WebDataset reads them one behind the other.

A sample is `CA-w123.lr.jpg`, `CA-w123.hr.00.jpg` and on, and `CA-w123.json`. Nothing else is ever in a tar:
the default decoder of `webdataset` runs pickles.
"""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Final

from gl10m.export.pixels import Format
from gl10m.export.samples import EncodedScene

LOADING: Final = """```python
import webdataset as wds

scenes = wds.WebDataset("FILE", shardshuffle=False).decode("pil")
for scene in scenes:
    scene["lr.jpg"], scene["hr.00.jpg"], scene["json"]["class_names"]
```

```python
from datasets import load_dataset

scenes = load_dataset("PATH", split="SPLIT", streaming=True)
```

A sample holds `lr.jpg`, `hr.00.jpg` and on in the order of `json["tiles"]`, which are the numbers of the
tiles, and `json`."""


def write_tar(path: Path, *, scenes: Iterable[EncodedScene]) -> None:
    """Write one tar. Times, owners and rights are the same for all: bytes depend on the scenes alone.

    Raises:
        OSError: the file cannot be written.
    """
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for scene in scenes:
            for name, content in _members(scene):
                member = tarfile.TarInfo(name)  # mtime 0, an integer: a fraction would cost a PAX header
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def _members(scene: EncodedScene) -> Iterator[tuple[str, bytes]]:
    key = scene.about["scene_id"]
    yield f"{key}.lr.jpg", scene.lr
    for place, tile in enumerate(scene.hr):
        yield f"{key}.hr.{place:02d}.jpg", tile
    told = {name: str(value) if isinstance(value, date) else value for name, value in scene.about.items()}
    yield f"{key}.json", json.dumps(told, sort_keys=True, ensure_ascii=False).encode()


WEBDATASET: Final = Format("webdataset", "", ".tar", write_tar, LOADING)
"""A folder of tars."""
