"""Fragments and receipts: what became of each scene that was asked of the imagery source."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gl10m.manifest.columns import values, where
from gl10m.manifest.schema import FETCHED, REJECTIONS, Column, Table
from gl10m.storage.contents import readable
from gl10m.storage.place import BucketPath, Place, below
from pipelines.execution.journal import DamagedTableError, Journal, key_of, read_table
from pipelines.execution.notes import FRAGMENT, ROW, columns_of, noted, placed, sizes_of, write_note

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

_COUNTED = pa.schema([column.field() for column in (_KEY, _OUTCOME, _REASON)])

SENSORS = ("naip", "sentinel2")
"""As the columns of MATCHED that hold a scene's items are called."""

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
        return _one_each(pa.concat_tables([self._fragments().select(RECEIPTS.names), self.published()]))

    def outcomes(self) -> pa.Table:
        """As `load`, with nothing but what it takes to count: columns scene_key, outcome and reason."""
        names = _COUNTED.names
        return _one_each(
            pa.concat_tables([self._fragments(_COUNTED).select(names), self._published(_COUNTED)])
        )

    def note(self) -> None:
        """Note what fragments hold that no note tells of yet, so that the next look need not open them."""
        _, opened = self._looked_at(RECEIPTS.schema)
        if opened.num_rows:
            write_note(self.journal, opened)

    def _fragments(self, schema: pa.Schema = RECEIPTS.schema) -> pa.Table:
        """Receipts of all fragments that can be read, with where each lies."""
        return pa.concat_tables(self._looked_at(schema))

    def _looked_at(self, schema: pa.Schema) -> tuple[pa.Table, pa.Table]:
        """Receipts of the fragments that notes tell of, and of those that had to be opened."""
        sizes = sizes_of(self.journal)
        known = noted(self.journal, sizes, schema)
        named = set(pc.unique(known[FRAGMENT]).to_pylist())
        rest = [self.journal.fragments / name for name in sizes if name not in named]
        opened = ((path, table) for path, table in _receipts_of(rest).items() if table is not None)
        return known, placed(((path, table.select(schema.names)) for path, table in opened), schema)

    def published(self) -> pa.Table:
        """Receipts of the last published build alone, schema RECEIPTS: the shards hold these images."""
        return self._published(RECEIPTS.schema)

    def _published(self, schema: pa.Schema) -> pa.Table:
        found = columns_of(self.path, schema)
        return schema.empty_table() if found is None else found

    def finished(self, region: str) -> Counter[str] | None:
        """How many scenes of the build begun last in a region have which outcome; None if none was begun."""
        keys = self.asked(region)
        if keys is None:
            return None
        return Counter(str(outcome) for outcome in values(answered(self.outcomes(), keys), "outcome"))

    def asked(self, region: str) -> "pa.ChunkedArray[Any] | None":
        """Keys of what the build begun last in a region asks for; None if none was begun."""
        found = below(self.journal.folder / "stages" / region, "keys-*.parquet")
        return _read_keys(found[0]) if found else None

    def payload(self, wanted: set[str]) -> Iterator[tuple[str, Place, int]]:
        """Where the fragments hold the images of the wanted scene keys: (key, file, row)."""
        found = where(where(self._fragments(), "outcome", {"kept"}), "scene_key", wanted)
        columns = (values(found, name) for name in ("scene_key", FRAGMENT, ROW))
        for key, name, row in zip(*columns, strict=True):
            yield key, self.journal.fragments / name, row


def answered(receipts: pa.Table, asked: "pa.ChunkedArray[Any]") -> pa.Table:
    """Those receipts that answer what is asked; of other parameters or sources they do not.

    Args:
        receipts: with a column scene_key.
        asked: as of `Receipts.asked`.
    """
    return receipts.filter(pc.is_in(receipts["scene_key"], asked.combine_chunks()))


def _one_each(receipts: pa.Table) -> pa.Table:
    """Receipts in the order of their keys; the finished one where a later run fetched what had failed."""
    rank = pc.equal(receipts["outcome"], pa.scalar("failed"))
    ordered = (
        receipts.append_column("rank", rank)
        .sort_by([("scene_key", "ascending"), ("rank", "ascending")])
        .drop_columns(["rank"])
    )
    keys = ordered["scene_key"].combine_chunks()
    later = pc.not_equal(keys[1:], keys[:-1]) if len(keys) > 1 else pa.array([], pa.bool_())
    return ordered.filter(pa.concat_arrays([pa.array([True] * min(len(keys), 1), pa.bool_()), later]))


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


def rejections_of(receipts: pa.Table) -> pa.Table:
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


def scene_key(
    row: Mapping[str, Any], parameters: str, sources: tuple[str, str], marks: Mapping[str, str]
) -> str:
    """Content key of one scene: where it is, which items of which sources show it, and how they are read.

    Args:
        row: one row of MATCHED.
        parameters: digest of the parameters, code and software of the stages that fetch and check.
        sources: names of the LR and of the HR source.
        marks: item id to a digest of what the catalogue said of the item.
    """
    place = (row["scene_id"], row["bounds"])
    naip, sentinel2 = ([(name, marks[name]) for name in row[f"{sensor}_items"]] for sensor in SENSORS)
    return key_of(place, naip, sentinel2, parameters, sources)


_READ_AT_ONCE = 16
_seen: dict[tuple[str, str], pa.Table | None] = {}
"""Receipts of fragments in buckets, by address and version: each is asked for once."""


def _receipts_of(paths: Sequence[Place]) -> dict[Place, pa.Table | None]:
    """Receipts of many files, in their order; those in a bucket side by side."""
    if not any(isinstance(path, BucketPath) for path in paths):
        return {path: columns_of(path, RECEIPTS.schema) for path in paths}
    with ThreadPoolExecutor(_READ_AT_ONCE) as threads:
        return dict(zip(paths, threads.map(_remembered, paths), strict=True))


def _remembered(path: Place) -> pa.Table | None:
    if not isinstance(path, BucketPath):
        return columns_of(path, RECEIPTS.schema)
    key = (str(path), path.mark)
    if key not in _seen:
        _seen[key] = columns_of(path, RECEIPTS.schema)
    return _seen[key]


def _read_keys(path: Place) -> "pa.ChunkedArray[Any] | None":
    try:
        return read_table(path, ["scene_key"])["scene_key"].cast(pa.string())
    except (OSError, DamagedTableError, pa.ArrowException, KeyError):
        return None
