"""Data sets in a bucket, seen from outside: their files, their objects, and what differs from a folder."""

from pathlib import Path

import pyarrow.parquet as pq

from gl10m.storage import client
from gl10m.storage.contents import readable
from gl10m.storage.place import BucketPath, place_of

CARD = ("README.md", "DATA_LICENCES.md")


def place(root: BucketPath) -> BucketPath:
    """The same root as a process that comes anew sees it."""
    fresh = place_of(str(root))
    assert isinstance(fresh, BucketPath)
    return fresh


def contents(root: BucketPath) -> dict[str, bytes]:
    """Every file of the data set with its bytes, by its name in a folder."""
    fresh = place_of(str(root))
    assert isinstance(fresh, BucketPath)
    return {name: (fresh / name).read_bytes() for name in fresh.root.files}


def objects(root: BucketPath, folder: str = "") -> set[str]:
    """Every object below a folder of the bucket."""
    folders, files = client.listed(root.root.address, folder)
    return {found.key for found in files}.union(*(objects(root, name) for name in folders))


def files_of(local: Path) -> dict[str, bytes]:
    """Every file of a data set in a folder, receipts of the journal included."""
    return {
        str(path.relative_to(local)): path.read_bytes()
        for folder in ("data", "index", "manifests")
        for path in (local / folder).iterdir()
    } | {".gl10m/receipts.parquet": (local / ".gl10m" / "receipts.parquet").read_bytes()}


def differing(root: BucketPath, built: Path) -> list[str]:
    """Names of files, journal and objects in which a build in a bucket is not that in a folder."""
    found, expected = contents(root), files_of(built)
    names = {name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)}
    stages = {f".gl10m/stages/CA/{path.name}" for path in (built / ".gl10m" / "stages" / "CA").iterdir()}
    keys = {entry.key for entry in place(root).root.files.values()}
    there = objects(root)
    names |= there ^ ({"gl10m.json", ".gl10m/build.json", *CARD} | stages | keys)
    for name in {*CARD, *stages} & there:
        if name in CARD:
            same = (place(root) / name).read_bytes() == (built / name).read_bytes()
        else:
            # A table that was read back may be cut into other pages than one that was just computed.
            found_table = pq.read_table(readable(place(root) / name))
            same = bool(found_table.equals(pq.read_table(built / name)))
        if not same:
            names.add(name)
    return sorted(names)
