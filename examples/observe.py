"""Look at LR, buy a budget of HR tiles, find scenes by the names of classes.

gl10m build --states CA,TX --source synthetic --root demo && gl10m split --root demo
gl10m train-reference --preset tiny --root demo
python examples/observe.py demo demo/runs/tiny-0
"""

import argparse
import sys

from gl10m import GL10MDataset
from gl10m.loader.collate import collate
from reference_model.inference.model import GL10MReference


def main(root: str, run: str, obr: float = 0.123) -> None:
    """Plan, observe and complete the first scenes of a data set with a trained model."""
    scenes = GL10MDataset(root)
    model = GL10MReference.from_pretrained(run)  # a run, or a folder of model.save_pretrained(...)
    batch = collate(scenes.__getitems__(range(min(8, len(scenes)))))

    plan = model.plan(
        batch["image"], obr=obr
    )  # bool (B, 100), from LR alone; without obr the run's threshold
    seen = scenes.observe(batch, plan)  # reads the bytes of these tiles and no others
    completed = model(seen["image"], seen["hr"], plan)

    print(f"{int(plan.sum())} of {plan.numel()} tiles bought: {plan.sum(dim=1).tolist()} a scene")
    print(f"completed scenes {tuple(completed.scene.shape)}, embeddings {tuple(completed.embedding.shape)}")
    best = (completed.embedding @ model.texts.T).argmax(dim=0)
    for name, place in list(zip(model.class_names, best.tolist(), strict=True))[:5]:
        print(f"{name}: {seen['scene_id'][place]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", help="data set, split or not")
    parser.add_argument("run", help="run of `gl10m train-reference`, or folder of `save_pretrained`")
    parser.add_argument("--obr", type=float, default=0.123, help="share of tiles to buy (default: 0.123)")
    asked = parser.parse_args()
    try:
        main(asked.root, asked.run, asked.obr)
    except (OSError, ValueError) as error:  # of gl10m: what was found, and the remedy
        sys.exit(f"{parser.prog}: {error}")
