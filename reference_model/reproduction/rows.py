"""What the figures need of rows beside their scores: how they complete a scene."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from gl10m.scene.grid import GRID
from reference_model.baselines.entry import Assets
from reference_model.evaluate import in_batches
from reference_model.face import Method, Setting
from reference_model.methods.evidence import Evidence
from reference_model.methods.ours import OURS, Assembled
from reference_model.methods.representing import OtherPredictor, WithoutPredictor
from reference_model.networks.positions import grid_to_tiles
from reference_model.reproduction.parts import Completion

OURS_COMPLETES = "ours"
"""What the figures call our own completion."""

LR_FILLING, WITHOUT_LR, WITHOUT_PRETRAINING = "LR filling", "w/o LR", "w/o pretraining"

COMPLETING: Mapping[str, str] = {LR_FILLING: "lr-filling", WITHOUT_LR: "predictor-without-lr"}
"""Rows that complete a scene otherwise than ours, by what the figures call them."""


def ours(setting: Setting) -> Method:
    """Our model, trained or read back."""
    return _fitted(setting, "ours")


def completions_of(setting: Setting, methods: Collection[str]) -> dict[str, Completion]:
    """How other rows complete a scene, by what the figures call them; trained or read back.

    Where stage I learned from unlabelled scenes too, the predictor that did not is one of them.

    Args:
        setting: what they are trained on.
        methods: rows that may be trained; the others are left out.
    """
    names = dict(COMPLETING)
    if len(setting.job.roles.unlabelled):
        names[WITHOUT_PRETRAINING] = "without-pretraining"
    return {name: _completion(setting, row) for name, row in names.items() if row in methods}


def _fitted(setting: Setting, row: str) -> Method:
    method = OURS[row].make(setting, Assets(), 0)
    method.fit()
    return method


def _completion(setting: Setting, row: str) -> Completion:
    method = _fitted(setting, row)
    if not isinstance(method, Assembled):
        raise TypeError(f"{row} does not complete scenes")
    representation = method.representation
    if not isinstance(representation, (OtherPredictor, WithoutPredictor)):
        raise TypeError(f"{row} does not complete scenes")
    view = representation.row.view

    @torch.no_grad()
    def complete(rows: Tensor, selected: Tensor) -> Tensor:
        found = []
        for part, where in in_batches(rows, selected):
            evidence: Evidence = view(setting.features, part, where.to(setting.features.device))
            side = GRID * round(setting.features.hr.shape[2] ** 0.5)
            found.append(grid_to_tiles(evidence.tokens.view(len(part), side, side, -1)).cpu())
        return torch.cat(found)

    return complete
