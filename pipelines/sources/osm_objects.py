"""Objects of an OSM file by their tags, whether they are areas or not."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import osmium
from osmium.filter import KeyFilter
from osmium.osm import NODE, RELATION, WAY
from osmium.osm.types import OSMEntity, Relation, Way

from pipelines.sources.osm_areas import AREA_RELATIONS, Interest
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
        for entity in osmium.FileProcessor(str(path), NODE | WAY | RELATION).with_filter(
            KeyFilter(*interest.keys)
        ):
            tags = {tag.k: tag.v for tag in entity.tags}
            if any(interest.carries(key, value) for key, value in tags.items()):
                kind = _kind(entity, tags)
                yield TaggedObject(f"{_SORT[kind]}/{entity.id}", kind, tags)


_SORT = {
    Kind.NODE: "node",
    Kind.OPEN_LINE: "way",
    Kind.CLOSED_WAY: "way",
    Kind.AREA: "relation",
    Kind.RELATION: "relation",
}


def _kind(entity: OSMEntity, tags: dict[str, str]) -> Kind:
    if isinstance(entity, Way):
        return Kind.CLOSED_WAY if entity.nodes and entity.is_closed() else Kind.OPEN_LINE
    if isinstance(entity, Relation):
        return Kind.AREA if tags.get("type") in AREA_RELATIONS else Kind.RELATION
    return Kind.NODE
