"""Some scenes to look at: the LR image beside a small picture of its HR mosaic."""

import base64
import io
from typing import Any

import numpy as np
import pyarrow.compute as pc
from markupsafe import Markup
from PIL import Image

from gl10m.report.page.facts import largest_class, names_of_classes, scenes
from gl10m.report.page.markup import render
from gl10m.report.page.section import Section
from gl10m.scene.grid import GRID, TILE_PIXELS, TILES
from gl10m.storage.place import Place
from gl10m.store.reader import SceneReader

HR_PIXELS = 536
"""Side of the HR picture: a fifth of the mosaic's, 5 m a pixel."""

QUALITY = 80
"""JPEG quality of the pictures; a scene takes some 100 kB."""

MOST_BYTES = 4_000_000
"""All pictures of a report together; scenes beyond it are left out, and the report says so."""


def sample_section(root: Place, wanted: int) -> Section:
    """Pictures of a few scenes, rich ones of different ground first.

    Args:
        root: the data set.
        wanted: scenes to show at most.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: the manifest is damaged, or lacks a column.
        DataSetNotFoundError: the images are not there.
        StoreError: an image is damaged.
    """
    about = (
        "Left: Sentinel-2 at 10 m. Right: the 100 NAIP tiles of the same ground, shrunk to 5 m a pixel for "
        "this page; `gl10m view` shows them whole. Near 40° N a scene is 2.05 km wide and 2.66 km high: both "
        "are drawn square, as stored."
    )
    chosen = _choose(root, wanted)
    if not chosen:
        words = (
            "No sample was asked for." if not wanted else "There is no scene to show: the funnel says why."
        )
        return Section(anchor="samples", title="Sample scenes", about=about, notices=(words,))
    names = names_of_classes(root, _largest(root)).names
    pictures: list[dict[str, object]] = []
    spent = 0
    with SceneReader(root, verify=True) as reader:
        for row in chosen:
            left, right = _pictures(reader, str(row["scene_id"]))
            spent += len(left) + len(right)
            if spent > MOST_BYTES:
                break
            labels = [names[number] for number in row["class_ids"]]
            pictures.append({"row": row, "labels": labels, "lr": left, "hr": right})
    return Section(
        anchor="samples",
        title="Sample scenes",
        about=about,
        body=Markup(render("samples.html.j2", pictures=pictures)),  # noqa: S704 - rendered with autoescape
        notices=(f"{len(chosen) - len(pictures)} scenes did not fit into the page.",)
        if len(pictures) < len(chosen)
        else (),
    )


def _largest(root: Place) -> int:
    return largest_class(scenes(root, ["class_ids"])["class_ids"])


def _choose(root: Place, wanted: int) -> list[dict[str, Any]]:
    """The richest scenes in labels, one of each NAIP quad and turn by turn of each state."""
    columns = ["scene_id", "state", "class_ids", "naip_items", "longitude", "latitude"]
    columns += ["naip_date", "naip_gsd", "sentinel2_date", "fallback"]
    table = scenes(root, columns)
    if not wanted or not table.num_rows:
        return []
    sizes = pc.list_value_length(table["class_ids"]).to_numpy()
    rank = np.argsort(-sizes, kind="stable")[: max(4096, wanted)]
    rows = sorted(table.take(rank).to_pylist(), key=lambda row: (-len(row["class_ids"]), row["scene_id"]))
    seen: set[str] = set()
    turns: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        quad = (row["naip_items"] or [""])[0]
        if quad not in seen:
            seen.add(quad)
            turns.setdefault(row["state"], []).append(row)
    ordered = sorted(
        ((place, state, row) for state, own in turns.items() for place, row in enumerate(own)),
        key=lambda entry: entry[:2],
    )
    return [row for _, _, row in ordered[:wanted]]


def _pictures(reader: SceneReader, scene_id: str) -> tuple[str, str]:
    """The LR image and the shrunk mosaic as data: addresses."""
    mosaic = Image.new("RGB", (HR_PIXELS, HR_PIXELS))
    edges = [round(HR_PIXELS * place / GRID) for place in range(GRID + 1)]
    tiles = reader.hr(scene_id, range(TILES))
    for tile, pixels in enumerate(tiles):
        row, column = divmod(tile, GRID)
        box = (edges[column], edges[row], edges[column + 1], edges[row + 1])
        image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        size = (box[2] - box[0], box[3] - box[1])
        mosaic.paste(image.resize(size, Image.Resampling.BOX, (0, 0, TILE_PIXELS, TILE_PIXELS)), box)
    lr = Image.fromarray(np.ascontiguousarray(reader.lr(scene_id).transpose(1, 2, 0)))
    return _address(lr), _address(mosaic)


def _address(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
