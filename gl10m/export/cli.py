"""`gl10m export` and `gl10m card`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gl10m.cli import root_option

if TYPE_CHECKING:
    from gl10m.export.pixels import Format
    from gl10m.export.selection import Selection
    from gl10m.storage.place import Place

_FOLDER = click.Path(file_okay=False, path_type=Path)
_out_option = click.option(
    "--out", type=_FOLDER, required=True, help="Folder to make. It appears when it is whole."
)
_scenes_options = (
    root_option,
    click.option("--split", "splits", multiple=True, help="Only this split, as train; again for more."),
    click.option("--states", multiple=True, help="Only these states: CA,TX."),
    _out_option,
)
_pixel_options = (
    click.option(
        "--tiles",
        default="all",
        show_default=True,
        help="HR tiles of each scene: all, none, how many to draw (12), or numbers (3,47; one is 3,).",
    ),
    click.option("--seed", default=0, show_default=True, help="Seed of the draw, as GL10MDataset(seed=...)."),
    click.option(
        "--scenes-a-file",
        default=128,
        show_default=True,
        type=click.IntRange(1, 100_000),
        help="Scenes in a file at most; a scene with all its tiles is some 3.4 MB.",
    ),
)


def _options(*groups: tuple[Callable[..., Any], ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Several options at once, shown in their order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return decorate


@click.group()
def export() -> None:
    """Write a data set, or some of it, in the formats of other tools.

    A data set loads with Hugging Face datasets, pyarrow and DuckDB as it is: docs/exports.md. Stop an export
    at any time; the same command goes on. The folder takes its name when it is whole.

    \b
    Examples:
      gl10m export huggingface --root demo --out demo-hf --tiles 12
      gl10m export webdataset --root demo --out demo-tars
      gl10m export stac --root demo --out demo/stac
      gl10m export croissant --root demo
    """


@export.command()
@_options(_scenes_options, _pixel_options)
def huggingface(**asked: Any) -> None:  # noqa: ANN401 - click hands over the options by name
    """Parquet files of each split, with class names and a card, to be uploaded as they are.

    \b
    Example:
      gl10m export huggingface --root demo --out demo-hf --split train --tiles 12
    """
    from gl10m.export.huggingface import huggingface as parquet_files

    selection = _select(asked)
    _pixels(selection, asked, parquet_files(selection.class_names))


@export.command()
@_options(_scenes_options, _pixel_options)
def webdataset(**asked: Any) -> None:  # noqa: ANN401 - click hands over the options by name
    """Tars of JPEG and JSON of each split, as WebDataset reads them.

    \b
    Example:
      gl10m export webdataset --root s3://bucket/gl10m --out tars --states CA,TX
    """
    from gl10m.export.webdataset import WEBDATASET

    _pixels(_select(asked), asked, WEBDATASET)


@export.command()
@_options(_scenes_options)
@click.option(
    "--base-url",
    help="Address that the data set is published at, as https://host/gl10m; items name its shards below it. "
    "If not given: paths relative to the items, or the bucket's addresses.",
)
def stac(base_url: str | None, **asked: Any) -> None:  # noqa: ANN401 - click hands over the options by name
    """STAC collection, items with the byte range of every image, and the items as stac-geoparquet.

    \b
    Example:
      gl10m export stac --root demo --out demo/stac
    """
    from gl10m.export.stac import export_stac

    count = export_stac(_select(asked), asked["out"], base_url)
    click.echo(f"wrote {asked['out']}: {count:,} items")


@export.command()
@root_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON-LD file; ROOT/croissant.json if not given. Its paths are relative to the root.",
)
def croissant(root: "Place", out: Path | None) -> None:
    """Croissant description: files with digests, and what stands in them.

    \b
    Example:
      gl10m export croissant --root demo
    """
    from gl10m.export.croissant import FILE, write_croissant

    target = out or (root / FILE if isinstance(root, Path) else None)
    if target is None:
        raise click.UsageError(f"where the data set is in a bucket, --out names a file: --out {FILE}")
    write_croissant(root, target)
    click.echo(f"wrote {target}")


@click.command()
@root_option
def card(root: "Place") -> None:
    """Write README.md, the dataset card, and DATA_LICENCES.md anew from the manifests.

    `gl10m build` and `gl10m split` do so by themselves. A file without the line "Written by gl10m" is left
    alone.

    \b
    Example:
      gl10m card --root demo
    """
    from gl10m.report.card import LICENCES, README, write_card

    kept = write_card(root)
    for name in kept:
        click.echo(f"{root / name} is your own and was left alone", err=True)
    written = [name for name in (README, LICENCES) if name not in kept]
    if written:
        click.echo(f"{' and '.join(written)} in {root} tell what the manifests say")


def _select(asked: dict[str, Any]) -> "Selection":
    from gl10m.export.selection import select

    states = [part.strip().upper() for text in asked["states"] for part in text.split(",") if part.strip()]
    return select(asked["root"], asked["splits"], states)


def _pixels(selection: "Selection", asked: dict[str, Any], kind: "Format") -> None:
    from gl10m.export.pixels import export_pixels
    from gl10m.export.selection import TileChoice

    tiles = TileChoice.parse(asked["tiles"], asked["seed"])
    count = export_pixels(selection, asked["out"], tiles, asked["scenes_a_file"], kind)
    click.echo(f"wrote {asked['out']}: {selection.scenes:,} scenes in {count:,} files")
