"""The front matter by which the Hugging Face hub and `datasets` know a data set."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from gl10m.report.facts import UNSPLIT, Facts

_SIZES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
"""Size categories of the hub, with the number that each stays below."""

_ODD = re.compile(r"[^A-Za-z0-9_]")
_RESERVED: Final = "all"
"""`datasets` means by it the union of all splits."""


class HubSplitError(ValueError):
    """Names of splits that cannot be told apart on the hub."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """One table of a data set on the hub."""

    name: str
    files: Mapping[str, Sequence[str]]
    """Patterns of files below the root, by the split's name on the hub."""


def hub_splits(splits: Sequence[str]) -> dict[str, str]:
    """The name of each split on the hub, which knows letters, digits and underscores alone.

    Raises:
        HubSplitError: two get the same name, or one gets the name of them all.
    """
    named = {split: _ODD.sub("_", split) for split in splits}
    if len(set(named.values())) < len(named) or _RESERVED in named.values():
        raise HubSplitError(
            "on the Hugging Face hub splits are named with letters, digits and '_', other than 'all'; "
            f"{', '.join(splits)} cannot be told apart so. Split again under other names."
        )
    return named


def native_configurations(facts: Facts) -> list[Configuration]:
    """The tables of a data set as `gl10m build` lays it out.

    Shards belong to regions. Where each region is in one split, as in the paper, the hub's splits are the
    data set's; elsewhere all scenes are in one, and manifests/splits.parquet, or an export, tells them apart.
    """
    if not facts.scenes:
        return []
    shards = [f"data/{region}-*.parquet" for region in facts.states]
    files: dict[str, Sequence[str]] = {UNSPLIT: shards}
    if splits_by_region(facts):
        names = hub_splits(list(facts.splits))
        files = {
            names[split]: [f"data/{region}-*.parquet" for region in held]
            for split, held in facts.splits.items()
        }
    found = [
        Configuration("default", files),
        Configuration("scenes", {"scenes": ["manifests/scenes*.parquet"]}),
    ]
    if facts.splits:
        found.append(Configuration("splits", {"splits": ["manifests/splits*.parquet"]}))
    return found


def splits_by_region(facts: Facts) -> bool:
    """Whether the splits of the data set can be the hub's: no region is in two of them."""
    held = [region for regions in facts.splits.values() for region in regions]
    try:
        hub_splits(list(facts.splits))
    except HubSplitError:
        return False
    return bool(held) and len(held) == len(set(held))


def front_matter(facts: Facts, configurations: Sequence[Configuration]) -> str:
    """The YAML at the head of README.md, its dashes included."""
    about: dict[str, Any] = {"pretty_name": "GL-10M", **_licence(facts)}
    about |= {
        "task_categories": ["image-classification", "zero-shot-image-classification"],
        "task_ids": ["multi-label-image-classification"],
        "size_categories": [_size(facts.scenes)],
        "tags": ["remote-sensing", "earth-observation", "geospatial", *_source_tags(facts), "gl10m"],
    }
    if configurations:
        about["configs"] = [
            {
                "config_name": each.name,
                **({"default": True} if each.name == "default" else {}),
                "data_files": [{"split": split, "path": list(files)} for split, files in each.files.items()],
            }
            for each in configurations
        ]
    return f"---\n{yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=100)}---\n"


def _licence(facts: Facts) -> dict[str, str]:
    if not facts.licences:
        return {"license": "unknown"}
    if set(facts.licences) == {"synthetic"}:
        return {"license": "cc0-1.0"}
    return {
        "license": "other",
        "license_name": "odbl-1.0-labels-and-open-imagery",
        "license_link": "DATA_LICENCES.md",
    }


def _source_tags(facts: Facts) -> list[str]:
    tags = {"osm": "openstreetmap", "sentinel-2": "sentinel-2", "naip": "naip", "synthetic": "synthetic"}
    return [tags[key] for key in facts.licences if key in tags]


def _size(scenes: int) -> str:
    return next((name for end, name in _SIZES if scenes < end), "n>1T")
