"""The split of each scene as a file of the user's says it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gl10m.manifest.columns import texts
from gl10m.manifest.split import OTHER, SplitError, table_of

MAX_FILE_BYTES = 1 << 30
"""A split file longer than this is refused unread."""


def split_from_file(path: Path, scenes: pa.Table) -> pa.Table:
    """Split as a file says.

    Args:
        path: CSV or Parquet with the columns `split` and either `scene_id` or `state`. It may name scenes and
            states that the data set does not have.
        scenes: `scene_id` and `state`, as in SCENES.

    Returns:
        Schema SPLITS, in the order of the scenes.

    Raises:
        FileNotFoundError: there is no such file.
        SplitError: it is no such table, or does not name a scene, or names one twice.
    """
    key, rows = _read(path)
    chosen: dict[str, str] = {}
    for name, split in rows:
        if chosen.setdefault(name, split) != split:
            raise SplitError(f"{path} puts {name} into both {chosen[name]} and {split}; it can be in one")
    wanted = texts(scenes, key)
    missing = sorted({name for name in wanted if name not in chosen})
    if missing:
        raise SplitError(
            f"{path} names no split for {len(missing)} of the data set's {key}s, as {missing[0]}. Add them, "
            f"under {OTHER!r} if they shall be in no split of yours."
        )
    return table_of(scenes, [chosen[name] for name in wanted])


def _read(path: Path) -> tuple[str, list[tuple[str, str]]]:
    """The key, scene_id or state, and the rows of a split file."""
    if not path.is_file():
        raise FileNotFoundError(
            f"no split file {path}. A split is named state, group, random, block, concept or a file."
        )
    if path.stat().st_size > MAX_FILE_BYTES:
        raise SplitError(f"a split file has at most {MAX_FILE_BYTES} bytes; {path} has {path.stat().st_size}")
    table = _table(path)
    try:
        names = table.column_names
        key = next((name for name in ("scene_id", "state") if name in names), None)
        if key is None or "split" not in names:
            raise SplitError(
                f"a split file has the columns split and scene_id or state; {path} has "
                f"{', '.join(names)[:500]}"
            )
        columns = [[str(value) for value in table[name].to_pylist()] for name in (key, "split")]
    except (UnicodeDecodeError, OverflowError, pa.ArrowException) as error:
        raise SplitError(f"{path} holds what is no text ({error})") from error
    return key, list(zip(*columns, strict=True))


def _table(path: Path) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path)
        # All columns as text: 01 is no number, and no word of the file is a missing value.
        text = {name: pa.string() for name in ("scene_id", "state", "split")}
        options = pa_csv.ConvertOptions(column_types=text, strings_can_be_null=False)
        return pa_csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SplitError(f"{path} is neither CSV nor Parquet ({error})") from error
