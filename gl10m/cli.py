"""The command `gl10m`. Other wings add theirs by the entry point `gl10m.commands`.

Commands import their engines when they run, so that `gl10m --help` answers at once.
"""

import json
import math
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
    (
        "Look at it, trust it",
        ("split", "stats", "report", "view", "trace", "picture", "verify", "repair", "compact"),
    ),
    ("Take it elsewhere", ("export", "card")),
    (
        "Learn from it",
        ("train-reference", "evaluate-reference", "reproduce", "plan-tiles", "evaluate-zeroshot"),
    ),
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


class NumberRange(click.FloatRange):
    """A range of numbers. "nan" is a float that is below and above nothing: click lets it through."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Read one argument."""
        found = float(super().convert(value, param, ctx))
        if math.isnan(found):
            self.fail(f"{value!r} is no number; give one from {self.min:g} to {self.max:g}.", param, ctx)
        return found


def names_between_commas(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    value: str | None,
) -> tuple[str, ...] | None:
    """Names between commas; click's signature."""
    return None if value is None else tuple(name.strip() for name in value.split(",") if name.strip())


def _fractions(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, float] | None:
    """train=0.8,val=0.1,test=0.1 as a mapping; click's signature."""
    pairs = [part.partition("=") for part in names_between_commas(ctx, param, value) or ()]
    try:
        found = {name.strip(): float(share) for name, _, share in pairs}
    except ValueError:
        found = {}
    if value is not None and len(found) != max(len(pairs), 1):
        raise click.BadParameter(
            "shares are NAME=SHARE between commas, each name once, as train=0.8,val=0.1,test=0.1; "
            f"got {value!r}"
        )
    return None if value is None else found


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
    show_default="state",
    help="state (the paper's), group (shared ground or imagery stays together), random, block (squares of "
    "ground), concept (Base and Novel), or a CSV or Parquet file with columns split and scene_id or state.",
)
@click.option("--seed", type=int, help="Seed of group, random and block.  [default: 0]")
@click.option(
    "--fractions",
    callback=_fractions,
    metavar="NAME=SHARE,...",
    help="Shares of group, random and block, as train=0.8,val=0.1,test=0.1.  [default: the paper's]",
)
@click.option("--block", type=float, metavar="DEGREES", help="Side of a block.  [default: 0.5]")
@click.option(
    "--shared",
    callback=names_between_commas,
    metavar="WHAT,...",
    help="What keeps the scenes of a group together.  [default: ground,naip,sentinel-2]",
)
@click.option(
    "--novel",
    callback=names_between_commas,
    metavar="CLASS,...",
    help="Concepts that no scene of train or val shows.  [default: the 16 of docs/splits.md]",
)
@click.option(
    "--apart",
    is_flag=True,
    help="Set scenes that share ground or pixels with another split aside, in border; block does anyway.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Prove that no two splits overlap on the ground, and show how near they come. Without --by the "
    "split that stands is checked and not made anew.",
)
@click.option("--pixels", is_flag=True, help="With --check: nor are cut from the same pixels of an item.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def split(root: "Place", *, by: str | None, check: bool, pixels: bool, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - see SplitRequest
    """Assign every scene to train, val or test.

    The split is a manifest of its own; no image is touched, so a data set can be split again at any time.

    \b
    Example:
      gl10m split --root demo
      gl10m split --root demo --check
      gl10m split --root demo --by block --seed 7 --check
      gl10m split --root demo --by group --shared ground,naip --fractions train=0.7,val=0.1,test=0.2
      gl10m split --root demo --by concept --novel "Airport,Golf course"
    """
    from gl10m.report import splitting
    from gl10m.report.split_request import SplitRequest

    if pixels and not check:
        raise click.UsageError("--pixels says what --check looks for; give both")
    given = by is not None or any(value is not None and value is not False for value in options.values())
    stands = (root / "manifests" / "splits.parquet").exists()
    made = None
    if given or not (check and stands):
        made = splitting.split_root(root, SplitRequest(by=by or "state", **options))
    checked = splitting.check_root(root, pixels=pixels) if check else None
    told = {name: found for name, found in (("split", made), ("check", checked)) if found is not None}
    if as_json:
        click.echo(json.dumps({name: found.record for name, found in told.items()}, indent=2))
    else:
        click.echo("\n".join(found.text for found in told.values()))
    if checked is not None and not checked.apart:
        raise click.exceptions.Exit(EXIT_VERIFICATION)


@cli.command()
@root_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the counts as Parquet, one row a number, with the paper's beside it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stats(root: "Place", out: Path | None, *, as_json: bool) -> None:
    """Print the paper's Table 5, its counts and those of this data set side by side.

    \b
    Example:
      gl10m stats --root demo
      gl10m stats --root demo --out counts.parquet
    """
    from gl10m.report import funnel, statistics

    found = statistics.count_root(root)
    if out is not None:
        found.write(out)
    if as_json:
        click.echo(json.dumps(found.table.to_pylist(), indent=2))
    else:
        click.echo(f"{found.text}\n\n{funnel.describe_root(root)}")


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
def view(  # noqa: PLR0917 - one a command-line option
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
    """Run the command and give its exit code; an error of ours is one line, with its class and its remedy."""
    try:
        return cli.main(prog_name="gl10m", standalone_mode=False)
    except click.Abort:
        click.echo("stopped; the same command again goes on with what is finished", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (OSError, ValueError, RuntimeError, LookupError) as error:
        if os.environ.get("GL10M_DEBUG"):
            raise
        from gl10m.report.terminal import plain

        text = plain(" ".join(str(error).split())) or type(error).__name__
        click.echo(f"gl10m: {type(error).__name__}: {text}", err=True)
        locked = type(error).__name__ in {"BuildLockedError", "LeaseHeldError"}
        sys.exit(EXIT_LOCKED if locked else EXIT_USAGE)
