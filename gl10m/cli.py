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
    ("Look at it, trust it", ("split", "stats", "picture", "verify", "repair", "compact")),
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
@click.option("--deep", is_flag=True, help="Read every byte, compare every checksum, decode every image.")
@click.option("--threads", type=click.IntRange(1), help="Shards checked at a time; one a core by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
def verify(root: "Place", threads: int | None, *, deep: bool, as_json: bool) -> None:
    """Check that the data set is whole: shards, indexes, manifests and, in a bucket, its register.

    Without --deep: indexes and manifests byte for byte, of shards their sizes, footers and scenes. With it
    every byte of every shard. Each problem is one line with file, scene and remedy; the exit code is then 3.

    \b
    Example:
      gl10m verify --root demo
      gl10m verify --root demo --deep --json
    """
    import json

    from tqdm import tqdm

    from gl10m.store import integrity, memory

    with memory.bounded(), tqdm(unit="B", unit_scale=True, desc="shards", disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        problems = integrity.verify(root, deep=deep, threads=threads, progress=show)
    if as_json:
        told = [problem.record() for problem in problems]
        click.echo(
            json.dumps({"root": str(root), "deep": deep, "whole": not told, "problems": told}, indent=1)
        )
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
    if problems:
        raise click.exceptions.Exit(EXIT_VERIFICATION)
    if not as_json:
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
