"""The cache of features in a run folder: every image encoded once, memory-mapped.

A cache belongs to one encoder and one data set; one that was made otherwise is refused, never silently
reused. One that was cut off goes on where it stopped.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gl10m.manifest.parquet import TEMPORARY
from gl10m.scene.grid import TILES
from reference_model.feature_files import (
    DESCRIPTION,
    FeatureCacheError,
    FeatureFiles,
    Layout,
    allocate,
    described,
)
from reference_model.features import Features, TokenType, pooled
from reference_model.networks.encoder import Backbone
from reference_model.objectives.supervision import CUES, structural_cues
from reference_model.scenes import Scenes
from reference_model.team import Team

KEPT_EVERY = 16
"""Scenes after which an unfinished cache is brought to the disk; at most so many are encoded again."""

INT8_MOST = 127

BAR_AFTER_SECONDS = 2.0
"""A cache is compared with its checksums without a word, unless it takes longer than this."""


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
        FeatureCacheError: the folder holds features made from something else, or others than were written;
            or the encoder gives something else than numbers.
    """
    team = team or Team()
    wanted = {**made_from, "tokens": kept_as}
    layout = _layout(len(scenes), backbone, tokens_per_side, kept_as)
    if not folder.exists():
        unfinished = folder.with_name(f"{TEMPORARY}{folder.name}")
        if team.leads and not _can_go_on(unfinished, wanted, layout):
            allocate(unfinished, wanted, layout)
        team.wait()
        files = FeatureFiles(unfinished, layout, writable=True)
        _fill(files, scenes, backbone, tokens_per_side=tokens_per_side, kept_as=kept_as, team=team)
        team.wait()
        if team.leads:
            unfinished.replace(folder)
    team.wait()
    return opened(folder, wanted, layout, team)


def _fill(
    files: FeatureFiles,
    scenes: Scenes,
    backbone: Backbone,
    *,
    tokens_per_side: int,
    kept_as: TokenType,
    team: Team,
) -> None:
    """Encode this process's share of the scenes that are not there yet.

    Raises:
        FeatureCacheError: the encoder gives something else than numbers, or larger ones than can be kept.
    """
    missing = [scene for scene in _share(len(scenes), team) if not files.holds(scene)]
    since: list[int] = []
    for index in tqdm(missing, desc="features", unit="scene", disable=None if team.leads else True):
        values = _encoded(
            scenes, index, backbone, tokens_per_side=tokens_per_side, kept_as=kept_as, device=team.device
        )
        for name, value in values.items():
            array = files.arrays[name]
            if not _fits(value, array.dtype):
                scene = scenes.scene(index).scene_id
                raise FeatureCacheError(
                    f"features are kept as {array.dtype}; `{name}` of scene {scene} holds a larger number "
                    "than that knows. Look at the encoder's weights."
                )
            array[index] = value.cpu().numpy()
        since.append(index)
        if len(since) == KEPT_EVERY or index == missing[-1]:
            files.keep(since)
            since.clear()


def _share(scenes: int, team: Team) -> range:
    """The scenes that this process looks after."""
    return range(team.rank, scenes, team.size)


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


def _layout(scenes: int, backbone: Backbone, tokens_per_side: int, kept_as: TokenType) -> Layout:
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        "hr": (kept_as, (TILES, tokens_per_side**2, backbone.dim)),
        "hr_scale": ("float32", (backbone.dim,)),
        "lr": ("float16", (backbone.grid**2, backbone.dim)),
        "hr_embedding": ("float32", (TILES, backbone.embedding)),
        "lr_embedding": ("float32", (backbone.embedding,)),
        "cues": ("float32", (TILES, len(CUES))),
    }
    return {name: (kind, (scenes, *shape)) for name, (kind, shape) in shapes.items()}


def _can_go_on(folder: Path, wanted: dict[str, object], layout: Layout) -> bool:
    """Whether an unfinished cache is of the same scenes, and its arrays are as they were begun."""
    if described(folder) != wanted:
        return False
    try:
        FeatureFiles(folder, layout, writable=False)
    except FeatureCacheError:
        return False
    return True


def opened(folder: Path, made_from: dict[str, object], layout: Layout, team: Team) -> Features:
    """A finished cache; each process of a team compares its share of the scenes with their checksums.

    Raises:
        FeatureCacheError: it was made otherwise, or is not what was written.
    """
    found = described(folder)
    if found is None:
        raise FeatureCacheError(
            f"{folder / DESCRIPTION} is missing or damaged. Delete {folder}: it is made anew."
        )
    if found != made_from:
        different = sorted(key for key in found.keys() | made_from if found.get(key) != made_from.get(key))
        raise FeatureCacheError(
            f"the features in {folder} were made otherwise: {', '.join(different)[:200]} differ. "
            "Delete the folder, or choose another --out."
        )
    files = FeatureFiles(folder, layout, writable=False)
    share = tqdm(
        _share(len(files), team),
        desc="features compared",
        unit="scene",
        delay=BAR_AFTER_SECONDS,
        disable=None if team.leads else True,
    )
    changed = [scene for scene in share if not files.holds(scene)]
    if changed:
        unfinished = folder.with_name(f"{TEMPORARY}{folder.name}")
        raise FeatureCacheError(
            f"the features of {len(changed)} of {len(files)} scenes in {folder} are not those that were "
            f"written, first of row {changed[0]}. Rename the folder to {unfinished.name}: the next run "
            "encodes these scenes again, and no others."
        )
    tensors = {name: torch.from_numpy(array) for name, array in files.arrays.items()}
    return Features(**tensors, device=team.device)
