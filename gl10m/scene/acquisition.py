"""When: days of acquisition and the windows they must lie in (paper A.2)."""

from dataclasses import dataclass
from datetime import date, timedelta

DAYS_EACH_SIDE = 183
"""Days before and after the NAIP date in which a Sentinel-2 image is looked for (A.2)."""


@dataclass(frozen=True, slots=True)
class Window:
    """Calendar days in UTC, both ends included."""

    first: date
    """First day inside."""

    last: date
    """Last day inside."""

    def __post_init__(self) -> None:
        """Refuse a window that ends before it begins.

        Raises:
            ValueError: `last` comes before `first`.
        """
        if self.last < self.first:
            raise ValueError(f"a window ends on or after its first day; got {self.first} to {self.last}")

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def clipped(self, other: "Window") -> "Window | None":
        """The days inside both windows, or None where there are none."""
        first, last = max(self.first, other.first), min(self.last, other.last)
        return Window(first, last) if first <= last else None

    @classmethod
    def around(cls, day: date, days: int = DAYS_EACH_SIDE) -> "Window":
        """The window of `days` days on either side of `day`."""
        return cls(day - timedelta(days=days), day + timedelta(days=days))


NAIP_WINDOW = Window(date(2022, 1, 1), date(2024, 3, 31))
"""Days in which a NAIP image counts: "between 2022-01-01 and 2024-04-01" (A.2), the end excluded."""

SENTINEL2_WINDOW = Window(date(2023, 1, 1), date(2023, 12, 31))
"""Calendar year 2023: the clip of the search about the NAIP date, and the fallback range (A.2)."""
