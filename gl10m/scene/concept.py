"""One class of a class map: its names, the rules that accept an object and the exclusions from them."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from gl10m.scene.tag_rule import ClosedWay, SomeTerms, Strict, TagRule, Text, holds, in_words

MOST_CONCEPTS = 256
"""A class id is one byte in the manifests."""


Number = Annotated[float, Field(strict=True)]


class Concept(Strict):
    """One class: its names, the rules that accept an object and the exclusions that overrule them."""

    id: int = Field(ge=0, lt=MOST_CONCEPTS, strict=True)
    """Number of the class; the numbers of a map run from 0 without a gap."""

    name: Text
    """As in the paper: "Religious bldg."."""

    slug: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    """Name for files and columns: religious_building."""

    kind: Literal["built", "terrain", "land-cover"]
    """What it is made of."""

    level: Literal["object", "scene"]
    """Whether one thing on the ground or the character of a place."""

    paper_count: int | None = Field(default=None, ge=0, strict=True)
    """Scenes of train and validation that carry the label (figure 6); in another map the expected number."""

    area_m2: tuple[Number, Number]
    """Smallest area, included, and largest, excluded; square metres, geodesic."""

    closed_way: ClosedWay
    """What a closed way is, where a rule says nothing else."""

    notes: str = ""
    """What a reader should know before changing the rules."""

    rules: tuple[TagRule, ...] = Field(min_length=1)
    """Any of them is enough."""

    exclude: tuple[SomeTerms, ...] = ()
    """Any of them, fulfilled, keeps the object out."""

    @field_validator("area_m2")
    @classmethod
    def _limits_in_order(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= limits[0] < limits[1]:
            raise ValueError(f"[smallest, largest] with 0 <= smallest < largest; got {list(limits)}")
        return limits

    @model_validator(mode="after")
    def _rules_can_be_met(self) -> "Concept":
        for number, rule in enumerate(self.rules):
            low, high = self.limits(rule)
            exclusion = self.excluded_by(rule.example)
            if low >= high:
                fault = f"the rule '{rule.words}' leaves no area between {low:g} and {high:g} m2"
            elif exclusion is not None:
                fault = f"the class excludes the example of its own rule by {in_words(exclusion)}"
            else:
                continue
            raise PydanticCustomError("rule", "{fault}", {"fault": fault, "rule": number})
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
