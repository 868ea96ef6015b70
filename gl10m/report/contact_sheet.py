"""Looks at scenes: the LR image beside the HR mosaic of the same ground."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gl10m.manifest import parquet
from gl10m.manifest.schema import SCENES
from gl10m.scene.grid import GRID, TILES, join
from gl10m.storage.place import Place
from gl10m.store.reader import SceneNotFoundError, SceneReader
from gl10m.store.region_index import class_names

NAMES_SHOWN = 8
"""Labels written under a scene."""


def draw(root: Place, target: Path, scene_ids: list[str], rows: int) -> None:
    """Write a PNG of some scenes.

    Args:
        root: the data set.
        target: the PNG to write.
        scene_ids: scenes to draw; the ones with the most classes if empty.
        rows: scenes to draw when none is named.

    Raises:
        ManifestNotFoundError: no data set stands there.
        SceneNotFoundError: a named scene is not in it.
    """
    # The picture is drawn without a display, whatever backend the user's settings name.
    import matplotlib as mpl  # noqa: PLC0415 - drawing is rare, and matplotlib is slow to import

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    chosen = _choose(root, scene_ids, rows)
    names = class_names(root)
    figure, axes = plt.subplots(len(chosen), 2, figsize=(11, 5.6 * len(chosen)), squeeze=False)
    with SceneReader(root) as reader:
        for row, (left, right) in zip(chosen, axes, strict=True):
            scene = str(row["scene_id"])
            left.imshow(reader.lr(scene).transpose(1, 2, 0))
            left.set_title(
                f"{scene}   Sentinel-2 {row['sentinel2_date']}{' (fallback)' if row['fallback'] else ''}",
                fontsize=10,
            )
            mosaic = _shrunk(join(reader.hr(scene, range(TILES))))
            right.imshow(mosaic.transpose(1, 2, 0))
            _grid_lines(right, mosaic.shape[1])
            right.set_title(f"NAIP {row['naip_date']}, {row['naip_gsd']:.1f} m, 100 tiles", fontsize=10)
            labels = [names[number] for number in row["class_ids"]]
            more = f" and {len(labels) - NAMES_SHOWN} more" if len(labels) > NAMES_SHOWN else ""
            left.set_xlabel(", ".join(labels[:NAMES_SHOWN]) + more, fontsize=8, loc="left")
            right.set_xlabel(f"{row['longitude']:.4f}, {row['latitude']:.4f}", fontsize=7, loc="right")
            for axis in (left, right):
                axis.set_xticks([])
                axis.set_yticks([])
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    figure.text(0.99, 0.005, _attribution(root / "manifests" / "scenes.parquet"), fontsize=7, ha="right")
    with parquet.replacing(target) as temporary:
        figure.savefig(temporary, dpi=110, format="png", metadata={"Software": "gl10m"})
    plt.close(figure)


def _choose(root: Place, scene_ids: list[str], rows: int) -> list[dict[str, Any]]:
    scenes = parquet.read(root / "manifests" / "scenes.parquet", SCENES).to_pylist()
    if not scenes:
        raise SceneNotFoundError(f"{root} holds no scene to draw; `gl10m stats --root {root}` says why")
    if not scene_ids:
        # The richest scenes, but of different ground: no two of one NAIP quad where it can be avoided.
        ranked = sorted(scenes, key=lambda row: (-len(row["class_ids"]), row["scene_id"]))
        first_of_quad: dict[str, dict[str, Any]] = {}
        for row in ranked:
            first_of_quad.setdefault(row["naip_items"][0], row)
        fresh = list(first_of_quad.values())
        return (fresh + [row for row in ranked if row not in fresh])[:rows]
    by_id = {row["scene_id"]: row for row in scenes}
    missing = [name for name in scene_ids if name not in by_id]
    if missing:
        raise SceneNotFoundError(f"{root} holds no scene {', '.join(missing)}; it has {len(scenes)} scenes")
    return [by_id[name] for name in scene_ids]


def _shrunk(mosaic: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mosaic at half its size by area means: a picture of 1340 pixels shows no more."""
    bands, side, _ = mosaic.shape
    blocks = mosaic.reshape(bands, side // 2, 2, side // 2, 2)
    shrunk: NDArray[np.uint8] = blocks.mean(axis=(2, 4)).round().astype(np.uint8)
    return shrunk


def _grid_lines(axis: Any, side: int) -> None:  # noqa: ANN401 - matplotlib has no types
    step = side / GRID
    for line in range(1, GRID):
        axis.axhline(line * step - 0.5, color="white", linewidth=0.4, alpha=0.6)
        axis.axvline(line * step - 0.5, color="white", linewidth=0.4, alpha=0.6)


def _attribution(path: Place) -> str:
    """Whom to name under the picture, from the manifest's own licences."""
    licences = json.loads(parquet.metadata_of(path).get("gl10m.licences", "{}"))
    return ", ".join(licence["attribution"] for _, licence in sorted(licences.items()))
