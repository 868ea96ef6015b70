"""Each part that rows share is trained once, in a folder of its own inside the run."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gl10m.scene.grid import TILES
from reference_model import stages
from reference_model.face import Setting
from reference_model.job import Job
from reference_model.metrics.observation_cost import Calibration, calibrate
from reference_model.presets import Preset
from reference_model.run import ROWS, Run, expect_shape

SCORES = "scores.safetensors"


@dataclass(frozen=True, slots=True)
class _Scores:
    """What the file of that name holds."""

    scores: Tensor


def part_of(job: Job, name: str, preset: Preset | None = None) -> Job:
    """The same job in the folder of one part.

    Args:
        job: the run.
        name: of the part; lower case letters, digits and hyphens.
        preset: where the part is made otherwise than the run.
    """
    folder = job.run.folder / ROWS / name
    folder.mkdir(parents=True, exist_ok=True)
    return replace(job, run=Run(folder), preset=preset or job.preset)


def worth(setting: Setting, fusion: str) -> Tensor:
    """G* of all scenes under one fusion, (scenes, 100). Takes no label."""
    preset = replace(setting.job.preset, fusion=fusion)
    return stages.worth(replace(setting.job, preset=preset), setting.features, setting.texts)[1]


def sampler_scores(setting: Setting, fusion: str) -> Tensor:
    """Scores of all scenes by the sampler of one fusion, from LR alone: (scenes, 100) in (0, 1).

    The preset's own sampler is that of the run itself.
    """
    job = setting.job
    own = fusion == job.preset.fusion
    part = part_of(job, f"sampler-{fusion}", replace(job.preset, fusion=fusion))
    if not part.run.has(SCORES):
        trained_in = job if own else part
        supervision, targets = stages.worth(trained_in, setting.features, setting.texts)
        # The whole team trains; one process that trained alone would wait for the others for ever.
        sampler = stages.trained_sampler(trained_in, setting.features, supervision, targets)
        if part.team.leads:
            scores = stages.predicted_worth(job.scenes, setting.encoder, sampler)
            part.run.write_weights(SCORES, {"scores": scores})
    part.team.wait()
    found = part.run.read_as(SCORES, _Scores).scores
    with part.run.fitting(SCORES):
        expect_shape(found, (len(job.catalogue.scene_ids), TILES))
    return found


def calibration(setting: Setting, scores: Tensor, target_obr: float) -> Calibration:
    """The threshold of some scores, from validation scenes alone."""
    return calibrate(scores[torch.from_numpy(setting.job.roles.val)], target_obr)


def with_block(preset: Preset, block: str) -> Preset:
    """The preset with another block in the predictor, a key of `attention.BLOCKS`."""
    return replace(preset, predictor=replace(preset.predictor, block=block))
