"""From packed JPEG to embeddings: only planned tiles are read, and decoded while the model works.

Tiles of all scenes of a batch go through the encoder as one flat batch: a scene buys a dozen, too few to fill
a processor by themselves.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from reference_model.inference.model import GL10MReference, chosen
from reference_model.scenes import Scenes

_Item = TypeVar("_Item")

SCENES_AT_ONCE = 32
"""Batch, as in E.3."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Scenes after their way through the model."""

    embedding: Tensor
    """float32 (scenes, embedding), each of length 1, on the CPU."""

    plan: Tensor
    """Bool (scenes, 100): the tiles that were read."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A batch whose tiles are on their way."""

    context: Tensor
    plan: Tensor
    tiles: list[Future[Tensor]]


def embed_scenes(
    model: GL10MReference,
    scenes: Scenes,
    rows: Sequence[int],
    *,
    tau: float | None = None,
    plan: Tensor | None = None,
    threads: int = 4,
) -> Embedded:
    """Look at LR, read the tiles that are worth it, complete and embed.

    Args:
        model: trained.
        scenes: a data set.
        rows: which of its scenes.
        tau: threshold in [0, 1]; the calibrated one if None.
        plan: tiles to read instead, bool (len(rows), 100), of a budget over all scenes or of another method.
        threads: that read and decode.

    Raises:
        ValueError: tau is not in [0, 1].
    """
    embeddings, plans = [], []
    with ThreadPoolExecutor(threads) as pool:
        for batch in _one_ahead(_looked_at(model, scenes, rows, tau=tau, plan=plan, pool=pool)):
            tiles = [future.result() for future in batch.tiles]
            completed = model.complete(batch.context, torch.cat(tiles), batch.plan)
            embeddings.append(completed.embedding.cpu())
            plans.append(batch.plan)
    return Embedded(torch.cat(embeddings), torch.cat(plans))


def _looked_at(
    model: GL10MReference,
    scenes: Scenes,
    rows: Sequence[int],
    *,
    tau: float | None,
    plan: Tensor | None,
    pool: ThreadPoolExecutor,
) -> Iterator[_Waiting]:
    """Batches whose LR was seen and whose tiles are being read."""
    parts = torch.split(torch.tensor(rows), SCENES_AT_ONCE)
    overviews = _one_ahead([pool.submit(scenes.scene(row).lr) for row in part.tolist()] for part in parts)
    given = torch.split(plan, SCENES_AT_ONCE) if plan is not None else [None] * len(parts)
    for part, futures, known in zip(parts, overviews, given, strict=True):
        lr = torch.stack([future.result() for future in futures])
        context = model.context(lr)
        if known is None:
            known = chosen(  # noqa: PLW2901 - the batch's own plan
                model.worth(lr, context), model.calibration, tau=tau, obr=None
            ).cpu()
        yield _Waiting(
            context,
            known,
            [
                pool.submit(scenes.scene(row).hr, tiles.nonzero()[:, 0].tolist())
                for row, tiles in zip(part.tolist(), known, strict=True)
            ],
        )


def _one_ahead(items: Iterable[_Item]) -> Iterator[_Item]:
    """The same items, each given out when the next one is under way."""
    waiting: deque[_Item] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting
