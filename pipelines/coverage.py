"""Ground that both sensors show of a region: made from a catalogue alone, or read where a build wrote it."""

import contextlib
import json
import math

import osmium
import pyarrow as pa
from osmium.io import Reader
from osmium.osm import NODE, NOTHING, Node

from gl10m.manifest import parquet
from gl10m.manifest.columns import values, where, where_not
from gl10m.manifest.provenance import Provenance
from gl10m.manifest.schema import COVERAGE
from pipelines import config
from pipelines.config import BuildParameters
from pipelines.execution.lock import locked
from pipelines.inputs import BuildRequest, find_extract, open_sources, osm_files
from pipelines.region import Sources
from pipelines.sources.extracts import Extract
from pipelines.sources.imagery import Sensor
from pipelines.sources.osm_file import OsmFileError, readable
from pipelines.stages.coverage import coverage_footprints


def describe(request: BuildRequest) -> str:
    """Coverage of the regions asked for, as text; what the data set lacks is made and added to it.

    Raises:
        UnknownRegionError: a region is no state and has no OSM file.
        FileNotFoundError: the demo world has no such region yet.
        SourceUnavailableError: a catalogue does not answer.
        BuildLockedError: a build writes into the same folder.
        OSError: an extract cannot be read, or the folder cannot be written.
    """
    files = osm_files(request)
    path = request.root / "manifests" / "coverage.parquet"
    table = parquet.read(path, COVERAGE) if path.exists() else COVERAGE.empty()
    missing = [region for region in request.regions if region not in set(values(table, "state"))]
    if missing:
        _check_demo(request, missing)
        parameters = config.load(request.config)
        with locked(request.root), contextlib.ExitStack() as stack:
            extracts = {region: find_extract(request, region, files) for region in missing}
            sources = open_sources(request, stack)
            made = [_searched(region, extracts[region], sources, parameters) for region in missing]
            table = pa.concat_tables([where_not(table, "state", missing), *made])
            table = table.sort_by([("state", "ascending"), ("sensor", "ascending")])
            about = parquet.metadata_of(path) if path.exists() else {}
            parquet.write(path, table, COVERAGE, _provenance(about, request, extracts, parameters))
    return _text(where(table, "state", request.regions))


def _check_demo(request: BuildRequest, regions: list[str]) -> None:
    """Refuse the demo world's regions that were never rendered."""
    lacking = [code for code in regions if not (request.world / "osm" / f"{code}.osm.pbf").is_file()]
    if request.synthetic and lacking:
        raise FileNotFoundError(
            f"{request.root} holds no demo world of {', '.join(lacking)}. Build it first: gl10m build "
            f"--states {','.join(lacking)} --source synthetic --root {request.root}"
        )


def _searched(region: str, extract: Extract, sources: Sources, parameters: BuildParameters) -> pa.Table:
    """Coverage of the ground of one OSM file, schema COVERAGE."""
    bounds, windows = _bounds(extract), parameters.coverage
    naip = sources.hr.search(Sensor.NAIP, bounds, windows.naip_window)
    sentinel2 = sources.lr.search(Sensor.SENTINEL2, bounds, windows.sentinel2_window)
    names = {Sensor.SENTINEL2: sources.lr_name, Sensor.NAIP: sources.hr_name}
    return coverage_footprints(pa.concat_tables([naip, sentinel2]), region, names, windows)


def _bounds(extract: Extract) -> tuple[float, float, float, float]:
    """West, south, east, north of an OSM file, degrees: as its header says, else of all its nodes."""
    with readable(extract.path):
        with Reader(str(extract.path), NOTHING) as reader:
            box = reader.header().box()
        if box.valid():
            low, high = box.bottom_left, box.top_right
            return (low.lon, low.lat, high.lon, high.lat)
        longitudes, latitudes = [math.inf, -math.inf], [math.inf, -math.inf]
        for node in osmium.FileProcessor(str(extract.path), NODE):
            if isinstance(node, Node) and node.location.valid():
                place = node.location
                longitudes = [min(longitudes[0], place.lon), max(longitudes[1], place.lon)]
                latitudes = [min(latitudes[0], place.lat), max(latitudes[1], place.lat)]
    if longitudes[0] > longitudes[1]:
        raise OsmFileError(f"{extract.path.name} holds no node. Choose an extract that covers the region.")
    return (longitudes[0], latitudes[0], longitudes[1], latitudes[1])


def _provenance(
    about: dict[str, str], request: BuildRequest, extracts: dict[str, Extract], parameters: BuildParameters
) -> dict[str, str]:
    """Metadata of the manifest: what stood there, and what was made now."""
    inputs = json.loads(about.get("gl10m.inputs", "{}"))
    configuration = json.loads(about.get("gl10m.configuration", "{}"))
    licences = set(json.loads(about.get("gl10m.licences", "{}")))
    for region, extract in extracts.items():
        inputs |= {f"{region}.{name}": value for name, value in extract.provenance.items()}
        configuration[region] = {"coverage": parameters.record()["coverage"]}
        licences |= {
            extract.licence,
            "synthetic" if request.lr_source == "synthetic" else "sentinel-2",
            "synthetic" if request.hr_source == "synthetic" else "naip",
        }
    return Provenance(configuration=configuration, inputs=inputs, licences=tuple(sorted(licences))).metadata()


def _text(table: pa.Table) -> str:
    lines = [f"{'state':<6} {'sensor':<11} {'area km2':>12} {'items':>7}  {'first day':<10}  last day"]
    for row in table.drop_columns(["geometry"]).to_pylist():
        first, last = row["first_day"] or "-", row["last_day"] or "-"
        lines.append(
            f"{row['state']:<6} {row['sensor']:<11} {row['area_km2']:>12,.0f} "
            f"{row['items']:>7,}  {first!s:<10}  {last}"
        )
    return "\n".join(lines)
