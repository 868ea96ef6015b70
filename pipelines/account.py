"""What a build knows of one region when all its scenes have been asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gl10m.manifest.columns import where_not
from gl10m.manifest.schema import FUNNEL
from gl10m.scene.rejection import IMAGE_STAGES
from pipelines.region import RegionPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account of one region, from its OSM file to the receipts of its scenes."""

    plan: RegionPlan
    keys: Mapping[str, str]
    """Scene id to scene key of every matched candidate."""
    receipts: pa.Table
    """Schema RECEIPTS, of these keys."""
    configuration: Mapping[str, Any]
    """The resolved parameters, and the limit."""
    inputs: Mapping[str, str]
    """Name of each input, with its digest, date or address without secrets."""
    licences: tuple[str, ...]
    """Keys of `gl10m.manifest.provenance.LICENCES`."""

    @property
    def region(self) -> str:
        """Region code."""
        return self.plan.region

    @property
    def funnel(self) -> pa.Table:
        """The account of all stages, schema FUNNEL."""
        rows = list(self.plan.counts)
        reading = len(self.keys)
        dropped = where_not(self.receipts, "outcome", {"kept"}).to_pylist()
        for stage in IMAGE_STAGES:
            here = [row["outcome"] for row in dropped if row["stage"] == stage]
            row: dict[str, Any] = {
                "stage": stage,
                "state": self.plan.region,
                "read": reading,
                "kept": reading - len(here),
                "rejected": here.count("rejected"),
                "failed": here.count("failed"),
            }
            rows.append(row)
            reading = row["kept"]
        return pa.Table.from_pylist(rows, schema=FUNNEL.schema)
