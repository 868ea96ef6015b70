"""Tables that users bring: splits and orders of tiles."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gl10m.manifest.split import SplitError
from gl10m.manifest.split_file import split_from_file
from gl10m.view.orders import FileOrder, OrderFileError
from tests.fuzz.changes import STRANGE, Chance, spoiled, spoiled_text
from tests.fuzz.subject import Spoiled

SCENES = pa.table({"scene_id": [f"CA-w{number}" for number in range(6)], "state": ["CA"] * 6})
SPLIT: dict[str, list[Any]] = {
    "scene_id": [f"CA-w{number}" for number in range(6)],
    "split": ["train", "val", "test"] * 2,
}

ORDER: dict[str, list[Any]] = {
    "scene_id": ["CA-w0"] * 3 + ["CA-w1"] * 2,
    "rank": [0, 1, 2, 0, 1],
    "tile": [5, 9, 99, 0, 7],
}


def parquet(columns: dict[str, list[Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def odd(columns: dict[str, list[Any]], chance: Chance) -> bytes:
    """A Parquet file with values or a type that a column should not have."""
    for _ in range(30):
        changed = {name: list(own) for name, own in columns.items()}
        name, value = chance.choice(sorted(changed)), chance.choice(STRANGE)
        if chance.random() < 0.5:
            changed[name][chance.randrange(len(changed[name]))] = value
        else:
            changed[name] = [value] * len(changed[name])
        try:
            return parquet(changed)
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            continue
    return b"PAR1"


class SplitFiles:
    name = "split files"
    vouched = False
    errors: tuple[type[Exception], ...] = (SplitError,)

    def prepare(self, folder: Path) -> None:
        self.folder = folder
        rows = zip(SPLIT["scene_id"], SPLIT["split"], strict=True)
        self.csv = "\n".join(["scene_id,split", *(f"{name},{split}" for name, split in rows), ""]).encode()
        self.parquet = parquet(SPLIT)

    def spoil(self, chance: Chance) -> Spoiled:
        kind = chance.randrange(3)
        if kind == 0:
            return Spoiled("split.csv", spoiled_text(self.csv, chance))
        content = spoiled(self.parquet, chance) if kind == 1 else odd(SPLIT, chance)
        return Spoiled("split.parquet", content)

    def read(self, spoiled: Spoiled) -> bool:
        path = self.folder / spoiled.name
        path.write_bytes(spoiled.content)
        found = split_from_file(path, SCENES)
        assert found.num_rows == SCENES.num_rows
        assert all(isinstance(name, str) and name for name in found["split"].to_pylist())
        return False


class OrderFiles:
    name = "order files"
    vouched = False
    errors: tuple[type[Exception], ...] = (OrderFileError,)

    def prepare(self, folder: Path) -> None:
        self.path = folder / "order.parquet"
        self.whole = parquet(ORDER)

    def spoil(self, chance: Chance) -> Spoiled:
        content = spoiled(self.whole, chance) if chance.random() < 0.5 else odd(ORDER, chance)
        return Spoiled("order.parquet", content)

    def read(self, spoiled: Spoiled) -> bool:
        self.path.write_bytes(spoiled.content)
        order = FileOrder(self.path)
        for scene in ("CA-w0", "CA-w1", "CA-w2"):
            tiles = order.of(scene) or []
            assert len(set(tiles)) == len(tiles)
            assert all(0 <= tile < 100 for tile in tiles)
        return False
