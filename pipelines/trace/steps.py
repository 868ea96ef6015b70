"""What each stage saw of one scene, in words and numbers."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import shapely

from gl10m.manifest.schema import COVERAGE
from gl10m.scene.class_map import ClassMap
from gl10m.scene.rejection import STAGES
from gl10m.storage.place import Place
from gl10m.store.layout import LENGTH_PREFIX, index_path
from gl10m.store.region_index import RegionIndex, open_index
from pipelines.config import BuildParameters
from pipelines.stages.subsampling import PAPER_RATE, as_shares, drawn_lots, retention
from pipelines.trace.records import Records, Row

_TAGS_SHOWN = 12
_BROUGHT_BACK = "`gl10m build` with the options of the published build brings its own back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stage and what it made of the scene."""

    stage: str
    outcome: str
    """kept, rejected, failed or pending."""
    words: str
    reason: str | None = None
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def steps(
    records: Records, region: str, osm_id: str, row: Row | None, drop: Row | None, *, kept: bool
) -> list[Step]:
    """The stages that saw a scene, in order, up to the one that let it go.

    Args:
        records: of the data set.
        region: region code.
        osm_id: the object at the anchor.
        row: the scene, its match or its candidate: as much as is known, schemas SCENES, MATCHED, CANDIDATES.
        drop: its row of REJECTIONS.
        kept: whether it is in the data set.
    """
    parameters, class_map = records.parameters(region), records.class_map()
    # What is published is told from its own journal alone: another build has other tags and other objects.
    is_foreign = (kept or drop is not None) and records.is_of_another_build(region)
    polygon = None if is_foreign else records.polygon(region, osm_id)
    words: dict[str, tuple[str, dict[str, Any]]] = {
        "polygons": _polygon(polygon, is_foreign=is_foreign, is_there=region in records.regions),
        "classes": _classes(polygon, class_map),
    }
    if row is not None:
        words["footprints"] = _footprint(row, class_map, parameters)
        words["coverage"] = _coverage(records, region, row)
        words["subsampling"] = _subsampling(row, class_map, parameters)
        words |= _match(row, parameters) if row.get("naip_items") else {}
        words |= _images(row, parameters) if kept else {}
    last = STAGES.index(drop["stage"]) if drop else _reached(row, kept=kept)
    found = [
        Step(
            stage=stage,
            outcome="kept",
            words=words.get(stage, ("", {}))[0],
            numbers=words.get(stage, ("", {}))[1],
        )
        for stage in STAGES[: last if drop else last + 1]
    ]
    if drop is not None:
        seen = words.get(drop["stage"], ("", {}))
        told = "; ".join(
            part for part in (drop["detail"], seen[0] if drop["stage"] == "classes" else "") if part
        )
        return [
            *found,
            Step(
                stage=drop["stage"],
                outcome=drop["outcome"],
                words=told,
                reason=drop["reason"],
                numbers=seen[1],
            ),
        ]
    return found if kept else [*found, *_waiting(last)]


def _reached(row: Row | None, *, kept: bool) -> int:
    """Place of the last stage that is known to have kept the scene."""
    if kept:
        return len(STAGES) - 1
    if row is None:
        return STAGES.index("polygons")
    return STAGES.index("matching" if row.get("naip_items") else "footprints")


def _waiting(last: int) -> list[Step]:
    after = STAGES[last + 1 : last + 2]
    return [Step(stage=stage, outcome="pending", words="not told yet: the build goes on") for stage in after]


def _polygon(polygon: Row | None, *, is_foreign: bool, is_there: bool) -> tuple[str, dict[str, Any]]:
    """The object itself.

    Args:
        polygon: schema POLYGONS; None where no journal tells it.
        is_foreign: whether the journal is of another class map or OSM file than the published build.
        is_there: whether there is a journal of the region.
    """
    if is_foreign:
        return (
            "tags and area are in the journal of a build alone; the one here is of another build or dry run, "
            f"of another class map or OSM file. {_BROUGHT_BACK}"
        ), {}
    if polygon is None and is_there:
        return (
            "tags and area are in the journal of a build alone; the one here does not hold the object, so "
            f"that it is of another build. {_BROUGHT_BACK}"
        ), {}
    if polygon is None:
        return "tags and area are in the journal of a build alone, which does not stand here", {}
    tags = dict(polygon["tags"])
    shown = ", ".join(f"{key}={value}" for key, value in list(tags.items())[:_TAGS_SHOWN])
    more = f" and {len(tags) - _TAGS_SHOWN} more" if len(tags) > _TAGS_SHOWN else ""
    kind = "closed way" if polygon["closed_way"] else "relation"
    anchor = f"{polygon['longitude']:.7f},{polygon['latitude']:.7f}"
    return f"{kind} of {polygon['area_m2']:,.0f} m2 about {anchor}: {shown}{more}", {
        "anchor": [polygon["longitude"], polygon["latitude"]],
        "area_m2": polygon["area_m2"],
        "closed_way": polygon["closed_way"],
        "tags": tags,
    }


def _classes(polygon: Row | None, class_map: ClassMap | None) -> tuple[str, dict[str, Any]]:
    if polygon is None:
        return "", {}
    if class_map is None:
        return "labelled with a class map of the user's, which the data set does not hold", {}
    told = class_map.explain(
        dict(polygon["tags"]), closed_way=polygon["closed_way"], area_m2=polygon["area_m2"]
    )
    words = [f"{one.concept.name} {'yes' if one.accepted else 'no'} ({one.words})" for one in told]
    return "; ".join(words), {"classes": {one.concept.name: one.verdict.value for one in told}}


def _footprint(
    row: Row, class_map: ClassMap | None, parameters: BuildParameters
) -> tuple[str, dict[str, Any]]:
    ids = list(row["class_ids"] or [])
    named = [class_map.names[number] if class_map else f"class {number}" for number in ids]
    shares = dict(zip(named, row["class_shares"] or [], strict=False))
    limits = parameters.footprints
    bounds = " ".join(f"{side:.6f}" for side in row["bounds"])
    text = (
        f"{bounds} (west south east north); {len(ids)} classes, at least {limits.minimum_classes}; "
        f"{row['labelled_share']:.4f} labelled, at least {limits.minimum_labelled_share:g}"
    )
    return text, {"bounds": list(row["bounds"]), "classes": shares, "labelled_share": row["labelled_share"]}


def _coverage(records: Records, region: str, row: Row) -> tuple[str, dict[str, Any]]:
    """The share of the footprint that each sensor's coverage holds."""
    footprint = shapely.box(*row["bounds"])
    found = {
        one["sensor"]: float(shapely.area(shapely.intersection(shapely.from_wkb(one["geometry"]), footprint)))
        / float(shapely.area(footprint))
        for one in records.manifest("coverage", COVERAGE, "state", {region})
    }
    words = ", ".join(
        f"{sensor} shows {share:.1%} of the footprint" for sensor, share in sorted(found.items())
    )
    return words, found


def _subsampling(
    row: Row, class_map: ClassMap | None, parameters: BuildParameters
) -> tuple[str, dict[str, Any]]:
    """The lot of the scene and the share that its class keeps."""
    wanted = parameters.subsampling
    lot = float(as_shares(drawn_lots([row["scene_id"]], wanted.seed))[0])
    if class_map is None or wanted.target is not None:
        return f"lot {lot:.4f}", {"lot": lot}
    anchor = row["anchor_class"]
    limit = float(retention(class_map, PAPER_RATE if wanted.rate is None else wanted.rate)[anchor])
    text = f"lot {lot:.4f}; {class_map.names[anchor]} keeps {limit:.4f}"
    return text, {"lot": lot, "kept_share": limit}


def _match(row: Row, parameters: BuildParameters) -> dict[str, tuple[str, dict[str, Any]]]:
    limits = parameters.matching
    way = "fallback: all of the window" if row["fallback"] else f"at most {limits.days_each_side} days"
    text = (
        f"NAIP {row['naip_date']} at {row['naip_gsd']:.2g} m, {len(row['naip_items'])} items; Sentinel-2 "
        f"{row['sentinel2_date']}, {row['days_between']:+d} days ({way}), cloud {row['cloud_cover']:.2f} %, "
        f"under {limits.most_cloud_percent:g} %"
    )
    numbers = {name: row[name] for name in ("naip_items", "sentinel2_items", "days_between", "cloud_cover")}
    numbers |= {name: str(row[name]) for name in ("naip_date", "sentinel2_date")}
    return {"matching": (text, numbers | {"fallback": row["fallback"], "naip_gsd": row["naip_gsd"]})}


def _images(row: Row, parameters: BuildParameters) -> dict[str, tuple[str, dict[str, Any]]]:
    """Quality of the images against its limits."""
    low = {name: row[name] for name in ("black_lr", "cloud_lr", "filled_lr")}
    tiles = list(row["black_hr"])
    worst = int(np.argmax(tiles))
    lr_words = (
        f"black {low['black_lr']:.4f}, at most {parameters.lr.most_black:g}; cloud of the first item "
        f"{low['cloud_lr']:.4f}, filled {low['filled_lr']:.4f}"
    )
    return {
        "lr": (lr_words, low),
        "hr": (
            f"worst of 100 tiles is {worst}: black {tiles[worst]:.4f}, at most {parameters.hr.most_black:g}",
            {"worst_tile": worst, "black_hr": tiles},
        ),
        "consistency": ("1 LR image and 100 HR tiles decode", {}),
    }


def stored(root: Place, region: str, scene: str) -> dict[str, Any] | None:
    """Shard, row and byte ranges of a kept scene; None where the index is not at hand.

    Raises:
        StoreError: the index is damaged.
    """
    if not index_path(root, region).is_file():
        return None
    index: RegionIndex = open_index(index_path(root, region))
    names = index.scene_ids
    if scene not in names:
        return None
    place = names.index(scene)
    row = index.rows.slice(place, 1).to_pylist()[0]
    shard = index.shards[row["shard"]]
    low, high, lengths = row["lr_offset"], row["hr_offset"], row["hr_length"]
    return {
        "shard": shard.name,
        "row": row["row"],
        "lr_bytes": [low, low + row["lr_length"]],
        "hr_bytes": [high, high + sum(lengths) + LENGTH_PREFIX * (len(lengths) - 1)],
        "crc32_lr": row["crc32"][0],
    }
