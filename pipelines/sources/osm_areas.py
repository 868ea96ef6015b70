"""Areas of an OSM file: closed ways and multipolygon relations, assembled by libosmium in a child process."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from pipelines.sources import libosmium
from pipelines.sources.isolated import Limits, integers, pieces, run
from pipelines.sources.osm_file import check_id

TAGS = pa.map_(pa.string(), pa.string())

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interest:
    """Which objects are of interest, by their tags."""

    keys: tuple[str, ...]
    """Keys of the tags of interest: objects with none of them are passed over."""

    carries: Callable[[str, str], bool]
    """Whether a tag with one of those keys is of interest."""

    is_line: Callable[[Mapping[str, str]], bool]
    """Whether a closed way with these tags is a line and no area."""

    deciding: frozenset[str]
    """Keys of all tags that `is_line` looks at."""


@dataclass(frozen=True, slots=True)
class FoundAreas:
    """Areas of interest of a file, or of a part of it, ways before relations, each by id."""

    ways: Ids
    """Closed ways."""

    relations: Ids
    """Relations whose rings fit together."""

    tags: Any
    """Tags of the ways, then of the relations, keys in order: a pyarrow array of type TAGS."""

    geometry: NDArray[np.object_]
    """Polygons and multipolygons in EPSG:4326, not all valid; None for a way that lacks a node."""

    valid: NDArray[np.bool_]
    """Which geometries are known to be valid; the others may be."""

    incomplete: list[int]
    """Relations of which a member way or a node is not in the file."""

    unfit: list[int]
    """Relations whose rings do not fit together."""

    lines: list[int]
    """Closed ways that are lines by their tags."""

    degenerate: list[int]
    """Closed ways of fewer than four nodes or more than the 2,000 of OpenStreetMap."""


@dataclass(slots=True)
class Survey:
    """The objects of a file that may be areas of interest, before any geometry."""

    ways: set[int] = field(default_factory=set)
    """Closed ways."""

    relations: set[int] = field(default_factory=set)
    """Multipolygon and boundary relations."""

    members: set[int] = field(default_factory=set)
    """Ways that those relations are made of."""

    lines: list[int] = field(default_factory=list)
    """Closed ways that are lines by their tags."""

    degenerate: list[int] = field(default_factory=list)
    """Closed ways of fewer than four nodes or more than the 2,000 of OpenStreetMap."""


@dataclass(frozen=True, slots=True)
class AssembledArea:
    """One area as libosmium gives it."""

    tags: dict[str, str]
    """All tags of the object but the `type` of a relation, which libosmium takes away."""

    wkb: bytes | None
    """WKB of a polygon or multipolygon in EPSG:4326, or None where the rings do not fit together."""


Areas = dict[tuple[str, int], AssembledArea]
"""Areas by kind ("way" or "relation") and id."""


def found_areas(path: Path, interest: Interest) -> FoundAreas:
    """Read the areas of interest of a sorted file.

    Raises:
        OsmFileError: an object of interest has an id below 1.
    """
    wanted = survey(path, interest)
    areas = assemble(path, wanted)
    ways = sorted(wanted.ways)
    found = [areas.get(("way", number)) for number in ways]
    relations = relation_areas(wanted, areas)
    return FoundAreas(
        np.array(ways, np.int64),
        relations.relations,
        pa.concat_arrays([_tags(found), relations.tags]),
        np.concatenate([geometries(found), relations.geometry]),
        np.zeros(len(ways) + len(relations.relations), np.bool_),
        relations.incomplete,
        relations.unfit,
        sorted(wanted.lines),
        sorted(wanted.degenerate),
    )


def relation_areas(wanted: Survey, areas: Areas) -> FoundAreas:
    """What became of the relations of a survey.

    Args:
        wanted: the survey; its ways are passed over.
        areas: what was assembled.
    """
    found = {number: areas.get(("relation", number)) for number in sorted(wanted.relations)}
    whole = {number: area for number, area in found.items() if area is not None and area.wkb}
    return FoundAreas(
        np.empty(0, np.int64),
        np.array(list(whole), np.int64),
        _tags(whole.values()),
        geometries(whole.values()),
        np.zeros(len(whole), np.bool_),
        incomplete=[number for number, area in found.items() if area is None],
        unfit=[number for number, area in found.items() if area is not None and area.wkb is None],
        lines=[],
        degenerate=[],
    )


def _tags(areas: Iterable[AssembledArea | None]) -> Any:  # noqa: ANN401 - stubs lack maps
    return pa.array([sorted(area.tags.items()) if area is not None else [] for area in areas], TAGS)


def geometries(areas: Iterable[AssembledArea | None]) -> NDArray[np.object_]:
    """Geometry of each area, None where there is none."""
    wkb = np.array([area.wkb if area is not None else None for area in areas], dtype=object)
    return np.asarray(shapely.from_wkb(wkb))


def survey(path: Path, interest: Interest) -> Survey:
    """Find the closed ways and the relations that carry a tag of interest, in a child process.

    Args:
        path: a sorted OSM file.
        interest: which; travels to the child, so its functions must be picklable.

    Raises:
        OsmFileError: such an object has an id below 1 or beyond LARGEST_ID.
        ChildLostError: the child died.
        ChildFailedError: libosmium cannot read the file.
    """
    odd, ways, relations, members, lines, degenerate = (
        integers(column).tolist()
        for column in run(
            libosmium.survey,
            str(path.absolute()),
            interest.keys,
            interest.carries,
            interest.is_line,
            limits=Limits.of(path),
        )
    )
    for number in odd:
        check_id(path, number)
    return Survey(set(ways), set(relations), set(members), lines, degenerate)


def assemble(path: Path, wanted: Survey) -> Areas:
    """Build the areas that a survey found, in a child process.

    Args:
        path: the sorted OSM file that was surveyed.
        wanted: what to build.

    Returns:
        Objects whose nodes and ways are all in the file. A closed way that crosses itself is there as it
        stands, invalid; a relation whose rings do not fit together is there without a geometry.

    Raises:
        ChildLostError: the child died.
        ChildFailedError: libosmium cannot read the file.
    """
    asked = (
        np.array(sorted(some), np.int64).tobytes() for some in (wanted.ways, wanted.relations, wanted.members)
    )
    is_way, numbers, counts, lengths, texts, sizes, shapes = run(
        libosmium.assemble, str(path.absolute()), *asked, limits=Limits.of(path)
    )
    words = [text.decode() for text in pieces(texts, integers(lengths))]
    wkb = pieces(shapes, np.maximum(integers(sizes), 0))
    areas, first = {}, 0
    for from_way, number, count, size, shape in zip(
        is_way,
        integers(numbers).tolist(),
        integers(counts).tolist(),
        integers(sizes).tolist(),
        wkb,
        strict=True,
    ):
        tags = words[first : first + 2 * count]
        first += 2 * count
        areas["way" if from_way else "relation", number] = AssembledArea(
            dict(zip(tags[::2], tags[1::2], strict=True)), None if size == libosmium.NO_GEOMETRY else shape
        )
    return areas
