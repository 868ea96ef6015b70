"""The files from outside that records were measured with: another one in its place is told."""

from collections.abc import Iterator
from pathlib import Path

from gl10m.storage.checksum import sha256_of
from reference_model.baselines.covariates import NightLights
from reference_model.baselines.entry import Assets
from reference_model.json_file import read_json, write_json
from reference_model.reproduction.bench import ForeignRecordError

NOTED = "outside"
"""Beside the records, so that it goes with them; no .json, since every file of that name is a record."""


def note_files(records: Path, assets: Assets) -> None:
    """Note the digests of the files that rows are measured with.

    A record is not measured again, so with another file it would stand as if it were of that.

    Args:
        records: the folder of the records.
        assets: what was handed over; files that come later are added.

    Raises:
        ForeignRecordError: a file is another than the one that was noted.
        OSError: a file cannot be read, or the note not be written.
    """
    noted = _noted(records / NOTED)
    given = {what: (path, sha256_of(path)) for what, path in _files(assets) if path.is_file()}
    for what, (path, digest) in sorted(given.items()):
        if noted.get(what, digest) != digest:
            raise ForeignRecordError(
                f"rows in {records} were measured with other {what} than {path}. Name the file that they are "
                "of, or another folder with --out, or delete this one."
            )
    if given:
        records.mkdir(parents=True, exist_ok=True)
        write_json(records / NOTED, noted | {what: digest for what, (_, digest) in given.items()})


def _noted(path: Path) -> dict[str, object]:
    try:
        return read_json(path)
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise ForeignRecordError(
            f"{path} no longer tells which files the rows beside it are of ({error}). Delete {path.parent}: "
            "they are measured again."
        ) from error


def _files(assets: Assets) -> Iterator[tuple[str, Path]]:
    if isinstance(assets.covariate, NightLights):
        yield "night lights", assets.covariate.path
    if assets.concept_scale is not None:
        yield "scales of the classes", assets.concept_scale
    for row, path in assets.weights.items():
        yield f"weights of {row}", path
