"""Ground that both sensors show of a region: made from a catalogue alone, or read where a build wrote it."""

import contextlib
import json
import struct

import numpy as np
import pyarrow as pa

from gl10m.manifest import parquet
from gl10m.manifest.columns import values, where, where_not
from gl10m.manifest.provenance import Provenance
from gl10m.manifest.schema import COVERAGE
from pipelines import config
from pipelines.config import BuildParameters
from pipelines.execution.lock import locked
from pipelines.execution.software import software
from pipelines.inputs import BuildRequest, check_sources, find_extract, open_sources, osm_files, source_name
from pipelines.region import Sources
from pipelines.sources import libosmium
from pipelines.sources.extracts import Extract
from pipelines.sources.imagery import Sensor
from pipelines.sources.isolated import Limits, run
from pipelines.sources.item_index import area_of, find_items
from pipelines.sources.osm_file import OsmFileError, readable
from pipelines.sources.retrying import announce_retries
from pipelines.stages.coverage import coverage_footprints


def describe(request: BuildRequest, *, compared: bool = True) -> str:
    """Coverage of the regions asked for, as text; what the data set lacks is made and added to it.

    What stands there is not made again: the scenes of the data set were chosen by it. Where it was made from
    another catalogue or under another cloud limit than is asked for now, the text says so.

    Args:
        request: what is asked for.
        compared: whether the source was asked for by name; a default says nothing about what stands there.

    Raises:
        SourceError: sources that do not go together.
        UnknownRegionError: a region is no state and has no OSM file.
        FileNotFoundError: the demo world has no such region yet.
        SourceUnavailableError: a catalogue does not answer.
        BuildLockedError: a build writes into the same folder.
        OSError: an extract cannot be read, or the folder cannot be written.
    """
    announce_retries()
    check_sources(request)
    files = osm_files(request)
    path = request.root / "manifests" / "coverage.parquet"
    table = parquet.read(path, COVERAGE) if path.exists() else COVERAGE.empty()
    missing = [region for region in request.regions if region not in set(values(table, "state"))]
    if missing:
        _check_demo(request, missing)
        parameters, patience = config.load(request.config), config.load_patience(request.config)
        with locked(request.root), contextlib.ExitStack() as stack:
            extracts = {region: find_extract(request, region, files, patience) for region in missing}
            sources = open_sources(request, stack, parameters.searched_cloud_percent, patience)
            made = [_searched(region, extracts[region], sources, parameters) for region in missing]
            table = pa.concat_tables([where_not(table, "state", missing), *made])
            table = table.sort_by([("state", "ascending"), ("sensor", "ascending")])
            about = parquet.metadata_of(path) if path.exists() else {}
            parquet.write(path, table, COVERAGE, _provenance(about, request, extracts, parameters))
    shown = where(table, "state", request.regions)
    return "\n".join([_text(shown), *_otherwise_made(shown, request, compared=compared)])


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
    windows = parameters.coverage
    items = find_items(
        {
            Sensor.NAIP: (sources.hr, sources.hr_catalogue, windows.naip_window),
            Sensor.SENTINEL2: (sources.lr, sources.lr_catalogue, windows.sentinel2_window),
        },
        area_of(np.array([_bounds(extract)])),
    )
    names = {Sensor.SENTINEL2: sources.lr_name, Sensor.NAIP: sources.hr_name}
    return coverage_footprints(items, region, names, windows)


def _bounds(extract: Extract) -> tuple[float, float, float, float]:
    """West, south, east, north of an OSM file, degrees: as its header says, else of all its nodes."""
    path = extract.path
    with readable(path):
        (found,) = run(libosmium.bounds, str(path.absolute()), limits=Limits.of(path))
    west, south, east, north = struct.unpack("=4d", found)
    if west > east:
        raise OsmFileError(f"{path.name} holds no node. Choose an extract that covers the region.")
    return (west, south, east, north)


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
        licences |= {extract.licence, *request.imagery_licences}
    made_with = {**json.loads(about.get("gl10m.software", "{}")), **dict.fromkeys(extracts, software())}
    return Provenance(
        configuration=configuration,
        inputs=inputs,
        licences=tuple(sorted(licences)),
        software=made_with,
    ).metadata()


def _otherwise_made(table: pa.Table, request: BuildRequest, *, compared: bool) -> list[str]:
    """A line for each row that another catalogue or cloud limit gave than those asked for."""
    limit = config.load(request.config).coverage.most_cloud_percent
    asked = {Sensor.NAIP: request.hr_source, Sensor.SENTINEL2: request.lr_source}
    lines = []
    for row in table.drop_columns(["geometry"]).to_pylist():
        cloud = row["most_cloud_percent"]
        source = source_name(asked[Sensor(row["sensor"])], request) if compared else row["source"]
        if row["source"] != source or cloud not in {None, limit}:
            made = f"{row['source']}" + ("" if cloud is None else f" below {cloud:g} % cloud")
            wanted = f"{source}" + ("" if cloud is None else f" below {limit:g} % cloud")
            lines.append(
                f"{row['state']} {row['sensor']} was made from {made}, not from {wanted}: "
                f"name another folder with --root to see that."
            )
    return lines


def _text(table: pa.Table) -> str:
    heads = f"{'state':<6} {'sensor':<11} {'area km2':>12} {'items':>7}  {'first day':<10}  {'last day':<10}"
    lines = [f"{heads}  {'cloud %':>7}  source"]
    for row in table.drop_columns(["geometry"]).to_pylist():
        first, last, cloud = row["first_day"] or "-", row["last_day"] or "-", row["most_cloud_percent"]
        lines.append(
            f"{row['state']:<6} {row['sensor']:<11} {row['area_km2']:>12,.0f} {row['items']:>7,}  "
            f"{first!s:<10}  {last!s:<10}  {'' if cloud is None else f'< {cloud:g}':>7}  {row['source']}"
        )
    return "\n".join(lines)
