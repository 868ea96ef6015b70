"""Objects of an OSM file by their tags, whether they are areas or not."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipelines.sources import libosmium
from pipelines.sources.isolated import Limits, integers, pieces, run
from pipelines.sources.osm_areas import Interest
from pipelines.sources.osm_file import check_name, readable


class Kind(StrEnum):
    """What an object is made of."""

    NODE = "node"
    OPEN_LINE = "open line"
    CLOSED_WAY = "closed way"
    AREA = "area relation"
    """A multipolygon or boundary relation."""
    RELATION = "relation"
    """Any other: a site, a route."""


_SORT = {
    Kind.NODE: "node",
    Kind.OPEN_LINE: "way",
    Kind.CLOSED_WAY: "way",
    Kind.AREA: "relation",
    Kind.RELATION: "relation",
}
"""What OSM calls it."""


@dataclass(frozen=True, slots=True)
class TaggedObject:
    """An object that carries a tag of interest."""

    name: str
    """way/123."""

    kind: Kind
    tags: dict[str, str]


def tagged_objects(path: Path, interest: Interest) -> Iterator[TaggedObject]:
    """Read all objects that carry a tag of interest, in the order of the file.

    Args:
        path: any OSM file, sorted or not.
        interest: which tags; objects with none of its keys never reach Python.

    Raises:
        FileNotFoundError: there is no such file.
        OsmFileError: the file cannot be read to its end.
    """
    check_name(path)
    with readable(path):
        kinds, numbers, counts, lengths, texts = run(
            libosmium.tagged,
            str(path.absolute()),
            interest.keys,
            interest.carries,
            limits=Limits.of(path),
        )
        words = iter([text.decode() for text in pieces(texts, integers(lengths))])
    for place, number, count in zip(
        kinds, integers(numbers).tolist(), integers(counts).tolist(), strict=True
    ):
        kind = Kind(libosmium.KINDS[place])
        tags = {next(words): next(words) for _ in range(count)}
        yield TaggedObject(f"{_SORT[kind]}/{number}", kind, tags)
