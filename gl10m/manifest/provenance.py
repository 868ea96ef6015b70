"""Who made a file from what: versions, sources, licences and digests in the file's own metadata."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import gl10m

MADE_FROM: Final = b"gl10m.made_from"
"""Metadata key of the labelled polygons in a journal: their region, class map and OSM file."""


@dataclass(frozen=True, slots=True)
class Licence:
    """The terms under which one source may be used."""

    source: str
    terms: str
    attribution: str
    url: str


LICENCES: Mapping[str, Licence] = {
    "osm": Licence(
        "OpenStreetMap",
        "Open Data Commons Open Database License 1.0 (ODbL): attribution, share-alike for the label tables",
        "© OpenStreetMap contributors",
        "https://www.openstreetmap.org/copyright",
    ),
    "naip": Licence(
        "USDA National Agriculture Imagery Program",
        "Public domain",
        "USDA Farm Production and Conservation Business Center",
        "https://naip-usdaonline.hub.arcgis.com/",
    ),
    "sentinel-2": Licence(
        "Copernicus Sentinel-2",
        "Copernicus Sentinel data terms: free, full and open, with attribution",
        "Contains modified Copernicus Sentinel data",
        "https://sentinel.esa.int/documents/247904/690755/Sentinel_Data_Legal_Notice",
    ),
    "synthetic": Licence(
        "gl10m demo world",
        "CC0-1.0: no real place",
        "Demo world rendered by gl10m",
        "https://creativecommons.org/publicdomain/zero/1.0/",
    ),
}
"""Terms by source; a source without an entry cannot be written into a manifest."""


def digest(value: Any) -> str:  # noqa: ANN401 - anything that JSON can hold
    """SHA-256, hexadecimal, of a value in canonical JSON: the same on every machine and in every run."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def made_from(region: str, class_map: str, osm_sha256: str) -> dict[bytes, bytes]:
    """Metadata of the labelled polygons of a region.

    Args:
        region: region code.
        class_map: its digest.
        osm_sha256: of the OSM file.
    """
    told = {"region": region, "class_map": class_map, "osm_sha256": osm_sha256}
    return {MADE_FROM: json.dumps(told, sort_keys=True).encode()}


def is_made_from(about: Mapping[bytes, bytes] | None, inputs: Mapping[str, Any]) -> bool | None:
    """Whether labelled polygons are those of a published build.

    The journal is that of the build begun last, which may have been another one: a dry run, or one that was
    stopped.

    Args:
        about: metadata of the table of polygons.
        inputs: of the published build, as its manifests tell under gl10m.inputs.

    Returns:
        None where the table does not tell.
    """
    try:
        told = json.loads((about or {})[MADE_FROM])
        class_map, osm = told["class_map"], inputs.get(f"{told['region']}.osm", "")
        return bool(
            class_map == inputs.get("class_map") and str(osm).endswith(f" sha256 {told['osm_sha256']}")
        )
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What a manifest says of its own making. Holds no time of day: the same inputs give the same bytes."""

    configuration: Mapping[str, Any]
    """The resolved configuration of the build."""

    inputs: Mapping[str, str]
    """Name of each input, with its digest, date or address without secrets."""

    licences: tuple[str, ...]
    """Keys of LICENCES."""

    software: Mapping[str, Any]
    """Versions of what decides bytes, by region."""

    def metadata(self) -> dict[str, str]:
        """Key-value metadata for a Parquet file.

        Raises:
            KeyError: a source has no entry in LICENCES.
        """
        return {
            "gl10m.version": gl10m.__version__,
            "gl10m.paper": "arXiv:2604.11415",
            "gl10m.configuration": json.dumps(self.configuration, sort_keys=True, default=str),
            "gl10m.inputs": json.dumps(dict(self.inputs), sort_keys=True),
            "gl10m.software": json.dumps(self.software, sort_keys=True),
            "gl10m.licences": json.dumps(
                {name: asdict(LICENCES[name]) for name in self.licences}, sort_keys=True
            ),
        }
