"""Every image encoded once, kept in the run folder.

A cache belongs to one encoder and one data set; one that was made otherwise is refused, never silently
reused. One that was cut off goes on where it stopped.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
from reference_model.team import Team

DESCRIPTION = "features.json"
"""What a cache was made from; in a finished one it stands beside the arrays, in an unfinished one too."""

DONE = "done.npy"
"""Which scenes an unfinished cache holds, one byte each."""

FLUSHED_EVERY = 16
"""Scenes after which an unfinished cache is brought to the disk; at most so many are encoded again."""

TokenType = Literal["float16", "int8"]
"""How the tokens of tiles are kept. int8 has a scale for each scene and channel and takes half the room."""

INT8_MOST = 127


class FeatureCacheError(ValueError):
    """A feature cache was made by another encoder or from another data set."""


@dataclass(frozen=True, slots=True)
class Features:
    """Encoded scenes, memory-mapped; row = row of the catalogue."""

    hr: Tensor
    """Tokens of the tiles, float16 or int8 (scenes, 100, p * p, dim), to be multiplied by `hr_scale`."""

    hr_scale: Tensor
    """float32 (scenes, dim); 1 where the tokens are float16."""

    lr: Tensor
    """Tokens of the overview, float16 (scenes, n * n, dim)."""

    hr_embedding: Tensor
    """Embeddings of the tiles, float32 (scenes, 100, embedding)."""

    lr_embedding: Tensor
    """Embeddings of the overview, float32 (scenes, embedding)."""

    cues: Tensor
    """Structural cues of the tiles, float32 (scenes, 100, 3)."""

    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable
    """Where what the methods give lies; the cache itself stays in memory that is mapped."""

    def target(self, rows: Tensor) -> Tensor:
        """H* of Eq. 8: float32 (len(rows), 100, p * p, dim)."""
        return self._here(self.hr[rows]) * self._here(self.hr_scale[rows])[:, None, None]

    def context(self, rows: Tensor) -> Tensor:
        """F^g: float32 (len(rows), n * n, dim)."""
        return self._here(self.lr[rows])

    def observed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """F^h_S of Eq. 2: tokens of selected tiles alone; the others are not read.

        Args:
            rows: scenes, (B,).
            selected: bool (B, 100).

        Returns:
            float32 (number selected, p * p, dim), in the order of `selected.nonzero()`.
        """
        place, tile = selected.cpu().nonzero(as_tuple=True)
        return self._here(self.hr[rows[place], tile]) * self._here(self.hr_scale[rows[place]])[:, None]

    def _here(self, values: Tensor) -> Tensor:
        return values.to(self.device, non_blocking=True).float()


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
    scenes: Scenes,
    backbone: Backbone,
    *,
    tokens_per_side: int,
    folder: Path,
    made_from: dict[str, object],
    kept_as: TokenType = "float16",
    team: Team | None = None,
) -> Features:
    """Encode all images of all scenes, or open the cache where that was done.

    Args:
        scenes: the data set.
        backbone: the frozen encoder.
        tokens_per_side: p, tokens kept on a side of one tile.
        folder: where the cache is, or will be.
        made_from: what identifies encoder and data set; JSON.
        kept_as: how the tokens of tiles are kept.
        team: the processes that share the work; this one alone if None.

    Raises:
        FeatureCacheError: the folder holds features made from something else.
    """
    team = team or Team()
    wanted = {**made_from, "tokens": kept_as}
    if not folder.exists():
        unfinished = folder.with_name(f"{TEMPORARY}{folder.name}")
        layout = _layout(len(scenes), backbone, tokens_per_side, kept_as)
        if team.leads and _described(unfinished) != wanted:
            _allocate(unfinished, wanted, layout)
        team.wait()
        _fill(
            scenes, backbone, tokens_per_side=tokens_per_side, folder=unfinished, kept_as=kept_as, team=team
        )
        team.wait()
        if team.leads:
            (unfinished / DONE).unlink()
            unfinished.replace(folder)
    team.wait()
    return _opened(folder, wanted, team.device)


def _fill(
    scenes: Scenes, backbone: Backbone, *, tokens_per_side: int, folder: Path, kept_as: TokenType, team: Team
) -> None:
    """Encode this process's share of the scenes that are not done yet."""
    arrays = {path.stem: np.load(path, mmap_mode="r+", allow_pickle=False) for path in folder.glob("*.npy")}
    done = arrays.pop("done")
    own = [int(place) for place in np.flatnonzero(done == 0) if place % team.size == team.rank]
    since: list[int] = []
    bar = tqdm(own, desc="features", unit="scene", disable=None if team.leads else True)
    for index in bar:
        values = _encoded(
            scenes, index, backbone, tokens_per_side=tokens_per_side, kept_as=kept_as, device=team.device
        )
        for name, value in values.items():
            arrays[name][index] = value.cpu().numpy()
        since.append(index)
        if len(since) == FLUSHED_EVERY or index == own[-1]:
            for array in arrays.values():
                array.flush()
            done[since] = 1  # only now: what is said to be done is on the disk
            done.flush()
            since.clear()


@torch.inference_mode()
def _encoded(
    scenes: Scenes,
    index: int,
    backbone: Backbone,
    *,
    tokens_per_side: int,
    kept_as: TokenType,
    device: torch.device,
) -> dict[str, Tensor]:
    scene = scenes.scene(index)
    overview = backbone.encode(scene.lr()[None].to(device), "lr")
    tiles = backbone.encode(scene.hr(range(TILES)).to(device), "hr")
    kept = pooled(tiles.tokens.float(), tokens_per_side)
    scale = torch.ones(kept.shape[-1], device=device)
    if kept_as == "int8":
        scale = (kept.abs().amax(dim=(0, 1)) / INT8_MOST).clamp_min(torch.finfo(torch.float32).tiny)
        kept = (kept / scale).round()
    return {
        "hr": kept,
        "hr_scale": scale,
        "lr": overview.tokens[0],
        "hr_embedding": tiles.embeddings,
        "lr_embedding": overview.embeddings[0],
        "cues": structural_cues(tiles.tokens),
    }


def _layout(
    scenes: int, backbone: Backbone, tokens_per_side: int, kept_as: TokenType
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each array by name."""
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        "hr": (kept_as, (TILES, tokens_per_side**2, backbone.dim)),
        "hr_scale": ("float32", (backbone.dim,)),
        "lr": ("float16", (backbone.grid**2, backbone.dim)),
        "hr_embedding": ("float32", (TILES, backbone.embedding)),
        "lr_embedding": ("float32", (backbone.embedding,)),
        "cues": ("float32", (TILES, len(CUES))),
    }
    return {name: (kind, (scenes, *shape)) for name, (kind, shape) in shapes.items()}


def _allocate(
    folder: Path, made_from: dict[str, object], layout: dict[str, tuple[str, tuple[int, ...]]]
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    scenes = layout["hr"][1][0]
    for name, (kind, shape) in {**layout, "done": ("uint8", (scenes,))}.items():
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.dtype(kind), shape).flush()
    with replacing(folder / DESCRIPTION) as temporary:
        temporary.write_text(json.dumps(made_from, sort_keys=True, indent=1))


def _described(folder: Path) -> object:
    """What an unfinished cache is made from; None where there is none that can be gone on with."""
    try:
        return json.loads((folder / DESCRIPTION).read_text())
    except (OSError, ValueError):
        return None


def _opened(folder: Path, made_from: dict[str, object], device: torch.device) -> Features:
    found = json.loads((folder / DESCRIPTION).read_text())
    if found != made_from:
        different = sorted(key for key in found.keys() | made_from if found.get(key) != made_from.get(key))
        raise FeatureCacheError(
            f"the features in {folder} were made otherwise: {', '.join(different)} differ. "
            "Delete the folder, or choose another --out."
        )
    names = ("hr", "hr_scale", "lr", "hr_embedding", "lr_embedding", "cues")
    hr, scale, lr, of_tiles, of_overviews, cues = (_mapped(folder / f"{name}.npy") for name in names)
    return Features(hr, scale, lr, of_tiles, of_overviews, cues, device)


def _mapped(path: Path) -> Tensor:
    # Copy-on-write, because PyTorch warns of read-only memory; nothing writes to it.
    array: NDArray[np.generic] = np.load(path, mmap_mode="c", allow_pickle=False)
    return torch.from_numpy(array)
