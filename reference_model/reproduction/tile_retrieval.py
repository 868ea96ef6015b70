"""What a completed tile is taken for: its nearest neighbours among the training tiles (section B).

One retrieval for all models: the same observations, the same database, the same similarity.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from numpy.typing import NDArray
from torch import Tensor

from gl10m.scene.grid import TILES
from reference_model.evaluate import in_batches
from reference_model.reproduction.parts import Completion, Parts

BUDGETS = (0.02, 0.05, 0.12, 0.25)
"""OBR buckets; the sampler's best tiles of each scene are observed."""

NEIGHBOURS = 10
APART_KM = 5.0
"""Training scenes nearer than this to the query's scene are left out of its database."""

QUERY_SCENES = 200
"""Held-out scenes that are asked about, at most, evenly spread."""

TILES_A_SCENE = 5
"""Held-out tiles that are asked for in a scene, at most."""

DATABASE_TILES = 1_000_000
"""Training tiles that are looked through, at most."""

EARTH_RADIUS_KM = 6371.0088


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Training tiles as unit vectors."""

    rows: NDArray[np.int64]
    """Scene of each tile, (n,)."""

    tiles: NDArray[np.int64]
    """Its place there, (n,)."""

    vectors: Tensor
    """float32 (n, dim)."""

    labels: Tensor
    """Bool (n, classes)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One held-out tile, asked for in one bucket, completed by one model."""

    model: str
    bucket: float
    row: int
    tile: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What was found for it."""

    asked: Asked
    agreement: float
    """Share of the ten neighbours that carry a label of the true tile."""

    jaccard: float
    """Mean over the neighbours: labels in common over labels of either."""

    rank: int
    """Place of the true tile among all tiles of the database, from 1."""

    cosine: float
    """To the true tile, both centred."""

    neighbours: tuple[int, ...]
    """Entries of the database, the nearest first."""


def tile_vectors(tokens: Tensor, mean: Tensor) -> Tensor:
    """Tiles (..., p * p, dim) as unit vectors (..., dim): mean token, mu subtracted."""
    return F.normalize(tokens.float().mean(dim=-2) - mean, dim=-1)


def database(parts: Parts) -> Database:
    """All training tiles, or DATABASE_TILES of them, evenly spread."""
    train = parts.setting.job.roles.train
    every = np.stack(np.divmod(np.arange(len(train) * TILES), TILES), axis=1)
    kept = every[np.linspace(0, len(every) - 1, min(len(every), DATABASE_TILES)).round().astype(np.int64)]
    rows, tiles = train[kept[:, 0]], kept[:, 1]
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    of_scenes = zip(rows[first], np.split(tiles, first[1:]), strict=True)
    vectors = torch.cat(
        [tile_vectors(parts.full(torch.tensor([row])), parts.mean)[0, own] for row, own in of_scenes]
    )
    labels = parts.setting.job.catalogue.tile_labels[torch.from_numpy(rows), torch.from_numpy(tiles)]
    return Database(rows=rows, tiles=tiles, vectors=vectors, labels=labels)


def kilometres(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Great-circle distance between points (..., 2), longitude and latitude in degrees."""
    (lon1, lat1), (lon2, lat2) = np.moveaxis(np.radians(one), -1, 0), np.moveaxis(np.radians(other), -1, 0)
    half = np.sin((lat2 - lat1) / 2) ** 2 + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    distance: NDArray[np.float64] = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(half))
    return distance


def held_out_tiles(parts: Parts, row: int, observed: Tensor) -> list[int]:
    """At most TILES_A_SCENE tiles that carry a label and were not observed; the same for every model."""
    labelled = parts.setting.job.catalogue.tile_labels[row].any(dim=1) & ~observed
    name = parts.setting.job.catalogue.scene_ids[row]
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    order = torch.randperm(TILES, generator=torch.Generator().manual_seed(seed))
    return [int(tile) for tile in order if bool(labelled[tile])][:TILES_A_SCENE]


def ask(parts: Parts, models: Mapping[str, Completion], known: Database) -> list[Query]:
    """Ask every model for the same tiles from the same observations, in every bucket.

    Nothing is asked of a scene that has no training scene farther away than APART_KM: no tile is left that it
    could be taken for, and the first place among none would be no merit.
    """
    found: list[Query] = []
    rows = query_rows(parts)
    truths = _vectors(parts, lambda part, _: parts.full(part), rows, torch.ones(len(rows), TILES).bool())
    near = [torch.from_numpy(_distances(parts, int(row), known) < APART_KM) for row in rows]
    for bucket in BUDGETS:
        observed = _best(parts.scores[rows], round(bucket * TILES))
        tiles = [held_out_tiles(parts, int(row), where) for row, where in zip(rows, observed, strict=True)]
        for model, complete in models.items():
            completed = _vectors(parts, complete, rows, observed)
            for place, row in enumerate(rows.tolist()):
                for tile in () if bool(near[place].all()) else tiles[place]:
                    asked = Asked(model=model, bucket=bucket, row=row, tile=tile)
                    similar = (known.vectors @ completed[place, tile]).masked_fill(near[place], -torch.inf)
                    cosine = float(completed[place, tile] @ truths[place, tile])
                    found.append(_query(parts, known, asked, similar, cosine))
    return found


def _best(scores: Tensor, count: int) -> Tensor:
    """The `count` tiles with the highest scores of each scene: bool (N, 100)."""
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :count]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, order, value=True)


def query_rows(parts: Parts) -> Tensor:
    """Held-out scenes that are asked about, (at most QUERY_SCENES,)."""
    rows = parts.test_rows()
    places = np.linspace(0, len(rows) - 1, min(len(rows), QUERY_SCENES)).round().astype(np.int64)
    return rows[torch.from_numpy(places)]


def _vectors(parts: Parts, complete: Completion, rows: Tensor, observed: Tensor) -> Tensor:
    """Unit vectors of all tiles of some scenes, (N, 100, dim); few scenes are in memory at a time."""
    pairs = in_batches(rows, observed)
    return torch.cat([tile_vectors(complete(part, where), parts.mean) for part, where in pairs])


def _query(parts: Parts, known: Database, asked: Asked, similar: Tensor, cosine: float) -> Query:
    """Look a completed tile up.

    Args:
        parts: of the model.
        known: the database, (n,).
        asked: which tile.
        similar: cosine of the completed tile to the n entries, minus infinity for those too near.
        cosine: to the true tile.
    """
    allowed = int(torch.isfinite(similar).sum())
    nearest = similar.topk(min(NEIGHBOURS, allowed)).indices
    true_labels = parts.setting.job.catalogue.tile_labels[asked.row, asked.tile]
    agreement, jaccard = agree(known.labels[nearest], true_labels)
    return Query(
        asked=asked,
        agreement=agreement,
        jaccard=jaccard,
        rank=1 + int((similar > cosine).sum()),
        cosine=cosine,
        neighbours=tuple(nearest.tolist()),
    )


def _distances(parts: Parts, row: int, known: Database) -> NDArray[np.float64]:
    bounds = parts.setting.job.catalogue.bounds
    centres = (bounds[:, :2] + bounds[:, 2:]) / 2
    return kilometres(centres[row], centres[known.rows])


def agree(found: Tensor, truth: Tensor) -> tuple[float, float]:
    """How far the labels of neighbours agree with those of the true tile.

    Args:
        found: bool (neighbours, classes).
        truth: bool (classes,), at least one True.

    Returns:
        Share of the neighbours with a label in common, and the mean Jaccard index; NaN without a neighbour.
    """
    if not len(found):
        return float("nan"), float("nan")
    common, either = (found & truth).sum(dim=1).double(), (found | truth).sum(dim=1).double()
    return float((common > 0).double().mean()), float((common / either).mean())
