"""A Croissant description of a data set: its files with their digests, and what stands in them.

JSON-LD after Croissant 1.0, https://docs.mlcommons.org/croissant/docs/croissant-spec.html. Paths are relative
to the root of the data set, so that the description is put beside data/.
"""

import json
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from gl10m.export.samples import TOLD
from gl10m.manifest.parquet import replacing, sweep
from gl10m.manifest.schema import SCENES, SPLITS, Table
from gl10m.report.card import ABOUT
from gl10m.report.facts import Facts, facts_of
from gl10m.storage.checksum import sha256_of
from gl10m.storage.contents import at_hand
from gl10m.storage.place import BucketPath, Place
from gl10m.store.layout import SHARDS, index_path
from gl10m.store.region_index import open_index, regions_of

FILE: Final = "croissant.json"
"""Name of the description beside data/."""

PARQUET: Final = "application/x-parquet"

_CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification gives, word by word."""

_TOLD = (*TOLD, "shard", "row")
"""Columns of table SCENES that are described."""

_TYPES: Final[dict[pa.DataType, str]] = {
    pa.string(): "sc:Text",
    pa.bool_(): "sc:Boolean",
    pa.date32(): "sc:Date",
}


def write_croissant(root: Place, out: Path) -> None:
    """Describe a data set, whole or not at all. The same data set gives the same bytes.

    Args:
        root: the data set.
        out: the file to make or replace; it is meant to be put beside data/, as croissant.json.

    Raises:
        DataSetNotFoundError: no data set stands there.
        ManifestError: a manifest is damaged.
        StoreError: an index is damaged.
        OSError: the file cannot be written.
    """
    text = json.dumps(description(root), indent=1, ensure_ascii=False) + "\n"
    sweep(out)
    with replacing(out) as temporary:
        temporary.write_text(text, encoding="utf-8")


def description(root: Place) -> dict[str, Any]:
    """The description as JSON can hold it; see `write_croissant`."""
    indexes = [open_index(index_path(root, region)) for region in regions_of(root)]
    facts = facts_of(root)
    files = [
        _file(root, f"{SHARDS}/{shard.name}", shard.name, shard.size, shard.sha256)
        for index in indexes
        for shard in index.shards
    ]
    manifests = [_manifest(root, table) for table in (SCENES, SPLITS) if _path(root, table).exists()]
    shards = {
        "@type": "cr:FileSet",
        "@id": "shards",
        "name": "shards",
        "description": "Up to 128 scenes each, with their images.",
        "encodingFormat": PARQUET,
        "includes": [f"{SHARDS}/{index.region}-*.parquet" for index in indexes],
    }
    records = [_classes(facts), _table("scenes", SCENES, _TOLD), _images()]
    if len(manifests) > 1:
        records += [_split_names(facts), _table("splits", SPLITS, tuple(SPLITS.names))]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "GL-10M",
        "description": f"{ABOUT} {facts.scenes} scenes, built with gl10m {facts.version}.",
        **({} if facts.version == "unknown" else {"version": facts.version}),
        "url": "https://arxiv.org/abs/2604.11415",
        "citeAs": "Xie et al. (2026), Observe Less, Understand More, arXiv:2604.11415",
        "license": [licence.url for licence in facts.licences.values()],
        "creator": [
            {"@type": "sc:Organization", "name": licence.attribution} for licence in facts.licences.values()
        ],
        **_published(facts),
        "distribution": [*files, shards, *manifests],
        "recordSet": records,
    }


def _published(facts: Facts) -> dict[str, str]:
    """The day of the newest image stands for the day of publication: a clock would change the bytes."""
    days = [found[1] for found in (facts.naip_days, facts.sentinel2_days) if found]
    return {"datePublished": str(max(days))} if days else {}


def _path(root: Place, table: Table) -> Place:
    return root / "manifests" / f"{table.name}.parquet"


def _manifest(root: Place, table: Table) -> dict[str, Any]:
    path = _path(root, table)
    with at_hand(path) as local:
        digest = sha256_of(local)
    name = f"manifests/{table.name}.parquet"
    return _file(root, name, f"{table.name}.parquet", path.stat().st_size, digest)


def _file(root: Place, name: str, identity: str, size: int, sha256: str) -> dict[str, Any]:
    place = root / name
    return {
        "@type": "cr:FileObject",
        "@id": identity,
        "name": identity,
        "contentUrl": place.key if isinstance(place, BucketPath) else name,
        "contentSize": f"{size} B",
        "encodingFormat": PARQUET,
        "sha256": sha256,
    }


def _table(name: str, table: Table, columns: tuple[str, ...]) -> dict[str, Any]:
    """A record set of a manifest."""
    fields = []
    for column in table.columns:
        if column.name in columns:
            inner = column.type
            repeated = isinstance(inner, (pa.ListType, pa.FixedSizeListType))
            kind = inner.value_type if isinstance(inner, (pa.ListType, pa.FixedSizeListType)) else inner
            about = f"{column.meaning} ({column.unit})" if column.unit != "-" else column.meaning
            source = {"fileObject": {"@id": f"{table.name}.parquet"}, "extract": {"column": column.name}}
            fields.append(_field(name, column.name, about, _type(kind), source, repeated=repeated))
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": table.meaning,
        "key": {"@id": f"{name}/scene_id"},
        "field": fields,
    }


def _images() -> dict[str, Any]:
    """The record set of the shards: LR image and labels. HR tiles are read by their byte ranges."""

    def source(column: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        return {"fileSet": {"@id": "shards"}, "extract": {"column": column}, **more}

    lr = "LR image, Sentinel-2, 268 x 268 pixels"
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": "LR image and classes of each scene",
        "key": {"@id": "images/scene_id"},
        "field": [
            _field("images", "scene_id", "Stable name: CA-w123", "sc:Text", source("scene_id")),
            _field("images", "lr", lr, "sc:ImageObject", source("lr", transform={"jsonPath": "bytes"})),
            _field(
                "images",
                "class_ids",
                "Classes in the footprint",
                "sc:Integer",
                source("class_ids"),
                repeated=True,
            ),
        ],
    }


def _classes(facts: Facts) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "Names of the classes by id",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/id"},
        "field": [
            _field("classes", "id", "Class id", "sc:Integer"),
            _field("classes", "name", "Name", "sc:Text"),
        ],
        "data": [
            {"classes/id": number, "classes/name": name} for number, name in enumerate(facts.class_names)
        ],
    }


def _split_names(facts: Facts) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "split_names",
        "name": "split_names",
        "description": "Names of the splits",
        "dataType": "cr:Split",
        "key": {"@id": "split_names/name"},
        "field": [_field("split_names", "name", "Name", "sc:Text")],
        "data": [{"split_names/name": name} for name in facts.splits],
    }


def _field(
    record_set: str,
    name: str,
    about: str,
    kind: str,
    source: dict[str, Any] | None = None,
    *,
    repeated: bool = False,
) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{record_set}/{name}",
        "name": name,
        "description": about,
        "dataType": kind,
    }
    if repeated:
        field["repeated"] = True
    return field | ({"source": source} if source else {})


def _type(kind: pa.DataType) -> str:
    if kind in _TYPES:
        return _TYPES[kind]
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Integer"
