"""A STAC collection of the scenes, with the byte range of every image, and the same as stac-geoparquet.

Images stay where they are. STAC 1.1 without extensions: what STAC has no word for is a property `gl10m:...`,
told in docs/exports.md.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import shapely
from tqdm import tqdm

from gl10m.export.folder import ExportFolder, exporting
from gl10m.export.hrefs import Hrefs
from gl10m.export.selection import Selection
from gl10m.report.card import ABOUT, LICENCES
from gl10m.report.data_licences import data_licences
from gl10m.store.encoded import EncodedImages

COLLECTION: Final = "gl10m"
"""Id of the collection."""

PARQUET: Final = "application/vnd.apache.parquet"
GEOJSON: Final = "application/geo+json"

_COLUMNS = [
    "scene_id",
    "state",
    "osm_id",
    "bounds",
    "class_ids",
    "class_shares",
    "naip_items",
    "naip_date",
    "naip_gsd",
    "sentinel2_items",
    "sentinel2_date",
    "cloud_cover",
    "days_between",
    "fallback",
    "shard",
    "row",
]
_BANDS = [{"name": name} for name in ("red", "green", "blue")]
_ITEMS_AT_ONCE = 4096


def export_stac(selection: Selection, out: Path, base: str | None) -> int:
    """Make a folder of collection.json, items/CA/CA-w123.json and items.parquet.

    Args:
        selection: which scenes.
        out: the folder to make.
        base: address that the data set is published at; None for where it lies now: relative to the items
            where that is a folder, s3:// and alike in a bucket.

    Returns:
        How many items there are.

    Raises:
        HrefError: `base` is no such address.
        ExportExistsError: something else stands at `out`.
        ExportLockedError: another process makes the same.
        StoreError: an index does not fit the manifest.
        OSError: the folder cannot be written.
    """
    hrefs = Hrefs.of(selection.root, out, base)
    plan = {
        "format": "stac",
        "data_set": selection.digest,
        "splits": {split: rows.num_rows for split, rows in selection.splits.items()},
        "states": list(selection.regions),
        "data_at": hrefs.of_root,
    }
    with exporting(out, plan) as folder:
        if folder is not None:
            _write(folder, selection, hrefs)
    return selection.scenes


def _write(folder: ExportFolder, selection: Selection, hrefs: Hrefs) -> None:
    links = []
    with tqdm(total=selection.scenes, desc="stac", unit="scene", disable=None) as bar:
        for item in _Items(selection, hrefs, "items/XX").all():
            name = f"items/{item['properties']['gl10m:state']}/{item['id']}.json"
            folder.write_text(name, json.dumps(item, ensure_ascii=False, separators=(",", ":")) + "\n")
            links.append(_link("item", f"./{name}", GEOJSON))
            bar.update(1)

    def write_table(path: Path) -> None:
        from stac_geoparquet.arrow import parse_stac_items_to_parquet  # noqa: PLC0415 - slow to import

        items = _Items(selection, hrefs, "").all()
        parse_stac_items_to_parquet(items, output_path=path, schema="FirstBatch", chunk_size=_ITEMS_AT_ONCE)

    folder.write("items.parquet", write_table)
    folder.write_text(LICENCES, data_licences(selection.facts))
    folder.write_text(
        "collection.json", json.dumps(_collection(selection, links), ensure_ascii=False, indent=1) + "\n"
    )


@dataclass(frozen=True, slots=True)
class _Items:
    """The items of some scenes."""

    selection: Selection
    hrefs: Hrefs
    seen_from: str
    """Folder of the export that they stand in; empty for the export itself."""

    def all(self) -> Iterator[dict[str, Any]]:
        """One item a scene, by split and id."""
        images = self.selection.images()
        for split, rows in self.selection.splits.items():
            for batch in rows.select(_COLUMNS).to_batches(max_chunksize=_ITEMS_AT_ONCE):
                for told in batch.to_pylist():
                    yield self._item(told, split, images[told["state"]])

    def _item(self, told: Mapping[str, Any], split: str, images: EncodedImages) -> dict[str, Any]:
        name = told["scene_id"]
        up = "../../collection.json" if self.seen_from else "./collection.json"
        shard = self.hrefs.of_file(f"data/{images.shard(name)}", self.seen_from)
        return {
            "type": "Feature",
            "stac_version": "1.1.0",
            "stac_extensions": [],
            "id": name,
            "collection": COLLECTION,
            "geometry": json.loads(shapely.to_geojson(shapely.box(*told["bounds"]))),
            "bbox": told["bounds"],
            "properties": _properties(told, split, self.selection.class_names),
            "links": [_link(kind, up, "application/json") for kind in ("root", "parent", "collection")],
            "assets": _assets(told, images, shard),
        }


def _properties(told: Mapping[str, Any], split: str, class_names: tuple[str, ...]) -> dict[str, Any]:
    first, last = sorted([told["naip_date"], told["sentinel2_date"]])
    return {
        "title": told["scene_id"],
        "datetime": None,
        "start_datetime": f"{first}T00:00:00Z",
        "end_datetime": f"{last}T23:59:59Z",
        "gl10m:state": told["state"],
        "gl10m:split": split,
        "gl10m:osm_id": told["osm_id"],
        "gl10m:class_ids": told["class_ids"],
        "gl10m:class_names": [class_names[number] for number in told["class_ids"]],
        "gl10m:class_shares": told["class_shares"],
        "gl10m:days_between": told["days_between"],
        "gl10m:cloud_cover": told["cloud_cover"],
        "gl10m:fallback": told["fallback"],
    }


def _assets(told: Mapping[str, Any], images: EncodedImages, href: str) -> dict[str, Any]:
    """The shard twice: for its LR image, and for its HR tiles."""
    ranges = images.ranges(told["scene_id"]).tolist()
    sums = images.checksums(told["scene_id"])
    common = {
        "href": href,
        "type": PARQUET,
        "roles": ["data"],
        "bands": _BANDS,
        "data_type": "uint8",
        "gl10m:media_type": "image/jpeg",
        "gl10m:row": told["row"],
    }
    lr = {
        "title": "Sentinel-2, 268 x 268 pixels, one JPEG inside the Parquet file",
        "gsd": 10.0,
        "datetime": f"{told['sentinel2_date']}T00:00:00Z",
        "gl10m:items": told["sentinel2_items"],
        "gl10m:byte_ranges": ranges[:1],
        "gl10m:crc32": sums[:1],
    }
    hr = {
        "title": "NAIP, 100 tiles of 268 x 268 pixels, one JPEG each inside the Parquet file",
        "gsd": told["naip_gsd"],
        "datetime": f"{told['naip_date']}T00:00:00Z",
        "gl10m:items": told["naip_items"],
        "gl10m:byte_ranges": ranges[1:],
        "gl10m:crc32": sums[1:],
    }
    return {"lr": common | lr, "hr": common | hr}


def _collection(selection: Selection, links: list[dict[str, str]]) -> dict[str, Any]:
    facts = selection.facts
    boxes = [box for rows in selection.splits.values() for box in rows["bounds"].to_pylist()]
    west, south, east, north = (list(side) for side in zip(*boxes, strict=True))
    days = [day for found in (facts.naip_days, facts.sentinel2_days) if found for day in found]
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": COLLECTION,
        "title": "GL-10M",
        "description": f"{ABOUT} Built with gl10m {facts.version}.",
        "keywords": ["Sentinel-2", "NAIP", "OpenStreetMap", "multi-label classification"],
        "license": "other",
        "providers": [
            {
                "name": licence.source,
                "description": licence.attribution,
                "roles": ["licensor"],
                "url": licence.url,
            }
            for licence in facts.licences.values()
        ],
        "extent": {
            "spatial": {"bbox": [[min(west), min(south), max(east), max(north)]]},
            "temporal": {"interval": [[f"{min(days)}T00:00:00Z", f"{max(days)}T23:59:59Z"]]},
        },
        "summaries": {
            "gl10m:class_names": list(selection.class_names),
            "gl10m:split": list(selection.splits),
            "gl10m:state": list(facts.states),
        },
        "links": [
            _link("root", "./collection.json", "application/json"),
            _link("license", f"./{LICENCES}", "text/markdown"),
            *links,
        ],
        "assets": {
            "items": {
                "href": "./items.parquet",
                "type": PARQUET,
                "title": "All items as stac-geoparquet",
                "roles": ["collection-mirror"],
            }
        },
    }


def _link(kind: str, href: str, media_type: str) -> dict[str, str]:
    return {"rel": kind, "href": href, "type": media_type}
