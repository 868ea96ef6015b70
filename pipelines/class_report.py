"""How many polygons each class has in OSM files, and why a class has none."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gl10m.manifest.columns import values
from gl10m.scene.class_map import ClassMap, Verdict
from pipelines.sources.osm_objects import Kind, TaggedObject, tagged_objects
from pipelines.stages.classes import map_classes
from pipelines.stages.polygons import interest_of, read_polygons

REGION = "XX"
"""Stands for the region, which no count depends on."""


class Miss(StrEnum):
    """Why an object with the tags of a class is no polygon of it, from the nearest miss to the furthest."""

    SIZE = "outside its area limits"
    EXCLUDED = "excluded by other tags"
    LINE = "closed ways that are lines"
    BROKEN = "without a whole geometry"
    OPEN_LINE = "open lines"
    NODE = "nodes"
    RELATION = "relations that are no area"


_MISSES = {Verdict.SIZE: Miss.SIZE, Verdict.EXCLUDED: Miss.EXCLUDED, Verdict.LINE: Miss.LINE}
_NO_AREAS = {Kind.NODE: Miss.NODE, Kind.OPEN_LINE: Miss.OPEN_LINE, Kind.RELATION: Miss.RELATION}


@dataclass(frozen=True, slots=True)
class FileCount:
    """What one OSM file holds of each class."""

    name: str
    """Of the file."""

    read: int
    """Closed ways and area relations that carry a tag of the class map."""

    labelled: int
    """Polygons with at least one class."""

    polygons: Counter[int]
    """By class id; a polygon of two classes counts for both."""

    misses: dict[int, Counter[Miss]]
    """By class id: objects that carry the tags of the class and are no polygon of it."""

    rejected: Counter[str]
    """By reason: each object that was read and has no class, once."""


def count(path: Path, class_map: ClassMap) -> FileCount:
    """Count the polygons of each class in a file, and what comes near to being one.

    Args:
        path: .osm.pbf, .osm, .osm.gz or .osm.bz2, sorted or not.
        class_map: what the tags mean.

    Raises:
        FileNotFoundError: there is no such file.
        OsmFileError: the file cannot be read as OSM to its end.
    """
    areas = read_polygons(path, REGION, class_map)
    labelled = map_classes(areas.kept, REGION, class_map)
    sizes = dict(zip(values(areas.kept, "osm_id"), areas.kept["area_m2"].to_numpy().tolist(), strict=True))
    misses: dict[int, Counter[Miss]] = {concept.id: Counter() for concept in class_map.concepts}
    for thing in tagged_objects(path, interest_of(class_map)):
        for class_id, miss in _missed(thing, class_map, sizes.get(thing.name)):
            misses[class_id][miss] += 1
    return FileCount(
        name=path.name,
        read=areas.read,
        labelled=labelled.kept.num_rows,
        polygons=Counter(number for ids in values(labelled.kept, "class_ids") for number in ids),
        misses=misses,
        rejected=Counter([*values(areas.dropped, "reason"), *values(labelled.dropped, "reason")]),
    )


def _missed(thing: TaggedObject, class_map: ClassMap, area_m2: float | None) -> list[tuple[int, Miss]]:
    """Classes whose tags an object carries and of which it is no polygon.

    Args:
        thing: the object.
        class_map: what the tags mean.
        area_m2: its area, or None where it has no geometry.
    """
    told = class_map.explain(thing.tags, closed_way=thing.kind is Kind.CLOSED_WAY, area_m2=area_m2)
    found = []
    for said in told:
        if said.accepted and thing.kind in _NO_AREAS:
            found.append((said.concept.id, _NO_AREAS[thing.kind]))
        elif said.accepted and area_m2 is None:
            found.append((said.concept.id, Miss.BROKEN))
        elif said.verdict in _MISSES and thing.kind not in _NO_AREAS:
            found.append((said.concept.id, _MISSES[said.verdict]))
    return found


def why_none(counts: Sequence[FileCount], class_id: int) -> str:
    """Why a class has no polygon in some files: what carries its tags, the nearest miss first."""
    total: Counter[Miss] = Counter()
    for one in counts:
        total += one.misses[class_id]
    told = [f"{total[miss]:,} {miss}" for miss in Miss if total[miss]]
    return ", ".join(told) or "no object has its tags"


def as_text(counts: Sequence[FileCount], class_map: ClassMap) -> str:
    """The counts of some files as a table: a row a class, a column a file."""
    lines = [
        f"{number}  {one.name}: {one.read:,} areas with a tag of the map, {one.labelled:,} with a class"
        for number, one in enumerate(counts, start=1)
    ]
    heads = [str(number) for number in range(1, len(counts) + 1)]
    if len(counts) > 1:
        heads.append("all")
    rows = [
        (concept.name, _across([one.polygons[concept.id] for one in counts]))
        for concept in class_map.concepts
    ]
    reasons = sorted(set().union(*(one.rejected for one in counts)))
    losses = [(reason, _across([one.rejected[reason] for one in counts])) for reason in reasons]
    widest = max((number for _, numbers in (*rows, *losses) for number in numbers), default=0)
    wide = max(4, 2 + len(f"{widest:,}"))
    named = max(len(name) for name, _ in (*rows, *losses))
    lines += ["", _line("polygons of", heads, named, wide)]
    for concept, (name, numbers) in zip(class_map.concepts, rows, strict=True):
        why = "" if any(numbers) else f"   {why_none(counts, concept.id)}"
        lines.append(_line(name, [f"{number:,}" for number in numbers], named, wide) + why)
    lines += ["", _line("rejected", heads, named, wide)] if losses else []
    lines += [_line(name, [f"{number:,}" for number in numbers], named, wide) for name, numbers in losses]
    return "\n".join(lines)


def _across(numbers: list[int]) -> list[int]:
    return [*numbers, sum(numbers)] if len(numbers) > 1 else numbers


def _line(name: str, cells: list[str], named: int, wide: int) -> str:
    return f"{name:<{named}}" + "".join(f"{cell:>{wide}}" for cell in cells)
