"""Exports that hold the images: files of some scenes each, by split, with a card."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
from tqdm import tqdm

from gl10m.export.folder import ExportFolder, exporting
from gl10m.export.samples import EncodedScene, encoded_scenes
from gl10m.export.selection import Selection, TileChoice, file_name, portions
from gl10m.report.card import LICENCES, README, card, split_table
from gl10m.report.data_licences import data_licences
from gl10m.report.hub import Configuration, hub_splits


class Writer(Protocol):
    """Writes one file of scenes."""

    def __call__(self, path: Path, *, scenes: Iterable[EncodedScene]) -> None:
        """Write it.

        Raises:
            OSError: the file cannot be written.
        """
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of file."""

    name: str
    """What the command calls it."""
    prefix: str
    """Before the names of its files: a folder with its slash, or nothing."""
    suffix: str
    """Behind them, with its dot."""
    write: Writer
    """Writes one file; the same scenes give the same bytes."""
    loading: str
    """How to read it, for the card; FILE, SPLIT stand for a file's name and its split's name on the hub."""


def export_pixels(
    selection: Selection, out: Path, tiles: TileChoice, scenes_a_file: int, kind: Format
) -> int:
    """Make an export with images. The same data set and choice give the same bytes.

    Args:
        selection: which scenes.
        out: the folder to make.
        tiles: which tiles of each.
        scenes_a_file: scenes in a file at most.
        kind: of file.

    Returns:
        How many files with images it has.

    Raises:
        ExportExistsError: something else stands at `out`.
        ExportLockedError: another process makes the same.
        HubSplitError: names of splits that `datasets` cannot tell apart.
        FileNotFoundError: a shard is missing.
        StoreError: an image is damaged.
        OSError: the folder cannot be written.
    """
    hub = hub_splits(list(selection.splits))
    files = _files(selection, scenes_a_file, kind)
    plan = {
        "format": kind.name,
        "data_set": selection.digest,
        "splits": {split: rows.num_rows for split, rows in selection.splits.items()},
        "states": list(selection.regions),
        "tiles": [tiles.fixed and list(tiles.fixed), tiles.count, tiles.seed],
        "scenes_a_file": scenes_a_file,
    }
    with exporting(out, plan) as folder:
        if folder is not None:
            _write_files(selection, tiles, kind, files, folder)
            patterns = {hub[split]: [f"{kind.prefix}{split}-*{kind.suffix}"] for split in selection.splits}
            split, name, _ = files[0]
            words = kind.loading.replace("SPLIT", hub[split]).replace("FILE", name)
            folder.write_text(LICENCES, data_licences(selection.facts))
            tables = [Configuration("default", patterns)]
            folder.write_text(README, card(selection.facts, tables, words, split_table(selection.facts)))
    return len(files)


def _files(selection: Selection, scenes_a_file: int, kind: Format) -> list[tuple[str, str, pa.Table]]:
    """Split, name and rows of each file."""
    files = []
    for split, rows in selection.splits.items():
        parts = portions(rows, scenes_a_file)
        for number, part in enumerate(parts):
            files.append((split, kind.prefix + file_name(split, number, len(parts), kind.suffix), part))
    return files


def _write_files(
    selection: Selection,
    tiles: TileChoice,
    kind: Format,
    files: list[tuple[str, str, pa.Table]],
    folder: ExportFolder,
) -> None:
    images = selection.images()
    with tqdm(total=selection.scenes, desc=kind.name, unit="scene", disable=None) as bar:
        for split, name, rows in files:
            scenes = encoded_scenes(selection, split, rows, tiles, images)
            folder.write(name, functools.partial(kind.write, scenes=scenes))
            bar.update(rows.num_rows)
