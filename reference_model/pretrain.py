"""The tiny preset's own encoder: images and class names, trained on the training scenes alone, then frozen.

It stands where a published vision-language model stands in the larger presets. Tiles learn against the Base
classes among their labels; the overview learns in crops that follow the tile grid, whose labels are exact
too and which a few dozen scenes cannot be memorised by.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gl10m.scene.grid import GRID, TILES
from reference_model.networks.encoder import SENSORS, EncoderParameters, SmallEncoder
from reference_model.networks.positions import turned
from reference_model.networks.text import TextTower
from reference_model.objectives.losses import pairwise_sigmoid
from reference_model.optimise import Journal, Schedule, optimise
from reference_model.scenes import Catalogue, Scenes

MOST_SCENES = 150
"""Training scenes kept in memory for this stage, about 5 MB each."""

EMPTY_SHARE = 0.25
"""Share of drawn tiles that carry no label, where there are such tiles."""

OVERVIEW_SHARE = 0.25
"""Crops of the overview in a step, as a share of the tiles in it."""

SMALLEST_CROP = 3
"""Tiles on a side of the smallest crop of the overview."""

BRIGHTNESS = 0.15
"""Brightness and contrast of a training image change by up to this share."""

TURNS = 8
"""Ways to turn and mirror an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The class names in the shared space, with what turns a cosine into a probability."""

    embeddings: Tensor
    """float32 (classes, embedding), each of length 1."""

    log_scale: Tensor
    bias: Tensor


class VisionLanguage(nn.Module):
    """An image tower and a text tower with one temperature and bias."""

    def __init__(self, parameters: EncoderParameters, positive_rate: float) -> None:
        super().__init__()
        self.image = SmallEncoder(parameters)
        self.text = TextTower(parameters.embedding)
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
        self.bias = nn.Parameter(torch.logit(torch.tensor(positive_rate), eps=1e-4))

    def loss(self, tokens: Tensor, labels: Tensor, names: tuple[str, ...]) -> Tensor:
        """Eq. 9 between images, given as tokens, and all class names."""
        images = self.image.embed(tokens)
        return pairwise_sigmoid(images, self.text(names), labels, self.log_scale, self.bias)


@dataclass(frozen=True, slots=True)
class Images:
    """Training images in memory, resized."""

    tiles: Tensor
    """uint8 (scenes, 100, 3, input_px, input_px)."""

    overviews: Tensor
    """uint8 (scenes, 3, h, h)."""

    labels: Tensor
    """Bool (scenes, 100, Base classes)."""


def pretrain(
    scenes: Scenes,
    *,
    rows: Tensor,
    catalogue: Catalogue,
    parameters: EncoderParameters,
    schedule: Schedule,
    generator: torch.Generator,
    journal: Journal,
) -> tuple[SmallEncoder, TextTower, Texts]:
    """Train both towers on Base names and Base labels; the text tower then reads all names.

    Args:
        scenes: the data set.
        rows: training scenes, (n,); a random 150 of them where there are more.
        catalogue: its names and labels.
        parameters: size of the encoder.
        schedule: its batch counts tiles.
        generator: draws scenes, tiles, crops and changes.
        journal: takes the log and the checkpoints.
    """
    kept = rows[torch.randperm(len(rows), generator=generator)[:MOST_SCENES].sort().values]
    labels, names = catalogue.base_tile_labels(kept), catalogue.base_names
    model = VisionLanguage(parameters, float(labels.float().mean()))
    images = _loaded(scenes, kept, labels, model.image)
    _standardise(model.image, images)
    likely = chances(labels.flatten(0, 1))

    def losses(_: int) -> dict[str, Tensor]:
        tiles, of_tiles = _drawn_tiles(images, likely, schedule.batch, generator)
        crops = [_drawn_crop(images, generator) for _ in range(round(OVERVIEW_SHARE * schedule.batch))]
        overviews = torch.cat([model.image.resized(crop[None]) for crop, _ in crops])
        of_crops = torch.stack([label for _, label in crops])
        tiles, overviews = _changed(tiles, generator), _changed(overviews, generator)
        return {
            "hr": model.loss(model.image.tokens(tiles, "hr"), of_tiles, names),
            "lr": model.loss(model.image.tokens(overviews, "lr"), of_crops, names),
        }

    optimise("encoder", {model: 1.0}, schedule, losses, journal=journal, generator=generator)
    with torch.no_grad():
        texts = Texts(
            embeddings=model.text(catalogue.class_names), log_scale=model.log_scale, bias=model.bias
        )
    return model.image, model.text, texts


def _loaded(scenes: Scenes, rows: Tensor, labels: Tensor, encoder: SmallEncoder) -> Images:
    readers = [scenes.scene(int(row)) for row in rows]
    return Images(
        torch.stack([encoder.resized(reader.hr(range(TILES))) for reader in readers]),
        torch.stack([reader.lr() for reader in readers]),
        labels,
    )


def _standardise(encoder: SmallEncoder, images: Images) -> None:
    """Give the encoder the mean and deviation of each sensor's channels."""
    of_sensor = {"lr": images.overviews, "hr": images.tiles.flatten(0, 1)}
    for place, sensor in enumerate(SENSORS):
        pixels = of_sensor[sensor][:, :, ::4, ::4].float()
        encoder.mean[place] = pixels.mean(dim=(0, 2, 3))
        encoder.deviation[place] = pixels.std(dim=(0, 2, 3)).clamp_min(1)


def chances(labels: Tensor) -> Tensor:
    """How likely each tile is drawn: rare classes more often, a quarter without any label.

    Args:
        labels: bool (tiles, classes).

    Returns:
        float64 (tiles,), adding up to 1.
    """
    rarity = labels.double().sum(dim=0).clamp_min(1).rsqrt()
    weight = (labels * rarity).amax(dim=1)
    empty = weight == 0
    if bool(empty.all()) or not bool(empty.any()):
        return torch.full((len(labels),), 1 / len(labels), dtype=torch.float64)
    share = torch.where(empty, EMPTY_SHARE / empty.sum(), (1 - EMPTY_SHARE) * weight / weight.sum())
    return share / share.sum()


def _drawn_tiles(
    images: Images, chances: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    drawn = torch.multinomial(chances, count, replacement=True, generator=generator)
    scene, tile = drawn // TILES, drawn % TILES
    return images.tiles[scene, tile], images.labels[scene, tile]


def _drawn_crop(images: Images, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A square of the overview along tile borders, uint8 (3, h, h), with the classes of the tiles in it."""

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    scene = number(0, len(images.overviews) - 1)
    side = number(SMALLEST_CROP, GRID)
    top, left = number(0, GRID - side), number(0, GRID - side)
    pixels = images.overviews.shape[-1]
    edges = [round(pixels * place / GRID) for place in (top, top + side, left, left + side)]
    crop = images.overviews[scene, :, edges[0] : edges[1], edges[2] : edges[3]]
    labels = images.labels[scene].view(GRID, GRID, -1)[top : top + side, left : left + side]
    return crop, labels.flatten(0, 1).any(dim=0)


def _changed(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn all images the same way and change brightness and contrast of each; uint8 of the same shape."""
    images = turned(images, int(torch.randint(0, TURNS, (), generator=generator)), rows=2)
    change = 1 + BRIGHTNESS * (2 * torch.rand(2, len(images), 1, 1, 1, generator=generator) - 1)
    middle = images.float().mean(dim=(2, 3), keepdim=True)
    return ((images - middle) * change[0] + middle * change[1]).clamp(0, 255).byte()
