"""How many tiles the authors' model buys for a class, and how it mixes LR in: notes in the file's header.

vision_language_predictor.safetensors carries two JSON objects, `pc_policy` and `fusion`. Both were fitted by
the authors on Sentinel-2/NAIP; how is not published.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gl10m.scene.grid import TILES
from reference_model.networks.crossso_files import read_notes
from reference_model.networks.published_files import WeightsDamagedError

DEFAULT_COUNT = 12
"""Tiles for a class that the policy does not know, where the file names no other number."""

METHOD, POOLING = "robust_mad_tail", "mean"
"""The one way of mixing that was published."""

LEAST_SPREAD = 1e-5
"""No median absolute deviation is taken as smaller."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Tiles to buy by class."""

    counts: Mapping[str, int]
    otherwise: int

    def count(self, concept: str | None) -> int:
        """Tiles for a class of the policy; for None, those of any other class."""
        return self.otherwise if concept is None else self.counts[concept]


@dataclass(frozen=True, slots=True)
class Spread:
    """Scores of one class on the authors' own scenes."""

    hr_mad: float
    lr_median: float
    lr_mad: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TailFusion:
    """Adds to a class's scores what LR says where it says it clearly: far from its median."""

    positive: float
    negative: float
    threshold: float
    spreads: Mapping[str, Spread]

    def mixed(self, concept: str | None, scores: Tensor, lr_scores: Tensor) -> Tensor:
        """Scores (N,) of one class with LR mixed in; as they were for a class without statistics."""
        if concept is None or concept not in self.spreads:
            return scores
        spread = self.spreads[concept]
        away = (lr_scores - spread.lr_median) / max(spread.lr_mad, LEAST_SPREAD)
        above = torch.relu(away - self.threshold)
        below = torch.relu(-away - self.threshold)
        return scores + spread.hr_mad * (self.positive * above - self.negative * below)


def read_policy(path: Path) -> Policy:
    """The policy in a file's header.

    Raises:
        WeightsDamagedError: there is none, or it is not what was published.
    """
    told = read_notes(path, "pc_policy")
    try:
        counts = {_name(one["name"]): _count(one["Pc"]) for one in told["per_class"]}
        return Policy(counts, _count(told.get("default_pc", DEFAULT_COUNT)))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _damaged(path, "pc_policy", error) from error


def read_fusion(path: Path) -> TailFusion:
    """The way of mixing in a file's header; see `read_policy`."""
    told = read_notes(path, "fusion")
    try:
        return _fusion(told)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _damaged(path, "fusion", error) from error


def _fusion(told: Mapping[str, Any]) -> TailFusion:
    if (told["method"], told["pooling"]) != (METHOD, POOLING):
        raise ValueError(f"method {told['method']!r} and pooling {told['pooling']!r} are not known")
    statistics = told["statistics"]
    columns = [statistics[key] for key in ("class_names", "hr_mad", "lr_median", "lr_mad")]
    spreads = {_name(name): Spread(*map(_number, values)) for name, *values in zip(*columns, strict=True)}
    parts = [_number(told[key]) for key in ("positive_weight", "negative_weight", "tail_threshold")]
    if min(parts) < 0:
        raise ValueError(f"weights and threshold are not negative; got {parts}")
    positive, negative, threshold = parts
    return TailFusion(positive=positive, negative=negative, threshold=threshold, spreads=spreads)


def _name(value: Any) -> str:  # noqa: ANN401 - out of JSON
    if not isinstance(value, str):
        raise TypeError(f"a class has a name; got {value!r}")
    return value


def _count(value: Any) -> int:  # noqa: ANN401 - out of JSON
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= TILES:
        raise ValueError(f"tiles are a whole number from 0 to {TILES}; got {value!r}")
    return value


def _number(value: Any) -> float:  # noqa: ANN401 - out of JSON
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"a number is wanted; got {value!r:.80}")
    number = float(value)  # of a whole number that is too large, an OverflowError
    if not math.isfinite(number):
        raise ValueError(f"a finite number is wanted; got {value!r}")
    return number


def _damaged(path: Path, name: str, error: Exception) -> WeightsDamagedError:
    return WeightsDamagedError(
        f"{name} in the header of {path} is not what was published ({type(error).__name__}: {error}). Fetch "
        "the file again."
    )
