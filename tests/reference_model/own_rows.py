"""What a package of someone else holds: one encoder and one row, one file. docs/baselines.md shows it."""

from pathlib import Path

import torch
from torch import Tensor, nn

from reference_model.baselines.entry import Assets, Entry
from reference_model.face import Method, Setting
from reference_model.networks.published import OwnNetwork, Published, PublishedEncoder


class Colours(OwnNetwork):
    """The mean colour of each patch, and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.dim, self.stride = 4, 8
        self.pool = nn.AvgPool2d(8)

    def forward(self, pixels: Tensor) -> Tensor:
        colours = self.pool(pixels).flatten(2).mT
        return torch.cat([colours, torch.ones_like(colours[..., :1])], dim=-1)


def colours(weights: Path | None) -> PublishedEncoder:  # noqa: ARG001 - it has none
    published = Published(
        hub_id="example.org/colours",
        file="none",
        shape=None,
        input_px=32,
        mean=(0.5, 0.5, 0.5),
        deviation=(0.5, 0.5, 0.5),
        licence="Apache-2.0",
    )
    return PublishedEncoder(published, own=Colours())


class NorthRow:
    """Buys the north of every scene and ranks by the mean embedding of what it bought."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.name = setting, "north"

    def fit(self) -> None:
        pass

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        return (torch.arange(100) < round(100 * target_obr)).expand(len(rows), -1)

    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:
        place, tile = selected.nonzero(as_tuple=True)
        bought = self.setting.features.hr_embedding[rows[place], tile]
        return torch.zeros(len(rows), bought.shape[1]).index_add_(0, place, bought)

    def rank(self, embedded: Tensor) -> Tensor:
        return embedded @ self.setting.texts.embeddings.T


def make(setting: Setting, assets: Assets, draw: int) -> Method:  # noqa: ARG001
    return NorthRow(setting)


NORTH = Entry(
    name="north",
    stands_for=(),
    observes="LR + HR",
    regime="zero-shot",
    paper_obr=0.1,
    learned="nothing",
    make=make,
)
