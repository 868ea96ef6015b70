"""`gl10m classes`: the classes and the OSM tags that mean them."""

from collections import Counter
from pathlib import Path

import click

from gl10m.cli import EXIT_USAGE, NumberRange
from pipelines.options import FILE, class_map_option


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
@class_map_option
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
@class_map_option
@click.option(
    "--area",
    type=NumberRange(0, max_open=True, max=1e15),
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
    # An object of OSM has each key once: of two values only one could be explained.
    again = [key for key, count in Counter(key for key, _, _ in pairs).items() if count > 1]
    if again:
        told = ", ".join(f"{again[0]}={value}" for key, _, value in pairs if key == again[0])
        raise click.BadParameter(
            f"an object has each key once; got {told}. Ask for each by itself.", param_hint="TAGS"
        )
    asked = {key: value for key, _, value in pairs}
    explanations = found.explain(asked, closed_way=not relation, area_m2=area)
    if not explanations:
        click.echo("no class: no rule begins with one of these tags")
    for explanation in explanations:
        verdict = "yes" if explanation.accepted else "no "
        click.echo(f"{verdict} {explanation.concept.name}: {explanation.words}")


@classes.command("check")
@click.argument("file", type=FILE)
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
@click.argument("files", nargs=-1, required=True, type=FILE)
@class_map_option
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
