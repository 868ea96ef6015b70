"""All baselines by name."""

from collections.abc import Mapping
from types import MappingProxyType

from reference_model.baselines.entry import Entry
from reference_model.baselines.rows_crossso import CROSSSO
from reference_model.baselines.rows_published import PUBLISHED
from reference_model.baselines.rows_supervised import SUPERVISED
from reference_model.baselines.rows_zero_shot import ZERO_SHOT

BASELINES: Mapping[str, Entry] = MappingProxyType(
    {one.name: one for one in (*ZERO_SHOT, *PUBLISHED, *CROSSSO, *SUPERVISED)}
)
"""By name."""
