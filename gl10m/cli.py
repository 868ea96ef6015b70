"""The command `gl10m`. Other wings add theirs by the entry point `gl10m.commands`.

Commands import their engines when they run, so that `gl10m --help` answers at once.
"""

import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import gl10m

if TYPE_CHECKING:
    from gl10m.storage.place import Place

EXIT_FAILURES, EXIT_USAGE, EXIT_VERIFICATION, EXIT_LOCKED, EXIT_INTERRUPTED = 1, 2, 3, 4, 130
"""Exit codes: rows left to try again, bad usage or input, verification failed, another build, Ctrl-C."""

ORDER = (
    ("Build a data set", ("classes", "world", "plan", "candidates", "coverage", "build", "status")),
    ("Look at it, trust it", ("split", "stats", "report", "view", "picture", "verify")),
    ("Learn from it", ("train-reference",)),
)
"""The order in which a newcomer needs the commands."""


class PlaceType(click.ParamType["Place"]):
    """A folder, or a place in a bucket."""

    name = "folder or address"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> "Place":
        """Read one argument."""
        from gl10m.storage.place import place_of

        place = place_of(value)
        if isinstance(place, Path):
            return Path(os.fsdecode(click.Path(file_okay=False).convert(place, param, ctx)))
        return place


root_option = click.option(
    "--root",
    type=PlaceType(),
    envvar="GL10M_ROOT",
    default="gl10m-data",
    show_default="$GL10M_ROOT, else ./gl10m-data",
    help="The data set: a folder, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX.",
)
"""Where a data set lives; the same in every command."""


class Commands(click.Group):
    """The group of all registered commands, listed in the order of their use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of use; commands of other packages come last."""
        known = [name for _, names in ORDER for name in names]
        found = {entry.name for entry in entry_points(group="gl10m.commands")} | set(
            super().list_commands(ctx)
        )
        return [name for name in known if name in found] + sorted(found - set(known))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, loaded when asked for."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        for entry in entry_points(group="gl10m.commands", name=cmd_name):
            command = entry.load()
            return command if isinstance(command, click.Command) else None
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in sections."""
        names = self.list_commands(ctx)
        sections = [(title, [n for n in order if n in names]) for title, order in ORDER]
        placed = {name for _, order in sections for name in order}
        sections.append(("More commands", [name for name in names if name not in placed]))
        for title, members in sections:
            rows = []
            for name in members:
                command = self.get_command(ctx, name)
                if command is not None:
                    rows.append((name, command.get_short_help_str(limit=88)))
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with no network: gl10m build --states CA,TX --source synthetic && gl10m split. "
    "Each command explains itself with --help.",
)
@click.version_option(gl10m.__version__, prog_name="gl10m")
def cli() -> None:
    """Construct, load and learn from GL-10M: aligned Sentinel-2 and NAIP scenes with OSM labels.

    \b
    The order of things:
      gl10m build --states CA,TX       OSM extracts and imagery -> shards and manifests
      gl10m split                      train, val and test, as in the paper
      from gl10m import GL10MDataset   scenes as tensors, HR tiles on demand
      gl10m train-reference            sampler and predictor of the paper
    """


@cli.command()
@root_option
@click.option(
    "--by",
    default="state",
    show_default=True,
    help="state (the paper's), group (shared ground or imagery stays together), random, block, "
    "or a CSV or Parquet file with the columns scene_id and split.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of group, random and block.")
@click.option("--check", is_flag=True, help="Count scenes of different splits that overlap on the ground.")
def split(root: "Place", by: str, seed: int, *, check: bool) -> None:
    """Assign every scene to train, val or test.

    The split is a manifest of its own; no image is touched, so a data set can be split again at any time.

    \b
    Example:
      gl10m split --root demo
      gl10m split --root demo --by block --seed 7 --check
    """
    from gl10m.report import splitting

    click.echo(splitting.split_root(root, by, seed))
    if check:
        text, clean = splitting.check_root(root)
        click.echo(text)
        if not clean:
            raise click.exceptions.Exit(EXIT_VERIFICATION)


@cli.command()
@root_option
def stats(root: "Place") -> None:
    """Print the funnel beside the paper's, the splits and the scenes of each class.

    \b
    Example:
      gl10m stats --root demo
    """
    from gl10m.report import statistics

    click.echo(statistics.describe(root))


@cli.command()
@root_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PNG; ROOT/picture.png if not given, picture.png here where ROOT is in a bucket.",
)
@click.option(
    "--scenes", default=3, show_default=True, type=click.IntRange(1, 12), help="Rows of the picture."
)
@click.argument("scene_ids", nargs=-1)
def picture(root: "Place", out: Path | None, scenes: int, scene_ids: tuple[str, ...]) -> None:
    """Draw scenes one can look at: LR beside the HR mosaic, with the labels.

    \b
    Example:
      gl10m picture --root demo
      gl10m picture --root demo CA-w123 TX-w456 --out scenes.png
    """
    from gl10m.report import contact_sheet

    target = out or (root / "picture.png" if isinstance(root, Path) else Path("picture.png"))
    contact_sheet.draw(root, target, list(scene_ids), scenes)
    click.echo(f"wrote {target}")


@cli.command()
@root_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="HTML; ROOT/report.html if not given, report.html here where ROOT is in a bucket.",
)
@click.option(
    "--scenes", default=6, show_default=True, type=click.IntRange(0, 24), help="Scenes shown with pictures."
)
def report(root: "Place", out: Path | None, scenes: int) -> None:
    """Write one HTML file about the data set, which opens without network.

    The funnel and the classes beside the paper's, a map, dates, cloud and black pixels, classes that stand
    together, sample scenes, provenance and licences.

    \b
    Example:
      gl10m report --root demo --out report.html
    """
    from gl10m.report.page import assembly

    target = out or (root / "report.html" if isinstance(root, Path) else Path("report.html"))
    size = assembly.write_report(root, target, scenes)
    click.echo(f"wrote {target}, {size / 1e6:.1f} MB: open it in a browser")


@cli.command()
@root_option
@click.option(
    "--order",
    "order_files",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Parquet with scene_id, rank and tile: in which order a sampler buys. May be given more than once.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the random order.")
@click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="Port on 127.0.0.1; any free one if 0."
)
@click.option(
    "--static",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the viewer into this new folder instead of serving it; some 3 MB a scene.",
)
@click.option(
    "--scenes",
    type=click.IntRange(min=1),
    help="Scenes to show at most, spread over the data set; all if not given, 50 with --static.",
)
@click.argument("scene_ids", nargs=-1)
def view(  # noqa: PLR0917 - click passes options by name
    root: "Place",
    order_files: tuple[Path, ...],
    seed: int,
    port: int,
    folder: Path | None,
    scenes: int | None,
    scene_ids: tuple[str, ...],
) -> None:
    """Browse scenes: LR beside the HR tiles that a budget buys, with the outlines of the classes.

    The page is served on 127.0.0.1 alone until Ctrl-C, or written as a folder that any browser opens.

    \b
    Example:
      gl10m view --root demo
      gl10m view --root demo --order sampler.parquet --static scenes
    """
    from gl10m.view import command

    site = command.site_of(root, scene_ids, scenes, order_files, seed, is_static=folder is not None)
    if folder is not None:
        click.echo(command.write(site, folder))
    else:
        command.serve(site, port, click.echo)


@cli.command()
@root_option
@click.option("--deep", is_flag=True, help="Decode every image and compare every checksum.")
def verify(root: "Place", *, deep: bool) -> None:
    """Check that the data set is whole: shards, index and manifests agree.

    \b
    Example:
      gl10m verify --root demo --deep
    """
    from gl10m.store import integrity

    problems = integrity.verify(root, deep=deep)
    for problem in problems:
        click.echo(str(problem), err=True)
    if problems:
        raise click.exceptions.Exit(EXIT_VERIFICATION)
    click.echo(f"{root} is whole")


def main() -> Any:  # noqa: ANN401 - what click returns
    """Run the command; an error of ours is one line, with its class and its remedy."""
    try:
        return cli.main(prog_name="gl10m", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        click.echo("stopped", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (OSError, ValueError, RuntimeError, LookupError) as error:
        if os.environ.get("GL10M_DEBUG"):
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        click.echo(f"gl10m: {type(error).__name__}: {text}", err=True)
        locked = type(error).__name__ in {"BuildLockedError", "LeaseHeldError"}
        sys.exit(EXIT_LOCKED if locked else EXIT_USAGE)


if __name__ == "__main__":
    main()
