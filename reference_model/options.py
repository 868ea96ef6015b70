"""Options that several commands of this wing share; each says the same in all of them."""

from importlib.metadata import entry_points
from pathlib import Path

import click

from gl10m.cli import names_between_commas

ENCODERS = (
    "small",
    "siglip2",
    "siglip",
    "dinov2",
    "dinov2-registers",
    "dinov3",
    "clip",
    "openclip",
    "clip-rsicd",
    "remoteclip",
    "satmae",
    "cross-scale-mae",
    "scale-mae",
    "graft",
    "resnet50",
    "efficientnet-lite0",
)
"""Names for --encoder; written out, since to import the networks takes seconds."""


def encoder_names() -> tuple[str, ...]:
    """Names for --encoder with those that other packages register."""
    return (*ENCODERS, *sorted(one.name for one in entry_points(group="gl10m.encoders")))


def check_encoder_files(encoder: str, *files: Path | None) -> None:
    """Refuse files of a published encoder beside the one that a run trains for itself.

    Raises:
        click.UsageError: such files are named.
    """
    if encoder == ENCODERS[0] and any(files):
        raise click.UsageError("--weights and --texts are for a published encoder; name it with --encoder")


preset_option = click.option(
    "--preset",
    type=click.Choice(["tiny", "small", "paper"]),
    default="tiny",
    show_default=True,
    help="Size and length: minutes on two cores; hours on a CPU or minutes on a GPU; the paper's.",
)
encoder_option = click.option(
    "--encoder",
    type=click.Choice(encoder_names()),
    default=ENCODERS[0],
    show_default=True,
    help="small is trained here; the others are published networks, whose weights must be on this machine.",
)
weights_option = click.option(
    "--weights", type=click.Path(path_type=Path, dir_okay=False), help="File of a published encoder."
)
texts_option = click.option(
    "--texts",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of its text tower, or of a CLIP's tokenizer.",
)
novel_option = click.option(
    "--novel",
    callback=names_between_commas,
    metavar="CLASS,...",
    help="Classes that no training learns of, and that are ranked all the same; '' for none.  "
    "[default: the 16 of docs/splits.md]",
)
device_option = click.option(
    "--device",
    type=click.Choice(["cpu", "cuda", "auto"]),
    default="auto",
    show_default=True,
    help="auto: a GPU where there is one.",
)
model_option = click.option(
    "--run",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of a finished run of `gl10m train-reference`, or of `save_pretrained`.",
)
