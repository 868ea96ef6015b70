"""Recognition without training: LR alone through encoder, predictor and head, against class names.

These data sets have no HR tile, so nothing is observed (S is empty) and the predictor completes from LR.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gl10m.scene.grid import TILES
from reference_model.inference.model import GL10MReference
from reference_model.metrics.retrieval import accuracy, chance_level, macro_average_precision
from reference_model.networks.published import ENCODERS
from reference_model.networks.published_texts import MINI_LM, embed_names
from reference_model.zeroshot.images import Images, Recognition

IMAGES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Prompts:
    """What the classes of one data set are called."""

    templates: tuple[str, ...]
    of: Mapping[str, str]
    """By class, as the data set spells it."""


def prompts(name: str) -> Prompts:
    """The prompts of a data set, from prompts.toml."""
    told = tomllib.loads(
        files("reference_model.zeroshot").joinpath("prompts.toml").read_text(encoding="utf-8")
    )
    return Prompts(tuple(told[name]["templates"]), told[name]["classes"])


def embedded(model: GL10MReference, said: Prompts, classes: tuple[str, ...], texts: Path | None) -> Tensor:
    """Class prompts in the model's space, (classes, embedding), each of length 1.

    A text tower that a run trained for itself knows the spelling of words and no sentences: it gets the
    prompts without their templates.

    Args:
        model: whose space.
        said: the prompts.
        classes: in the wanted order.
        texts: folder of a published text tower; looked for on this machine if None.

    Raises:
        WeightsNotFoundError: the text tower is not on this machine (a FileNotFoundError).
    """
    names = [said.of[one] for one in classes]
    if model.tower is not None:
        with torch.no_grad():
            own: Tensor = model.tower(tuple(names))
        return own.to(model.texts.device)
    tower = ENCODERS[model.description.encoder].texts or MINI_LM
    return embed_names(names, tower, texts, said.templates).to(model.texts.device)


@torch.no_grad()
def scores(model: GL10MReference, images: Images, texts: Tensor) -> Tensor:
    """Cosines of all images with all classes, float32 (images, classes)."""
    found = []
    with tqdm(total=len(images), desc="images", unit="image", disable=None) as bar:
        for part in torch.split(torch.arange(len(images)), IMAGES_AT_ONCE):
            lr = images.read(part.tolist())
            nothing = torch.zeros(len(lr), TILES, dtype=torch.bool)
            completed = model(lr, lr.new_zeros(0, *lr.shape[1:]), nothing)
            found.append((completed.embedding @ texts.T).cpu())
            bar.update(len(lr))
    return torch.cat(found)


def recognise(model: GL10MReference, recognition: Recognition, texts: Path | None) -> dict[str, Any]:
    """Recognise a data set.

    Args:
        model: trained.
        recognition: what is recognised.
        texts: folder of a published text tower; looked for on this machine if None.

    Returns:
        Figures and everything that they depend on; JSON.

    Raises:
        NoEvaluableClassError: no class has an image.
    """
    said = prompts(recognition.name)
    embeddings = embedded(model, said, recognition.classes, texts)
    of_images = scores(model, recognition.images, embeddings).numpy()
    macro = macro_average_precision(of_images, recognition.labels)
    figures: dict[str, Any] = {"macro_mAP": macro.mean}
    if recognition.one_label:
        figures["accuracy"] = accuracy(of_images, recognition.labels.argmax(axis=1))
        figures["chance_accuracy"] = 1 / len(recognition.classes)
    return {
        "data_set": recognition.name,
        "split": recognition.split,
        "images": len(of_images),
        "classes": {"all": len(recognition.classes), "evaluated": int((~np.isnan(macro.per_class)).sum())},
        **figures,
        "chance_mAP": chance_level(recognition.labels),
        "AP": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(recognition.classes, macro.per_class, strict=True)
        },
        "scaling": recognition.images.scaling,
        "observed": "no HR tile: the predictor completes from LR alone",
        "encoder": model.description.encoder,
        "prompts": {name: said.of[name] for name in recognition.classes},
        "templates": list(said.templates) if model.tower is None else ["{}"],
    }
