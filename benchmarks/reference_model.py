"""How fast the reference model looks, completes and learns, beside what this machine multiplies.

    python -m benchmarks.reference_model [--preset tiny|small|paper] [--device cpu|cuda] [--batch 16]
        [--scenes 2] [--train-scenes 4] [--data-scenes 8] [--root DATA-SET] [--rounds 3] [--threads 2]
        [--half] [--compile] [--clock wall|cpu] [--warm-ups 1] [--only floors,encode,sparse,train,clocks]

Weights are random: speed does not depend on them. `paper` is a ViT-B/16 at 256 pixels and a predictor of 12
blocks and 384 channels. FLOPs are counted by PyTorch, attention as its two products (FLOP = 2 x multiply-add).
Works that are compared take turns, and one round of each goes first that does not count. `--clock cpu` counts the
CPU seconds of the process instead: with --threads 1, for a machine that does other things too.

Clocks: `model`, inputs on the device; `warm`, from packed JPEG in the page cache; `cold`, after the files were
dropped from it (posix_fadvise). Without --root a data set is made of noise with aerial detail.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import loader_data
from gl10m import GL10MDataset
from gl10m.loader.collate import collate
from gl10m.scene.grid import TILES
from reference_model.inference.description import Description, HeadParameters, assembled
from reference_model.inference.model import GL10MReference
from reference_model.inference.pipeline import embed_scenes
from reference_model.metrics.observation_cost import DEFAULT_OBR, Calibration
from reference_model.networks.compiling import compile_blocks
from reference_model.networks.encoder import SMALL
from reference_model.objectives.losses import centred_cosine
from reference_model.objectives.masking import random_masks
from reference_model.presets import PRESETS

SECTIONS = ("floors", "encode", "sparse", "train", "clocks")
PUBLISHED = "siglip2"
CLASSES, EMBEDDING = 66, 768
PIXELS = 268
MATMULS = 40

Work = Callable[[], object]


class Machine:
    """Where it runs, how its seconds are taken, and what it multiplies in one."""

    def __init__(self, device: str, rounds: int, *, half: bool, warm_ups: int, clock: str) -> None:
        self.device, self.rounds, self.half = torch.device(device), rounds, half
        self.warm_ups, self.clock = warm_ups, time.process_time if clock == "cpu" else time.perf_counter
        self.matmul = self._matmul()

    def _matmul(self) -> float:
        """FLOP/s of the wide layer of a ViT-B on 32 images, the best of many: a disturbed floor is none."""
        rows, narrow, wide = 32 * 256, 768, 3072
        kind = torch.bfloat16 if self.half else torch.float32
        left = torch.randn(rows, narrow, device=self.device, dtype=kind)
        right = torch.randn(narrow, wide, device=self.device, dtype=kind)
        least = min(self.seconds(lambda: left @ right) for _ in range(MATMULS))
        return 2 * rows * narrow * wide / least

    def seconds(self, work: Work) -> float:
        """Of one call, everything that it started being done."""
        self._wait()
        start = self.clock()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            work()
        self._wait()
        return self.clock() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def in_turn(self, *works: Work) -> list[list[float]]:
        """Seconds of each in all rounds, after some that do not count."""
        for work in works * self.warm_ups:
            self.seconds(work)
        taken = [[self.seconds(work) for work in works] for _ in range(self.rounds)]
        return [list(column) for column in zip(*taken, strict=True)]

    def say(self, name: str, seconds: list[float], flops: float, count: float, unit: str) -> None:
        middle = statistics.median(seconds)
        print(
            f"| {name:<36} | {count / middle:10.3f} {unit} | {flops / 1e9:9.1f} | {flops / middle / 1e9:8.1f} "
            f"| {flops / middle / self.matmul:6.1%} | {middle:8.3f} ({min(seconds):.3f}..{max(seconds):.3f}) |",
            flush=True,
        )


def head(title: str) -> None:
    print(f"\n## {title}\n\n| {'what':<36} | rate | GFLOP | GFLOP/s | share of matmul | s (least..most) |")
    print("|---|--:|--:|--:|--:|--:|")


def made(name: str, device: torch.device) -> GL10MReference:
    """A model of a preset's size with random weights."""
    torch.manual_seed(0)
    preset, small = PRESETS[name], name != "paper"
    description = Description(
        encoder=SMALL if small else PUBLISHED,
        encoder_licence="none: random weights",
        small=preset.encoder if small else None,
        sampler=preset.sampler,
        predictor=preset.predictor,
        head=HeadParameters(
            heads=preset.encoder.heads if small else preset.predictor.heads,
            embedding=EMBEDDING,
            width=None if small else preset.predictor.dim,
        ),
        tokens_per_side=preset.tokens_per_side,
        threads=preset.threads,
        class_names=tuple(f"class {number}" for number in range(CLASSES)),
    )
    calibration = Calibration(low=0.0, high=1.0, threshold=0.5, target_obr=DEFAULT_OBR, obr=DEFAULT_OBR)
    texts = nn.functional.normalize(torch.randn(CLASSES, EMBEDDING), dim=-1)
    parts = assembled(description)
    for module in parts:  # residual branches begin at zero, and a product with zeros may be cheaper
        for weight in module.parameters():
            if weight.ndim > 1 and not bool(weight.any()):
                nn.init.normal_(weight, std=0.02)
    return GL10MReference(description, parts, calibration=calibration, texts=texts, tower=None).to(device)


def counted(work: Work) -> float:
    """FLOPs of one call."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        work()
    return float(counter.get_total_flops())


class Counts:
    """FLOPs of the parts of one model."""

    def __init__(self, model: GL10MReference) -> None:
        image, none = images(1, model), torch.zeros(1, TILES, dtype=torch.bool)
        self.image = counted(lambda: model.encoder.encode(image, "hr"))
        context = model.context(image)
        self.plan = counted(lambda: model.worth(image, context))
        self.scene = counted(lambda: model.complete(context, image[:0], none))

    def of(self, scenes: int, tiles: int) -> float:
        """Looking at LR, planning and completing so many scenes with so many tiles in all."""
        return scenes * (self.image + self.plan + self.scene) + tiles * self.image


def images(count: int, model: GL10MReference) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    made = torch.randint(0, 256, (count, 3, PIXELS, PIXELS), dtype=torch.uint8, generator=generator)
    return made.to(model.texts.device)


def plan_of(scenes: int, share: float) -> Tensor:
    """So many tiles of each scene, wherever they lie."""
    generator = torch.Generator().manual_seed(1)
    rank = torch.rand(scenes, TILES, generator=generator).argsort(dim=1).argsort(dim=1)
    return rank < round(share * TILES)


def floors(machine: Machine, counts: Counts) -> None:
    size = 64 << 20
    left = torch.ones(size, dtype=torch.uint8, device=machine.device)
    copied = min(machine.in_turn(left.clone)[0])
    print(f"matmul {machine.matmul / 1e9:.1f} GFLOP/s, copy {2 * size / copied / 1e9:.2f} GB/s")
    print(
        f"one image {counts.image / 1e9:.2f} GFLOP, one plan {counts.plan / 1e9:.2f}, completing one scene "
        f"{counts.scene / 1e9:.2f}"
    )
    dense, sparse = counts.of(1, TILES), counts.of(1, round(DEFAULT_OBR * TILES))
    for name, flops in (("all tiles", dense), (f"OBR {DEFAULT_OBR}", sparse), ("LR alone", counts.of(1, 0))):
        print(
            f"floor of one scene, {name}: {flops / 1e9:.1f} GFLOP, {flops / machine.matmul:.3f} s at the matmul rate"
        )


def encode(machine: Machine, model: GL10MReference, counts: Counts, batch: int) -> None:
    tiles = images(batch, model)
    (taken,) = machine.in_turn(lambda: model.tile_tokens(tiles))
    machine.say(f"encode, {batch} images at once", taken, batch * counts.image, batch, "images/s")


def sparse(machine: Machine, model: GL10MReference, counts: Counts, scenes: int) -> None:
    """Dense against sparse, both with sampler, predictor and head; inputs on the device."""
    lr = images(scenes, model)

    def through(share: float) -> tuple[Work, float, int]:
        plan = plan_of(scenes, share)
        tiles = images(int(plan.sum()), model)

        def work() -> None:
            context = model.context(lr)
            model.worth(lr, context)
            model.complete(context, tiles, plan)

        return work, counts.of(scenes, len(tiles)), len(tiles)

    shares = {"all tiles": 1.0, f"OBR {DEFAULT_OBR}": DEFAULT_OBR, "LR alone": 0.0}
    works = {name: through(share) for name, share in shares.items()}
    taken = machine.in_turn(*(work for work, _, _ in works.values()))
    for (name, (_, flops, tiles)), seconds in zip(works.items(), taken, strict=True):
        machine.say(f"{scenes} scenes, {name}, {tiles} tiles", seconds, flops, scenes, "scenes/s")
    of_flops = works["all tiles"][1] / works[f"OBR {DEFAULT_OBR}"][1]
    of_wall = statistics.median(taken[0]) / statistics.median(taken[1])
    print(
        f"\nall tiles over OBR {DEFAULT_OBR}: wall {of_wall:.2f}, FLOPs {of_flops:.2f}, wall / FLOPs "
        f"{of_wall / of_flops:.3f} (goal 0.9)"
    )


def train(machine: Machine, model: GL10MReference, scenes: int) -> None:
    """One step of stage I: forward, backward, clipped AdamW."""
    predictor, side = model.predictor, model.description.tokens_per_side
    predictor.train().requires_grad_(requires_grad=True)
    fused = machine.device.type == "cuda"
    optimiser = torch.optim.AdamW(predictor.parameters(), lr=1e-4, fused=fused)
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(scenes, TILES, side * side, model.encoder.dim, generator=generator).to(
        machine.device
    )
    context = torch.randn(scenes, model.encoder.grid**2, model.encoder.dim, generator=generator).to(
        machine.device
    )
    selected = random_masks(scenes, generator).to(machine.device)
    mean = torch.zeros(model.encoder.dim, device=machine.device)

    def step() -> None:
        loss = centred_cosine(predictor(target[selected], selected, context), target, mean)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(predictor.parameters(), 1.0)
        optimiser.step()

    flops = 3 * counted(lambda: predictor(target[selected], selected, context))
    (taken,) = machine.in_turn(step)
    machine.say(f"stage I step, {scenes} scenes", taken, flops, scenes, "scenes/s")
    predictor.eval().requires_grad_(requires_grad=False)


def clocks(machine: Machine, model: GL10MReference, counts: Counts, root: Path, threads: int) -> None:
    dataset = GL10MDataset(root)
    rows = list(range(len(dataset)))
    plan = plan_of(len(rows), DEFAULT_OBR)
    seen = dataset.observe(collate(dataset.__getitems__(rows)), plan)
    lr, tiles = seen["image"].to(machine.device), seen["hr"].to(machine.device)

    def on_device() -> None:
        context = model.context(lr)
        model.worth(lr, context)
        model.complete(context, tiles, plan)

    def warm() -> None:
        embed_scenes(model, dataset, rows, plan=plan, threads=threads)

    made = counts.of(len(rows), len(tiles))
    given = made - len(rows) * counts.plan  # embed_scenes makes no plan where one is given
    taken = machine.in_turn(on_device, warm)
    cold = []
    for _ in range(machine.rounds):
        dropped(root)
        cold.append(machine.seconds(warm))
    for name, seconds, flops in zip(
        ("model", "warm", "cold"), (*taken, cold), (made, given, given), strict=True
    ):
        machine.say(f"{name}: {len(rows)} scenes, {len(tiles)} tiles", seconds, flops, len(rows), "scenes/s")


def dropped(root: Path) -> None:
    """Take the files of a data set out of the page cache."""
    for path in (root / "data").glob("*.parquet"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def device_in_words(machine: Machine) -> str:
    kind = "bfloat16" if machine.half else "float32"
    if machine.device.type == "cuda":
        return f"{torch.cuda.get_device_name()}, {kind}"
    return f"CPU ({torch.backends.cpu.get_cpu_capability()}), {torch.get_num_threads()} threads, {kind}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="small")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--scenes", type=int, default=2)
    parser.add_argument("--train-scenes", type=int, default=4)
    parser.add_argument("--data-scenes", type=int, default=8)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--warm-ups", type=int, default=1)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--half", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--only", default=",".join(SECTIONS))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    machine = Machine(asked.device, asked.rounds, half=asked.half, warm_ups=asked.warm_ups, clock=asked.clock)
    wanted = asked.only.split(",")
    model = made(asked.preset, machine.device)
    counts = Counts(model)
    if asked.compile:
        compile_blocks(model.encoder, model.sampler, model.predictor)
    print(
        f"preset {asked.preset}, {device_in_words(machine)}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}"
    )
    if "floors" in wanted:
        floors(machine, counts)
    head(f"{asked.preset}, {asked.rounds} rounds, {asked.clock} seconds")
    if "encode" in wanted:
        encode(machine, model, counts, asked.batch)
    if "train" in wanted:
        train(machine, model, asked.train_scenes)
    if "clocks" in wanted:
        with tempfile.TemporaryDirectory() as scratch:
            root = asked.root or Path(scratch) / "data-set"
            if asked.root is None:
                loader_data.build(root, asked.data_scenes, loader_data.textures())
            clocks(machine, model, counts, root, asked.threads)
    if "sparse" in wanted:
        sparse(machine, model, counts, asked.scenes)


if __name__ == "__main__":
    main()
