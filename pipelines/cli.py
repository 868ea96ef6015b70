"""The commands that build: classes, world, plan, candidates, coverage, build, status."""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gl10m.cli import EXIT_FAILURES, EXIT_INTERRUPTED, EXIT_USAGE, EXIT_VERIFICATION, root_option

if TYPE_CHECKING:
    from gl10m.storage.place import Place
    from pipelines.inputs import BuildRequest


class Listed(click.ParamType[tuple[str, ...]]):
    """Values by commas or by repetition: --states CA,TX is --states CA --states TX."""

    name = "list"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,  # noqa: ARG002 - click's signature
        ctx: click.Context | None,  # noqa: ARG002 - click's signature
    ) -> tuple[str, ...]:
        """Split one argument."""
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


_FILE = click.Path(dir_okay=False, path_type=Path)


class InputFile(click.ParamType[Path]):
    """A file, or an object of a bucket, which is copied to this machine."""

    name = "file or address"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Read one argument."""
        from gl10m.storage.address import is_address
        from gl10m.storage.place import cached, object_at

        if isinstance(value, str) and is_address(value):
            return cached(object_at(value))
        return Path(os.fsdecode(_FILE.convert(value, param, ctx)))


_INPUT = InputFile()
_FOLDER = click.Path(file_okay=False, path_type=Path)
_SOURCES = click.Choice(["planetary-computer", "earth-engine", "stac", "synthetic"])

_states_option = click.option(
    "--states",
    type=Listed(),
    multiple=True,
    required=True,
    help="State codes: CA,TX. With --osm, any two letters.",
)
_osm_option = click.option(
    "--osm",
    type=str,
    multiple=True,
    help="OSM file (.osm.pbf, .osm, .osm.gz, .osm.bz2) or its http(s), s3, gs or az address: FILE for one "
    "state, CODE=FILE for several. Without it the states' extracts are downloaded from Geofabrik, once, "
    "and kept.",
)
_class_map_option = click.option(
    "--class-map", type=_INPUT, help="Your own class map, a file or s3://...; the 66 classes if not given."
)
_source_option = click.option(
    "--source",
    type=_SOURCES,
    default="planetary-computer",
    show_default=True,
    help="Where imagery comes from. earth-engine needs `earthengine authenticate`, or a service account's "
    "key in GOOGLE_APPLICATION_CREDENTIALS, and a project in EARTHENGINE_PROJECT: docs/earth-engine.md.",
)
_stac_url_option = click.option("--stac-url", help="Address of the STAC API for --source stac.")
_collection_options = (
    click.option(
        "--naip-collection", default="naip", show_default=True, help="Collection of NAIP at --stac-url."
    ),
    click.option(
        "--sentinel2-collection",
        default="sentinel-2-l2a",
        show_default=True,
        help="Collection of Sentinel-2 L2A at --stac-url; sentinel-2-c1-l2a at Earth Search.",
    ),
    click.option(
        "--items",
        multiple=True,
        help="stac-geoparquet file or folder, or its http(s) address, in place of searches: FILE for both "
        "sensors, naip=FILE or sentinel-2=FILE for one.",
    ),
)
_limit_option = click.option(
    "--limit", type=click.IntRange(1), help="At most this many scenes a state, chosen by identity."
)
_config_option = click.option("--config", type=_INPUT, help="TOML with a section for each stage.")


def _catalogue_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where items are looked for."""
    for option in reversed(_collection_options):
        command = option(command)
    return command


def _flat(values: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.upper() for value in values for part in value))


_build_options = (
    _source_option,
    click.option("--lr-source", type=_SOURCES, help="Another source for Sentinel-2 alone."),
    click.option("--hr-source", type=_SOURCES, help="Another source for NAIP alone."),
    _stac_url_option,
    _catalogue_options,
    _osm_option,
    _class_map_option,
    _config_option,
    click.option(
        "--workers", type=click.IntRange(1), help="Worker processes on this machine; one a core by default."
    ),
    click.option(
        "--scheduler",
        help="A running Dask cluster instead: its address, tcp://host:8786 or tls://host:8786, or the file "
        "of `dask scheduler --scheduler-file`. Recipes for Slurm, Kubernetes and ssh: docs/clusters.md.",
    ),
    _limit_option,
)


def _options_of_build(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a build is asked for, all but the states."""
    for option in reversed(_build_options):
        command = option(command)
    return command


def _request(root: "Place", asked: dict[str, Any]) -> "BuildRequest":
    """What a build was asked for, from the options of its command."""
    from pipelines.inputs import BuildRequest

    return BuildRequest(
        root=root,
        regions=_flat(asked["states"]),
        source=asked["source"],
        lr_source=asked["lr_source"] or asked["source"],
        hr_source=asked["hr_source"] or asked["source"],
        stac_url=asked["stac_url"],
        naip_collection=asked["naip_collection"],
        sentinel2_collection=asked["sentinel2_collection"],
        items=asked["items"],
        osm=asked["osm"],
        class_map=asked["class_map"],
        config=asked["config"],
        workers=asked["workers"],
        scheduler=asked["scheduler"],
        limit=asked["limit"],
        dry_run=asked["dry_run"],
    )


@click.command()
@_states_option
@_options_of_build
@click.option("--dry-run", is_flag=True, help="Stop before any pixel is read and print the plan of the rest.")
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
    from pipelines.build import build as run_build
    from pipelines.execution.redaction import Guarded, redact
    from pipelines.execution.tasks import terminated_as_interrupted

    request = _request(root, asked)
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
@click.option("--out", type=_FILE, help="GeoParquet of candidates; OSM.candidates.parquet if not given.")
@click.option("--state", default="XX", show_default=True, help="Two letters that stand in the scene ids.")
@_class_map_option
@_config_option
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


@click.group()
def classes() -> None:
    """List, explain, check and count the classes and the OSM tags that mean them.

    \b
    Examples:
      gl10m classes list
      gl10m classes explain leisure=golf_course
      gl10m classes check my-classes.toml
      gl10m classes report maine.osm.pbf
    """


@classes.command("list")
@_class_map_option
def list_classes(class_map: Path | None) -> None:
    """List the classes with their number, kind and count in the paper.

    \b
    Example:
      gl10m classes list
    """
    from gl10m.scene.class_map import ClassMap

    found = ClassMap.bundled() if class_map is None else ClassMap.from_file(class_map)
    for concept in found.concepts:
        count = "" if concept.paper_count is None else f"{concept.paper_count:,}"
        click.echo(f"{concept.id:>3}  {concept.name:<18} {concept.kind:<11} {count:>7}")


@classes.command("explain")
@click.argument("tags", nargs=-1, required=True)
@_class_map_option
@click.option(
    "--area",
    type=click.FloatRange(0, max_open=True, max=1e15),
    default=10_000.0,
    show_default=True,
    help="Area of the object, square metres.",
)
@click.option("--relation", is_flag=True, help="The object is a multipolygon relation, not a closed way.")
def explain_classes(tags: tuple[str, ...], class_map: Path | None, area: float, *, relation: bool) -> None:
    """Say which classes an object with these tags belongs to, and why not others.

    \b
    Example:
      gl10m classes explain natural=water water=lake --area 60000
    """
    from gl10m.scene.class_map import ClassMap

    found = ClassMap.bundled() if class_map is None else ClassMap.from_file(class_map)
    pairs = [tag.partition("=") for tag in tags]
    if any(not key or not sign for key, sign, _ in pairs):
        raise click.BadParameter("a tag is KEY=VALUE, such as leisure=golf_course", param_hint="TAGS")
    asked = {key: value for key, _, value in pairs}
    explanations = found.explain(asked, closed_way=not relation, area_m2=area)
    if not explanations:
        click.echo("no class: no rule begins with one of these tags")
    for explanation in explanations:
        verdict = "yes" if explanation.accepted else "no "
        click.echo(f"{verdict} {explanation.concept.name}: {explanation.words}")


@classes.command("check")
@click.argument("file", type=_FILE)
def check_classes(file: Path) -> None:
    """Check a class map of your own; errors name the class and the line, one a line.

    \b
    Example:
      gl10m classes check my-classes.toml
    """
    from gl10m.scene.class_map import ClassMap, ClassMapError

    try:
        found = ClassMap.from_file(file)
    except ClassMapError as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(EXIT_USAGE) from None
    click.echo(f"{file}: {len(found)} classes, digest {found.digest[:12]}")


@classes.command("schema")
def classes_schema() -> None:
    """Print the form of a class map as JSON schema, for editors that check TOML while you type.

    \b
    Example:
      gl10m classes schema > class-map.schema.json
    """
    import json

    from gl10m.scene.class_map_file import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


@classes.command("report")
@click.argument("files", nargs=-1, required=True, type=_FILE)
@_class_map_option
def report_classes(files: tuple[Path, ...], class_map: Path | None) -> None:
    """Count the polygons of each class in OSM files, and say why a class has none.

    \b
    Example:
      gl10m classes report maine.osm.pbf bangor.osm.gz
      gl10m classes report maine.osm.pbf --class-map my-classes.toml
    """
    from pipelines import class_report
    from pipelines.inputs import read_class_map

    chosen = read_class_map(class_map)
    click.echo(class_report.as_text([class_report.count(file, chosen) for file in files], chosen))


@click.command()
@_states_option
@_config_option
@_limit_option
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
    from pipelines.plan import describe

    click.echo(describe(_flat(states), root, configuration.load(config), limit))


@click.command()
@_states_option
@_source_option
@_stac_url_option
@_catalogue_options
@_osm_option
@_config_option
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
        regions=_flat(asked["states"]),
        source=asked["source"],
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
@click.option("--osm", type=_FILE, required=True, help="OSM file to render.")
@click.option("--out", type=_FOLDER, required=True, help="Folder of the world.")
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
@_class_map_option
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
    folder with scripts/local_servers.py and build from it with --source stac.

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
@_options_of_build
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
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

    request = replace(_request(root, asked), dry_run=False) if _flat(asked["states"]) else None
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
    from gl10m.storage.place import place_of
    from pipelines import compaction

    click.echo(compaction.compact(root, [place_of(part) for part in parts]))
