"""Run folders of the reference model: settings, weights, checkpoints, features; and published weights."""

import io
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from gl10m.scene.grid import TILES
from reference_model.feature_cache import opened
from reference_model.feature_files import FeatureCacheError, FeatureFiles, allocate
from reference_model.features import Features
from reference_model.inference.description import Description, HeadParameters, assembled
from reference_model.inference.folder import ModelFolderError
from reference_model.inference.model import GL10MReference, state_of
from reference_model.job import CALIBRATION, TEXTS
from reference_model.metrics.observation_cost import Calibration
from reference_model.networks.checkpoint_names import CheckpointNamesError, load_published
from reference_model.networks.encoder import EncoderParameters
from reference_model.networks.predictor import PredictorParameters
from reference_model.networks.published_files import WeightsDamagedError, read_weights
from reference_model.networks.published_table import BASE
from reference_model.networks.sampler import SamplerParameters
from reference_model.networks.text import TextTower
from reference_model.networks.vision_transformer import VisionTransformer
from reference_model.optimise import Schedule, Training
from reference_model.pretrain import Texts
from reference_model.run import RunDamagedError, RunMismatchError, open_run
from reference_model.team import Team
from reference_model.weights_file import digest_of
from tests.fuzz.changes import STRANGE, Chance, spoiled, spoiled_json
from tests.fuzz.subject import Spoiled
from tests.reference_model.test_published_vision import _as_timm

SETTINGS = {"preset": {"name": "tiny", "steps": [1, 2]}, "seed": 7, "encoder": "small"}


def module() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))


def training() -> Training:
    schedule = Schedule(steps=4, batch=2, learning_rate=0.1, average=0.9)
    return Training(
        stage="predictor",
        modules={module(): 1.0},
        schedule=schedule,
        generator=torch.Generator().manual_seed(1),
        team=Team(),
    )


def odd_state(state: Mapping[str, Any], chance: Chance) -> Any:
    """A state dict with a tensor of another shape or type, or something else in its place."""
    changed = dict(state)
    name = chance.choice(sorted(changed))
    kind = chance.randrange(5)
    if kind == 0:
        del changed[name]
    elif kind == 1:
        changed["more"] = torch.zeros(2)
    elif kind == 2:
        changed[name] = torch.zeros(
            chance.choice([0, 1, 7]), dtype=chance.choice([torch.int8, torch.float64])
        )
    elif kind == 3:
        changed[name] = chance.choice(STRANGE)
    else:
        return chance.choice([list(changed.values()), torch.zeros(3), 5, None, {}, {1: 2}])
    return changed


def packed(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


class RunFolders:
    name = "run folders"
    vouched = True
    errors: tuple[type[Exception], ...] = (RunDamagedError, RunMismatchError)

    def prepare(self, folder: Path) -> None:
        self.folder = folder / "run"
        with open_run(self.folder, SETTINGS) as run:
            run.write_weights("model.safetensors", {f"head.{k}": v for k, v in module().state_dict().items()})
            texts = Texts(embeddings=torch.zeros(3, 4), log_scale=torch.tensor(1.0), bias=torch.tensor(0.5))
            run.write_weights(TEXTS, asdict(texts))
            calibration = Calibration(low=0.0, high=1.0, threshold=0.5, target_obr=0.25, obr=0.2)
            run.write_json(CALIBRATION, asdict(calibration))
            run.write_json("metrics.json", {"map": 0.5, "per_class": {"Lake": 0.1}})
            begun = training()
            begun.take({"loss": torch.stack([one.sum() for one in begun.trained]).sum()})
            self.state = begun.state()
            run.write_checkpoint("predictor", self.state)
        self.files = {
            path.name: path.read_bytes() for path in sorted(self.folder.iterdir()) if path.stat().st_size
        }
        self.meant = self._gone_on()

    def spoil(self, chance: Chance) -> Spoiled:
        name = chance.choice(sorted(self.files))
        content = self.files[name]
        if name.endswith(".json"):
            return Spoiled(name, spoiled_json(content, chance))
        if name.endswith(".checkpoint") and chance.random() < 0.6:
            return Spoiled(f"forged {name}", packed(odd_state(self.state, chance)))
        return Spoiled(name, spoiled(content, chance))

    def read(self, spoiled: Spoiled) -> bool:
        name = spoiled.name.removeprefix("forged ")
        (self.folder / name).write_bytes(spoiled.content)
        try:
            return self._gone_on() == self.meant or name != spoiled.name
        finally:
            (self.folder / name).write_bytes(self.files[name])

    def _gone_on(self) -> list[object]:
        """All that the folder says, and what the training that it holds half of makes of it."""
        with open_run(self.folder, SETTINGS) as run:
            head, under_way = module(), training()
            run.load("model.safetensors", head=head)
            texts = run.read_as(TEXTS, Texts)
            said = [asdict(run.read_as(CALIBRATION, Calibration)), run.read_json("metrics.json")]
            kept = run.read_checkpoint("predictor")
            assert kept is not None
            with run.fitting("predictor.checkpoint"):
                under_way.go_on_from(kept)
            under_way.take({"loss": torch.stack([one.sum() for one in under_way.trained]).sum()})
            trained = {str(number): one for number, one in enumerate(under_way.trained)}
            return [*said, *map(digest_of, (head.state_dict(), asdict(texts), trained)), under_way.step]


def digest(features: Features) -> str:
    """SHA-256 of all that the stages read."""
    rows = torch.arange(len(features.hr))
    everywhere = torch.ones(len(rows), TILES, dtype=torch.bool)
    read = {
        "target": features.target(rows),
        "context": features.context(rows),
        "observed": features.observed(rows, everywhere),
        "of tiles": features.hr_embedding,
        "of overviews": features.lr_embedding,
        "cues": features.cues,
    }
    return digest_of(read)


class FeatureCaches:
    name = "feature caches"
    vouched = True
    errors: tuple[type[Exception], ...] = (FeatureCacheError,)

    def prepare(self, folder: Path) -> None:
        self.folder = folder / "features"
        self.about: dict[str, object] = {"encoder": "ab12", "data": "cd34", "tokens": "int8"}
        self.layout: dict[str, tuple[str, tuple[int, ...]]] = {
            "hr": ("int8", (2, 100, 4, 6)),
            "hr_scale": ("float32", (2, 6)),
            "lr": ("float16", (2, 9, 6)),
            "hr_embedding": ("float32", (2, 100, 5)),
            "lr_embedding": ("float32", (2, 5)),
            "cues": ("float32", (2, 100, 3)),
        }
        allocate(self.folder, self.about, self.layout)
        files = FeatureFiles(self.folder, self.layout, writable=True)
        draw = np.random.default_rng(0)
        for array in files.arrays.values():
            array[...] = draw.integers(-100, 100, array.shape)
        files.keep(range(2))
        self.files = {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}
        self.meant = digest(opened(self.folder, self.about, self.layout, Team()))

    def spoil(self, chance: Chance) -> Spoiled:
        name = chance.choice(sorted(self.files))
        content = self.files[name]
        if name.endswith(".json"):
            return Spoiled(name, spoiled_json(content, chance))
        if chance.random() < 0.3:
            stream = io.BytesIO()
            shape = chance.choice([(2, 3), (2, 100, 4, 6), (), (0,), (2, 100, 5)])
            kind = chance.choice(["int8", "float64", "U3", "complex64", "bool", "float16"])
            np.save(stream, np.zeros(shape, kind))
            return Spoiled(name, stream.getvalue())
        part = chance.choice([130, len(content)])  # numpy's header, or anything
        return Spoiled(name, spoiled(content[:part], chance) + content[part:])

    def read(self, spoiled: Spoiled) -> bool:
        path = self.folder / spoiled.name
        path.write_bytes(spoiled.content)
        try:
            found = opened(self.folder, self.about, self.layout, Team())
            return digest(found) == self.meant
        finally:
            path.write_bytes(self.files[spoiled.name])


class Weights:
    name = "published weights"
    vouched = False
    errors: tuple[type[Exception], ...] = (WeightsDamagedError, CheckpointNamesError)

    def prepare(self, folder: Path) -> None:
        self.folder = folder
        shape = replace(BASE, patch=8, native_px=16, dim=32, depth=1, heads=2, hidden=16, layer_scale=True)
        self.network = VisionTransformer(shape)
        self.state = _as_timm(self.network)
        self.bytes = {"w.safetensors": save(self.state), "w.pth": packed({"model": self.state})}

    def spoil(self, chance: Chance) -> Spoiled:
        name = chance.choice(sorted(self.bytes))
        if chance.random() < 0.5:
            return Spoiled(name, spoiled(self.bytes[name], chance))
        state = odd_state(self.state, chance)
        if name == "w.pth":
            return Spoiled(name, packed(chance.choice([state, {"model": state}, {"state_dict": state}])))
        tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, dict) else {}
        return Spoiled(name, save({str(k): v.contiguous() for k, v in tensors.items()}))

    def read(self, spoiled: Spoiled) -> bool:
        path = self.folder / spoiled.name
        path.write_bytes(spoiled.content)
        load_published(self.network, read_weights(path), "timm")
        return False


class ModelFolders:
    name = "model folders"
    vouched = True
    errors: tuple[type[Exception], ...] = (ModelFolderError,)

    def prepare(self, folder: Path) -> None:
        self.folder = folder / "model"
        description = Description(
            encoder="small",
            encoder_licence="made for the test",
            small=EncoderParameters(input_px=32, dim=24, depth=1, heads=2, embedding=8),
            sampler=SamplerParameters(),
            predictor=PredictorParameters(dim=24, depth=1, heads=2),
            head=HeadParameters(heads=2, embedding=8),
            tokens_per_side=2,
            threads=1,
            class_names=("Lake", "Forest"),
        )
        GL10MReference(
            description,
            assembled(description),
            calibration=Calibration(low=0.0, high=1.0, threshold=0.5, target_obr=0.25, obr=0.2),
            texts=torch.zeros(2, 8),
            tower=TextTower(8),
        ).save_pretrained(self.folder)
        self.files = {
            path.name: path.read_bytes() for path in sorted(self.folder.iterdir()) if path.is_file()
        }
        self.meant = self._said()

    def spoil(self, chance: Chance) -> Spoiled:
        name = chance.choice(sorted(self.files))
        if name.endswith(".json"):
            return Spoiled(name, spoiled_json(self.files[name], chance))
        return Spoiled(name, spoiled(self.files[name], chance))

    def read(self, spoiled: Spoiled) -> bool:
        path = self.folder / spoiled.name
        path.write_bytes(spoiled.content)
        try:
            return self._said() == self.meant
        finally:
            path.write_bytes(self.files[spoiled.name])

    def _said(self) -> list[object]:
        model = GL10MReference.from_pretrained(self.folder)
        chosen = model.plan(torch.zeros(1, 3, 268, 268, dtype=torch.uint8), obr=0.1)
        assert model.tower is not None
        tensors = {
            "chosen": chosen,
            "texts": model.texts,
            **model.tower.state_dict(),
            **state_of(model.parts),
        }
        return [digest_of(tensors), asdict(model.calibration), model.description]
