"""The commands `gl10m reproduce-orderings` and `gl10m map-orderings`."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--protocol",
    default="orderings",
    show_default=True,
    help="Name of a protocol that comes with the package, or a YAML file.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="runs/PROTOCOL",
    help="Folder of the run folders, one a seed, and of the report.",
)
@click.option(
    "--seed",
    "seeds",
    type=int,
    multiple=True,
    help="Run this seed of the protocol alone; may be given again. Processes can share the seeds so.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="OUT",
    help="Folder of the report; while seeds are missing it says so.",
)
def reproduce_orderings(protocol: str, out: Path | None, seeds: tuple[int, ...], report: Path | None) -> None:
    """Measure the paper's orderings in a drawn world, by a registered protocol.

    Every method of the protocol is trained on every seed's world; the report tells each ordering as
    confirmed, not separable or reversed. A run that was cut off goes on where it stopped. See
    docs/world.md for what the figures can and cannot claim.

    \b
    Example:
      gl10m reproduce-orderings --out runs/orderings
      gl10m reproduce-orderings --out runs/orderings --seed 1 --seed 2
    """
    from reference_model.experiments.protocol_files import read_protocol
    from reference_model.experiments.run import run_protocol

    asked = read_protocol(protocol)
    run_protocol(
        asked,
        out or Path("runs") / asked.name,
        say=lambda line: click.echo(line, err=True),
        seeds=seeds or None,
        report_to=report,
    )


@click.command()
@click.option(
    "--map",
    "which",
    default="phases",
    show_default=True,
    help="Name of a map that comes with the package, or a YAML file.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="runs/MAP",
    help="Folder of the run folders, one a cell and seed.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="OUT",
    help="Folder of the report.",
)
def map_orderings(which: str, out: Path | None, report: Path | None) -> None:
    """Turn two knobs of the drawn world and show where each ordering holds.

    A cell is a world with a seed or two: a map, no verdict. A run that was cut off goes on where it stopped.

    \b
    Example:
      gl10m map-orderings --out runs/phases
    """
    from reference_model.experiments.phase_map import read_phase_map, run_phase_map

    asked = read_phase_map(which)
    told = run_phase_map(
        asked,
        out or Path("runs") / asked.name,
        say=lambda line: click.echo(line, err=True),
        report_to=report,
    )
    click.echo(told)
