"""The model that a finished run of `gl10m train-reference` holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from reference_model.inference.description import Description, HeadParameters, Parts, assembled
from reference_model.inference.folder import (
    EMBEDDINGS,
    ModelFolderError,
    checked_tensors,
    first_fault,
    read_calibration,
    read_json,
    refuse_weights,
    tower_of,
    wanted_shapes,
)
from reference_model.inference.model import GL10MReference
from reference_model.job import CALIBRATION, CLASSES, ENCODER, MODEL, PREDICTOR, SAMPLER, TEXTS, TOWER
from reference_model.networks.encoder import SMALL
from reference_model.networks.published import ENCODERS, PublishedEncoder, open_published
from reference_model.networks.text import BUCKETS

_Value = TypeVar("_Value")


def model_of_run(folder: Path, config: dict[str, Any], weights: Path | None) -> GL10MReference:
    """Put the stages of a run together.

    Args:
        folder: the run folder.
        config: its config.json.
        weights: file of a published encoder; looked for on this machine if None.

    Raises:
        FileNotFoundError: a stage has not finished, or the weights of a published encoder are not at hand.
        ModelFolderError: a file is damaged, the run was made by another version, or weights are named for an
            encoder that it trained itself.
    """
    for name in (CLASSES, SAMPLER, CALIBRATION, PREDICTOR, MODEL):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder / name} is missing: the run has not finished, or an older version made it. Run "
                f"`gl10m train-reference --out {folder}` again with its settings, or train anew."
            )
    description = _description(folder, config)
    if description.small is not None:
        refuse_weights(folder, weights)
    parts = _loaded(folder, description, weights)
    embeddings, tower = _texts(folder, description)
    return GL10MReference(
        description,
        parts,
        calibration=read_calibration(folder / CALIBRATION),
        texts=embeddings,
        tower=tower_of(tower),
    )


def _description(folder: Path, config: dict[str, Any]) -> Description:
    """What the stages of the run built, from its settings; see `stages`."""
    classes = read_json(folder / CLASSES)
    try:
        preset, encoder = config["settings"]["preset"], config["settings"]["encoder"]
        small = encoder == SMALL
        if not small and encoder not in ENCODERS:
            raise ModelFolderError(
                f"{folder} is a run with the encoder {encoder} of another package; runs are opened as models "
                f"where theirs is {SMALL} or one of {', '.join(sorted(ENCODERS))}. Train with one of them."
            )
        with safe_open(folder / TEXTS, framework="pt") as file:
            embedding = int(file.get_slice(EMBEDDINGS).get_shape()[1])
        head = HeadParameters(
            heads=preset["encoder"]["heads"] if small else preset["predictor"]["heads"],
            embedding=embedding,
            width=None if small else preset["predictor"]["dim"],
        )
        return Description(
            encoder=encoder,
            encoder_licence="of the run" if small else ENCODERS[encoder].licence,
            small=preset["encoder"] if small else None,
            sampler=preset["sampler"],
            predictor=preset["predictor"],
            head=head,
            tokens_per_side=preset["tokens_per_side"],
            threads=preset["threads"],
            class_names=tuple(classes["names"]),
            novel=tuple(classes["novel"]),
        )
    except (KeyError, TypeError, IndexError, OSError, SafetensorError, pydantic.ValidationError) as error:
        raise ModelFolderError(
            f"{folder} holds a run of another version, or a damaged one ({_reason(error)}). Train it again."
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, pydantic.ValidationError):
        return first_fault(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


_FILES = {SAMPLER: ("sampler",), PREDICTOR: ("predictor", "mean"), MODEL: ("predictor", "head")}
"""Parts in each file of a run; stage II trains the predictor further, so its file comes last."""


def _loaded(folder: Path, description: Description, weights: Path | None) -> Parts:
    """The networks with their weights; nothing of their size is built before the files have that size."""
    wanted = wanted_shapes(folder, description)
    states = {file: checked_tensors(folder / file, _of(wanted, names)) for file, names in _FILES.items()}
    small = description.small is not None
    encoder = checked_tensors(folder / ENCODER, _under(wanted, "encoder")) if small else {}
    parts = assembled(description)
    modules: dict[str, nn.Module] = parts._asdict()
    for file, names in _FILES.items():
        for name in names:
            modules[name].load_state_dict(_under(states[file], name))
    if isinstance(parts.encoder, PublishedEncoder):
        return parts._replace(encoder=open_published(description.encoder, weights))
    parts.encoder.load_state_dict(encoder)
    return parts


def _of(named: Mapping[str, _Value], names: Sequence[str]) -> dict[str, _Value]:
    """Those of some parts; each is called PART.PARAMETER."""
    return {key: value for key, value in named.items() if key.partition(".")[0] in names}


def _under(named: Mapping[str, _Value], name: str) -> dict[str, _Value]:
    """Those of one part, without its name."""
    return {key.removeprefix(f"{name}."): value for key, value in _of(named, (name,)).items()}


def _texts(folder: Path, description: Description) -> tuple[Tensor, Tensor | None]:
    classes, width = len(description.class_names), description.head.embedding
    wanted: dict[str, tuple[int, ...]] = {EMBEDDINGS: (classes, width)}
    if description.small is None:
        return checked_tensors(folder / TEXTS, wanted)[EMBEDDINGS], None
    wanted |= {"log_scale": (), "bias": ()}
    embeddings = checked_tensors(folder / TEXTS, wanted)[EMBEDDINGS]
    tower = checked_tensors(folder / TOWER, {"project.weight": (width, BUCKETS)})
    return embeddings, tower["project.weight"]
