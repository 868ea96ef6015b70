"""The contestants of `osm_polygons.py` that are written in Python, one a process.

python benchmarks/osm_peers.py NAME FILE.osm.pbf FOLDER
"""

# ruff: noqa: PLC0415 - the process of a contestant loads its own library and no other

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from gl10m.scene.class_map import ClassMap


def tokens(prefix: str) -> list[str]:
    """Tags of interest, KEY or KEY=VALUE."""
    return [prefix + key + (f"={value}" if value else "") for key, value in ClassMap.bundled().tokens]


def by_key() -> dict[str, list[str] | bool]:
    """Tags of interest as pyrosm and QuackOSM ask for them; True where any value will do."""
    values: dict[str, list[str | None]] = {}
    for key, value in ClassMap.bundled().tokens:
        values.setdefault(key, []).append(value)
    return {key: [v for v in found if v] if None not in found else True for key, found in values.items()}


def areas(path: Path, _: Path) -> None:
    import shapely

    from pipelines.stages.polygons import interest_of, read_areas

    parts = read_areas(path, interest_of(ClassMap.bundled()))
    print(sum(len(shapely.to_wkb(part.geometry)) for part in parts), "areas")


def stage(path: Path, _: Path) -> None:
    from pipelines.stages.polygons import read_polygons

    print(read_polygons(path, "CA", ClassMap.bundled()).kept.num_rows, "areas kept")


def pyosmium(path: Path, _: Path) -> None:
    """As its manual makes areas, with every filter that runs in C++."""
    import osmium
    from osmium.filter import EntityFilter, KeyFilter
    from osmium.geom import WKBFactory
    from osmium.osm import AREA

    class_map, wkb, count = ClassMap.bundled(), WKBFactory(), 0
    keys = KeyFilter(*class_map.keys)
    only_areas = EntityFilter(AREA)
    for area in osmium.FileProcessor(str(path)).with_areas(keys).with_filter(only_areas).with_filter(keys):
        if area.num_rings()[0] and any(class_map.carries(tag.k, tag.v) for tag in area.tags):
            wkb.create_multipolygon(area)
            count += 1
    print(count, "areas")


def pyrosm(path: Path, folder: Path) -> None:
    """Cold: the cache that it keeps on the disk is an empty folder."""
    os.environ["TMPDIR"] = str(folder)
    import pyrosm as reader

    found = reader.OSM(str(path)).get_data_by_custom_criteria(
        custom_filter=by_key(), filter_type="keep", keep_nodes=False, keep_ways=True, keep_relations=True
    )
    print((found.geometry.geom_type != "LineString").sum(), "areas")


def quackosm(path: Path, folder: Path) -> None:
    """With DuckDB's spatial extension from its package, where DuckDB would ask the network for it."""
    os.environ["HOME"] = str(folder)
    package = find_spec("duckdb_extension_spatial")
    if package is not None and package.origin is not None:
        shutil.copytree(
            Path(package.origin).parent / "extensions",
            folder / ".duckdb" / "extensions",
            dirs_exist_ok=True,
        )
        for version in (folder / ".duckdb" / "extensions").iterdir():
            (version / "linux_amd64").mkdir()
            for extension in version.glob("*.duckdb_extension"):
                extension.rename(version / "linux_amd64" / extension.name)
    import pyarrow.parquet as pq
    import quackosm as reader

    made = reader.convert_pbf_to_parquet(
        path,
        tags_filter=by_key(),
        result_file_path=folder / "areas.parquet",
        working_directory=folder / "work",
        ignore_cache=True,
        verbosity_mode="silent",
    )
    print(pq.ParquetFile(made).metadata.num_rows, "objects, lines and nodes among them")


GDAL_AREAS = (
    "aeroway,amenity,boundary,building,craft,geological,historic,landuse,leisure,military,natural,office,place,"
    "shop,sport,tourism,highway=platform,public_transport=platform"
)
"""Closed ways that GDAL takes for areas by itself. With our 39 keys in its place, GDAL 3.6.2 finds between
320 and 23,265 areas in one file, by their order."""


def write_gdal_fields(path: Path) -> None:
    """A configuration of GDAL's OSM driver with our keys as fields of multipolygons."""
    path.write_text(
        f"closed_ways_are_polygons={GDAL_AREAS}\nattribute_name_laundering=no\n"
        f"[multipolygons]\nosm_id=yes\nattributes=name,type,{','.join(ClassMap.bundled().keys)}\nother_tags=yes\n"
    )


def gdal_filter() -> str:
    """What `ogr2ogr -where` asks for."""
    terms = []
    for key, values in by_key().items():
        if isinstance(values, list):
            terms.append(f'"{key}" IN ({", ".join(repr(value) for value in values)})')
        else:
            terms.append(f'"{key}" IS NOT NULL')
    return " OR ".join(terms)


if __name__ == "__main__":
    contestants = {
        "areas": areas,
        "stage": stage,
        "pyosmium": pyosmium,
        "pyrosm": pyrosm,
        "quackosm": quackosm,
    }
    contestants[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
