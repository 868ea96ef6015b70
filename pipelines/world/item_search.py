"""Answers STAC item searches over the items of a world, held in memory."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import shape

DEFAULT_LIMIT, MOST_LIMIT = 100, 10_000
"""Items a page, unless asked otherwise; and at most."""

_BOX_LENGTHS = (4, 6)
_ENDS = ("", "..")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, given: bool(value == given),
    "neq": lambda value, given: bool(value != given),
    "lt": lambda value, given: bool(value < given),
    "lte": lambda value, given: bool(value <= given),
    "gt": lambda value, given: bool(value > given),
    "gte": lambda value, given: bool(value >= given),
    "in": lambda value, given: value in given,
    "startsWith": lambda value, given: str(value).startswith(str(given)),
}
_KNOWN = {"collections", "ids", "bbox", "intersects", "datetime", "query", "limit", "token", "fields"}
_WITHOUT_MEANING_HERE = {"sortby", "conf", "filter-lang"}


class BadQueryError(ValueError):
    """A search asks for something that the API does not understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One search."""

    collections: frozenset[str] | None
    ids: frozenset[str] | None
    area: shapely.Geometry | None
    """Degrees, EPSG:4326; an item is found when its geometry meets it."""
    first: datetime | None
    last: datetime | None
    conditions: tuple[tuple[str, str, Any], ...]
    """Property, comparison, value."""
    limit: int
    offset: int
    """Items already given: what the token of a page says."""
    fields: tuple[str, ...]
    """Parts of an item to send, as properties.gsd or assets.image; all if none is named."""


def parse(given: Mapping[str, Any]) -> Query:
    """Read the parameters of a search, from a JSON body or from a query string.

    Raises:
        BadQueryError: a parameter is unknown or not of its form.
    """
    unknown = set(given) - _KNOWN - _WITHOUT_MEANING_HERE
    if unknown:
        raise BadQueryError(
            f"a search knows {', '.join(sorted(_KNOWN))}; asked for {', '.join(sorted(unknown))}"
        )
    if given.get("bbox") is not None and given.get("intersects") is not None:
        raise BadQueryError("a search takes bbox or intersects, not both")
    first, last = _interval(given.get("datetime"))
    return Query(
        collections=_names(given.get("collections"), "collections"),
        ids=_names(given.get("ids"), "ids"),
        area=_box(given.get("bbox")) or _shape(given.get("intersects")),
        first=first,
        last=last,
        conditions=_conditions(given.get("query")),
        limit=min(MOST_LIMIT, _whole(given.get("limit"), "limit", DEFAULT_LIMIT, 1)),
        offset=_whole(given.get("token"), "token", 0, 0),
        fields=_fields(given.get("fields")),
    )


class ItemIndex:
    """The items of a world, ready to be searched."""

    def __init__(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Order the items by collection and id.

        Args:
            items: STAC items as JSON.
        """
        self._items = sorted(items, key=lambda item: (str(item["collection"]), str(item["id"])))
        self._shapes = np.array([shape(item["geometry"]) for item in self._items], object)
        self._tree = shapely.STRtree(self._shapes)
        self._moments = [_moment(str(item["properties"]["datetime"])) for item in self._items]

    def find(self, query: Query) -> tuple[list[Mapping[str, Any]], int]:
        """The items of one page and the number of items that match."""
        near = (
            range(len(self._items))
            if query.area is None
            else np.sort(self._tree.query(query.area, predicate="intersects")).tolist()
        )
        matching = [place for place in near if self._matches(place, query)]
        page = matching[query.offset : query.offset + query.limit]
        return [self._items[place] for place in page], len(matching)

    def _matches(self, place: int, query: Query) -> bool:
        item, moment = self._items[place], self._moments[place]
        return (
            (query.collections is None or item["collection"] in query.collections)
            and (query.ids is None or item["id"] in query.ids)
            and (query.first is None or moment >= query.first)
            and (query.last is None or moment <= query.last)
            and all(_holds(item, condition) for condition in query.conditions)
        )


def chosen(item: Mapping[str, Any], fields: tuple[str, ...]) -> Mapping[str, Any]:
    """The parts of an item that a search names.

    Args:
        item: a STAC item.
        fields: see `Query.fields`.
    """
    if not fields:
        return item
    part: dict[str, Any] = {}
    for field in fields:
        *above, last = field.split(".")
        source: Any = item
        for name in above:
            source = source.get(name, {}) if isinstance(source, Mapping) else {}
        if isinstance(source, Mapping) and last in source:
            place = part
            for name in above:
                place = place.setdefault(name, {})
            place[last] = source[last]
    return part


def _holds(item: Mapping[str, Any], condition: tuple[str, str, Any]) -> bool:
    name, comparison, given = condition
    value = item["properties"].get(name)
    try:
        return value is not None and _COMPARISONS[comparison](value, given)
    except TypeError:  # "2022" is not less than 2023
        return False


def _names(given: object, what: str) -> frozenset[str] | None:
    if given is None:
        return None
    names = given.split(",") if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadQueryError(f"{what} is a list of names; got {given!r:.80}")
    return frozenset(names)


def _fields(given: object) -> tuple[str, ...]:
    """What to include; what is named to be left out would only make the answer smaller."""
    if isinstance(given, str):
        return tuple(name.removeprefix("+") for name in given.split(",") if name and name[0] != "-")
    wanted = given.get("include") if isinstance(given, dict) else given
    if wanted is None:
        return ()
    if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
        raise BadQueryError(f"fields names what to include; got {given!r:.80}")
    return tuple(wanted)


def _box(given: object) -> shapely.Geometry | None:
    if given is None:
        return None
    parts = given.split(",") if isinstance(given, str) else given
    try:
        numbers = [float(part) for part in parts] if isinstance(parts, list) else []
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in _BOX_LENGTHS or not all(map(math.isfinite, numbers)):
        raise BadQueryError(f"bbox is a list of 4 or 6 finite numbers; got {given!r:.80}")
    half = len(numbers) // 2
    return shapely.box(numbers[0], numbers[1], numbers[half], numbers[half + 1])


def _shape(given: object) -> shapely.Geometry | None:
    if given is None:
        return None
    try:
        about = json.loads(given) if isinstance(given, str) else given
        geometry = shape(about) if isinstance(about, dict) else None
    except (ShapelyError, ValueError, TypeError, KeyError, AttributeError, IndexError):
        geometry = None
    if geometry is None:
        raise BadQueryError(f"intersects is a GeoJSON geometry; got {given!r:.80}")
    return geometry if shapely.is_valid(geometry) else shapely.make_valid(geometry)


def _interval(given: object) -> tuple[datetime | None, datetime | None]:
    if given is None:
        return None, None
    if not isinstance(given, str):
        raise BadQueryError(f"datetime is a text; got {given!r:.80}")
    begin, slash, end = given.partition("/")
    if not slash:
        return _moment(begin), _moment(begin)
    first, last = (None if part in _ENDS else _moment(part) for part in (begin, end))
    if first is not None and last is not None and last < first:
        raise BadQueryError(f"an interval ends on or after its beginning; got {given!r:.80}")
    return first, last


def _moment(given: str) -> datetime:
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise BadQueryError(f"datetime is written as 2023-07-01T00:00:00Z; got {given!r:.80}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _conditions(given: object) -> tuple[tuple[str, str, Any], ...]:
    if given is None:
        return ()
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            raise BadQueryError(f"query is a JSON object; got {given!r:.80}") from error
    if not isinstance(given, dict) or not all(isinstance(tests, dict) for tests in given.values()):
        raise BadQueryError(f"query maps a property to its comparisons; got {given!r:.80}")
    found = [(name, test, value) for name, tests in given.items() for test, value in tests.items()]
    unknown = sorted({test for _, test, _ in found} - set(_COMPARISONS))
    if unknown:
        raise BadQueryError(
            f"query knows the comparisons {', '.join(_COMPARISONS)}; asked for {', '.join(unknown)}"
        )
    return tuple(found)


def _whole(given: object, what: str, default: int, least: int) -> int:
    if given is None:
        return default
    try:
        number = int(str(given))
    except ValueError as error:
        raise BadQueryError(f"{what} is a whole number; got {given!r:.80}") from error
    if number < least:
        raise BadQueryError(f"{what} is at least {least}; got {number}")
    return number
