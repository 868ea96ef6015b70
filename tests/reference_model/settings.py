"""A setting on a small world: everything that a method is made for."""

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path

import torch

from reference_model import encoding
from reference_model.face import Setting
from reference_model.features import Features
from reference_model.holdout import assign
from reference_model.job import Job
from reference_model.networks.encoder import EncoderParameters
from reference_model.networks.sampler import SamplerParameters
from reference_model.optimise import Schedule
from reference_model.presets import Preset
from reference_model.run import open_run
from reference_model.scenes import Scenes, read_catalogue

SPLITS = ["train"] * 11 + ["val"] * 3 + ["test"] * 6

NOVEL = ("Marina", "Farmland")

QUICK = Preset(
    name="quick test",
    encoder=EncoderParameters(input_px=32, dim=24, depth=1, heads=2, embedding=16),
    sampler=SamplerParameters(input_px=80, dim=16, depth=1, heads=2),
    pretraining=Schedule(steps=60, batch=32, learning_rate=3e-3),
    sampling=Schedule(steps=8, batch=4, learning_rate=1e-3),
    completion=Schedule(steps=8, batch=4, learning_rate=1e-3),
    alignment=Schedule(steps=8, batch=4, learning_rate=1e-3),
    probing=Schedule(steps=60, batch=8, learning_rate=1e-2),
    finetuning=Schedule(steps=10, batch=4, learning_rate=1e-3),
    distillation=Schedule(steps=30, batch=8, learning_rate=1e-3),
    policy=Schedule(steps=60, batch=8, learning_rate=1e-2),
    random_draws=2,
)


@contextlib.contextmanager
def opened(world: Scenes, folder: Path, seed: int = 0, novel: Collection[str] = NOVEL) -> Iterator[Setting]:
    """The setting of a run folder, with the small encoder trained or read back."""
    catalogue = read_catalogue(world, novel)
    with open_run(folder, {"seed": seed}) as run:
        job = Job(
            run=run,
            preset=QUICK,
            seed=seed,
            target_obr=0.123,
            scenes=world,
            catalogue=catalogue,
            roles=assign(SPLITS, catalogue.bounds, seed),
        )
        encoder, texts = encoding.trained_encoder(job)
        yield Setting(job=job, encoder=encoder, features=encoding.encoded(job, encoder), texts=texts)


def blinded(features: Features, rows: torch.Tensor, selected: torch.Tensor) -> Features:
    """The same features with NaN in every tile of these scenes that was not selected."""
    hr, of_tiles = features.hr.clone(), features.hr_embedding.clone()
    place, tile = (~selected).nonzero(as_tuple=True)
    hr[rows[place], tile] = torch.nan
    of_tiles[rows[place], tile] = torch.nan
    return Features(
        hr, features.hr_scale, features.lr, of_tiles, features.lr_embedding, features.cues, features.device
    )
