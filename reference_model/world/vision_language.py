"""The world's vision-language model: what SigLIP is to real imagery. Trained on the web world, then frozen.

Two image towers and one vector a word, tied by the sigmoid loss. The text of a class is the sum of its words,
so a composition that no caption showed has a text all the same.
"""

from dataclasses import asdict, dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from reference_model.determinism import seeded
from reference_model.networks.attention import SelfBlock
from reference_model.networks.encoder import Encoding, Sensor
from reference_model.networks.positions import sincos
from reference_model.objectives.losses import pairwise_sigmoid
from reference_model.optimise import Schedule, optimise
from reference_model.pretrain import Texts
from reference_model.run import Run
from reference_model.world.knobs import Knobs
from reference_model.world.web import Web, captioned

ENCODER, TEXTS = "encoder.safetensors", "texts.safetensors"

STRIDES = {"hr": 8, "lr": 4}
"""Pixels that one token stands for, on a side. The overview is small: finer tokens keep its places."""

OVERVIEWS = 1 / 6
"""Overviews in a step, as a share of the tiles in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerParameters:
    """Size of the vision-language model and of its web."""

    dim: int = 64
    depth: int = 2
    heads: int = 4
    embedding: int = 48
    web_scenes: int = 400
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=600, batch=128, learning_rate=2e-3))
    """Its batch counts tiles."""


class Tower(nn.Module):
    """Strided convolutions, transformer blocks, mean, linear layer."""

    positions: Tensor

    def __init__(self, parameters: TowerParameters, *, stride: int, pixels: int) -> None:
        super().__init__()
        dim, halvings = parameters.dim, stride.bit_length() - 1
        widths = [3, *(max(16, dim >> (halvings - 1 - step)) for step in range(halvings))]
        stem: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            stem += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.GELU()]
        self.stem = nn.Sequential(*stem)
        self.blocks = nn.ModuleList(SelfBlock(dim, parameters.heads) for _ in range(parameters.depth))
        self.norm = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, parameters.embedding)
        self.register_buffer("positions", 0.5 * sincos(pixels // stride, dim), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Encode uint8 (N, 3, h, w) into tokens (N, n * n, dim)."""
        pixels = images.float() / 127.5 - 1
        tokens = self.stem(pixels).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed

    def embed(self, tokens: Tensor) -> Tensor:
        """Gather tokens (N, n, dim) into embeddings of length 1, (N, embedding)."""
        return F.normalize(self.project(tokens.mean(dim=1)), dim=-1)


class VisionLanguage(nn.Module):
    """Both towers and the words; a `Backbone`."""

    def __init__(self, parameters: TowerParameters, knobs: Knobs) -> None:
        super().__init__()
        self.dim, self.embedding = parameters.dim, parameters.embedding
        self.grid = knobs.tile_px // STRIDES["lr"]
        self.hr = Tower(parameters, stride=STRIDES["hr"], pixels=knobs.tile_px)
        self.lr = Tower(parameters, stride=STRIDES["lr"], pixels=knobs.tile_px)
        self.words = nn.Parameter(torch.randn(len(knobs.words), parameters.embedding))
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
        self.bias = nn.Parameter(torch.tensor(-3.0))

    def encode(self, images: Tensor, sensor: Sensor) -> Encoding:
        """See `Backbone`."""
        tower = self.hr if sensor == "hr" else self.lr
        tokens = tower(images)
        return Encoding(tokens, tower.embed(tokens))

    def loss(self, images: Tensor, sensor: Sensor, words: Tensor) -> Tensor:
        """Images against all words, matched or not."""
        texts = F.normalize(self.words, dim=-1)
        embedded = self.encode(images, sensor).embeddings
        return pairwise_sigmoid(embedded, texts, words, self.log_scale, self.bias)

    def texts(self, knobs: Knobs) -> Texts:
        """The classes: the sum of a glyph's and a zone's word, brought to length 1."""
        words = F.normalize(self.words.detach(), dim=-1)
        pairs = [words[glyph] + words[knobs.glyphs + zone] for glyph, zone in knobs.compositions]
        embeddings = F.normalize(torch.stack(pairs), dim=-1)
        return Texts(embeddings=embeddings, log_scale=self.log_scale.detach(), bias=self.bias.detach())


def trained_on_the_web(
    run: Run, parameters: TowerParameters, knobs: Knobs, seed: int
) -> tuple[VisionLanguage, Texts]:
    """Train on a web world of its own seed, or read back what the run folder holds; returned frozen."""
    with seeded(seed, "vision-language") as generator:
        model = VisionLanguage(parameters, knobs)
        if not run.finished("encoder", ENCODER):
            web = captioned(seed, parameters.web_scenes, knobs)
            _train(run, model, web, parameters.schedule, generator)
            run.write_weights(TEXTS, asdict(model.texts(knobs)))
            run.write_weights(ENCODER, model.state_dict())
            run.drop_checkpoint("encoder")
    with run.fitting(ENCODER):
        model.load_state_dict(run.read_weights(ENCODER))
    model.eval().requires_grad_(requires_grad=False)
    return model, run.read_as(TEXTS, Texts)


def _train(run: Run, model: VisionLanguage, web: Web, schedule: Schedule, generator: torch.Generator) -> None:
    tiles, words = web.tiles.flatten(0, 1), web.tile_words.flatten(0, 1)
    overviews = max(1, round(OVERVIEWS * schedule.batch))

    def losses(_: int) -> dict[str, Tensor]:
        drawn = torch.multinomial(web.chances, schedule.batch, replacement=True, generator=generator)
        scenes = torch.randint(0, len(web.overviews), (overviews,), generator=generator)
        return {
            "hr": model.loss(tiles[drawn], "hr", words[drawn]),
            "lr": model.loss(web.overviews[scenes], "lr", web.overview_words[scenes]),
        }

    optimise("encoder", {model: 1.0}, schedule, losses, journal=run, generator=generator)
