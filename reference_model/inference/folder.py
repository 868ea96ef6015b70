"""Models as folders: written by `save_pretrained`, or made from the folder of a run.

Everything read here may come from a stranger: JSON is bounded and validated, weights are safetensors whose
names and shapes are compared with the description before any of them is loaded. Nothing is unpickled.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pydantic
import safetensors
import torch
from safetensors import safe_open
from torch import Tensor

from reference_model import json_file
from reference_model.inference.description import Description, assembled, shapes
from reference_model.inference.model import GL10MReference, state_of
from reference_model.metrics.observation_cost import Calibration
from reference_model.networks.text import BUCKETS, TextTower
from reference_model.run import LOG
from reference_model.weights_file import WeightsChangedError, read_weights, write_weights

CONFIG, WEIGHTS = "config.json", "model.safetensors"
TEXTS, CALIBRATION = "texts.safetensors", "calibration.json"

DTYPES = frozenset({"F64", "F32", "F16", "BF16", "I64"})
"""How numbers in a file of weights may be kept; counts are whole numbers."""

LARGEST_JSON = 1 << 20
"""A JSON file with more bytes is refused unread."""

EMBEDDINGS, TOWER = "embeddings", "tower.project.weight"
"""Names in texts.safetensors; the tower is there where the run trained its own."""


class ModelFolderError(ValueError):
    """A folder does not hold a model, or a file in it is damaged or does not fit the others."""


def opened(folder: Path, weights: Path | None = None) -> GL10MReference:
    """Open a model; see `GL10MReference.from_pretrained`."""
    from reference_model.inference.of_run import model_of_run  # noqa: PLC0415 - it imports this module

    config = read_json(folder / CONFIG)
    if "settings" in config:
        return model_of_run(folder, config, weights)
    refuse_weights(folder, weights)
    return _opened(folder, _described(folder / CONFIG, config))


def refuse_weights(folder: Path, weights: Path | None) -> None:
    """Refuse weights for a model that has its encoder with it, and would not read them.

    Raises:
        ModelFolderError: some are named.
    """
    if weights is not None:
        raise ModelFolderError(
            f"weights are named for runs with a published encoder; {folder} holds its encoder itself, and "
            f"{weights} would not be read. Leave it out."
        )


def save(model: GL10MReference, folder: Path) -> None:
    """Write a model; see `GL10MReference.save_pretrained`."""
    if (folder / LOG).exists():
        raise ModelFolderError(
            f"a model is saved into a folder of its own; {folder} is that of a run, whose files it would "
            "replace. Name another folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    texts = {EMBEDDINGS: model.texts}
    if model.tower is not None:
        texts[TOWER] = model.tower.project.weight
    write_weights(folder / TEXTS, texts)
    write_weights(folder / WEIGHTS, state_of(model.parts))
    json_file.write_json(folder / CALIBRATION, asdict(model.calibration))
    json_file.write_json(folder / CONFIG, model.description.model_dump(mode="json"))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        FileNotFoundError: there is none.
        ModelFolderError: it is too large, no JSON object, or not what was written.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no model in {path.parent}: {path.name} is missing. Name the folder of a finished run of "
            "`gl10m train-reference`, or one that `save_pretrained` wrote."
        )
    try:
        return json_file.read_json(path, LARGEST_JSON)
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(
            f"{path} is no JSON of a model ({error}). Train or fetch the model again."
        ) from error


def checked_tensors(path: Path, wanted: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Tensors of a safetensors file, after their names and shapes were compared.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFolderError: it is damaged, holds other tensors, or a number in it is not finite.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; nothing random takes its place. Fetch the model again.")
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {name: tuple(one.get_shape()) for name, one in slices.items()}
            odd = sorted(name for name, one in slices.items() if one.get_dtype() not in DTYPES)
        different = sorted(name for name in found.keys() | wanted if found.get(name) != wanted.get(name))
        if different:
            name = different[0]
            raise ModelFolderError(
                f"{path} does not fit {CONFIG}: {len(different)} tensors differ, first {name}: the file has "
                f"{found.get(name, 'none')}, the description wants {wanted.get(name, 'none')}."
            )
        if odd:
            raise ModelFolderError(
                f"{path} holds {odd[0]} as {slices[odd[0]].get_dtype()}; weights are "
                f"{', '.join(sorted(DTYPES))}. Fetch the model again."
            )
        tensors = read_weights(path)
    except WeightsChangedError as error:
        raise ModelFolderError(f"{path} is damaged: {error}. Train or fetch the model again.") from error
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelFolderError(
            f"{path} is no whole safetensors file ({error}). Fetch the model again; other kinds of weight "
            "files are not read."
        ) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelFolderError(f"{path} holds numbers in {name} that are not finite. Fetch it again.")
    return tensors


def read_calibration(path: Path) -> Calibration:
    """Read the threshold.

    Raises:
        FileNotFoundError: there is none.
        ModelFolderError: it is damaged.
    """
    try:
        return pydantic.TypeAdapter(Calibration).validate_python(read_json(path), strict=False)
    except pydantic.ValidationError as error:
        raise ModelFolderError(f"{path} is no calibration ({first_fault(error)}). Fetch it again.") from error


def _described(path: Path, config: dict[str, Any]) -> Description:
    try:
        return Description.model_validate(config)
    except pydantic.ValidationError as error:
        raise ModelFolderError(
            f"{path} describes no model that this version knows ({first_fault(error)}). Install the gl10m "
            "that wrote it, or fetch it again."
        ) from error


def wanted_shapes(folder: Path, description: Description) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights, PART.PARAMETER; no memory is taken for them.

    Raises:
        ModelFolderError: sizes do not fit each other.
    """
    try:
        return shapes(description)
    except ValueError as error:
        raise ModelFolderError(
            f"{folder / CONFIG} describes sizes that do not fit: {error}. Fetch the model again."
        ) from error


def _opened(folder: Path, description: Description) -> GL10MReference:
    state = checked_tensors(folder / WEIGHTS, wanted_shapes(folder, description))
    parts = assembled(description)
    for name, module in parts._asdict().items():
        own = {
            key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")
        }
        module.load_state_dict(own)
    texts, tower = _read_texts(folder / TEXTS, description)
    return GL10MReference(
        description, parts, calibration=read_calibration(folder / CALIBRATION), texts=texts, tower=tower
    )


def _read_texts(path: Path, description: Description) -> tuple[Tensor, TextTower | None]:
    width = description.head.embedding
    wanted: dict[str, tuple[int, ...]] = {EMBEDDINGS: (len(description.class_names), width)}
    if description.small is not None:
        wanted[TOWER] = (width, BUCKETS)
    tensors = checked_tensors(path, wanted)
    return tensors[EMBEDDINGS], tower_of(tensors.get(TOWER))


def tower_of(weight: Tensor | None) -> TextTower | None:
    """The run's own text tower from its one layer, (embedding, BUCKETS)."""
    if weight is None:
        return None
    tower = TextTower(len(weight))
    tower.load_state_dict({"project.weight": weight})
    return tower.eval().requires_grad_(requires_grad=False)


def first_fault(error: pydantic.ValidationError) -> str:
    """Where a description is wrong, and how; the first place of several."""
    one = error.errors()[0]
    return f"{'.'.join(str(part) for part in one['loc']) or 'as a whole'}: {one['msg']}"
