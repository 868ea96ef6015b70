"""The final pass over encoded pairs: exactly one LR image and 100 HR tiles that decode (paper A.3)."""

import pyarrow as pa

from gl10m.manifest.outcome import Ledger, Outcome
from gl10m.scene.grid import TILES, row_and_column
from gl10m.scene.rejection import Reason
from gl10m.store import codec


def check_pairs(fetched: pa.Table, state: str) -> Outcome:
    """Decode every image that is about to be stored and let go of pairs that are not whole.

    Args:
        fetched: schema FETCHED.
        state: region code.

    Returns:
        Kept rows of schema FETCHED; rejected rows with INCOMPLETE or CORRUPT_TILE.
    """
    ledger = Ledger("consistency", state)
    whole = []
    for row in fetched.select(["scene_id", "lr", "hr"]).to_pylist():
        fault = _fault(row["lr"], row["hr"])
        whole.append(fault is None)
        if fault is not None:
            ledger.reject(row["scene_id"], *fault)
    kept = fetched.filter(pa.array(whole, pa.bool_()))
    return Outcome(stage="consistency", read=fetched.num_rows, kept=kept, dropped=ledger.table)


def _fault(lr: bytes | None, hr: list[bytes | None] | None) -> tuple[Reason, str] | None:
    """The first thing wrong with a pair, or None."""
    tiles = hr or []
    present = sum(tile is not None for tile in tiles)
    if lr is None or present != TILES:
        return Reason.INCOMPLETE, f"{int(lr is not None)} LR image and {present} of {TILES} HR tiles"
    try:
        codec.decode(lr)
    except codec.ImageError as error:
        return Reason.CORRUPT_TILE, f"LR image: {error}"
    for number, tile in enumerate(tiles):
        try:
            codec.decode(tile or b"")
        except codec.ImageError as error:
            row, column = row_and_column(number)
            return Reason.CORRUPT_TILE, f"tile {number} (row {row}, column {column}): {error}"
    return None
