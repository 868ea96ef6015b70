"""How far a build is, read from the journal alone: while it runs and afterwards."""

from collections import Counter

import pyarrow.parquet as pq

from gl10m.report import funnel
from gl10m.storage.place import Place, below, readable
from pipelines.execution.fragments import Receipts
from pipelines.execution.journal import Journal
from pipelines.execution.lock import is_locked


def describe(root: Place) -> str:
    """The state of a build as text.

    Raises:
        FileNotFoundError: no build was ever started there.
    """
    journal = Journal(root)
    if not journal.folder.is_dir():
        raise FileNotFoundError(
            f"no build was started in {root}. Start one with `gl10m build`, or name its folder with --root."
        )
    receipts = Receipts(journal)
    lines = [f"build in {root}: {'running' if is_locked(root) else 'not running'}"]
    for folder in below(journal.folder / "stages", "[A-Z][A-Z]"):
        counts = receipts.finished(folder.name) or Counter[str]()
        asked = _rows(folder)
        finished = counts["kept"] + counts["rejected"]
        share = f" of {asked:,} matched candidates" if asked is not None else ", candidates not matched yet"
        lines.append(
            f"{folder.name}: {finished:,} finished{share}: {counts['kept']:,} kept, "
            f"{counts['rejected']:,} rejected, {counts['failed']:,} to try again"
        )
    if (root / "manifests" / "funnel.parquet").exists():
        lines += ["", "last published build:", funnel.describe_root(root)]
    return "\n".join(lines)


def _rows(folder: Place) -> int | None:
    found = below(folder, "matching-*.kept.parquet")
    return pq.read_metadata(readable(found[0])).num_rows if found else None
