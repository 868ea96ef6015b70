"""A run that was trained for a moment, on a data set on the disk: what the tests of inference share."""

from pathlib import Path

from reference_model.networks.encoder import EncoderParameters
from reference_model.networks.predictor import PredictorParameters
from reference_model.networks.sampler import SamplerParameters
from reference_model.optimise import Schedule
from reference_model.presets import Preset
from reference_model.train import Recipe, open_ground, train_reference

BRIEF = Preset(
    name="brief",
    encoder=EncoderParameters(input_px=32, dim=24, depth=1, heads=2, embedding=16),
    sampler=SamplerParameters(input_px=80, dim=16, depth=1, heads=2),
    predictor=PredictorParameters(dim=24, depth=1, heads=2),
    pretraining=Schedule(steps=3, batch=16, learning_rate=1e-3),
    sampling=Schedule(steps=3, batch=4, learning_rate=1e-3),
    completion=Schedule(steps=3, batch=4, learning_rate=1e-3),
    alignment=Schedule(steps=3, batch=4, learning_rate=1e-3),
    random_draws=1,
)


def trained(root: Path, out: Path) -> Path:
    """The folder of a finished run."""
    train_reference(open_ground(root), out, Recipe(preset=BRIEF, target_obr=0.25), 0, lambda _: None)
    return out
