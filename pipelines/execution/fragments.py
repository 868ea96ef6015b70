"""Fragments and receipts: what became of each scene that was asked of the imagery source."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from gl10m.manifest.columns import values, where
from gl10m.manifest.schema import FETCHED, REJECTIONS, Column, Table
from gl10m.storage.place import BucketPath, Place, below, readable
from pipelines.execution.journal import Journal, key_of

_KEY = Column("scene_key", pa.string(), "-", "build", "Content key of the scene: place, items, parameters")
_OUTCOME = Column("outcome", pa.string(), "kept, rejected or failed", "build", "What became of the scene")
_STAGE = Column("stage", pa.string(), "stage name", "build", "The last stage that saw the scene")
_REASON = Column("reason", pa.string(), "reason or error code", "build", "Null where kept")
_DETAIL = Column("detail", pa.string(), "-", "build", "The numbers behind the reason")

RECEIPTS = Table(
    "receipts",
    "What became of each scene, without its images",
    (
        _KEY,
        FETCHED.columns[0],
        FETCHED.columns[1],
        _OUTCOME,
        _STAGE,
        _REASON,
        _DETAIL,
    ),
)

_KEYS = pa.schema([("scene_id", pa.string()), ("scene_key", pa.string())])

_EXTRA = (_KEY, _OUTCOME, _STAGE, _REASON, _DETAIL)


def fragment_schema() -> pa.Schema:
    """FETCHED, all but the identity nullable, with the receipt's columns in front."""
    return pa.schema([column.field() for column in _EXTRA] + list(FETCHED.schema))


def make_fragment(keys: dict[str, str], kept: pa.Table, dropped: pa.Table) -> pa.Table:
    """Lay the account of one batch into a table.

    Args:
        keys: scene id to scene key, of every scene of the batch.
        kept: schema FETCHED.
        dropped: schema REJECTIONS; its subjects are scene ids.

    Returns:
        One row a scene, sorted by scene id.
    """
    rows = kept.num_rows
    ids = values(kept, "scene_id")
    good = pa.table(
        [
            pa.array([keys[str(name)] for name in ids], pa.string()),
            pa.array(["kept"] * rows, pa.string()),
            pa.array(["consistency"] * rows, pa.string()),
            pa.nulls(rows, pa.string()),
            pa.nulls(rows, pa.string()),
            *(kept[name] for name in FETCHED.names),
        ],
        schema=fragment_schema(),
    )
    lost = pa.Table.from_pylist(
        [
            {
                "scene_key": keys[row["subject"]],
                "outcome": row["outcome"],
                "stage": row["stage"],
                "reason": row["reason"],
                "detail": row["detail"],
                "scene_id": row["subject"],
                "state": row["state"],
            }
            for row in dropped.to_pylist()
        ],
        schema=fragment_schema(),
    )
    return pa.concat_tables([good, lost]).sort_by("scene_id").combine_chunks()


@dataclass(frozen=True, slots=True)
class Receipts:
    """What the journal knows of the scenes of a data set."""

    journal: Journal

    @property
    def path(self) -> Place:
        """The receipts of the last published build."""
        return self.journal.folder / "receipts.parquet"

    def load(self) -> pa.Table:
        """All receipts, schema RECEIPTS, one row a scene key; unreadable fragments count as not there."""
        tables = list(_all_columns(below(self.journal.fragments, "*.parquet")).values())
        tables.append(_columns(self.path))
        found = pa.concat_tables([table for table in tables if table is not None] or [RECEIPTS.empty()])
        # A scene that failed and was fetched by a later run has two receipts: the finished one counts.
        rank = pa.array([0 if o != "failed" else 1 for o in values(found, "outcome")], pa.int8())
        ordered = found.append_column("rank", rank).sort_by(
            [("scene_key", "ascending"), ("rank", "ascending")]
        )
        keys = values(ordered, "scene_key")
        first = [i for i, key in enumerate(keys) if i == 0 or keys[i - 1] != key]
        return ordered.take(pa.array(first, pa.int64())).drop_columns(["rank"])

    def published(self) -> pa.Table:
        """Receipts of the last published build alone, schema RECEIPTS: the shards hold these images."""
        found = _columns(self.path)
        return RECEIPTS.empty() if found is None else found

    def finished(self, region: str) -> Counter[str] | None:
        """How many scenes of the build begun last in a region have which outcome; None if none was begun.

        Receipts of other parameters or sources do not count: their scenes are asked for anew.
        """
        found = below(self.journal.folder / "stages" / region, "keys-*.parquet")
        table = _read_keys(found[0]) if found else None
        if table is None:
            return None
        asked = where(self.load(), "scene_key", values(table, "scene_key"))
        return Counter(str(outcome) for outcome in values(asked, "outcome"))

    def payload(self, wanted: set[str]) -> Iterator[tuple[str, Place, int]]:
        """Where the fragments hold the images of the wanted scene keys: (key, file, row)."""
        for path, table in _all_columns(below(self.journal.fragments, "*.parquet")).items():
            if table is None:
                continue
            for row, (key, outcome) in enumerate(
                zip(values(table, "scene_key"), values(table, "outcome"), strict=True)
            ):
                if outcome == "kept" and key in wanted:
                    yield key, path, row


class DamagedFragmentError(ValueError):
    """A fragment does not hold the images that were written into it."""


def read_scene(path: Place, row: int) -> pa.Table:
    """One kept scene of a fragment, schema FETCHED.

    Raises:
        DamagedFragmentError: its bytes have changed on the disk. It is removed, so that the next run fetches
            its scenes again.
    """
    try:
        with pq.ParquetFile(readable(path), page_checksum_verification=True) as file:
            return file.read_row_group(row).select(FETCHED.names)
    except (OSError, pa.ArrowException) as error:
        path.unlink(missing_ok=True)
        raise DamagedFragmentError(
            f"the fragment {path.name} was damaged on the disk ({error}) and is removed. Run the same "
            "command again to fetch its scenes once more."
        ) from error


def note_keys(journal: Journal, region: str, keys: dict[str, str]) -> None:
    """Write down which scenes a build asks for, for those who look on; see `Receipts.finished`.

    Args:
        journal: of the data set.
        region: region code.
        keys: scene id to scene key of every matched candidate.
    """
    named = sorted(keys.items())
    table = pa.table({"scene_id": [name for name, _ in named], "scene_key": [key for _, key in named]}, _KEYS)
    journal.table("keys", region, key_of(named), lambda: table)


def account(receipts: pa.Table) -> pa.Table:
    """Receipts of dropped scenes as rows of REJECTIONS."""
    rows = [
        {
            "stage": row["stage"],
            "state": row["state"],
            "subject": row["scene_id"],
            "outcome": row["outcome"],
            "reason": row["reason"],
            "detail": row["detail"],
        }
        for row in receipts.to_pylist()
        if row["outcome"] != "kept"
    ]
    return pa.Table.from_pylist(rows, schema=REJECTIONS.schema)


def scene_key(row: dict[str, object], parameters: str, sources: tuple[str, str]) -> str:
    """Content key of one scene: where it is, which items of which sources show it, and how they are read.

    Args:
        row: one row of MATCHED.
        parameters: digest of the parameters and versions of the stages that fetch and check.
        sources: names of the LR and of the HR source.
    """
    place = (row["scene_id"], row["bounds"])
    return key_of(place, row["naip_items"], row["sentinel2_items"], parameters, sources)


_READ_AT_ONCE = 16
_seen: dict[tuple[str, str], pa.Table | None] = {}
"""Receipts of fragments in buckets, by address and version: each is asked for once."""


def _all_columns(paths: Sequence[Place]) -> dict[Place, pa.Table | None]:
    """Receipts of many files, in their order; those in a bucket side by side."""
    if not any(isinstance(path, BucketPath) for path in paths):
        return {path: _columns(path) for path in paths}
    with ThreadPoolExecutor(_READ_AT_ONCE) as threads:
        return dict(zip(paths, threads.map(_remembered, paths), strict=True))


def _remembered(path: Place) -> pa.Table | None:
    if not isinstance(path, BucketPath):
        return _columns(path)
    key = (str(path), path.mark)
    if key not in _seen:
        _seen[key] = _columns(path)
    return _seen[key]


def _read_keys(path: Place) -> pa.Table | None:
    try:
        return pq.read_table(readable(path), page_checksum_verification=True).cast(_KEYS)
    except (FileNotFoundError, OSError, pa.ArrowException, ValueError):
        return None


def _columns(path: Place) -> pa.Table | None:
    try:
        with pq.ParquetFile(readable(path), page_checksum_verification=True) as file:
            return file.read(columns=RECEIPTS.names).select(RECEIPTS.names).cast(RECEIPTS.schema)
    except (FileNotFoundError, OSError, pa.ArrowException, KeyError, ValueError):
        return None
