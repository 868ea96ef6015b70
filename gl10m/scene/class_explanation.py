"""Why one class accepts or refuses an object, in words and as a verdict that can be counted."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gl10m.scene.concept import Concept
from gl10m.scene.tag_rule import TagRule, in_words


class Verdict(StrEnum):
    """What a class says of an object, from refusal to acceptance."""

    OTHER_TAGS = "other tags"
    """A rule begins with one of its tags, but wants more or others."""

    EXCLUDED = "excluded"
    """A rule accepts its tags, but an exclusion overrules it."""

    LINE = "line"
    """A rule accepts its tags, but with them a closed way is a line."""

    SIZE = "size"
    """A rule accepts its tags, but its area is outside the limits."""

    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one class accepts or refuses an object of which one of its rules speaks."""

    concept: Concept
    verdict: Verdict
    words: str

    @property
    def accepted(self) -> bool:
        """Whether the object is of the class."""
        return self.verdict is Verdict.ACCEPTED


def explained(
    concept: Concept,
    rules: Sequence[TagRule],
    tags: Mapping[str, str],
    *,
    closed_way: bool,
    area_m2: float | None,
) -> Explanation:
    """The verdict of one class, told by the rule that came nearest to acceptance.

    Args:
        concept: the class.
        rules: those of its rules that begin with one of the tags; at least one.
        tags: OSM tags.
        closed_way: True for a closed way, False for a relation.
        area_m2: area in square metres, or None to leave the limits aside.
    """
    refused = functools.partial(Explanation, concept)
    accepting = [rule for rule in rules if rule.accepts(tags)]
    if not accepting:
        return refused(Verdict.OTHER_TAGS, f"wants {rules[0].words}")
    exclusion = concept.excluded_by(tags)
    if exclusion is not None:
        return refused(Verdict.EXCLUDED, f"{accepting[0].words}, but excluded by {in_words(exclusion)}")
    areas = [rule for rule in accepting if not closed_way or concept.is_area(rule, tags)]
    if not areas:
        remedy = "area=no says so" if tags.get("area") == "no" else "only area=yes makes it an area"
        words = f"{accepting[0].words}, but a closed way is a line here: {remedy}"
        return refused(Verdict.LINE, words)
    sized = [rule for rule in areas if area_m2 is None or within(concept.limits(rule), area_m2)]
    rule = (sized or areas)[0]
    low, high = concept.limits(rule)
    if not sized:
        return refused(Verdict.SIZE, f"{rule.words}, but {area_m2:g} m2 is outside {low:g} to {high:g} m2")
    return Explanation(concept, Verdict.ACCEPTED, f"{rule.words}, {low:g} to {high:g} m2")


def within(limits: tuple[float, float], area_m2: float) -> bool:
    """Whether an area lies within limits, the smallest included, the largest not."""
    return limits[0] <= area_m2 < limits[1]
