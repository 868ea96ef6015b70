"""Describes the rasters of a world as STAC items, with the properties of the Planetary Computer's.

Links and asset hrefs are relative to the world's folder; whoever serves the catalogue puts its address
before them.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, time
from pathlib import Path
from typing import Any

from gl10m.manifest.parquet import replacing
from pipelines.world.grids import Granule, PixelFrame, QuarterQuad
from pipelines.world.naip import Vintage
from pipelines.world.sentinel2 import BAND_METRES, BANDS, SCL_METRES, Acquisition, GranuleGround, Shares

NAIP, SENTINEL2 = "naip", "sentinel-2-l2a"
"""Collection ids, as the Planetary Computer's."""

IMAGERY_FOLDERS = {NAIP: "imagery/naip", SENTINEL2: "imagery/sentinel-2"}
"""Where the rasters of each collection lie, relative to the world."""

STAC_VERSION = "1.0.0"
_EXTENSIONS = "https://stac-extensions.github.io"
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_NAIP_BANDS = [
    {"name": "Red", "common_name": "red"},
    {"name": "Green", "common_name": "green"},
    {"name": "Blue", "common_name": "blue"},
    {"name": "NIR", "common_name": "nir", "description": "near-infrared"},
]
_SENTINEL2_BANDS = {
    "B02": {
        "name": "B02",
        "common_name": "blue",
        "description": "Band 2 - Blue",
        "center_wavelength": 0.49,
        "full_width_half_max": 0.098,
    },
    "B03": {
        "name": "B03",
        "common_name": "green",
        "description": "Band 3 - Green",
        "center_wavelength": 0.56,
        "full_width_half_max": 0.045,
    },
    "B04": {
        "name": "B04",
        "common_name": "red",
        "description": "Band 4 - Red",
        "center_wavelength": 0.665,
        "full_width_half_max": 0.038,
    },
}

Item = dict[str, Any]
"""A STAC item as JSON."""


def naip_item(quad: QuarterQuad, vintage: Vintage, region: str) -> Item:
    """The item of one quarter quad in one vintage."""
    name = vintage.name(quad, region)
    frame = quad.frame(vintage.gsd)
    return {
        **_feature(name, NAIP, frame.corners()),
        "stac_extensions": [f"{_EXTENSIONS}/{part}/v1.0.0/schema.json" for part in ("eo", "projection")],
        "properties": {
            "gsd": vintage.gsd,
            # Real items carry the day alone, at 16:00.
            "datetime": f"{vintage.day:%Y-%m-%d}T16:00:00Z",
            "naip:state": region.lower(),
            "naip:year": str(vintage.day.year),
            "proj:epsg": frame.epsg,
            **_projected(frame, whole_matrix=True),
            "providers": [{"name": "gl10m demo world", "roles": ["producer", "licensor"]}],
        },
        "assets": {
            "image": {
                "href": f"{IMAGERY_FOLDERS[NAIP]}/{name}.tif",
                "type": _COG,
                "roles": ["data"],
                "title": "RGBIR COG tile",
                "eo:bands": _NAIP_BANDS,
            }
        },
    }


def sentinel2_item(name: str, ground: GranuleGround, acquisition: Acquisition, shares: Shares) -> Item:
    """The item of one granule in one pass and processing."""
    return {
        **_feature(name, SENTINEL2, ground.frame.corners()),
        "stac_extensions": [
            f"{_EXTENSIONS}/eo/v1.0.0/schema.json",
            f"{_EXTENSIONS}/sat/v1.0.0/schema.json",
            f"{_EXTENSIONS}/projection/v1.0.0/schema.json",
        ],
        "properties": {
            **_acquired(name, ground.granule, acquisition),
            **_counted(shares),
        },
        "assets": {
            **{band: _sentinel2_asset(name, band, ground.frame, BAND_METRES) for band in sorted(BANDS)},
            "SCL": _sentinel2_asset(name, "SCL", ground.scl_frame, SCL_METRES),
        },
    }


def _acquired(name: str, granule: Granule, acquisition: Acquisition) -> dict[str, Any]:
    clock = time.fromisoformat(f"{name[-6:-4]}:{name[-4:-2]}:{name[-2:]}")
    processed = datetime.combine(acquisition.processed, clock)
    moment = acquisition.moment
    platform = f"S2{acquisition.platform}"
    version = f"N{acquisition.baseline}"
    passed = f"{moment:%Y%m%dT%H%M%S}"
    return {
        "datetime": f"{moment:%Y-%m-%dT%H:%M:%S}.024000Z",
        "platform": f"Sentinel-2{acquisition.platform}",
        "constellation": "Sentinel 2",
        "instruments": ["msi"],
        "proj:epsg": granule.epsg,
        "sat:orbit_state": "descending",
        "sat:relative_orbit": acquisition.orbit,
        "s2:mgrs_tile": granule.name,
        "s2:granule_id": f"{platform}_OPER_MSI_L2A_TL_DEMO_{passed}_T{granule.name}_{version}",
        "s2:datatake_id": f"G{platform}_{passed}_{version}",
        "s2:datastrip_id": f"{platform}_OPER_MSI_L2A_DS_DEMO_{passed}_{version}",
        "s2:datatake_type": "INS-NOBS",
        "s2:product_type": "S2MSI2A",
        "s2:product_uri": f"{name}.SAFE",
        "s2:generation_time": f"{processed.isoformat()}.000000Z",
        "s2:processing_baseline": acquisition.baseline,
        "s2:mean_solar_zenith": 30.0,
        "s2:mean_solar_azimuth": 150.0,
        "s2:reflectance_conversion_factor": 1.0,
        "s2:degraded_msi_data_percentage": 0.0,
        "s2:saturated_defective_pixel_percentage": 0.0,
    }


def _counted(shares: Shares) -> dict[str, float]:
    return {
        "eo:cloud_cover": round(shares.cloud, 6),
        "s2:high_proba_clouds_percentage": shares.high,
        "s2:medium_proba_clouds_percentage": shares.medium,
        "s2:thin_cirrus_percentage": shares.cirrus,
        "s2:cloud_shadow_percentage": shares.shadow,
        "s2:vegetation_percentage": shares.vegetation,
        "s2:not_vegetated_percentage": shares.bare,
        "s2:water_percentage": shares.water,
        "s2:nodata_pixel_percentage": shares.no_data,
        "s2:snow_ice_percentage": 0.0,
        "s2:dark_features_percentage": 0.0,
        "s2:unclassified_percentage": 0.0,
    }


def _sentinel2_asset(name: str, band: str, frame: PixelFrame, metres: float) -> dict[str, Any]:
    about: dict[str, Any] = {
        "href": f"{IMAGERY_FOLDERS[SENTINEL2]}/{name}_{band}.tif",
        "type": _COG,
        "roles": ["data"],
        "gsd": metres,
        **_projected(frame, whole_matrix=False),
    }
    if band not in _SENTINEL2_BANDS:
        return {**about, "title": "Scene classfication map (SCL)"}  # the spelling of the real items
    described = _SENTINEL2_BANDS[band]
    return {**about, "title": f"{described['description']} - 10m", "eo:bands": [described]}


def _projected(frame: PixelFrame, *, whole_matrix: bool) -> dict[str, Any]:
    tail = (0.0, 0.0, 1.0) if whole_matrix else ()
    return {
        "proj:bbox": [round(value, 6) for value in frame.bounds],
        "proj:shape": [frame.height, frame.width],
        "proj:transform": [round(value, 6) for value in (*frame.transform, *tail)],
    }


def _feature(name: str, collection: str, corners: list[tuple[float, float]]) -> Item:
    ring = [[round(longitude, 6), round(latitude, 6)] for longitude, latitude in corners]
    longitudes, latitudes = zip(*ring, strict=True)
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "id": name,
        "collection": collection,
        "bbox": [min(longitudes), min(latitudes), max(longitudes), max(latitudes)],
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
        "links": [
            {"rel": "collection", "type": "application/json", "href": f"collections/{collection}"},
            {"rel": "parent", "type": "application/json", "href": f"collections/{collection}"},
            {"rel": "root", "type": "application/json", "href": "."},
            {"rel": "self", "type": "application/geo+json", "href": f"collections/{collection}/items/{name}"},
        ],
    }


def collection(name: str, items: Iterable[Item]) -> dict[str, Any]:
    """The collection over some items."""
    about = list(items)
    boxes = [item["bbox"] for item in about] or [[-180.0, -90.0, 180.0, 90.0]]
    moments = sorted(item["properties"]["datetime"] for item in about) or [None]
    bands: Mapping[str, Any] = (
        {"image": {"type": _COG, "roles": ["data"], "eo:bands": _NAIP_BANDS}}
        if name == NAIP
        else {band: {"type": _COG, "roles": ["data"]} for band in (*sorted(BANDS), "SCL")}
    )
    west, south, east, north = zip(*boxes, strict=True)
    return {
        "type": "Collection",
        "id": name,
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "title": f"Rendered world: {name}",
        "description": f"Imagery rendered from OpenStreetMap polygons, in the form of the collection {name}.",
        "license": "proprietary",
        "keywords": ["synthetic"],
        "providers": [{"name": "gl10m demo world", "roles": ["producer", "licensor"]}],
        "extent": {
            "spatial": {"bbox": [[min(west), min(south), max(east), max(north)]]},
            "temporal": {"interval": [[moments[0], moments[-1]]]},
        },
        "item_assets": bands,
        "links": [
            {"rel": "items", "type": "application/geo+json", "href": f"collections/{name}/items"},
            {"rel": "root", "type": "application/json", "href": "."},
            {"rel": "parent", "type": "application/json", "href": "."},
            {"rel": "self", "type": "application/json", "href": f"collections/{name}"},
        ],
    }


def write_part(world: Path, region: str, name: str, items: Iterable[Item]) -> None:
    """Write the items of one region and collection: stac/COLLECTION/regions/XX.ndjson.

    Raises:
        OSError: the folder cannot be written.
    """
    lines = "".join(f"{_line(item)}\n" for item in sorted(items, key=lambda item: str(item["id"])))
    with replacing(_parts(world, name) / f"{region}.ndjson") as temporary:
        temporary.write_text(lines, encoding="utf-8")


def assemble(world: Path) -> None:
    """Join the parts of all regions into stac/COLLECTION/items.ndjson and describe them in collection.json.

    Raises:
        OSError: the folder cannot be written.
    """
    for name in (NAIP, SENTINEL2):
        parts = sorted(_parts(world, name).glob("[A-Z][A-Z].ndjson"))
        lines = [line for part in parts for line in part.read_text(encoding="utf-8").splitlines()]
        about = collection(name, (json.loads(line) for line in lines))
        with replacing(world / "stac" / name / "items.ndjson") as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        with replacing(world / "stac" / name / "collection.json") as temporary:
            temporary.write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _parts(world: Path, name: str) -> Path:
    return world / "stac" / name / "regions"


def _line(item: Item) -> str:
    return json.dumps(item, sort_keys=True, separators=(",", ":"))
