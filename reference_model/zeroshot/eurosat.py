"""EuroSAT as it is published: a folder a class, RGB as JPEG or all 13 bands as GeoTIFF (Helber 2019)."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from torch import Tensor

from reference_model.zeroshot.images import (
    Images,
    Recognition,
    ZeroShotFolderError,
    read_bands,
    read_picture,
    scaling_in_words,
    stacked,
    to_bytes,
)

CLASSES: Final = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)

RGB_BANDS: Final = (4, 3, 2)
"""B04, B03, B02 among the 13 of a GeoTIFF: B01..B08, B09, B10, B11, B12, B8A."""

BANDS: Final = 13

INSIDE: Final = (
    "",
    "EuroSAT_RGB",
    "EuroSAT_MS",
    "EuroSAT",
    "2750",
    "ds/images/remote_sensing/otherDatasets/sentinel_2/tif",
)
"""Where the class folders lie in the archives that are about."""

MOST_BYTES: Final = 1 << 24
"""Of a list; that of all 27,000 images has half a million."""

SPLIT_FILES: Final = ("eurosat-spatial-test.txt", "eurosat-test.txt", "test.csv")
"""Lists of test images that people publish beside it: one file name a line, or a column `Filename`."""


@dataclass(frozen=True, slots=True)
class Jpegs:
    """RGB images, taken as they are."""

    paths: Sequence[Path]
    scaling: str = "RGB as published, not scaled again"

    def __len__(self) -> int:
        """How many."""
        return len(self.paths)

    def read(self, numbers: Sequence[int]) -> Tensor:
        """Some of them; see `Images`."""
        return stacked([read_picture(self.paths[number]) for number in numbers])


@dataclass(frozen=True, slots=True)
class Tiffs:
    """All 13 bands of top-of-atmosphere reflectance, of which three are shown."""

    paths: Sequence[Path]
    white: int
    """Digital number that becomes 255."""

    @property
    def scaling(self) -> str:
        """How numbers became bytes."""
        return f"B04, B03, B02, {scaling_in_words(self.white)}"

    def __len__(self) -> int:
        """How many."""
        return len(self.paths)

    def read(self, numbers: Sequence[int]) -> Tensor:
        """Some of them; see `Images`."""
        return stacked(
            [to_bytes(read_bands(self.paths[number], RGB_BANDS, BANDS), self.white) for number in numbers]
        )


def open_eurosat(folder: Path, white: int, split: Path | None = None) -> Recognition:
    """Open the data set.

    Args:
        folder: with the ten class folders, or one of the folders that the archives unpack to.
        white: digital number that becomes 255; of the GeoTIFFs alone.
        split: list of the images to take; looked for in the folder under the names in SPLIT_FILES if None,
            all images where there is none: the archives themselves have no split.

    Raises:
        FileNotFoundError: there is no such folder, or no such list.
        ZeroShotFolderError: it is not EuroSAT, or the list names other images.
    """
    home = _home(folder)
    paths = {
        suffix: sorted(path for name in CLASSES for path in (home / name).glob(f"*.{suffix}"))
        for suffix in ("jpg", "tif")
    }
    found = [suffix for suffix, several in paths.items() if several]
    if len(found) != 1:
        raise ZeroShotFolderError(
            f"the class folders of EuroSAT hold either .jpg (RGB) or .tif (13 bands) files; {home} has "
            f"{'both' if found else 'neither'}. Unpack one archive into a folder of its own."
        )
    chosen, words = _of_split(paths[found[0]], folder, split)
    labels = np.zeros((len(chosen), len(CLASSES)), dtype=np.bool_)
    labels[np.arange(len(chosen)), [CLASSES.index(path.parent.name) for path in chosen]] = True
    images: Images = Jpegs(chosen) if found[0] == "jpg" else Tiffs(chosen, white)
    return Recognition(
        name="eurosat", classes=CLASSES, images=images, labels=labels, split=words, one_label=True
    )


def _home(folder: Path) -> Path:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}. Unpack EuroSAT_RGB.zip or EuroSAT_MS.zip and name it.")
    for inside in INSIDE:
        if all((folder / inside / name).is_dir() for name in CLASSES):
            return folder / inside
    missing = [name for name in CLASSES if not (folder / name).is_dir()]
    raise ZeroShotFolderError(
        f"EuroSAT has one folder for each of its ten classes; {folder} lacks {', '.join(missing)}. Name the "
        "folder that EuroSAT_RGB.zip or EuroSAT_MS.zip was unpacked to."
    )


def _of_split(paths: Sequence[Path], folder: Path, split: Path | None) -> tuple[list[Path], str]:
    beside = [folder / name for name in SPLIT_FILES if (folder / name).is_file()]
    listed = split or (beside[0] if beside else None)
    if listed is None:
        return list(paths), f"all {len(paths)} images: the archive has no split and no list stands beside it"
    stems = _stems(listed)
    if not stems:
        raise ZeroShotFolderError(f"{listed} names no image. Name a list of file names with --split-file.")
    chosen = [path for path in paths if path.stem in stems]
    if len(chosen) != len(stems):
        raise ZeroShotFolderError(
            f"{listed} names {len(stems)} images, of which {folder} has {len(chosen)}. Name the list of this "
            "archive with --split-file, or unpack all of it."
        )
    return chosen, f"{len(chosen)} images of {listed.name}"


def _stems(listed: Path) -> set[str]:
    if not listed.is_file():
        raise FileNotFoundError(f"there is no list of images {listed}. Name another with --split-file.")
    if listed.stat().st_size > MOST_BYTES:
        raise ZeroShotFolderError(
            f"a list of images has at most {MOST_BYTES} bytes; {listed} has {listed.stat().st_size}. Name "
            "another with --split-file."
        )
    try:
        text = listed.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ZeroShotFolderError(
            f"a list of images is text in UTF-8, a file name a line; {listed} is none ({error}). Name "
            "another with --split-file."
        ) from error
    if listed.suffix != ".csv":
        return {Path(line.strip()).stem for line in text.splitlines() if line.strip()}
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        columns = rows.fieldnames or ()
        if "Filename" not in columns:
            raise ZeroShotFolderError(
                f"a CSV of images has a column Filename; {listed} has {', '.join(columns)[:200] or 'none'}. "
                "Name another with --split-file."
            )
        return {Path(row["Filename"]).stem for row in rows}
    except (csv.Error, TypeError) as error:  # a row that ends before the column has None there
        raise ZeroShotFolderError(
            f"a CSV of images has a file name in every row; {listed} has not ({error}). Name another with "
            "--split-file."
        ) from error
