"""What: the concepts of a data set and the OSM tags that mean them, read from class_maps/*.toml."""

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gl10m.resources import bundled
from gl10m.scene.class_explanation import Explanation, Verdict, explained, within
from gl10m.scene.class_map_errors import ClassMapError, faults_between
from gl10m.scene.class_map_file import read_class_map
from gl10m.scene.concept import Concept
from gl10m.scene.rejection import Reason
from gl10m.scene.tag_rule import ANY, TagRule, values_of
from gl10m.scene.tile_labels import pack_tile_labels, unpack_tile_labels

__all__ = [
    "ClassMap",
    "ClassMapError",
    "Concept",
    "Explanation",
    "Match",
    "TagRule",
    "Verdict",
    "pack_tile_labels",
    "unpack_tile_labels",
]

_REMEMBERED_TAG_SETS = 100_000


@dataclass(frozen=True, slots=True)
class Match:
    """What a class map says about one object."""

    class_ids: tuple[int, ...]
    """Classes that accept it, ascending; empty where none does."""

    reason: Reason | None = None
    """Why none does: UNMAPPED, NOT_AN_AREA or AREA_OUT_OF_RANGE. None where a class accepts."""

    detail: str = ""
    """The reason in words."""


class ClassMap:
    """The concepts of a data set, in the order of their ids. Small and picklable; never changes."""

    def __init__(self, name: str, concepts: Iterable[Concept]) -> None:
        """Order the rules by the tag that they are found by.

        Args:
            name: what the map is called: gl10m-66.
            concepts: ids 0, 1, 2 ... without a gap, names and slugs each used once.

        Raises:
            ClassMapError: ids, names or slugs are not so, or only some concepts have a paper_count.
        """
        self.name = name
        self.concepts = tuple(concepts)
        for fault in faults_between(self.concepts):
            raise ClassMapError(f"class map {name}, {'.'.join(map(str, fault.place))}: {fault.words}")
        if not self.concepts:
            raise ClassMapError(f"class map {name} has no class; it wants at least one")
        self._by_tag: dict[str, dict[str, list[tuple[Concept, TagRule]]]] = {}
        for concept in self.concepts:
            for rule in concept.rules:
                key, wanted = next(iter(rule.when.items()))
                for value in wanted:
                    self._by_tag.setdefault(key, {}).setdefault(value, []).append((concept, rule))
        self._spoken_of = frozenset(
            key
            for concept in self.concepts
            for terms in (*concept.exclude, *(t for rule in concept.rules for t in (rule.when, rule.unless)))
            for key in terms
        ) | {"area"}
        self._remembered: dict[tuple[tuple[str, str], ...], tuple[tuple[Concept, TagRule], ...]] = {}

    @classmethod
    def bundled(cls) -> "ClassMap":
        """The 66 concepts of GL-10M, class_maps/gl10m-66.toml."""
        return _bundled()

    @classmethod
    def from_file(cls, path: Path | str) -> "ClassMap":
        """Read a map of one's own.

        Args:
            path: TOML in the form that class_maps/README.md describes.

        Raises:
            ClassMapError: the file is not such a map; the message names the line and the class.
            FileNotFoundError: there is no such file.
        """
        return cls(*read_class_map(Path(path)))

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.concepts)

    def __reduce__(self) -> tuple[type["ClassMap"], tuple[str, tuple[Concept, ...]]]:
        return ClassMap, (self.name, self.concepts)

    def __dask_tokenize__(self) -> str:
        return self.digest

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes in the order of their ids."""
        return tuple(concept.name for concept in self.concepts)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over all that decides a label; names for readers, notes and examples are left out."""
        deciding: list[dict[str, Any]] = [
            concept.model_dump(
                mode="json",
                exclude={"name": True, "notes": True, "rules": {"__all__": {"example"}}},
            )
            for concept in self.concepts
        ]
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()

    @functools.cached_property
    def rarity(self) -> tuple[int, ...]:
        """Rank of each class, 0 for the rarest: by paper_count, or by id where the map has no counts."""
        counts = [concept.paper_count for concept in self.concepts]
        order = sorted(range(len(self)), key=lambda number: (counts[number] or 0, number))
        ranks = [0] * len(self)
        for rank, number in enumerate(order):
            ranks[number] = rank
        return tuple(ranks)

    def rarest(self, class_ids: Iterable[int]) -> int:
        """The rarest of some classes.

        Raises:
            ValueError: no class is given.
        """
        return min(class_ids, key=self.rarity.__getitem__)

    @functools.cached_property
    def area_limits(self) -> tuple[float, ...]:
        """Areas at which an answer may change, ascending, square metres: between two of them none does."""
        return tuple(sorted({limit for c in self.concepts for rule in c.rules for limit in c.limits(rule)}))

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of all `tokens`: an object with none of them belongs to no class."""
        return tuple(self._by_tag)

    @property
    def tokens(self) -> tuple[tuple[str, str | None], ...]:
        """Tags of which an object must carry one to belong to any class.

        Returns:
            (key, value), or (key, None) where any value will do: what a libosmium tag filter asks for. A tag
            with several values, `sport=soccer;tennis`, carries each of them.
        """
        return tuple(
            (key, None if value == ANY else value) for key, values in self._by_tag.items() for value in values
        )

    @property
    def deciding_keys(self) -> frozenset[str]:
        """Keys of all tags that a rule or an exclusion speaks of, and `area`: others never change a match."""
        return self._spoken_of

    def carries(self, key: str, value: str) -> bool:
        """Whether a tag is one of the `tokens`, or holds one among several values."""
        wanted = self._by_tag.get(key)
        if wanted is None:
            return False
        return (
            value in wanted or ANY in wanted or (";" in value and any(v in wanted for v in values_of(value)))
        )

    def is_line(self, tags: Mapping[str, str]) -> bool:
        """Whether a closed way with these tags is a line: it says so, or every class that speaks of it."""
        if tags.get("area") == "no":
            return True
        return self.match(tags, closed_way=True, area_m2=None).reason == Reason.NOT_AN_AREA

    def match(self, tags: Mapping[str, str], *, closed_way: bool, area_m2: float | None) -> Match:
        """Find the classes of one object.

        Args:
            tags: all its OSM tags.
            closed_way: True for a closed way, False for a multipolygon or boundary relation.
            area_m2: geodesic area, square metres; None where it is not known yet and no limit shall count.

        Returns:
            The classes, or why there is none. Where several reasons would do, the one that stands nearest to
            acceptance is given: AREA_OUT_OF_RANGE, then NOT_AN_AREA, then UNMAPPED.
        """
        named = self._named(tags)
        if not named:
            return Match((), Reason.UNMAPPED, "no rule accepts these tags, or an exclusion overrules it")
        areas = [(c, r) for c, r in named if not closed_way or c.is_area(r, tags)]
        if not areas:
            return Match((), Reason.NOT_AN_AREA, f"a closed way that is a line: {_names(named)}")
        sized = [(c, r) for c, r in areas if area_m2 is None or within(c.limits(r), area_m2)]
        if not sized:
            low, high = areas[0][0].limits(areas[0][1])
            detail = f"{area_m2:.0f} m2; {areas[0][0].name} wants {low:g} to {high:g}"
            return Match((), Reason.AREA_OUT_OF_RANGE, detail)
        return Match(tuple(sorted({concept.id for concept, _ in sized})))

    def _named(self, tags: Mapping[str, str]) -> tuple[tuple[Concept, TagRule], ...]:
        """Rules that accept the tags and are not overruled; remembered by the tags that matter."""
        relevant = tuple(sorted((key, value) for key, value in tags.items() if key in self._spoken_of))
        known = self._remembered.get(relevant)
        if known is None:
            if len(self._remembered) >= _REMEMBERED_TAG_SETS:
                self._remembered.clear()
            known = tuple(
                (concept, rule)
                for concept, rule in self._spoken_by(tags)
                if rule.accepts(tags) and concept.excluded_by(tags) is None
            )
            self._remembered[relevant] = known
        return known

    def _spoken_by(self, tags: Mapping[str, str]) -> list[tuple[Concept, TagRule]]:
        """Rules whose first term the tags may fulfil, in the order of the map, each once."""
        found = {
            (concept.id, concept.rules.index(rule)): (concept, rule)
            for key, value in tags.items()
            if key in self._by_tag
            for wanted in (*values_of(value), ANY)
            for concept, rule in self._by_tag[key].get(wanted, ())
        }
        return [found[place] for place in sorted(found)]

    def explain(
        self, tags: Mapping[str, str], *, closed_way: bool = True, area_m2: float | None = None
    ) -> tuple[Explanation, ...]:
        """Say in words why each class that these tags bring to mind accepts or refuses them.

        Args:
            tags: OSM tags.
            closed_way: True for a closed way, False for a relation.
            area_m2: area in square metres, or None to leave the limits aside.

        Returns:
            In the order of the ids; empty where no rule begins with one of the tags.
        """
        by_concept: dict[int, list[TagRule]] = {}
        for concept, rule in self._spoken_by(tags):
            by_concept.setdefault(concept.id, []).append(rule)
        return tuple(
            explained(self.concepts[number], rules, tags, closed_way=closed_way, area_m2=area_m2)
            for number, rules in by_concept.items()
        )


@functools.cache
def _bundled() -> ClassMap:
    return ClassMap.from_file(bundled("class_maps", "gl10m-66.toml"))


def _names(named: Iterable[tuple[Concept, TagRule]]) -> str:
    return ", ".join(dict.fromkeys(concept.name for concept, _ in named))
