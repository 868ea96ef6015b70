"""The commands `gl10m reproduce` and `gl10m evaluate-reference`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gl10m.cli import names_between_commas, root_option
from reference_model.options import (
    check_encoder_files,
    device_option,
    encoder_option,
    novel_option,
    preset_option,
    texts_option,
    weights_option,
)

if TYPE_CHECKING:
    from gl10m.storage.place import Place
    from reference_model.reproduction.reproduce import Outside


def _seeds(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:  # noqa: ARG001
    """Seeds between commas; click's signature."""
    try:
        found = tuple(dict.fromkeys(int(part) for part in value.split(",")))
    except ValueError:
        found = ()
    if not found or min(found) < 0:
        raise click.BadParameter(f"seeds are whole numbers from 0, between commas, as 0,1,2; got {value!r}")
    return found


def _named(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Path]:  # noqa: ARG001
    """NAME=PATH, given several times; click's signature."""
    pairs = [value.partition("=") for value in values]
    wrong = [value for value, (name, _, path) in zip(values, pairs, strict=True) if not (name and path)]
    if wrong:
        raise click.BadParameter(f"give NAME=PATH, as remoteclip=RemoteCLIP-ViT-B-32.pt; got {wrong[0]!r}")
    missing = [value for value, (_, _, path) in zip(values, pairs, strict=True) if not Path(path).exists()]
    if missing:
        raise click.BadParameter(f"nothing is there: {missing[0]!r}; without it the row says what it needs")
    return {name: Path(path) for name, _, path in pairs}


_row_files = (
    click.option(
        "--row-weights",
        callback=_named,
        multiple=True,
        metavar="NAME=FILE",
        help="Weights of a row that brings its own, as remoteclip=FILE; may be given more than once.",
    ),
    click.option(
        "--row-texts",
        callback=_named,
        multiple=True,
        metavar="NAME=FOLDER",
        help="Its text tower or tokenizer; may be given more than once.",
    ),
)
_folders = (
    click.option(
        "--eurosat",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="EuroSAT, for Table 3.",
    ),
    click.option(
        "--bigearthnet",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="BigEarthNet v2, for Table 3; see evaluate-zeroshot for both.",
    ),
)
_lights = click.option(
    "--night-lights",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Raster of night lights, as the VIIRS annual composite, for the rows that sample by it.",
)


@click.command()
@root_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the results; an unfinished run that stands there goes on.",
)
@click.option(
    "--seeds",
    callback=_seeds,
    default="0",
    show_default=True,
    help="Seeds of the trainings, as 0,1,2. Five make intervals that can be trusted.",
)
@preset_option
@encoder_option
@weights_option
@texts_option
@novel_option
@_row_files[0]
@_row_files[1]
@_lights
@_folders[0]
@_folders[1]
@click.option(
    "--only",
    callback=names_between_commas,
    metavar="METHOD,...",
    help="Methods to run; rows of others say not run. One that no table of the paper has, or that another "
    "package registers, is measured at its own OBR, into tables/other-rows.",
)
@device_option
def reproduce(  # noqa: PLR0917 - one a command-line option
    root: "Place",
    out: Path,
    seeds: tuple[int, ...],
    preset: str,
    encoder: str,
    weights: Path | None,
    texts: Path | None,
    novel: tuple[str, ...] | None,
    only: tuple[str, ...] | None,
    device: str,
    **outside: Any,  # noqa: ANN401 - see _outside
) -> None:
    """Make the tables and figures of the paper from a data set, and one report of them.

    Tables 1 to 6 as Markdown, CSV and LaTeX, Figures 3, 4, 5, 7, 8 and 9 with their numbers, report.html, a
    model card, and what was chosen where the paper is silent. Every row of the paper stands in its table: as
    measured, or with what it waits for. A run that was cut off goes on; equal runs have equal bytes.

    \b
    Example:
      gl10m reproduce --root demo --out demo/reproduction
      gl10m reproduce --root demo --out demo/reproduction --seeds 0,1,2
      gl10m reproduce --root data --out runs/siglip2 --preset paper --encoder siglip2 --device cuda
    """
    check_encoder_files(encoder, weights, texts)
    from reference_model.encoding import EncoderChoice
    from reference_model.presets import PRESETS
    from reference_model.reproduction.reproduce import check_methods
    from reference_model.reproduction.reproduce import reproduce as run
    from reference_model.train import Recipe, open_ground

    check_methods(only)
    from_outside = _outside(**outside)
    recipe = Recipe(
        preset=PRESETS[preset],
        encoder=EncoderChoice(name=encoder, weights=weights, texts=texts),
        device=device,
    )
    try:
        report = run(
            open_ground(root, novel),
            out,
            recipe,
            seeds,
            say=_say,
            outside=from_outside,
            only=only,
        )
    except KeyboardInterrupt:
        _say(f"what is finished stands in {out}; the same command goes on behind it")
        raise
    click.echo(f"wrote {report}: open it in a browser\ntables, figures, records, model card: {out}")


@click.command("evaluate-reference")
@root_option
@click.option(
    "--run",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Run folder of train-reference, finished.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="RUN/evaluation",
    help="Folder of the results.",
)
@weights_option
@texts_option
@_row_files[0]
@_row_files[1]
@_lights
@_folders[0]
@_folders[1]
@device_option
def evaluate(  # noqa: PLR0917 - one a command-line option
    root: "Place",
    run: Path,
    out: Path | None,
    weights: Path | None,
    texts: Path | None,
    device: str,
    **outside: Any,  # noqa: ANN401 - see _outside
) -> None:
    """Make tables and figures from the weights of one run, without training again.

    Rows that need another training are told as not run; `gl10m reproduce` trains them.

    \b
    Example:
      gl10m train-reference --preset tiny --root demo
      gl10m evaluate-reference --run demo/runs/tiny-0 --root demo
    """
    from reference_model.encoding import EncoderChoice
    from reference_model.reproduction.opening import novel_of, recipe_of
    from reference_model.reproduction.reproduce import evaluate_run
    from reference_model.train import open_ground

    from_outside = _outside(**outside)
    recipe, seed = recipe_of(run, EncoderChoice(weights=weights, texts=texts), device)
    target = out or run / "evaluation"
    try:
        report = evaluate_run(
            open_ground(root, novel_of(run)), run, target, recipe, seed, say=_say, outside=from_outside
        )
    except KeyboardInterrupt:
        _say(f"what is finished stands in {target}; the same command goes on behind it")
        raise
    click.echo(f"wrote {report}: open it in a browser\ntables, figures, records, model card: {target}")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _outside(
    *,
    row_weights: dict[str, Path],
    row_texts: dict[str, Path],
    night_lights: Path | None,
    eurosat: Path | None,
    bigearthnet: Path | None,
) -> "Outside":
    """What rows need from outside, from the options."""
    from reference_model.baselines.covariates import NightLights
    from reference_model.baselines.entry import Assets
    from reference_model.methods.registry import methods
    from reference_model.reproduction.reproduce import Outside
    from reference_model.reproduction.zero_shot import Folders

    rows = [entry for entry in methods().values() if entry.encoder is not None]
    known = {name for entry in rows for name in (entry.name, str(entry.encoder))}
    if unknown := sorted({*row_weights, *row_texts} - known):
        raise click.UsageError(
            "--row-weights and --row-texts are for rows that bring their own encoder: "
            f"{', '.join(sorted(known))}; got {', '.join(unknown)}"
        )
    lights = None if night_lights is None else NightLights(night_lights)
    folders = Folders(eurosat=eurosat, bigearthnet=bigearthnet)
    folders.opened()  # what is no data set is refused now, and not after the training
    if lights is not None:
        lights.check()
    return Outside(assets=Assets(weights=row_weights, texts=row_texts, covariate=lights), folders=folders)
