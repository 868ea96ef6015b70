"""In which order a sampler would buy the tiles of a scene."""

import zlib
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gl10m.scene.grid import TILES

COLUMNS: Final = ("scene_id", "rank", "tile")
"""Columns of an order file: one row a tile that is bought; rank 0 is bought first."""

_TYPES: dict[str, pa.DataType] = {"scene_id": pa.string(), "rank": pa.int64(), "tile": pa.int64()}

MAX_ROWS: Final = 50_000_000
"""An order file that claims more rows is refused unread; the paper's data set has 10,402,000 tiles."""


class OrderFileError(ValueError):
    """A file does not say the order of tiles."""


class TileOrder(Protocol):
    """The order of one sampler."""

    name: str
    """As people read it."""

    def of(self, scene_id: str) -> list[int] | None:
        """Tiles from the first to the last that is bought; None where the sampler does not know the scene."""
        ...


class RandomOrder:
    """All tiles, each equally likely at each place: the order against which a sampler is measured."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.name = f"random, seed {seed}"

    def of(self, scene_id: str) -> list[int]:
        """The same for the same scene and seed."""
        generator = np.random.default_rng((self.seed, zlib.crc32(scene_id.encode())))
        order: list[int] = generator.permutation(TILES).tolist()
        return order


class FileOrder:
    """The order that a Parquet file says; see COLUMNS. A scene may have fewer than 100 tiles, or none."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            FileNotFoundError: there is no such file.
            OrderFileError: it is no such table, or names a tile or a rank of a scene twice.
        """
        self.name = path.stem
        table = _read(path)
        try:
            scene = table["scene_id"].combine_chunks().dictionary_encode()
            names = [str(name) for name in scene.dictionary.to_pylist()]
        except UnicodeDecodeError as error:
            raise OrderFileError(f"{path} has a scene_id that is no text ({error})") from error
        code = scene.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        rank, tile = (table[name].to_numpy().astype(np.int64) for name in ("rank", "tile"))
        _check(path, code, rank, tile)
        order = np.lexsort((rank, code))
        self._tiles = tile[order].astype(np.uint8)
        counts = np.bincount(code, minlength=len(scene.dictionary))
        self._ends = np.cumsum(counts)
        self._place = {name: place for place, name in enumerate(names)}

    def of(self, scene_id: str) -> list[int] | None:
        """Tiles by rank; None where the file does not name the scene."""
        place = self._place.get(scene_id)
        if place is None:
            return None
        start = int(self._ends[place - 1]) if place else 0
        order: list[int] = self._tiles[start : int(self._ends[place])].tolist()
        return order


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise FileNotFoundError(f"no order file {path}. It is Parquet with the columns {', '.join(COLUMNS)}.")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if file.metadata.num_rows > MAX_ROWS:
                raise OrderFileError(
                    f"{path} claims {file.metadata.num_rows} rows; an order file has at most {MAX_ROWS}"
                )
            missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
            if missing:
                raise OrderFileError(
                    f"{path} lacks the columns {', '.join(missing)}; an order file has "
                    f"{', '.join(COLUMNS)}, one row a tile, rank 0 first"
                )
            table = file.read(columns=list(COLUMNS)).cast(pa.schema(_TYPES))
            table.validate(full=True)
            if any(table[name].null_count for name in COLUMNS):
                raise OrderFileError(f"{path} has a row without a value; each says {', '.join(COLUMNS)}")
            return table
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise OrderFileError(f"{path} cannot be read as an order file ({error})") from error


def _check(path: Path, code: NDArray[np.int64], rank: NDArray[np.int64], tile: NDArray[np.int64]) -> None:
    if len(code) and (tile.min() < 0 or tile.max() >= TILES or rank.min() < 0 or rank.max() >= TILES):
        raise OrderFileError(f"{path} has a tile or a rank that is not in 0..{TILES - 1}")
    for name, values in (("rank", rank), ("tile", tile)):
        keys = np.sort(code * TILES + values)
        if (keys[1:] == keys[:-1]).any():
            raise OrderFileError(f"{path} names a {name} twice for one scene; each stands once")
