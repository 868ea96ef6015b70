"""BigEarthNet v2 as it is published: a folder a patch, a GeoTIFF a band, metadata.parquet (Clasen 2024)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from gl10m.manifest.columns import values
from reference_model.zeroshot.images import (
    Recognition,
    ZeroShotFolderError,
    read_bands,
    scaling_in_words,
    stacked,
    to_bytes,
)

CLASSES: Final = (
    "Urban fabric",
    "Industrial or commercial units",
    "Arable land",
    "Permanent crops",
    "Pastures",
    "Complex cultivation patterns",
    "Land principally occupied by agriculture, with significant areas of natural vegetation",
    "Agro-forestry areas",
    "Broad-leaved forest",
    "Coniferous forest",
    "Mixed forest",
    "Natural grassland and sparsely vegetated areas",
    "Moors, heathland and sclerophyllous vegetation",
    "Transitional woodland, shrub",
    "Beaches, dunes, sands",
    "Inland wetlands",
    "Coastal wetlands",
    "Inland waters",
    "Marine waters",
)
"""The nomenclature of 19 classes."""

RGB: Final = ("B04", "B03", "B02")
PATCHES, METADATA = "BigEarthNet-S2", "metadata.parquet"
SPLITS: Final = ("train", "validation", "test")
MOST_PATCHES: Final = 1_000_000
"""The data set has 480,038."""


@dataclass(frozen=True, slots=True)
class Patches:
    """Bottom-of-atmosphere reflectance, a file a band, of which three are shown."""

    folders: Sequence[Path]
    white: int
    """Digital number that becomes 255."""

    @property
    def scaling(self) -> str:
        """How numbers became bytes."""
        return f"B04, B03, B02, {scaling_in_words(self.white)}"

    def __len__(self) -> int:
        """How many."""
        return len(self.folders)

    def read(self, numbers: Sequence[int]) -> Tensor:
        """Some of them; see `Images`."""
        return stacked([to_bytes(self._patch(self.folders[number]), self.white) for number in numbers])

    @staticmethod
    def _patch(folder: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        bands = [read_bands(folder / f"{folder.name}_{band}.tif", (1,), 1)[0] for band in RGB]
        return np.stack(bands)


def open_bigearthnet(folder: Path, white: int, split: str = "test") -> Recognition:
    """Open one official split.

    Args:
        folder: with BigEarthNet-S2/ and metadata.parquet.
        white: digital number that becomes 255.
        split: train, validation or test.

    Raises:
        FileNotFoundError: there is no such folder or file in it.
        ZeroShotFolderError: it is not BigEarthNet v2, or patches of the split are missing.
    """
    if split not in SPLITS:
        raise ZeroShotFolderError(f"BigEarthNet has the splits {', '.join(SPLITS)}; asked for {split!r}")
    table = _metadata(folder)
    wanted = [place for place, name in enumerate(values(table, "split")) if name == split]
    ids, of_patches = values(table, "patch_id"), values(table, "labels")
    folders = [_folder_of(folder, str(ids[place])) for place in wanted]
    absent = [path for path in folders if not path.is_dir()]
    if absent or not folders:
        raise ZeroShotFolderError(
            f"{METADATA} names {len(folders)} patches of {split}, of which {folder} lacks {len(absent)}"
            f"{f', first {absent[0]}' if absent else ''}. Unpack all of BigEarthNet-S2.tar.zst into it."
        )
    labels = np.zeros((len(wanted), len(CLASSES)), dtype=np.bool_)
    for row, place in enumerate(wanted):
        names = of_patches[place] or ()
        unknown = sorted(map(repr, set(names) - set(CLASSES)))
        if unknown:
            raise ZeroShotFolderError(
                f"the nomenclature has 19 classes; patch {ids[place]} carries {', '.join(unknown)}. Take the "
                "metadata of version 2."
            )
        labels[row, [CLASSES.index(name) for name in names]] = True
    return Recognition(
        name="bigearthnet",
        classes=CLASSES,
        images=Patches(folders, white),
        labels=labels,
        split=f"{len(folders)} patches of the official {split} split",
        one_label=False,
    )


def _metadata(folder: Path) -> pa.Table:
    path = folder / METADATA
    if not (folder / PATCHES).is_dir() or not path.is_file():
        raise FileNotFoundError(
            f"BigEarthNet v2 is a folder with {PATCHES}/ and {METADATA}; {folder} has not both. Version 1 "
            "(patches with a JSON each) is not read."
        )
    columns = ["patch_id", "labels", "split"]
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing or file.metadata.num_rows > MOST_PATCHES:
                raise ZeroShotFolderError(
                    f"{path} has {file.metadata.num_rows} rows and lacks {', '.join(missing) or 'nothing'}; "
                    f"expected the columns {', '.join(columns)} and at most {MOST_PATCHES} rows."
                )
            kind = file.schema_arrow.field("labels").type
            if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
                raise ZeroShotFolderError(f"{path} has labels of type {kind}; version 2 has lists of names.")
            return file.read(columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise ZeroShotFolderError(f"{path} cannot be read as Parquet ({error}). Fetch it again.") from error


def _folder_of(folder: Path, patch: str) -> Path:
    """S2A_MSIL2A_..._T33UUP_26_57 lies in the folder of its product, the name without row and column."""
    if re.fullmatch(r"\w+_\d+_\d+", patch, re.ASCII) is None:
        raise ZeroShotFolderError(f"{METADATA} names a patch {patch!r}, which is no name of one")
    return folder / PATCHES / patch.rsplit("_", 2)[0] / patch
