"""One class of a class map: its names, the rules that accept an object and the exclusions from them."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from gl10m.scene.tag_rule import ClosedWay, Strict, TagRule, Terms, Text, holds, with_single_values

MOST_CONCEPTS = 256
"""A class id is one byte in the manifests."""


def _tuples(exclusion: object) -> object:
    given = with_single_values({"exclusion": exclusion}, ("exclusion",))
    return given["exclusion"] if isinstance(given, dict) else exclusion


Exclusion = Annotated[Terms, BeforeValidator(_tuples)]


class Concept(Strict):
    """One class: its names, the rules that accept an object and the exclusions that overrule them."""

    id: int = Field(ge=0, lt=MOST_CONCEPTS)
    """Number of the class; the numbers of a map run from 0 without a gap."""

    name: Text
    """As in the paper: "Religious bldg."."""

    slug: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    """Name for files and columns: religious_building."""

    kind: Literal["built", "terrain", "land-cover"]
    """What it is made of."""

    level: Literal["object", "scene"]
    """Whether one thing on the ground or the character of a place."""

    paper_count: int | None = Field(default=None, ge=0)
    """Scenes of train and validation that carry the label (figure 6); in another map the expected number."""

    area_m2: tuple[float, float]
    """Smallest area, included, and largest, excluded; square metres, geodesic."""

    closed_way: ClosedWay
    """What a closed way is, where a rule says nothing else."""

    notes: str = ""
    """What a reader should know before changing the rules."""

    rules: tuple[TagRule, ...] = Field(min_length=1)
    """Any of them is enough."""

    exclude: tuple[Exclusion, ...] = ()
    """Any of them, fulfilled, keeps the object out."""

    @field_validator("area_m2")
    @classmethod
    def _limits_in_order(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= limits[0] < limits[1]:
            raise ValueError(f"[smallest, largest] with 0 <= smallest < largest; got {list(limits)}")
        return limits

    @model_validator(mode="after")
    def _rules_leave_room(self) -> "Concept":
        for rule in self.rules:
            low, high = self.limits(rule)
            if low >= high:
                raise ValueError(f"the rule '{rule.words}' leaves no area between {low:g} and {high:g} m2")
        return self

    def limits(self, rule: TagRule) -> tuple[float, float]:
        """Smallest (included) and largest (excluded) area under a rule, square metres."""
        smallest, largest = self.area_m2
        return max(smallest, rule.min_m2 or 0), min(largest, rule.max_m2 or largest)

    def is_area(self, rule: TagRule, tags: Mapping[str, str]) -> bool:
        """Whether a closed way with these tags is an area under a rule."""
        if tags.get("area") == "no":
            return False
        return (rule.closed_way or self.closed_way) != ClosedWay.EXPLICIT or tags.get("area") == "yes"

    def excluded_by(self, tags: Mapping[str, str]) -> Mapping[str, tuple[str, ...]] | None:
        """The first exclusion that the tags fulfil."""
        return next((terms for terms in self.exclude if holds(tags, terms)), None)
