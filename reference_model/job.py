"""What every stage of training works on, and the names of the files that the stages write (paper 4.1)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from reference_model.holdout import Roles
from reference_model.optimise import Schedule, optimise
from reference_model.presets import Preset
from reference_model.run import Run
from reference_model.scenes import Catalogue, Scenes
from reference_model.team import Team

ALIGNER = "aligner.safetensors"
ENCODER, TEXTS, FEATURES = "encoder.safetensors", "texts.safetensors", "features"
TOWER, CLASSES = "text_tower.safetensors", "classes.json"
SUPERVISION, SAMPLER, CALIBRATION = "supervision.json", "sampler.safetensors", "calibration.json"
PREDICTOR, MODEL = "predictor.safetensors", "model.safetensors"
"""Files of a run folder; a stage whose file is there is not repeated."""


Say = Callable[[str], None]
"""Takes lines for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every stage reads."""

    run: Run
    preset: Preset
    seed: int
    target_obr: float
    scenes: Scenes
    catalogue: Catalogue
    roles: Roles
    team: Team = field(default_factory=Team)

    def train_rows(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw training scenes for the whole team, (count,), with replacement."""
        return _drawn(torch.from_numpy(self.roles.train), count, generator)

    def pretrain_rows(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw scenes for stage I, which needs no label: training scenes and unlabelled ones."""
        scenes = torch.from_numpy(np.concatenate([self.roles.train, self.roles.unlabelled]))
        return _drawn(scenes, count, generator)

    def train(
        self,
        stage: str,
        modules: Mapping[nn.Module, float],
        schedule: Schedule,
        losses: Callable[[int], dict[str, Tensor]],
        generator: torch.Generator,
    ) -> None:
        """Train one stage; see `optimise`."""
        optimise(stage, modules, schedule, losses, journal=self.run, generator=generator, team=self.team)

    def finish(self, stage: str, file: str, **modules: nn.Module) -> None:
        """Write the weights that a stage has trained; every process goes on when they stand there."""
        if self.team.leads:
            self.run.write_weights(file, named(**modules))
            self.run.drop_checkpoint(stage)
        self.team.wait()

    def note_classes(self) -> None:
        """Keep the names of the rows of the texts, so that the run is a model without its data set."""
        names = self.catalogue.class_names
        novel = [names[one] for one in self.catalogue.novel]
        self.run.write_json(CLASSES, {"names": list(names), "novel": novel})

    def overviews(self, rows: Tensor) -> Tensor:
        """LR images uint8 (len(rows), 3, 268, 268)."""
        return torch.stack([self.scenes.scene(int(row)).lr() for row in rows])


def _drawn(scenes: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return scenes[torch.randint(0, len(scenes), (count,), generator=generator)]


def named(**modules: nn.Module) -> dict[str, Tensor]:
    """The state of modules as one: each tensor is called MODULE.PARAMETER."""
    return {
        f"{name}.{key}": tensor
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }
