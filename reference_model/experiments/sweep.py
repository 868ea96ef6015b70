"""What a threshold of our sampler buys and gives (Figure 8)."""

from collections.abc import Sequence

import torch

from reference_model.experiments.figures import Gallery
from reference_model.experiments.runs import Ranked
from reference_model.face import Setting
from reference_model.methods.representing import Ours
from reference_model.methods.subruns import calibration, sampler_scores


def threshold_sweep(
    setting: Setting, gallery: Gallery, thresholds: Sequence[float]
) -> list[dict[str, float]]:
    """Figures of our model at thresholds on the common scale: 0 buys all tiles, 1 none."""
    if not thresholds:
        return []
    model = Ours(setting)
    model.fit()
    scores = sampler_scores(setting, setting.job.preset.fusion)
    scale = calibration(setting, scores, setting.job.target_obr)
    rows = torch.from_numpy(setting.job.roles.test)
    found = []
    for threshold in thresholds:
        selected = scale.select(scores[rows], threshold)
        ranked = model.embed(rows, selected) @ setting.texts.embeddings.T
        found.append({"threshold": threshold, **gallery.figures(Ranked(ranked[None], selected[None]))})
    return found
