"""One rule of a class map: the tags that an OSM object must have, and must not have, to mean a class."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

ANY = "*"
"""As a wanted value: the key is there, with any value but "no"."""

Text = Annotated[str, Field(min_length=1, max_length=255)]  # OSM allows 255 characters a key and a value


def _as_tuple(wanted: object) -> object:
    """Let a map say `landuse = "forest"` for `landuse = ["forest"]`."""
    if not isinstance(wanted, str | list | tuple):
        raise ValueError(  # noqa: TRY004 - pydantic collects these, and no others
            f'a value is text, or several in a list: "pond", ["pond", "basin"]; got {wanted!r}'
        )
    return (wanted,) if isinstance(wanted, str) else wanted


_TEXT_SCHEMA = {"type": "string", "minLength": 1, "maxLength": 255}
Values = Annotated[
    tuple[Text, ...],
    BeforeValidator(_as_tuple),
    WithJsonSchema({"anyOf": [_TEXT_SCHEMA, {"type": "array", "items": _TEXT_SCHEMA, "minItems": 1}]}),
]
"""Values of which a tag must have one; a lone one may stand without its list."""


def _not_empty(terms: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for key, wanted in terms.items():
        if not wanted or (ANY in wanted and wanted != (ANY,)):
            raise ValueError(f'{key} wants at least one value, or "{ANY}" alone; got {list(wanted)}')
    return terms


class Strict(BaseModel):
    """A part of a class map: nothing unknown in it, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ClosedWay(StrEnum):
    """What a closed way with the tags of a rule is. `area=no` makes any of them a line."""

    AREA = "area"
    """An area, as mappers draw it."""

    EXPLICIT = "explicit"
    """A line that loops, unless `area=yes` says otherwise."""

    RING = "ring"
    """A line whose enclosed ground is the object: a roundabout."""


Terms = Annotated[dict[Text, Values], AfterValidator(_not_empty)]
"""Tags by key; for each key the values of which one must be there."""

SomeTerms = Annotated[dict[Text, Values], Field(min_length=1), AfterValidator(_not_empty)]
"""At least one of them: no term at all would hold for any object."""


def values_of(value: str) -> list[str]:
    """The values that one OSM tag holds: `sport=soccer; tennis` holds two."""
    return [part.strip() for part in value.split(";")] if ";" in value else [value]


def holds(tags: Mapping[str, str], terms: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether every key of `terms` is in `tags` with one of its values."""
    for key, wanted in terms.items():
        value = tags.get(key)
        if value is None:
            return False
        if wanted == (ANY,):
            if value == "no":
                return False
        elif not any(part in wanted for part in values_of(value)):
            return False
    return True


def in_words(terms: Mapping[str, tuple[str, ...]]) -> str:
    """`leisure=pitch and sport=tennis|padel`."""
    return " and ".join(f"{key}={'|'.join(wanted)}" for key, wanted in terms.items())


class TagRule(Strict):
    """Tags that mean a class: all of `when`, none of `unless`, area within the limits."""

    when: SomeTerms
    """All of these must hold. The first is the one that files are filtered by: the most telling one."""

    unless: Terms = Field(default_factory=dict)
    """None of these may hold."""

    min_m2: float | None = Field(default=None, ge=0, strict=True)
    """Smallest area for this rule, square metres, included. Overrides the class where it is larger."""

    max_m2: float | None = Field(default=None, gt=0, strict=True)
    """Largest area for this rule, square metres, excluded. Overrides the class where it is smaller."""

    closed_way: ClosedWay | None = None
    """What a closed way is under this rule, where that differs from the class."""

    example: dict[Text, Text] = Field(min_length=1)
    """Tags of an object as mappers draw it that the rule accepts; a test runs it."""

    @model_validator(mode="after")
    def _accepts_its_example(self) -> "TagRule":
        if not self.accepts(self.example):
            raise ValueError(f"the rule '{self.words}' does not accept its own example {self.example}")
        return self

    def accepts(self, tags: Mapping[str, str]) -> bool:
        """Whether the tags fulfil the rule, area aside."""
        return holds(tags, self.when) and not any(
            holds(tags, {key: wanted}) for key, wanted in self.unless.items()
        )

    @property
    def words(self) -> str:
        """The rule in one line."""
        lacking = " or ".join(in_words({key: wanted}) for key, wanted in self.unless.items())
        return in_words(self.when) + (f" without {lacking}" if lacking else "")
