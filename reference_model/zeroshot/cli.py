"""The command `gl10m evaluate-zeroshot`."""

import json
from pathlib import Path
from typing import Any

import click

from reference_model.options import device_option, model_option, texts_option, weights_option


@click.command("evaluate-zeroshot")
@model_option
@click.option(
    "--eurosat",
    type=click.Path(path_type=Path, file_okay=False),
    help="EuroSAT: a folder a class, with .jpg (EuroSAT_RGB.zip) or .tif (EuroSAT_MS.zip).",
)
@click.option(
    "--bigearthnet",
    type=click.Path(path_type=Path, file_okay=False),
    help="BigEarthNet v2: a folder with BigEarthNet-S2/ and metadata.parquet; its official test split.",
)
@click.option(
    "--split-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="EuroSAT images to take, a name a line or CSV with Filename.  "
    "[default: eurosat-spatial-test.txt, eurosat-test.txt or test.csv in the folder, else all]",
)
@click.option(
    "--white",
    type=click.IntRange(1, 65535),
    default=2750,
    show_default=True,
    help="Digital number of a band that becomes 255; printed with the figures, which it moves.",
)
@texts_option
@weights_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="JSON to write all figures to.")
@device_option
def evaluate_zeroshot(  # noqa: PLR0917 - one a command-line option
    folder: Path,
    eurosat: Path | None,
    bigearthnet: Path | None,
    split_file: Path | None,
    white: int,
    texts: Path | None,
    weights: Path | None,
    out: Path | None,
    device: str,
) -> None:
    """Recognise EuroSAT or BigEarthNet without training on it (Table 3).

    These data sets have LR alone: nothing is observed, the predictor completes from LR, and class prompts
    (printed with --out) rank the images. EuroSAT: top-1 accuracy. BigEarthNet: macro mAP over 19 classes.

    \b
    Example:
      gl10m evaluate-zeroshot --run runs/paper-siglip2-0 --eurosat EuroSAT_RGB
      gl10m evaluate-zeroshot --run runs/paper-siglip2-0 --bigearthnet BigEarthNet --white 3000
    """
    if (eurosat is None) == (bigearthnet is None):
        raise click.UsageError("name one data set: --eurosat FOLDER or --bigearthnet FOLDER")
    if split_file is not None and eurosat is None:
        raise click.UsageError("--split-file is a list of EuroSAT images; BigEarthNet has official splits")
    from gl10m.manifest.parquet import check_target, replacing
    from reference_model.determinism import threads
    from reference_model.inference.model import GL10MReference
    from reference_model.team import team
    from reference_model.zeroshot.bigearthnet import open_bigearthnet
    from reference_model.zeroshot.eurosat import open_eurosat
    from reference_model.zeroshot.evaluate import recognise

    if out is not None:
        check_target(out)
    if eurosat is not None:
        recognition = open_eurosat(eurosat, white, split_file)
    if bigearthnet is not None:
        recognition = open_bigearthnet(bigearthnet, white)
    with team(device) as one:
        model = GL10MReference.from_pretrained(folder, weights=weights).to(one.device)
        if texts is not None and model.tower is not None:
            raise click.UsageError(f"--texts is for a published text tower; {folder} has its own")
        with threads(model.description.threads):
            found = recognise(model, recognition, texts)
    if out is not None:
        with replacing(out) as temporary:
            temporary.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    click.echo(told(found))


def told(found: dict[str, Any]) -> str:
    """The figures for the terminal.

    Args:
        found: what `recognise` gives.
    """
    classes = found["classes"]
    lines = [
        f"{found['data_set']}: {found['split']}",
        f"scaling: {found['scaling']}",
        f"encoder {found['encoder']}, {found['observed']}",
        "",
    ]
    if "accuracy" in found:
        lines.append(f"top-1 accuracy {found['accuracy']:.3f}  (chance {found['chance_accuracy']:.3f})")
    lines.append(
        f"macro mAP      {found['macro_mAP']:.3f}  (chance {found['chance_mAP']:.3f}, {classes['evaluated']} "
        f"of {classes['all']} classes have an image)"
    )
    if found["encoder"] == "small":
        lines.append(
            "The small encoder knows the words of its own data set alone: this checks the machinery."
        )
    return "\n".join(lines)
