"""The command `gl10m plan-tiles`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gl10m.cli import NumberRange, root_option
from reference_model.options import device_option, model_option, weights_option

if TYPE_CHECKING:
    from gl10m.storage.place import Place


@click.command("plan-tiles")
@root_option
@model_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Parquet to write: one row a tile, best first.",
)
@click.option("--split", help="Plan for the scenes of this split alone, as test.  [default: all scenes]")
@click.option(
    "--obr",
    type=NumberRange(0, 1),
    help="Budget: the best so many of all tiles together, as .123; 1 orders all.",
)
@click.option(
    "--tau",
    type=NumberRange(0, 1),
    help="Threshold on the score instead.  [default: the one that the run has calibrated]",
)
@weights_option
@device_option
def plan_tiles(  # noqa: PLR0917 - one a command-line option
    root: "Place",
    folder: Path,
    out: Path,
    split: str | None,
    obr: float | None,
    tau: float | None,
    weights: Path | None,
    device: str,
) -> None:
    """Say in which order to buy HR tiles, from the LR images alone.

    No HR tile is read: the order can be made before any is bought. The file has scene_id, tile, order over
    all scenes, rank in the scene, score, cost and the edges of the tile; `gl10m view --order` shows it.

    \b
    Example:
      gl10m plan-tiles --run demo/runs/tiny-0 --root demo --obr .123 --out order.parquet
      gl10m view --root demo --order order.parquet
    """
    if obr is not None and tau is not None:
        raise click.UsageError("--obr is a budget and --tau a threshold; give one of them")
    import gl10m
    from gl10m.manifest.parquet import check_target
    from reference_model.determinism import threads
    from reference_model.inference.model import GL10MReference
    from reference_model.inference.order import order_of, write_order
    from reference_model.team import team

    check_target(out)
    with team(device) as one:
        model = GL10MReference.from_pretrained(folder, weights=weights).to(one.device)
        scenes = gl10m.GL10MDataset(root, split)
        with threads(model.description.threads):
            order = order_of(model, scenes, tau=tau, obr=obr)
    write_order(out, order, model)
    bought = order.bought.sum(dim=1)
    click.echo(
        f"{int(bought.sum()):,} of {order.bought.numel():,} tiles (OBR {order.obr:.4f}) of {len(bought):,} "
        f"scenes, {int(bought.min())} to {int(bought.max())} a scene: {order.rule}"
    )
    click.echo(f"wrote {out}")
