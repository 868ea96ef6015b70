"""What one OSM file gives by itself: candidate scenes, or a rendered world."""

import time
from dataclasses import asdict
from pathlib import Path

from gl10m.manifest import parquet
from gl10m.manifest.provenance import Provenance
from gl10m.manifest.schema import CANDIDATES
from pipelines import config
from pipelines.inputs import check_codes, read_class_map
from pipelines.sources.extracts import local_extract
from pipelines.stages.classes import map_classes
from pipelines.stages.footprints import make_footprints
from pipelines.stages.polygons import read_polygons
from pipelines.world.world import WorldParameters, world_from_osm


def candidates(
    osm: Path, target: Path, region: str, class_map_file: Path | None, config_file: Path | None
) -> str:
    """The OSM half alone: polygons, classes, footprints, labels.

    Returns:
        A summary in words.

    Raises:
        OsmFileError: the OSM file cannot be read.
    """
    check_codes((region,))
    class_map = read_class_map(class_map_file)
    parameters = config.load(config_file)
    extract = local_extract(osm)
    polygons = read_polygons(osm, region, class_map)
    labelled = map_classes(polygons.kept, region, class_map)
    footprints = make_footprints(labelled.kept, region, class_map, parameters.footprints)
    provenance = Provenance(
        configuration={"footprints": asdict(parameters.footprints)},
        inputs={**extract.provenance, "class_map": class_map.digest},
        licences=("osm",),
    )
    parquet.write(target, footprints.kept.sort_by("scene_id"), CANDIDATES, provenance.metadata())
    lines = [f"{'stage':<12} {'read':>9} {'kept':>9} {'rejected':>9}"]
    lines.extend(
        f"{outcome.stage:<12} {outcome.read:>9,} {outcome.kept.num_rows:>9,} {outcome.dropped.num_rows:>9,}"
        for outcome in (polygons, labelled, footprints)
    )
    return "\n".join([*lines, f"wrote {footprints.kept.num_rows:,} candidates to {target}"])


def render_world(
    osm: Path,
    out: Path,
    region: str,
    class_map_file: Path | None,
    *,
    bounds: tuple[float, float, float, float] | None,
    most_quads: int,
) -> str:
    """Imagery and a STAC catalogue rendered from any OSM file.

    Returns:
        A summary in words.

    Raises:
        OsmFileError: the OSM file cannot be read.
        WorldTooLargeError: the polygons spread over more ground than allowed.
    """
    check_codes((region,))
    local_extract(osm)
    started = time.monotonic()
    parameters = WorldParameters(bounds=bounds, most_quads=most_quads)
    world_from_osm(osm, out, region, read_class_map(class_map_file), parameters)
    rasters = sorted((out / "imagery").rglob("*.tif"))
    size = sum(path.stat().st_size for path in rasters)
    return (
        f"wrote {len(rasters)} rasters ({size / 1e6:,.0f} MB) and a STAC catalogue to {out} "
        f"in {time.monotonic() - started:.0f} s"
    )
