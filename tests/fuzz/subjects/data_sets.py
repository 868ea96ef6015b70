"""Data sets: shards, indexes, manifests and registers, as the loader, the check and the pages read them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from gl10m import GL10MDataset
from gl10m.manifest import seal
from gl10m.report.page.facts import about
from gl10m.report.statistics import count_root
from gl10m.storage.register import Entry, Register, RegisterError
from gl10m.store.integrity import verify
from gl10m.view.command import site_of
from tests.fuzz.changes import STRANGE, Chance, spoiled, spoiled_json, strange
from tests.fuzz.subject import Spoiled
from tests.store.small_scenes import build

OF_OURS = (OSError, ValueError, KeyError, RuntimeError)
"""The bases of what the room raises; `child` checks that the class itself is ours."""


def sealed(content: bytes) -> bytes:
    """Whole by its checksum all the same: what somebody wrote who means harm, or another program."""
    place = content.rfind(b"gl10m-crc32:")
    if place < 0:
        return content
    from isal import isal_zlib

    place += len(b"gl10m-crc32:")
    blank = content[:place] + b"00000000" + content[place + 8 :]
    return content[:place] + f"{isal_zlib.crc32(blank):08x}".encode() + content[place + 8 :]


class _DataSet:
    vouched = True
    errors: tuple[type[Exception], ...] = OF_OURS
    folder_of = "data"

    def prepare(self, folder: Path) -> None:
        self.root = folder / "root"
        build(self.root, {"CA": "train", "WA": "train"}, CA=2, WA=1)
        self.files = {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in sorted((self.root / self.folder_of).rglob("*"))
            if path.is_file()
        }
        self.expected = self.told()

    def told(self) -> list[dict[str, Any]]:
        """Everything that the loader tells."""
        dataset = GL10MDataset(self.root, "train", tiles=[0, 57, 99], columns=["naip_gsd", "naip_items"])
        return [
            {
                **dataset[place],
                "tile_labels": dataset.scene(place).tile_labels(),
                "names": dataset.class_names,
            }
            for place in range(len(dataset))
        ]

    def same(self) -> bool:
        told = self.told()
        return len(told) == len(self.expected) and all(map(_same, told, self.expected))

    def spoil(self, chance: Chance) -> Spoiled:
        name = chance.choice(sorted(self.files))
        return Spoiled(name, spoiled(self.files[name], chance))

    def read(self, spoiled: Spoiled) -> bool:
        path = self.root / spoiled.name.removeprefix("forged ")
        path.write_bytes(spoiled.content)
        try:
            return self.seen(forged=spoiled.name.startswith("forged "))
        finally:
            path.write_bytes(self.files[spoiled.name.removeprefix("forged ")])

    def seen(self, *, forged: bool) -> bool:
        return self.same() or forged


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name])
        if isinstance(one[name], torch.Tensor)
        else bool(np.all(one[name] == other[name]))
        for name in one
    )


class Shards(_DataSet):
    name = "shards"


class Indexes(_DataSet):
    name = "indexes"
    folder_of = "index"

    def spoil(self, chance: Chance) -> Spoiled:
        name = chance.choice(sorted(self.files))
        content = spoiled(self.files[name], chance)
        if chance.random() < 0.6:
            return Spoiled(f"forged {name}", sealed(content))
        return Spoiled(name, content)


class Manifests(_DataSet):
    name = "manifests"
    folder_of = "manifests"

    def spoil(self, chance: Chance) -> Spoiled:
        name = chance.choice(sorted(self.files))
        kind = chance.randrange(4)
        if kind == 0:
            return Spoiled(name, spoiled(self.files[name], chance))
        if kind == 1:
            return Spoiled(f"forged {name}", sealed(spoiled(self.files[name], chance)))
        return Spoiled(f"forged {name}", _rewritten(self.root / name, chance))

    def seen(self, *, forged: bool) -> bool:
        assert isinstance(about(self.root), dict)
        count_root(self.root)
        site = site_of(self.root, [], None, [], 0, is_static=False)
        for page in ("index.html", "scenes.js", "scene-0/about.js"):
            site.answer(page)
        verify(self.root)
        return self.same() or forged


def _rewritten(path: Path, chance: Chance) -> bytes:
    """A manifest with another column or other metadata, written by a program that knows what it does."""
    table = pq.read_table(path)
    metadata = dict(table.schema.metadata or {})
    if chance.random() < 0.5:
        key = chance.choice(sorted(metadata))
        value = strange({"x": metadata[key].decode()}, chance, 1)
        metadata[key] = (
            json.dumps(value).encode("utf-8", "surrogatepass") if chance.random() < 0.7 else b"\xff\xfe"
        )
    else:
        place = chance.randrange(table.num_columns)
        for _ in range(30):
            value = chance.choice(STRANGE)
            field = table.schema.field(place)
            # Of a map pyarrow would abort by itself: it checks keys only once the array is there.
            own = chance.random() < 0.6 and not pa.types.is_map(field.type)
            kind = field.type if own else None
            try:
                column = pa.array([value] * table.num_rows, kind)
                table = table.set_column(place, pa.field(field.name, column.type), column)
                break
            except (pa.ArrowException, OverflowError, ValueError, TypeError):
                continue
    metadata[seal.KEY.encode()] = seal.BLANK.encode()
    scratch = path.with_name("scratch")
    try:
        pq.write_table(table.replace_schema_metadata(metadata), scratch)
        seal.seal(scratch)
        return scratch.read_bytes()
    except (pa.ArrowException, seal.SealError):
        return sealed(spoiled(path.read_bytes(), chance))
    finally:
        scratch.unlink(missing_ok=True)


class Registers:
    name = "registers"
    vouched = True
    errors: tuple[type[Exception], ...] = (RegisterError,)

    def prepare(self, folder: Path) -> None:
        del folder
        files = {
            f"data/CA-0000{n}-of-00002.parquet": Entry(f"data/CA.{n}.parquet", 9 + n, "ab" * 32)
            for n in (0, 1)
        }
        self.register = Register(files)
        self.whole = self.register.encode()

    def spoil(self, chance: Chance) -> Spoiled:
        return Spoiled("gl10m.json", spoiled_json(self.whole, chance))

    def read(self, spoiled: Spoiled) -> bool:
        found = Register.decode(spoiled.content)
        for name, entry in found.files.items():
            assert ".." not in name + entry.key
        # One that somebody wrote by hand carries no checksum, and says what it likes.
        return found == self.register or b'"crc32"' not in spoiled.content
