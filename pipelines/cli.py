"""The commands that build and look after a data set; `classes` stands in a file of its own."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gl10m.cli import EXIT_FAILURES, EXIT_INTERRUPTED, EXIT_VERIFICATION, root_option
from pipelines.class_cli import classes
from pipelines.options import (
    FILE,
    FOLDER,
    Listed,
    catalogue_options,
    class_map_option,
    config_option,
    flat,
    limit_option,
    options_of_build,
    osm_option,
    refuse_if_locked,
    request_of,
    source_option,
    stac_url_option,
    states_option,
)

if TYPE_CHECKING:
    from gl10m.storage.place import Place

__all__ = [
    "build",
    "candidates",
    "classes",
    "compact",
    "coverage",
    "plan",
    "repair",
    "status",
    "trace",
    "world",
]
"""What `pyproject.toml` names as commands."""


@click.command()
@states_option
@options_of_build
@click.option(
    "--dry-run",
    is_flag=True,
    help="Stop before any pixel is read and print the plan of the rest. The journal is then of "
    "these options: if they are not those of the data set that stands there, `gl10m view`, `trace` "
    "and `repair` lack its tables until the build of that data set is run again, which fetches no image.",
)
@root_option
def build(root: "Place", **asked: Any) -> None:  # noqa: ANN401 - click hands over the options by name
    """Build a data set: OSM extracts and imagery to shards and manifests.

    A build can be stopped at any time; the same command goes on where it stopped. Changed parameters redo
    only what depends on them.

    \b
    Examples:
      gl10m build --states CA,TX --source synthetic --root demo     a demo world, no network
      gl10m build --states ME --osm bangor.osm.pbf --limit 20       one town, real imagery
      gl10m build --states CA,TX                                    two states, real imagery
      gl10m build --states ME --source earth-engine --limit 20      imagery from Earth Engine
      gl10m build --states ME --lr-source earth-engine              Sentinel-2 from there, NAIP as usual

    \b
    Sentinel-2 from Earth Search beside NAIP from the Planetary Computer; items out of files, no search:
      gl10m build --states ME --lr-source stac --stac-url https://earth-search.aws.element84.com/v1 \\
        --sentinel2-collection sentinel-2-c1-l2a
      gl10m build --states ME --items naip=naip.parquet --items sentinel-2=s2/
    """
    refuse_if_locked(root)
    from pipelines.build import build as run_build
    from pipelines.execution.redaction import Guarded, redact
    from pipelines.execution.tasks import terminated_as_interrupted

    request = request_of(root, asked)
    try:
        with terminated_as_interrupted():
            report = Guarded(run_build)(request)
    except KeyboardInterrupt:
        again = redact(shlex.join(["gl10m", *sys.argv[1:]]))
        click.echo(
            f"\nStopped; what was fetched is kept. Run the same command again to go on:\n  {again}", err=True
        )
        sys.exit(EXIT_INTERRUPTED)
    click.echo(report.text)
    if report.failed:
        raise click.exceptions.Exit(EXIT_FAILURES)


@click.command()
@click.option(
    "--osm",
    type=str,
    required=True,
    help="OSM file (.osm.pbf, .osm, .osm.gz, .osm.bz2) or its http(s), s3, gs or az address.",
)
@click.option("--out", type=FILE, help="GeoParquet of candidates; OSM.candidates.parquet if not given.")
@click.option("--state", default="XX", show_default=True, help="Two letters that stand in the scene ids.")
@class_map_option
@config_option
@click.option(
    "--compare-presets",
    is_flag=True,
    help="Also print what each preset of [footprints] keeps; only the configured one is written.",
)
def candidates(
    osm: str,
    out: Path | None,
    state: str,
    class_map: Path | None,
    config: Path | None,
    *,
    compare_presets: bool,
) -> None:
    """Turn one OSM file into candidate scenes: the OSM half of a build, alone.

    \b
    Example:
      gl10m candidates --osm bangor.osm.pbf --out bangor.parquet --state ME
      gl10m candidates --osm bangor.osm.pbf --compare-presets
    """
    from pipelines import single_file

    click.echo(
        single_file.candidates(osm, out, state.upper(), class_map, config, compare_presets=compare_presets)
    )


@click.command()
@states_option
@config_option
@limit_option
@root_option
def plan(states: tuple[tuple[str, ...], ...], config: Path | None, limit: int | None, root: "Place") -> None:
    """Print what a build will cost, by state: searches, requests, bytes, hours, disk. Nothing is fetched.

    After `gl10m build --dry-run`, which prints the same, the candidates are counted; before it, the paper's
    counts stand in. Each unit cost is told with where it comes from.

    \b
    Example:
      gl10m plan --states CA,TX
    """
    from pipelines import config as configuration
    from pipelines.inputs import check_codes
    from pipelines.plan import describe

    check_codes(flat(states))
    click.echo(describe(flat(states), root, configuration.load(config), limit))


@click.command()
@states_option
@source_option
@stac_url_option
@catalogue_options
@osm_option
@config_option
@root_option
def coverage(root: "Place", **asked: Any) -> None:  # noqa: ANN401 - click hands over the options by name
    """Print the ground that each sensor shows: area, items, first and last day.

    A build writes it into manifests/coverage.parquet (GeoParquet). For states that are not there it is
    made now, from the catalogue, over the bounding box of the state's OSM extract, and added. No pixel is
    read.

    \b
    Example:
      gl10m coverage --states CA,TX --root demo
      gl10m coverage --states ME --osm bangor.osm.pbf --source stac --stac-url https://host/stac/v1
    """
    from pipelines.coverage import describe
    from pipelines.inputs import BuildRequest

    default = click.core.ParameterSource.DEFAULT
    named = click.get_current_context().get_parameter_source("source") is not default

    request = BuildRequest(
        root=root,
        regions=flat(asked["states"]),
        lr_source=asked["source"],
        hr_source=asked["source"],
        stac_url=asked["stac_url"],
        naip_collection=asked["naip_collection"],
        sentinel2_collection=asked["sentinel2_collection"],
        items=asked["items"],
        osm=asked["osm"],
        config=asked["config"],
    )
    click.echo(describe(request, compared=named))


@click.command(context_settings={"ignore_unknown_options": True})
@root_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("what", metavar="SCENE|LON,LAT")
def trace(root: "Place", what: str, *, as_json: bool) -> None:
    """Say why a scene is in, or which stage let it go and with what numbers; or what shows a place.

    \b
    Example:
      gl10m trace CA-w200000123 --root demo
      gl10m trace way/200000123 --root demo --json
      gl10m trace -118.25,34.05 --root demo
    """
    import json

    from pipelines.trace.scene import trace_scene
    from pipelines.trace.spot import read_spot, trace_spot

    found = [trace_spot(root, *read_spot(what))] if "," in what else trace_scene(root, what)
    if as_json:
        click.echo(json.dumps([one.record for one in found], indent=2, default=str))
    else:
        click.echo("\n\n".join(one.text for one in found))


@click.command()
@root_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with the provenance of what stands.")
def status(root: "Place", *, as_json: bool) -> None:
    """Say how far a build is, while it runs and afterwards.

    Tells whether a build is running now, its stage, what is done and what remains, and by state what was
    kept, rejected and failed, with reasons.

    \b
    Example:
      gl10m status --root demo
      gl10m status --root s3://bucket/gl10m --json
    """
    from pipelines.progress import describe, look

    click.echo(look(root).as_json() if as_json else describe(root))


@click.command()
@click.option("--osm", type=FILE, required=True, help="OSM file to render.")
@click.option("--out", type=FOLDER, required=True, help="Folder of the world.")
@click.option("--state", default="XX", show_default=True, help="Two letters that stand in the item ids.")
@click.option(
    "--bounds",
    type=float,
    nargs=4,
    metavar="W S E N",
    help="Render only this part: west, south, east, north in degrees.",
)
@click.option(
    "--max-quads",
    type=click.IntRange(1),
    default=24,
    show_default=True,
    help="Quarter quads of NAIP at most, some 5.5 x 7 km, 5 CPU seconds and 65 MB each.",
)
@class_map_option
def world(
    *,
    osm: Path,
    out: Path,
    state: str,
    bounds: tuple[float, float, float, float] | None,
    max_quads: int,
    class_map: Path | None,
) -> None:
    """Render imagery and a STAC catalogue from any OSM file.

    Each class gets ground that looks different at 1 m, so that pixels, labels and geometry agree. Serve the
    folder with `python -m scripts.local_servers` and build from it with --source stac.

    \b
    Example:
      gl10m world --osm bangor.osm.pbf --out world --state ME
      gl10m world --osm maine.osm.pbf --out world --state ME --bounds -68.85 44.75 -68.70 44.85
    """
    from pipelines import single_file

    click.echo(
        single_file.render_world(osm, out, state.upper(), class_map, bounds=bounds, most_quads=max_quads)
    )


@click.command()
@click.option(
    "--states",
    type=Listed(),
    multiple=True,
    help="With the other options of the build that made the data set: lost scenes are then fetched again.",
)
@options_of_build
@click.option(
    "--dry-run", is_flag=True, help="Say what would be done and what would be left, and change nothing."
)
@root_option
def repair(root: "Place", **asked: Any) -> None:  # noqa: ANN401 - click hands over the options by name
    """Make a damaged data set whole: indexes and manifests anew, lost scenes fetched again.

    What `gl10m verify --deep` finds is mended. Whole shards are not touched, whole scenes of damaged ones are
    kept. Without --states nothing is fetched: what is lost is told.

    \b
    Example:
      gl10m repair --root demo --dry-run
      gl10m repair --root demo
      gl10m repair --root demo --states CA,TX --source synthetic
    """
    from dataclasses import replace

    from pipelines import repair as mending
    from pipelines.inputs import read_class_map

    request = replace(request_of(root, asked), dry_run=False) if flat(asked["states"]) else None
    class_map = read_class_map(asked["class_map"])
    report = mending.repair(root, class_map, request, dry_run=asked["dry_run"])
    click.echo(str(report))
    if report.left:
        raise click.exceptions.Exit(EXIT_VERIFICATION)


@click.command()
@click.argument("parts", nargs=-1, required=True)
@root_option
def compact(root: "Place", parts: tuple[str, ...]) -> None:
    """Put several data sets together into one: each scene once, shards full, images copied as they are.

    Parts are folders or s3://, gs:// and az:// addresses; what --root holds already is a part, too. They are
    only read. A scene that several parts have is taken from the one that shows more labelled ground.

    \b
    Example:
      gl10m compact --root all sacramento yolo s3://bucket/texas
    """
    refuse_if_locked(root)
    from gl10m.storage.place import place_of
    from pipelines import compaction

    click.echo(compaction.compact(root, [place_of(part) for part in parts]))
