"""At which scale a class is seen best: the choice that SAR leaves to a language model.

Two sources. A file of answers, `class_maps/concept_scale.toml`, which says who gave them. And a rule that
needs no one: the scale with the higher average precision on the training scenes, for a class that is taught;
the scale of the nearest taught class name, for one that is held out.
"""

import tomllib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reference_model.baselines.entry import MissingAssetError
from reference_model.metrics.retrieval import average_precision, ranked_relevance

SCALES = ("lr", "hr")

MOST_BYTES = 1 << 20
"""A file of answers has some thousand."""


class ConceptScaleError(MissingAssetError):
    """A file of answers lacks a class, or cannot be read."""


def read_scale(path: Path, names: tuple[str, ...]) -> Tensor:
    """Read the answers for these classes.

    Args:
        path: TOML with a table `scale`: class name = "lr" or "hr".
        names: class names.

    Returns:
        bool (classes,), True where the class is seen best at HR.

    Raises:
        ConceptScaleError: a class is not answered for.
        FileNotFoundError: there is no such file.
    """
    answers = _answers(path)
    unknown = [name for name in names if answers.get(name) not in SCALES]
    if unknown:
        raise ConceptScaleError(
            f"{path} must say lr or hr for every class; {len(unknown)} of {len(names)} are missing or "
            f"otherwise ({', '.join(unknown[:4])}). Add them, or use the row that goes by training precision."
        )
    return torch.tensor([answers[name] == "hr" for name in names])


def _answers(path: Path) -> dict[str, object]:
    if path.stat().st_size > MOST_BYTES:
        raise ConceptScaleError(f"{path} has more than {MOST_BYTES} bytes. Name a file of answers.")
    try:
        answers = tomllib.loads(path.read_text(encoding="utf-8")).get("scale", {})
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8
        raise ConceptScaleError(f"{path} is no TOML: {error}. Mend it.") from error
    if not isinstance(answers, dict):
        raise ConceptScaleError(f"{path} must have a table `scale`; there it has {answers!r:.80}. Mend it.")
    return answers


def scale_by_precision(lr: Tensor, hr: Tensor, labels: Tensor, taught: Tensor, words: Tensor) -> Tensor:
    """Choose the scale of each class by average precision on the training scenes.

    Args:
        lr: scores of LR, (scenes, classes).
        hr: scores of HR, same shape.
        labels: bool, same shape; columns of classes that are not taught are not looked at.
        taught: ids of the classes that may be learned from, (n,).
        words: class names, (classes, embedding), each of length 1.

    Returns:
        bool (classes,), True where the class is seen best at HR.
    """
    relevant = labels[:, taught].numpy()
    precision = [
        average_precision(ranked_relevance(scores[:, taught].numpy(), relevant), len(relevant))
        for scores in (lr, hr)
    ]
    known = ~np.isnan(precision[0])
    if not known.any():
        return torch.ones(words.shape[0], dtype=torch.bool)
    by_known = torch.from_numpy((precision[1] > precision[0])[known])
    known_ids = taught[torch.from_numpy(known)]
    nearest = (words @ words[known_ids].T).argmax(dim=1)
    chosen = by_known[nearest]
    chosen[known_ids] = by_known
    return chosen
