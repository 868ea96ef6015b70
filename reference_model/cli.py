"""The command `gl10m train-reference`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gl10m.cli import NumberRange, root_option
from reference_model.options import (
    ENCODERS,
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


KINDS = ("_base", "_novel")
"""What mAP@K is told separately for."""


@click.command()
@preset_option
@root_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="ROOT/runs/PRESET-SEED; runs/PRESET-SEED here where ROOT is in a bucket",
    help="Run folder: weights, threshold, log and result.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides all chance.")
@click.option(
    "--obr",
    type=NumberRange(0, 1),
    default=0.123,
    show_default=True,
    help="Share of HR tiles to observe.",
)
@encoder_option
@weights_option
@texts_option
@novel_option
@device_option
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="torch.compile takes the blocks of what is trained: slow at first, faster steps on a GPU.",
)
def train(  # noqa: PLR0917 - one a command-line option
    preset: str,
    root: "Place",
    out: Path | None,
    seed: int,
    obr: float,
    encoder: str,
    weights: Path | None,
    texts: Path | None,
    novel: tuple[str, ...] | None,
    device: str,
    *,
    compiled: bool,
) -> None:
    """Train sampler and predictor, show what sparse observation buys.

    The sampler chooses HR tiles from the LR image alone; the predictor completes the scene from them. The
    table compares LR only, the sampler's tiles, as many random tiles, and full observation on held-out
    scenes. A run that was cut off continues at its last finished stage; a finished run prints its result.

    \b
    Example:
      gl10m train-reference --preset tiny --root demo
    """
    check_encoder_files(encoder, weights, texts)
    from reference_model.encoding import EncoderChoice
    from reference_model.presets import PRESETS
    from reference_model.train import Recipe, open_ground, train_reference

    def say(line: str) -> None:
        click.echo(line, err=True)

    home = root if isinstance(root, Path) else Path()
    folder = out or home / "runs" / "-".join((preset, *([] if encoder == "small" else [encoder]), str(seed)))
    recipe = Recipe(
        preset=PRESETS[preset],
        encoder=EncoderChoice(name=encoder, weights=weights, texts=texts),
        target_obr=obr,
        device=device,
        compiled=compiled,
    )
    metrics = train_reference(open_ground(root, novel), folder, recipe, seed, say)
    click.echo(table(metrics))
    click.echo(f"\nweights, threshold and result: {folder}")


def table(metrics: dict[str, Any]) -> str:
    """Lay the result of a run out for the terminal.

    Args:
        metrics: the content of metrics.json.
    """
    rows: dict[str, dict[str, float]] = metrics["observations"]
    ranks = sorted(int(key[4:]) for key in rows["full"] if key.startswith("mAP@") and key[4:].isdigit())
    lines = [*_about(metrics), ""]
    kinds = [kind for kind in KINDS if any(key.endswith(kind) for key in rows["full"])]
    titles = "".join(f"{f'mAP@{k}':>9}" for k in ranks)
    titles += "".join(f"{kind[1:] + f'@{ranks[-1]}':>10}" for kind in kinds)
    lines.append(f"{'observation':<17}{'OBR':>7}{'tiles':>12}{titles}")
    for name, row in rows.items():
        tiles = "/".join(f"{row[f'tiles_{share}_percent']:.0f}" for share in (5, 50, 95))
        figures = "".join(f"{row[f'mAP@{k}']:>9.3f}" for k in ranks)
        figures += "".join(f"{row[f'mAP@{ranks[-1]}{kind}']:>10.3f}" for kind in kinds)
        lines.append(f"{name:<17}{row['OBR']:>7.3f}{tiles:>12}{figures}")
    lines += ["", *_remarks(metrics)]
    return "\n".join(lines)


def _about(metrics: dict[str, Any]) -> list[str]:
    classes, scenes = metrics["classes"], metrics["scenes"]
    counts = f"{scenes['train']} trained on, {scenes['val']} for the threshold, {scenes['test']} held out"
    untaught, novel = classes["evaluated_without_training_scene"], classes["evaluated_novel"]
    evaluated = f"{classes['evaluated']} of {classes['all']} have a held-out scene, {novel} of them Novel"
    return [
        f"preset {metrics['preset']}, encoder {metrics['encoder']}, seed {metrics['seed']}",
        f"scenes: {counts}, {metrics['dropped']} left out because they overlap held-out ground",
        metrics["held_out"],
        f"classes: {evaluated}, {untaught} without a training scene",
        f"chance level of mAP (mean prevalence): {metrics['chance']:.3f}",
    ]


def _remarks(metrics: dict[str, Any]) -> list[str]:
    remarks = [
        "tiles: HR tiles bought a scene, 5th/50th/95th percentile. A K beyond the gallery ranks all of it."
    ]
    if metrics["sampler"]["collapsed"]:
        remarks.append("The sampler has collapsed or learned little: read no order off this table.")
    if metrics["encoder"] == ENCODERS[0]:
        remarks.append(
            "The small encoder was trained on these scenes themselves: the figures check the machinery "
            "and are no reproduction of the paper."
        )
    return remarks
