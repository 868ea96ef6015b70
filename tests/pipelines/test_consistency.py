"""The last pass: one LR image and 100 HR tiles that decode, or the whole pair goes."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from gl10m.manifest.schema import FETCHED
from gl10m.scene.rejection import Reason
from gl10m.store.codec import encode_lr, encode_tile
from pipelines.stages.consistency import check_pairs
from tests.pipelines.painted import lr_fetched

GREY = np.full((3, 268, 268), 90, np.uint8)


def pairs(*scenes: str, **changed: object) -> pa.Table:
    """Whole pairs; of the first scene the columns named are others."""
    whole = {"lr": encode_lr(GREY), "hr": [encode_tile(GREY)] * 100, "black_hr": [0.0] * 100}
    rows = [row | whole for row in lr_fetched(["n"], *scenes).to_pylist()]
    rows[0] |= changed
    return pa.Table.from_pylist(rows, schema=FETCHED.schema)


def with_tile_47(tile: bytes | None) -> list[bytes | None]:
    tiles: list[bytes | None] = [encode_tile(GREY)] * 100
    tiles[47] = tile
    return tiles


def jpeg(height: int, width: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "JPEG")
    return file.getvalue()


WRONG: dict[str, tuple[Callable[[], dict[str, Any]], Reason, str]] = {
    "a missing tile": (lambda: {"hr": with_tile_47(None)}, Reason.INCOMPLETE, "1 LR image and 99 of 100"),
    "no tiles": (lambda: {"hr": None}, Reason.INCOMPLETE, "1 LR image and 0 of 100"),
    "no LR image": (lambda: {"lr": None}, Reason.INCOMPLETE, "0 LR image and 100 of 100"),
    "a tile cut short": (
        lambda: {"hr": with_tile_47(encode_tile(GREY)[:-200])},
        Reason.CORRUPT_TILE,
        "tile 47 (row 4, column 7)",
    ),
    "a tile that is no image": (lambda: {"hr": with_tile_47(b"text")}, Reason.CORRUPT_TILE, "tile 47"),
    "an empty tile": (lambda: {"hr": with_tile_47(b"")}, Reason.CORRUPT_TILE, "tile 47"),
    "a tile of another size": (
        lambda: {"hr": with_tile_47(jpeg(256, 268))},
        Reason.CORRUPT_TILE,
        "got 256 x 268",
    ),
    "a damaged LR image": (lambda: {"lr": encode_lr(GREY)[:-200]}, Reason.CORRUPT_TILE, "LR image"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_whole_pair_goes_and_the_next_stays(wrong: str) -> None:
    change, reason, detail = WRONG[wrong]
    outcome = check_pairs(pairs("CA-w1", "CA-w2", **change()), "CA")
    assert outcome.kept["scene_id"].to_pylist() == ["CA-w2"]
    (row,) = outcome.dropped.to_pylist()
    assert (row["stage"], row["subject"], row["reason"]) == ("consistency", "CA-w1", reason)
    assert detail in row["detail"]


def test_whole_pairs_stay_as_they_are() -> None:
    table = pairs("CA-w1", "CA-w2")
    assert check_pairs(table, "CA").kept.equals(table)
    assert check_pairs(FETCHED.empty(), "CA").read == 0
