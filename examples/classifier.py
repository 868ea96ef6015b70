"""Train a multi-label classifier on LR and a few HR tiles, with nothing but PyTorch.

gl10m build --states CA,TX --source synthetic --root demo
gl10m split --root demo --by random
python examples/classifier.py demo
"""

import argparse
import sys

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gl10m import GL10MDataset

TILES = 4
"""HR tiles that each scene may cost: 4 of 100."""


class Classifier(nn.Module):
    """One small encoder for both resolutions; a scene is its LR image beside the mean of its tiles."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inner, outer in ((3, width), (width, width), (width, 2 * width)):
            layers += [nn.Conv2d(inner, outer, 3, stride=4, padding=1), nn.GroupNorm(4, outer), nn.ReLU()]
        self.encoder = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4 * width, classes)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Logits, (scenes, classes)."""
        lr = self.encoder(batch["image"].float() / 255)
        tiles = self.encoder(batch["hr"].flatten(0, 1).float() / 255).unflatten(0, (len(lr), -1))
        return self.head(torch.cat([lr, tiles.mean(dim=1)], dim=1))


def mean_average_precision(scores: Tensor, truth: Tensor) -> float:
    """Mean over the classes that occur; both (scenes, classes)."""
    order = scores.argsort(dim=0, descending=True)
    hits = truth.gather(0, order).float()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)[:, None]
    occurs = hits.sum(0) > 0
    return float(((precision * hits).sum(0) / hits.sum(0))[occurs].mean())


def main(root: str, epochs: int = 5) -> float:
    """Train on the train split and return mAP on val."""
    torch.manual_seed(0)
    train = GL10MDataset(root, "train", tiles=TILES)
    val = GL10MDataset(root, "val", tiles=TILES)
    loader = DataLoader(train, batch_size=8, shuffle=True)
    model = Classifier(len(train.class_names))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for epoch in range(epochs):
        train.set_epoch(epoch)  # other tiles of each scene
        for batch in loader:
            loss = nn.functional.binary_cross_entropy_with_logits(model(batch), batch["label"].float())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")
    with torch.inference_mode():
        batches = list(DataLoader(val, batch_size=8))
        scores = torch.cat([model(batch) for batch in batches])
        truth = torch.cat([batch["label"] for batch in batches])
    return mean_average_precision(scores, truth)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "root", help="data set with scenes in train and val; --by state gives CA and TX no val"
    )
    parser.add_argument("--epochs", type=int, default=5, help="passes over train (default: 5)")
    asked = parser.parse_args()
    try:
        print(f"mAP on val: {main(asked.root, asked.epochs):.3f}")
    except (OSError, ValueError) as error:  # of gl10m: what was found, and the remedy
        sys.exit(f"{parser.prog}: {error}")
