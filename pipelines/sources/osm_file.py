"""OSM files: opened with care, sorted where they are not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.sources import libosmium
from pipelines.sources.isolated import ChildFailedError, ChildLostError, Limits, run
from pipelines.sources.scratch import scratch_folder

SUFFIXES = (".osm.pbf", ".pbf", ".osm", ".osm.gz", ".osm.bz2", ".osm.opl", ".opl")
"""Names that libosmium knows how to read."""


class OsmFileError(ValueError):
    """A file is not the OSM extract that it should be."""


@contextmanager
def sorted_osm_file(path: Path | str) -> Iterator[Path]:
    """Offer an OSM file in the order that area assembly needs: nodes, ways, relations, each by id.

    A file whose header does not promise that order is read once to see. One that lacks it is sorted into a
    temporary PBF, for which it is held in memory as a whole; `osmium sort` beforehand does with less.

    Args:
        path: .osm.pbf, .osm, .osm.gz, .osm.bz2 or .opl.

    Yields:
        The path itself, or that of the sorted copy, which is deleted at the end.

    Raises:
        FileNotFoundError: there is no such file.
        OsmFileError: the file is empty, cannot be read to its end, has ids below 1 or beyond
            LARGEST_ID, or several versions of one object.
    """
    path = Path(path)
    check_name(path)
    with readable(path):
        if _is_sorted(path):
            yield path
            return
    with scratch_folder() as folder:
        copy = folder / "sorted.osm.pbf"
        with readable(path):
            run(libosmium.sort, str(path.absolute()), str(copy), limits=Limits.of(path))
        yield copy


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn the errors that libosmium raises on a damaged file into one that names the file and the remedy.

    Raises:
        OsmFileError: libosmium could not read the file.
    """
    try:
        yield
    except OsmFileError:
        raise
    except ChildLostError as error:
        raise unreadable(path.name, error) from error
    except (ChildFailedError, RuntimeError, OSError, UnicodeDecodeError) as error:
        raise damaged(path.name, error) from error


def damaged(name: str, what: object) -> OsmFileError:
    """The error for a file that breaks off or is not what its name says.

    Args:
        name: of the file.
        what: was found in it.
    """
    return OsmFileError(
        f"{name} cannot be read as an OSM file ({what}): it is damaged, cut short or not one. "
        "Fetch it again and compare its checksum; `osmium fileinfo -e` shows where it breaks."
    )


def unreadable(name: str, what: object) -> OsmFileError:
    """The error for a file that broke the process which read it.

    Args:
        name: of the file.
        what: became of that process.
    """
    return OsmFileError(
        f"{name} cannot be read as an OSM file: the process that parsed it is no more ({what}). The file is "
        "damaged, or made to do harm, or an extract of a form that needs more (docs/hostile-input.md). Fetch "
        "it again and compare its checksum; a form that needs less: `osmium sort FILE -o sorted.osm.pbf`."
    )


def check_name(path: Path) -> None:
    """Refuse what is not named like an OSM file or is empty.

    Raises:
        FileNotFoundError: there is no such file.
        OsmFileError: the name does not tell a format, or the file is empty.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no OSM file {path}; give the path of an extract such as maine.osm.pbf"
        )
    check_ending(path.name)
    if path.stat().st_size == 0:
        raise OsmFileError(f"{path.name} is empty (0 bytes). Fetch it again.")


def check_ending(name: str) -> None:
    """Refuse what is not named like an OSM file.

    Raises:
        OsmFileError: the name does not tell a format.
    """
    if not name.endswith(SUFFIXES):
        raise OsmFileError(
            f"an OSM file is told by the end of its name, one of {', '.join(SUFFIXES)}; got {name}. "
            "Rename it to what it holds."
        )


def _is_sorted(path: Path) -> bool:
    """Whether the header says or a reading shows that the objects are in order."""
    (facts,) = run(libosmium.order, str(path.absolute()), limits=Limits.of(path))
    versions, promised, some, in_order, odd = libosmium.ORDER.unpack(facts)
    if versions:
        raise OsmFileError(
            f"{path.name} holds several versions of objects. Cut one day out of it: `osmium time-filter`."
        )
    if not promised and not some:
        raise OsmFileError(f"{path.name} holds no OSM object. Choose an extract that covers the region.")
    check_id(path, odd or 1)
    return bool(in_order)


def check_id(path: Path, number: int) -> None:
    """Refuse an object that is not in OpenStreetMap.

    Raises:
        OsmFileError: the id is below 1 or beyond LARGEST_ID.
    """
    if number > libosmium.LARGEST_ID:
        raise OsmFileError(
            f"{path.name} holds an object with the id {number}: ids of OpenStreetMap stay below "
            f"{libosmium.LARGEST_ID:,} for long. Give it ids of its own: `osmium renumber`."
        )
    if number < 1:
        raise OsmFileError(
            f"{path.name} holds an object with the id {number}: ids of OpenStreetMap begin at 1, lower ones "
            "are an editor's unsaved work. Give it ids of its own: `osmium renumber`."
        )
