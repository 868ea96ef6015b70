"""From a data set and a run folder to a `Setting`: what every method of a table sees."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from reference_model.encoding import EncoderChoice
from reference_model.face import Setting
from reference_model.job import CLASSES, Say
from reference_model.presets import PRESETS
from reference_model.run import (
    CONFIGURATION,
    RunDamagedError,
    RunMismatchError,
    read_settled,
    settings_of,
)
from reference_model.train import Ground, Recipe, encoded, opened_job


@contextlib.contextmanager
def opened_setting(ground: Ground, folder: Path, recipe: Recipe, seed: int, say: Say) -> Iterator[Setting]:
    """Open the run folder of one seed; encoder and features are made where it lacks them.

    Args:
        ground: the data set.
        folder: the run folder.
        recipe: sizes, encoder, device.
        seed: decides all chance.
        say: takes lines for the user.

    Raises:
        RunMismatchError: the folder holds another run.
        WeightsNotFoundError: those of the encoder are not on this machine.
        TooFewScenesError: the data set is too small.
        NoEvaluableClassError: no class has a positive among the held-out scenes.
    """
    with opened_job(ground, folder, recipe, seed) as (job, published):
        encoder, features, texts = encoded(job, recipe.encoder, published, say)
        yield Setting(job=job, encoder=encoder, features=features, texts=texts)


def recipe_of(folder: Path, choice: EncoderChoice, device: str) -> tuple[Recipe, int]:
    """The recipe and the seed of a run that was trained before.

    Args:
        folder: the run folder.
        choice: where the files of its encoder are; its name is the run's own.
        device: on which it is evaluated.

    Raises:
        FileNotFoundError: there is no run.
        RunDamagedError: its configuration cannot be read.
        RunMismatchError: its preset is none of this version, or files are named for an encoder that it
            trained itself.
    """
    if not (folder / CONFIGURATION).exists():
        raise FileNotFoundError(
            f"{folder} holds no run (there is no {CONFIGURATION}). Train one with "
            "`gl10m train-reference --out`, or name another folder with --run."
        )
    settings = settings_of(folder)
    try:
        name, seed = str(settings["preset"]["name"]), int(settings["seed"])
        encoder, target = str(settings["encoder"]), float(settings["target_obr"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunDamagedError(
            f"{folder / CONFIGURATION} is none of a run of `gl10m train-reference`: it lacks a setting "
            f"({error}). A folder of `save_pretrained` has none; name the run that it is of, or train anew."
        ) from error
    if encoder == EncoderChoice().name and (choice.weights or choice.texts):
        raise RunMismatchError(
            f"--weights and --texts are for a published encoder; {folder} trained its own. Leave them out."
        )
    preset = PRESETS.get(name)
    if preset is None:
        raise RunMismatchError(
            f"{folder} was trained with preset {name!r}; this version has {', '.join(PRESETS)}."
        )
    chosen = EncoderChoice(name=encoder, weights=choice.weights, texts=choice.texts)
    return Recipe(preset=preset, encoder=chosen, device=device, target_obr=target), seed


def novel_of(folder: Path) -> tuple[str, ...]:
    """The classes that no training of a run learned of: those of another command must be the same.

    Raises:
        RunDamagedError: the run's list of classes cannot be read.
    """
    novel = read_settled(folder, CLASSES).get("novel")
    if not isinstance(novel, list) or not all(isinstance(name, str) for name in novel):
        raise RunDamagedError(f"{folder / CLASSES} names no Novel classes. Train anew with --out.")
    return tuple(novel)
