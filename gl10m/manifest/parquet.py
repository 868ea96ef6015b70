"""Reads and writes manifests as Parquet, whole or not at all.

A table with a WKB column `geometry` is written as GeoParquet 1.1, so that GeoPandas and QGIS open it.
"""

import contextlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gl10m.manifest import seal
from gl10m.manifest.schema import SCHEMA_VERSION, Table
from gl10m.storage.contents import readable
from gl10m.storage.place import Place

TEMPORARY = ".tmp-"
"""Names of unfinished files begin so; whoever finds one in a data set may delete it."""

MAX_MANIFEST_ROWS = 50_000_000
"""A manifest that claims more rows is refused before it is read: a small file can claim billions."""

MAX_MANIFEST_BYTES = 16 << 30
"""One whose footer tells of more bytes than this, unpacked, is refused likewise."""

RESTORE = "Restore it, or build it again."
"""What to do about a damaged manifest."""


class ManifestError(ValueError):
    """A manifest is damaged, or is not the table it should be."""


class ManifestNotFoundError(FileNotFoundError):
    """A data set has no such manifest."""


class NoFileTargetError(OSError):
    """A result shall stand where a device, a pipe or a socket is, or below a file."""


def check_target(path: Path) -> None:
    """Refuse to put a file in the place of what is none: root could take away /dev/null like that.

    Raises:
        NoFileTargetError: a device, a pipe, a socket or a folder is there, or a link to an open file; or a
            folder on the way to it is a file.
    """
    into_kernel = path.is_symlink() and path.readlink().is_relative_to("/proc")  # /dev/stdout
    if into_kernel or (path.exists() and not path.is_file()):
        raise NoFileTargetError(
            f"a result takes the place of a regular file or of nothing; {path} is neither. Name another file."
        )
    above = next((folder for folder in path.parents if folder.exists()), None)
    if above is not None and not above.is_dir():
        raise NoFileTargetError(f"a result lies in a folder; {above}, above {path}, is a file. Name another.")


@contextlib.contextmanager
def replacing(path: Place) -> Iterator[Path]:
    """A temporary neighbour of `path` that takes its place when the block ends well.

    The bytes are on the disk before the name is. A block that fails leaves nothing. What goes into a bucket
    is written on this machine first and put as a whole.

    Raises:
        NoFileTargetError: what stands there is no file.
    """
    if not isinstance(path, Path):
        with tempfile.TemporaryDirectory(prefix="gl10m-") as scratch:
            yield Path(scratch) / path.name
            path.put(Path(scratch) / path.name)
        return
    check_target(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def sweep(path: Place) -> None:
    """Delete what writers of `path` that were killed have left beside it; a bucket never shows any such.

    For whoever is the only one that writes there: another's unfinished file goes, too.
    """
    if isinstance(path, Path):
        for leftover in path.parent.glob(f"{TEMPORARY}*-{path.name}"):
            leftover.unlink(missing_ok=True)


def write(path: Place, table: pa.Table, declared: Table, metadata: Mapping[str, str]) -> None:
    """Write a manifest atomically; the same rows and metadata give the same bytes.

    Args:
        path: the file to make or replace.
        table: rows in the declared schema.
        declared: the declaration, whose units travel into the file.
        metadata: provenance, see `Provenance.metadata`.

    Raises:
        ManifestError: the rows do not fit the declaration.
        OSError: the folder cannot be written.
    """
    schema = declared.schema
    try:
        rows = table.select(declared.names).cast(schema).combine_chunks()
    except (KeyError, pa.ArrowInvalid) as error:
        raise ManifestError(f"rows do not fit the table {declared.name}: {error}") from error
    about = dict(schema.metadata or {})
    about.update({key.encode(): value.encode() for key, value in sorted(metadata.items())})
    if "geometry" in declared.names:
        about |= geo_metadata()
    about[seal.KEY.encode()] = seal.BLANK.encode()
    with replacing(path) as temporary:
        pq.write_table(
            rows.replace_schema_metadata(about),
            temporary,
            compression="zstd",
            write_page_checksum=True,
            row_group_size=65_536,
        )
        seal.seal(temporary)


def read(path: Place, declared: Table, columns: list[str] | None = None) -> pa.Table:
    """Read a manifest and check that it is the declared table.

    Args:
        path: the file.
        declared: what it must be.
        columns: columns to read; all declared ones if None.

    Returns:
        Rows in the declared schema, or the chosen columns of it.

    Raises:
        ManifestNotFoundError: there is no such file.
        ManifestError: the file is damaged, is another table, lacks a column, or was written by another schema
            version.
    """
    names = declared.names if columns is None else columns
    if not path.exists():
        raise ManifestNotFoundError(
            f"no manifest {path.name} in {path.parent}. Build a data set there with `gl10m build`, or "
            "name its folder with --root."
        )
    schema = pa.schema([declared.schema.field(name) for name in names])
    try:
        with pq.ParquetFile(readable(path), page_checksum_verification=True) as file:
            _check(path, file, declared, names)
            if isinstance(path, Path):
                seal.check_seal(path)
            return file.read(columns=names).select(names).cast(schema)
    except seal.SealError as error:
        raise ManifestError(f"{path} is damaged: {error}. {RESTORE}") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read as Parquet ({error}). {RESTORE}") from error


def metadata_of(path: Place) -> dict[str, str]:
    """Key-value metadata of a Parquet file, provenance included.

    Raises:
        ManifestError: the file is not Parquet, or its metadata are no text.
    """
    try:
        found = pq.read_schema(readable(path)).metadata or {}
        return {key.decode(): value.decode() for key, value in found.items()}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read as Parquet ({error}). {RESTORE}") from error


def _check(path: Place, file: pq.ParquetFile, declared: Table, names: list[str]) -> None:
    about = file.schema_arrow.metadata or {}
    version = about.get(b"gl10m.schema_version", b"none").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        raise ManifestError(
            f"{path} has schema version {version}; this gl10m reads version {SCHEMA_VERSION}. "
            "Build it again, or install the gl10m that wrote it."
        )
    table = about.get(b"gl10m.table", declared.name.encode()).decode(errors="replace")
    if table != declared.name:
        raise ManifestError(f"{path} is the table {table}; here stands {declared.name}. {RESTORE}")
    missing = [name for name in names if name not in file.schema_arrow.names]
    if missing:
        raise ManifestError(
            f"{path} lacks the columns {', '.join(missing)} of the table {declared.name}; it has "
            f"{', '.join(file.schema_arrow.names)}. {RESTORE}"
        )
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    unpacked = sum(group.total_byte_size for group in groups)
    if file.metadata.num_rows > MAX_MANIFEST_ROWS or unpacked > MAX_MANIFEST_BYTES:
        raise ManifestError(
            f"{path} claims {file.metadata.num_rows} rows in {unpacked} bytes; a manifest has at most "
            f"{MAX_MANIFEST_ROWS} rows in {MAX_MANIFEST_BYTES} bytes."
        )


def geo_metadata() -> dict[bytes, bytes]:
    """The metadata that make GeoParquet of a Parquet file with a WKB column `geometry`."""
    about = {
        "version": "1.1.0",
        "primary_column": "geometry",
        # Without a "crs" GeoParquet means OGC:CRS84: longitude and latitude in degrees.
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": []}},
    }
    return {b"geo": json.dumps(about, sort_keys=True).encode()}
