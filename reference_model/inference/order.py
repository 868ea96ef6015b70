"""In which order to buy the tiles of many scenes, from their LR images alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

import gl10m
from gl10m.manifest import parquet
from gl10m.manifest.schema import Column, Table
from gl10m.scene.grid import GRID
from gl10m.storage.place import Place
from reference_model.inference.model import GL10MReference, chosen
from reference_model.metrics.observation_cost import PRICES
from reference_model.scenes import Scenes

SCENES_AT_ONCE: Final = 32
"""LR images looked at together."""

HR_METRES: Final = 1.0
"""Ground sample distance of what is bought, a key of PRICES."""

SEMI_MAJOR, FLATTENING = 6_378_137.0, 1 / 298.257223563
"""WGS 84, metres."""

_SAMPLER, _DEGREES = "sampler, paper 4.2", "degrees, EPSG:4326"

ORDER = Table(
    "acquisition_order",
    "Which HR tiles to buy, best first; made from LR alone. `gl10m view --order` shows it",
    (
        Column("order", pa.int64(), "-", _SAMPLER, "Place among all tiles of all scenes, 0 is bought first"),
        Column("scene_id", pa.string(), "-", "OSM", "The scene"),
        Column("rank", pa.int32(), "-", _SAMPLER, "Place among the tiles of its scene, 0 is bought first"),
        Column("tile", pa.int32(), "tile number", "paper A.2", "10 * row + column, north-west first"),
        Column("score", pa.float64(), "0..1", _SAMPLER, "Worth of the tile on the scale of the threshold"),
        Column(
            "cost",
            pa.float64(),
            "square metres at price 1",
            "paper E.3",
            "Ground area times price a square metre",
        ),
        Column("west", pa.float64(), _DEGREES, "footprint", "Western edge of the tile"),
        Column("south", pa.float64(), _DEGREES, "footprint", "Southern edge"),
        Column("east", pa.float64(), _DEGREES, "footprint", "Eastern edge"),
        Column("north", pa.float64(), _DEGREES, "footprint", "Northern edge"),
    ),
)
"""One row a tile that is bought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to buy in some scenes."""

    scene_ids: Sequence[str]
    bounds: NDArray[np.float64]
    """(scenes, 4): west, south, east, north, degrees."""

    worth: Tensor
    """float32 (scenes, 100), as the sampler gives it: what decides the order."""

    score: Tensor
    """float64 (scenes, 100), the same on the scale of the threshold, where the highest 0.1 % are alike."""

    bought: Tensor
    """Bool (scenes, 100)."""

    rule: str
    """How the tiles were chosen, in words."""

    def table(self) -> pa.Table:
        """The rows, best first; of equally good tiles the earlier scene's, then the lower number, first."""
        scene, tile = (part.numpy() for part in self.bought.nonzero(as_tuple=True))
        worth = self.worth.numpy()
        best = np.lexsort((tile, scene, -worth[scene, tile]))
        scene, tile = scene[best], tile[best]
        west, south, east, north = tile_edges(self.bounds[scene], tile)
        columns = {
            "order": np.arange(len(scene)),
            "scene_id": pa.array([self.scene_ids[one] for one in scene], pa.string()),
            "rank": ranks(scene).astype(np.int32),
            "tile": tile.astype(np.int32),
            "score": self.score.numpy()[scene, tile],
            "cost": ground_area(west, south, east, north) * PRICES[HR_METRES],
            "west": west,
            "south": south,
            "east": east,
            "north": north,
        }
        return pa.table(columns, schema=ORDER.schema)

    @property
    def obr(self) -> float:
        """Share of all tiles that is bought."""
        return float(self.bought.double().mean())


def order_of(
    model: GL10MReference, scenes: Scenes, *, tau: float | None = None, obr: float | None = None
) -> Order:
    """Look at the LR image of every scene and choose tiles; no HR tile is read.

    Args:
        model: trained.
        scenes: where to buy.
        tau: threshold in [0, 1]; the calibrated one if None.
        obr: instead, the best so many of all tiles of all scenes together, a share.

    Raises:
        ValueError: both are given, or one is not in [0, 1].
    """
    ids, bounds, worth = [], [], []
    with tqdm(total=len(scenes), desc="LR", unit="scene", disable=None) as bar:
        for part in torch.split(torch.arange(len(scenes)), SCENES_AT_ONCE):
            readers = [scenes.scene(number) for number in part.tolist()]
            ids += [reader.scene_id for reader in readers]
            bounds += [reader.bounds for reader in readers]
            worth.append(model.worth(torch.stack([reader.lr() for reader in readers])).cpu())
            bar.update(len(readers))
    return Order(
        scene_ids=ids,
        bounds=np.array(bounds, dtype=np.float64),
        worth=torch.cat(worth),
        score=model.calibration.normalised(torch.cat(worth)),
        bought=chosen(torch.cat(worth), model.calibration, tau=tau, obr=obr),
        rule=_in_words(model, tau, obr),
    )


def write_order(path: Place, order: Order, model: GL10MReference) -> None:
    """Write an order as Parquet; the same order gives the same bytes."""
    about = {
        "gl10m.version": gl10m.__version__,
        "gl10m.order": json.dumps(
            {"rule": order.rule, "obr": order.obr, "encoder": model.description.encoder}
        ),
    }
    parquet.write(path, order.table(), ORDER, about)


def ranks(scene: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of each row among the rows of its scene, in the order they stand in: (rows,)."""
    together = np.argsort(scene, kind="stable")
    counts = np.bincount(scene, minlength=1)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    found = np.empty(len(scene), np.int64)
    found[together] = np.arange(len(scene)) - first
    return found


def tile_edges(
    bounds: NDArray[np.float64], tile: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """West, south, east and north of tiles, each (n,), degrees.

    Args:
        bounds: of their scenes, (n, 4), degrees.
        tile: their numbers, (n,).
    """
    west, south, east, north = bounds.T
    row, column = np.divmod(tile, GRID)
    wide, high = (east - west) / GRID, (north - south) / GRID
    return west + column * wide, north - (row + 1) * high, west + (column + 1) * wide, north - row * high


def ground_area(
    west: NDArray[np.float64],
    south: NDArray[np.float64],
    east: NDArray[np.float64],
    north: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Area of cells between meridians and parallels on the WGS 84 ellipsoid, square metres."""
    return np.radians(east - west) * SEMI_MAJOR**2 / 2 * (_zone(north) - _zone(south))


def _zone(latitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area from the equator without its factor: q of the authalic latitude (Snyder 1987, 3-12)."""
    eccentricity = sqrt(FLATTENING * (2 - FLATTENING))
    sine = np.sin(np.radians(latitude))
    ratio = np.log((1 - eccentricity * sine) / (1 + eccentricity * sine)) / (2 * eccentricity)
    zone: NDArray[np.float64] = (1 - eccentricity**2) * (sine / (1 - (eccentricity * sine) ** 2) - ratio)
    return zone


def _in_words(model: GL10MReference, tau: float | None, obr: float | None) -> str:
    if obr is not None:
        return f"the best {obr:.4g} of all tiles of these scenes together"
    threshold = model.calibration.threshold if tau is None else tau
    return f"every tile whose score is at least {threshold:.6g}" + (
        f", the threshold that bought {model.calibration.obr:.4g} of the validation tiles"
        if tau is None
        else ""
    )
