"""Every image encoded once, kept in the run folder.

A cache belongs to one encoder and one data set; one that was made otherwise is refused, never silently
reused.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from gl10m.manifest.parquet import TEMPORARY, replacing
from gl10m.scene.grid import TILES
from reference_model.networks.encoder import Backbone
from reference_model.objectives.supervision import CUES, structural_cues
from reference_model.scenes import Scenes

DESCRIPTION = "features.json"
"""Written last: a folder without it is unfinished."""


class FeatureCacheError(ValueError):
    """A feature cache was made by another encoder or from another data set."""


@dataclass(frozen=True, slots=True)
class Features:
    """Encoded scenes, memory-mapped; row = row of the catalogue."""

    hr: Tensor
    """Tokens of the tiles, float16 (scenes, 100, p * p, dim)."""

    lr: Tensor
    """Tokens of the overview, float16 (scenes, n * n, dim)."""

    hr_embedding: Tensor
    """Embeddings of the tiles, float32 (scenes, 100, embedding)."""

    lr_embedding: Tensor
    """Embeddings of the overview, float32 (scenes, embedding)."""

    cues: Tensor
    """Structural cues of the tiles, float32 (scenes, 100, 3)."""

    def target(self, rows: Tensor) -> Tensor:
        """H* of Eq. 8: float32 (len(rows), 100, p * p, dim)."""
        return self.hr[rows].float()

    def context(self, rows: Tensor) -> Tensor:
        """F^g: float32 (len(rows), n * n, dim)."""
        return self.lr[rows].float()

    def observed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """F^h_S of Eq. 2: tokens of selected tiles alone; the others are not read.

        Args:
            rows: scenes, (B,).
            selected: bool (B, 100).

        Returns:
            float32 (number selected, p * p, dim), in the order of `selected.nonzero()`.
        """
        place, tile = selected.nonzero(as_tuple=True)
        return self.hr[rows[place], tile].float()


def pooled(tokens: Tensor, side: int) -> Tensor:
    """Average tokens (N, n * n, dim) into (N, side * side, dim).

    Raises:
        ValueError: `side` does not divide n.
    """
    across = round(tokens.shape[1] ** 0.5)
    if across % side:
        raise ValueError(f"tokens kept on a side must divide the encoder's {across}; asked for {side}")
    window = across // side
    grid = tokens.view(len(tokens), side, window, side, window, -1)
    return grid.mean(dim=(2, 4)).flatten(1, 2)


def extract(
    scenes: Scenes, backbone: Backbone, *, tokens_per_side: int, folder: Path, made_from: dict[str, object]
) -> Features:
    """Encode all images of all scenes, or open the cache where that was done.

    Args:
        scenes: the data set.
        backbone: the frozen encoder.
        tokens_per_side: p, tokens kept on a side of one tile.
        folder: where the cache is, or will be.
        made_from: what identifies encoder and data set; JSON.

    Raises:
        FeatureCacheError: the folder holds features made from something else.
    """
    if folder.exists():
        return _opened(folder, made_from)
    unfinished = folder.with_name(f"{TEMPORARY}{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    arrays = _allocated(unfinished, len(scenes), backbone, tokens_per_side)
    for index in tqdm(range(len(scenes)), desc="features", unit="scene", disable=None):
        for name, values in _encoded(scenes, index, backbone, tokens_per_side).items():
            arrays[name][index] = values.numpy()
    for array in arrays.values():
        array.flush()
    with replacing(unfinished / DESCRIPTION) as temporary:
        temporary.write_text(json.dumps(made_from, sort_keys=True, indent=1))
    unfinished.replace(folder)
    return _opened(folder, made_from)


@torch.inference_mode()
def _encoded(scenes: Scenes, index: int, backbone: Backbone, tokens_per_side: int) -> dict[str, Tensor]:
    scene = scenes.scene(index)
    overview = backbone.tokens(scene.lr()[None], "lr")
    tiles = backbone.tokens(scene.hr(range(TILES)), "hr")
    return {
        "hr": pooled(tiles, tokens_per_side),
        "lr": overview[0],
        "hr_embedding": backbone.embed(tiles),
        "lr_embedding": backbone.embed(overview)[0],
        "cues": structural_cues(tiles),
    }


def _allocated(
    folder: Path, scenes: int, backbone: Backbone, tokens_per_side: int
) -> dict[str, np.memmap[tuple[int, ...], np.dtype[np.floating]]]:
    shapes: dict[str, tuple[type[np.floating], tuple[int, ...]]] = {
        "hr": (np.float16, (TILES, tokens_per_side**2, backbone.dim)),
        "lr": (np.float16, (backbone.grid**2, backbone.dim)),
        "hr_embedding": (np.float32, (TILES, backbone.embedding)),
        "lr_embedding": (np.float32, (backbone.embedding,)),
        "cues": (np.float32, (TILES, len(CUES))),
    }
    return {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, (scenes, *shape))
        for name, (kind, shape) in shapes.items()
    }


def _opened(folder: Path, made_from: dict[str, object]) -> Features:
    found = json.loads((folder / DESCRIPTION).read_text())
    if found != made_from:
        different = sorted(key for key in found.keys() | made_from if found.get(key) != made_from.get(key))
        raise FeatureCacheError(
            f"the features in {folder} were made otherwise: {', '.join(different)} differ. "
            "Delete the folder, or choose another --out."
        )
    return Features(
        *(_mapped(folder / f"{name}.npy") for name in ("hr", "lr", "hr_embedding", "lr_embedding", "cues"))
    )


def _mapped(path: Path) -> Tensor:
    # Copy-on-write, because PyTorch warns of read-only memory; nothing writes to it.
    array: NDArray[np.floating] = np.load(path, mmap_mode="c", allow_pickle=False)
    return torch.from_numpy(array)
