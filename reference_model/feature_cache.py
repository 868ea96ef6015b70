"""The cache of features in a run folder: every image encoded once, memory-mapped.

A cache belongs to one encoder and one data set; one that was made otherwise is refused, never silently
reused. One that was cut off goes on where it stopped.
"""

import json
import shutil
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gl10m.manifest.parquet import TEMPORARY, replacing
from gl10m.scene.grid import TILES
from reference_model.bounded import read_bounded
from reference_model.features import Features, TokenType, pooled
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

_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    tokenize.TokenError,  # numpy's, over a header that breaks off
    TypeError,
    OverflowError,
    MemoryError,
)
"""What numpy raises over bytes that are no array."""

INT8_MOST = 127


class FeatureCacheError(ValueError):
    """A feature cache is of another encoder or another data set, or what goes into one is no number."""


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
        FeatureCacheError: the folder holds features made from something else, or the encoder gives
            something else than numbers.
    """
    team = team or Team()
    wanted = {**made_from, "tokens": kept_as}
    layout = _layout(len(scenes), backbone, tokens_per_side, kept_as)
    if not folder.exists():
        unfinished = folder.with_name(f"{TEMPORARY}{folder.name}")
        if team.leads and not _can_go_on(unfinished, wanted, layout):
            _allocate(unfinished, wanted, layout)
        team.wait()
        _fill(
            scenes, backbone, tokens_per_side=tokens_per_side, folder=unfinished, kept_as=kept_as, team=team
        )
        team.wait()
        if team.leads:
            unfinished.replace(folder)
    team.wait()
    if team.leads and (folder / DONE).exists():  # only now: without it an unfinished cache is begun anew
        (folder / DONE).unlink()
    return _opened(folder, wanted, layout, team.device)


def _fill(
    scenes: Scenes, backbone: Backbone, *, tokens_per_side: int, folder: Path, kept_as: TokenType, team: Team
) -> None:
    """Encode this process's share of the scenes that are not done yet.

    Raises:
        FeatureCacheError: the encoder gives something else than numbers, or larger ones than can be kept.
    """
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
            if not _fits(value, arrays[name].dtype):
                scene, kind = scenes.scene(index).scene_id, arrays[name].dtype
                raise FeatureCacheError(
                    f"features are kept as {kind}; `{name}` of scene {scene} holds a larger number than that "
                    "knows. Look at the encoder's weights."
                )
            arrays[name][index] = value.cpu().numpy()
        since.append(index)
        if len(since) == FLUSHED_EVERY or index == own[-1]:
            for array in arrays.values():
                array.flush()
            done[since] = 1  # only now: what is said to be done is on the disk
            done.flush()
            since.clear()


def _fits(value: Tensor, kind: np.dtype[Any]) -> bool:
    """Whether all of it can be kept as this type; float16 ends at 65,504."""
    most = INT8_MOST if kind.kind == "i" else float(np.finfo(kind).max)
    return bool((value.abs() <= most).all())


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
    for seen, encoding in (("overview", overview), ("tiles", tiles)):
        if not all(bool(torch.isfinite(part).all()) for part in encoding):
            raise FeatureCacheError(
                f"features are finite numbers; the encoder makes something else of the {seen} of scene "
                f"{scene.scene_id}. Look at its weights and at the scene."
            )
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
    """What a cache is made from, finished or not; None where nothing tells."""
    try:
        return read_bounded(folder / DESCRIPTION)
    except (OSError, ValueError, RecursionError):
        return None


def _can_go_on(
    folder: Path, wanted: dict[str, object], layout: dict[str, tuple[str, tuple[int, ...]]]
) -> bool:
    """Whether an unfinished cache is of the same scenes, and its arrays are as they were begun."""
    if _described(folder) != wanted:
        return False
    arrays = {**layout, "done": ("uint8", layout["hr"][1][:1])}
    try:
        for name, (kind, shape) in arrays.items():
            _mapped(folder / f"{name}.npy", kind, shape)
    except FeatureCacheError:
        return False
    return True


def _opened(
    folder: Path,
    made_from: dict[str, object],
    layout: dict[str, tuple[str, tuple[int, ...]]],
    device: torch.device,
) -> Features:
    """A finished cache.

    Raises:
        FeatureCacheError: it was made otherwise, or is not what was written.
    """
    found = _described(folder)
    if not isinstance(found, dict):
        raise FeatureCacheError(
            f"{folder / DESCRIPTION} is missing or damaged. Delete {folder}: it is made anew."
        )
    if found != made_from:
        different = sorted(key for key in found.keys() | made_from if found.get(key) != made_from.get(key))
        raise FeatureCacheError(
            f"the features in {folder} were made otherwise: {', '.join(different)[:200]} differ. "
            "Delete the folder, or choose another --out."
        )
    names = ("hr", "hr_scale", "lr", "hr_embedding", "lr_embedding", "cues")
    hr, scale, lr, of_tiles, of_overviews, cues = (
        _mapped(folder / f"{name}.npy", *layout[name]) for name in names
    )
    return Features(hr, scale, lr, of_tiles, of_overviews, cues, device)


def _mapped(path: Path, kind: str, shape: tuple[int, ...]) -> Tensor:
    try:
        # Copy-on-write, because PyTorch warns of read-only memory; nothing writes to it.
        array = np.lib.format.open_memmap(path, "c")  # of a ZIP archive np.load would give another kind
    except _UNREADABLE as error:
        raise FeatureCacheError(
            f"{path} is missing or damaged ({error}). Delete {path.parent}: it is made anew."
        ) from error
    if (array.dtype, array.shape) != (np.dtype(kind), shape):
        raise FeatureCacheError(
            f"{path} does not hold {shape} of {kind}, as it was written. Delete {path.parent}: it "
            "is made anew."
        )
    return torch.from_numpy(array)
