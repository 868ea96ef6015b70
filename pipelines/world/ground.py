"""What the ground of each class looks like from above: a colour, a second colour and a pattern between them.

Nothing here imitates a real sensor. The grounds only have to be told apart at 1 m, to stay the same wherever
they are seen, and to keep their mean colour when they are averaged to 10 m.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PERIOD_METRES = 128
"""Every pattern repeats after so many metres east and north."""

TEXEL_METRES = 0.5
"""Finest step at which patterns are drawn."""

DARKEST, BRIGHTEST = 24, 214
"""Range of a pattern's bytes. Relief and noise, added later, never reach 0, which means black, or 255."""

GRAIN_STEP = 6
"""The grain comes in steps of so many grey levels: finer ones would double the files and show nothing."""

Colour = tuple[int, int, int, int]
"""Red, green, blue, near infrared, 0..255."""

_WINTER: Colour = (128, 116, 88, 104)
"""What vegetation turns to in January."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The look of one class."""

    base: Colour
    accent: Colour
    pattern: str
    """One of PATTERNS: where the accent lies."""
    spacing: int
    """Distance between repetitions, metres; a divisor of PERIOD_METRES."""
    grain: int
    """Standard deviation of the fine noise, grey levels."""


def _cell(x: NDArray[np.float64], spacing: int) -> NDArray[np.float64]:
    """Place inside a repetition, -0.5..0.5."""
    return np.mod(x / spacing, 1.0) - 0.5


def _disc(x: NDArray[np.float64], y: NDArray[np.float64], s: int) -> NDArray[np.bool_]:
    shifted = x + np.where(np.mod(y // s, 2) == 1, s / 2, 0.0)
    return np.hypot(_cell(shifted, s), _cell(y, s)) < 0.36  # noqa: PLR2004 - radius in repetitions


def _bays(x: NDArray[np.float64], y: NDArray[np.float64], s: int) -> NDArray[np.bool_]:
    row = np.abs(_cell(y, s)) < 0.3  # noqa: PLR2004 - the rest of a repetition is the aisle
    return row & (np.mod(x, 4.0) < 1.0)


PATTERNS: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64], int], NDArray[np.bool_]]] = {
    "plain": lambda x, _y, _s: np.zeros_like(x, bool),
    "rows": lambda _x, y, s: _cell(y, s) < 0,
    "columns": lambda x, _y, s: _cell(x, s) < 0,
    "diagonal": lambda x, y, s: _cell(x + y, s) < 0,
    "counter": lambda x, y, s: _cell(x - y, s) < 0,
    "checker": lambda x, y, s: (_cell(x, s) < 0) ^ (_cell(y, s) < 0),
    "dots": _disc,
    "rings": lambda x, y, s: np.mod(np.hypot(_cell(x, s), _cell(y, s)) * 6, 2) < 1,
    "grid": lambda x, y, s: (np.abs(_cell(x, s)) < 0.1) | (np.abs(_cell(y, s)) < 0.1),  # noqa: PLR2004 - line width
    "blocks": lambda x, y, s: (np.abs(_cell(x, s)) < 0.3) & (np.abs(_cell(y, s)) < 0.3),  # noqa: PLR2004 - half side
    "waves": lambda x, y, s: np.mod(y / s + 0.35 * np.sin(2 * np.pi * x / (2 * s)), 1.0) < 0.5,  # noqa: PLR2004 - half
    "zigzag": lambda x, y, s: np.mod(y / s + 2 * np.abs(_cell(x, 2 * s)), 1.0) < 0.5,  # noqa: PLR2004 - half
    "bays": _bays,
    "crosses": lambda x, y, s: (
        ((np.abs(_cell(x, s)) < 0.12) | (np.abs(_cell(y, s)) < 0.12))  # noqa: PLR2004 - arm width
        & (np.maximum(np.abs(_cell(x, s)), np.abs(_cell(y, s))) < 0.36)  # noqa: PLR2004 - arm length
    ),
}
"""Name to (x metres, y metres, spacing) -> where the accent lies. Both coordinates run over one period."""

GROUNDS: dict[str, Ground] = {
    "wind_farm": Ground((150, 156, 104, 150), (212, 212, 210, 190), "crosses", 32, 4),
    "tunnel_opening": Ground((38, 36, 40, 50), (150, 130, 96, 110), "columns", 4, 3),
    "shipyard": Ground((96, 84, 92, 80), (196, 96, 60, 110), "columns", 16, 5),
    "runway": Ground((70, 70, 76, 70), (206, 206, 196, 180), "bays", 32, 2),
    "railroad": Ground((96, 80, 72, 80), (52, 46, 46, 50), "columns", 4, 5),
    "toll_booth": Ground((206, 188, 60, 150), (60, 60, 64, 60), "checker", 4, 2),
    "port": Ground((126, 126, 134, 110), (190, 70, 56, 110), "blocks", 16, 3),
    "viaduct": Ground((186, 182, 172, 150), (96, 94, 96, 80), "rows", 8, 3),
    "overpass": Ground((164, 160, 156, 130), (84, 84, 90, 70), "diagonal", 8, 3),
    "highway": Ground((84, 84, 88, 70), (200, 196, 150, 160), "diagonal", 16, 3),
    "aquaculture": Ground((34, 74, 88, 30), (150, 146, 110, 110), "grid", 32, 3),
    "air_terminal": Ground((206, 206, 212, 190), (120, 150, 190, 150), "columns", 16, 2),
    "rail_station": Ground((156, 74, 62, 100), (204, 196, 184, 160), "rows", 16, 3),
    "prison": Ground((168, 160, 142, 130), (90, 84, 74, 80), "grid", 16, 4),
    "marina": Ground((30, 70, 104, 26), (210, 210, 212, 190), "columns", 8, 3),
    "desert": Ground((190, 160, 112, 160), (172, 140, 92, 140), "waves", 32, 5),
    "shopping_mall": Ground((202, 198, 190, 170), (150, 110, 120, 120), "checker", 32, 3),
    "tower": Ground((210, 60, 50, 120), (212, 210, 208, 180), "rings", 8, 2),
    "skate_park": Ground((174, 172, 178, 150), (110, 108, 116, 100), "waves", 8, 3),
    "university": Ground((148, 96, 72, 120), (104, 140, 80, 170), "blocks", 32, 5),
    "air_hangar": Ground((176, 192, 200, 170), (120, 136, 148, 120), "rows", 4, 2),
    "stadium": Ground((100, 110, 170, 120), (208, 204, 200, 170), "rings", 32, 3),
    "waste_site": Ground((122, 104, 88, 90), (186, 178, 184, 150), "dots", 4, 16),
    "dam": Ground((196, 194, 186, 170), (140, 136, 128, 120), "rows", 16, 3),
    "police": Ground((52, 64, 130, 80), (200, 200, 206, 170), "rows", 8, 2),
    "helipad": Ground((60, 110, 74, 90), (212, 212, 90, 170), "rings", 16, 2),
    "beach": Ground((212, 198, 160, 190), (200, 182, 140, 170), "plain", 32, 4),
    "garage": Ground((140, 140, 146, 120), (60, 60, 66, 60), "bays", 8, 2),
    "hospital": Ground((210, 206, 204, 180), (196, 60, 66, 110), "crosses", 16, 2),
    "airport": Ground((120, 146, 96, 160), (140, 164, 112, 176), "counter", 64, 4),
    "car_dealer": Ground((70, 72, 80, 70), (190, 60, 150, 120), "dots", 4, 4),
    "surface_mine": Ground((176, 140, 110, 140), (126, 94, 76, 100), "waves", 16, 6),
    "office": Ground((96, 128, 150, 110), (160, 186, 200, 150), "grid", 8, 2),
    "warehouse": Ground((188, 188, 184, 160), (156, 158, 160, 130), "columns", 8, 2),
    "barn": Ground((150, 48, 40, 90), (96, 32, 30, 60), "rows", 4, 3),
    "bareland": Ground((158, 130, 106, 130), (140, 116, 96, 116), "plain", 32, 10),
    "water_treatment": Ground((120, 128, 120, 100), (40, 76, 72, 40), "dots", 32, 3),
    "sand": Ground((212, 186, 126, 180), (190, 160, 100, 156), "zigzag", 16, 4),
    "football": Ground((72, 132, 64, 180), (206, 206, 200, 190), "rows", 4, 2),
    "roundabout": Ground((100, 100, 106, 80), (80, 140, 70, 170), "rings", 64, 3),
    "fire_station": Ground((196, 54, 44, 110), (206, 190, 170, 160), "columns", 8, 2),
    "solar_farm": Ground((34, 40, 84, 40), (132, 140, 112, 130), "rows", 8, 2),
    "supermarket": Ground((200, 168, 120, 150), (168, 130, 84, 120), "grid", 16, 2),
    "construction": Ground((176, 146, 98, 140), (206, 150, 50, 140), "counter", 16, 8),
    "golf_course": Ground((96, 164, 80, 206), (74, 138, 62, 190), "counter", 16, 2),
    "soccer": Ground((80, 158, 76, 200), (104, 184, 92, 212), "columns", 16, 2),
    "lake": Ground((32, 62, 96, 26), (38, 70, 106, 28), "waves", 32, 2),
    "gas_station": Ground((206, 206, 200, 170), (206, 96, 40, 130), "checker", 8, 2),
    "substation": Ground((136, 132, 132, 110), (76, 78, 84, 70), "crosses", 8, 4),
    "river": Ground((60, 88, 84, 40), (74, 102, 92, 46), "zigzag", 32, 2),
    "tennis": Ground((50, 104, 150, 110), (208, 212, 208, 180), "grid", 8, 2),
    "baseball": Ground((106, 160, 82, 196), (186, 130, 80, 150), "dots", 32, 2),
    "school": Ground((182, 150, 112, 140), (128, 104, 90, 110), "blocks", 16, 3),
    "pool": Ground((70, 186, 206, 60), (110, 206, 212, 70), "waves", 4, 2),
    "religious_building": Ground((128, 110, 150, 120), (186, 176, 196, 160), "crosses", 8, 2),
    "meadow": Ground((140, 166, 84, 196), (156, 180, 98, 206), "dots", 16, 6),
    "industrial": Ground((148, 148, 152, 120), (106, 110, 122, 90), "blocks", 32, 5),
    "parking": Ground((92, 92, 98, 80), (170, 172, 176, 140), "bays", 16, 4),
    "reserve": Ground((104, 122, 74, 160), (84, 104, 62, 146), "zigzag", 64, 7),
    "cemetery": Ground((112, 140, 92, 170), (184, 184, 180, 160), "dots", 4, 4),
    "park": Ground((104, 150, 72, 190), (52, 92, 44, 160), "dots", 16, 4),
    "chaparral": Ground((150, 132, 94, 130), (84, 92, 58, 130), "dots", 8, 6),
    "wetland": Ground((70, 92, 64, 110), (40, 66, 74, 60), "waves", 64, 8),
    "pond": Ground((44, 84, 82, 36), (50, 94, 88, 40), "rings", 64, 2),
    "farmland": Ground((168, 152, 82, 170), (120, 142, 62, 190), "rows", 32, 4),
    "forest": Ground((34, 62, 34, 130), (56, 92, 46, 170), "dots", 8, 8),
}
"""Slug of the class to its ground, rarest first as in Figure 6 of the paper."""

BACKGROUNDS: tuple[Ground, ...] = (
    Ground((126, 138, 86, 160), (116, 130, 80, 150), "plain", 16, 5),
    Ground((140, 140, 98, 150), (128, 130, 88, 144), "diagonal", 128, 6),
    Ground((112, 118, 84, 140), (158, 136, 120, 120), "blocks", 32, 6),
    Ground((118, 126, 82, 150), (70, 92, 52, 150), "dots", 32, 6),
    Ground((150, 140, 108, 140), (140, 132, 100, 134), "plain", 16, 6),
)
"""Ground on which no class lies: rough grass, dry grass, houses, scattered trees, soil."""


def ground_of(slug: str) -> Ground:
    """The ground of a class; a class that is not of the paper gets one from its name."""
    if slug in GROUNDS:
        return GROUNDS[slug]
    digest = hashlib.sha256(slug.encode()).digest()
    span = BRIGHTEST - DARKEST
    base, accent = (
        (
            DARKEST + digest[k] % span,
            DARKEST + digest[k + 1] % span,
            DARKEST + digest[k + 2] % span,
            DARKEST + digest[k + 3] % span,
        )
        for k in (0, 4)
    )
    names = [name for name in PATTERNS if name != "plain"]
    return Ground(base, accent, names[digest[8] % len(names)], 4 << (digest[9] % 4), 3)


@functools.cache
def _coordinates() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    steps = (np.arange(round(PERIOD_METRES / TEXEL_METRES)) + 0.5) * TEXEL_METRES
    x, y = np.meshgrid(steps, steps)
    return x, y


def smooth_noise(size: int, roughness: float, seed: int, shortest: float = 0.0) -> NDArray[np.float32]:
    """Noise that repeats after `size` cells, by synthesis of its spectrum.

    Args:
        size: cells on a side.
        roughness: exponent of the spectrum's fall; 0 is white noise, 2 and more are hills.
        seed: of the generator.
        shortest: shortest wave length kept, cells.

    Returns:
        Shape (size, size), mean 0, standard deviation 1.
    """
    generator = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    amplitude = frequency**-roughness if roughness else np.isfinite(frequency).astype(float)
    if shortest:
        amplitude = np.where(frequency > 1 / shortest, 0.0, amplitude)
    phase = generator.normal(size=amplitude.shape) + 1j * generator.normal(size=amplitude.shape)
    noise = np.fft.irfft2(amplitude * phase, s=(size, size))
    noise -= noise.mean()
    scaled: NDArray[np.float32] = (noise / noise.std()).astype(np.float32)
    return scaled


def _draw(ground: Ground, winter: float) -> NDArray[np.float32]:
    """One period of a ground, shape (256, 256, 4), float, row 0 in the south."""
    x, y = _coordinates()
    accent = PATTERNS[ground.pattern](x, y, ground.spacing)
    colours = [np.array(_in_season(colour, winter), np.float32) for colour in (ground.base, ground.accent)]
    picture = np.where(accent[..., None], colours[1], colours[0])
    seed = int.from_bytes(hashlib.sha256(repr(ground).encode()).digest()[:4], "little")
    grain = smooth_noise(x.shape[0], 0.5, seed, shortest=8) * ground.grain
    grain = GRAIN_STEP * np.rint(grain / GRAIN_STEP)
    return np.clip(picture + grain[..., None], DARKEST, BRIGHTEST)


def _in_season(colour: Colour, winter: float) -> tuple[float, ...]:
    """A colour between summer (0) and winter (1): what is green turns to straw."""
    green = min(1.0, max(0.0, (colour[3] - colour[0]) / 100)) * 0.5 * winter
    return tuple((1 - green) * c + green * w for c, w in zip(colour, _WINTER, strict=True))


@dataclass(frozen=True, slots=True)
class Atlas:
    """One period of several grounds, ready to be looked up."""

    texel: float
    """Metres between samples."""

    table: NDArray[np.uint32]
    """Shape (grounds, n, n) with n = PERIOD_METRES / texel; row 0 in the south, column 0 in the west.

    The four bytes of an element are red, green, blue and near infrared, in the order of memory."""

    def coarser(self, texels: int) -> "Atlas":
        """The same grounds averaged over squares of `texels` samples a side."""
        grounds, size, _ = self.table.shape
        small = size // texels
        samples = self.table.view(np.uint8).reshape(grounds, small, texels, small, texels, 4)
        means = np.rint(samples.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)
        return Atlas(self.texel * texels, np.ascontiguousarray(means).view(np.uint32)[..., 0])


def atlas(mixtures: Sequence[Sequence[Ground]], winter: float) -> Atlas:
    """Draw the backgrounds and then the mixtures.

    Args:
        mixtures: grounds that one polygon shows at once; several share it in stripes of 16 m, so that a
            polygon of several classes looks like all of them.
        winter: 0 in summer, 1 in winter.

    Returns:
        BACKGROUNDS first, then one ground a mixture.
    """
    drawn: dict[Ground, NDArray[np.float32]] = {}
    x, y = _coordinates()
    stripe = np.floor((x + y) / 16).astype(int)
    pictures = []
    for mixture in [*((ground,) for ground in BACKGROUNDS), *mixtures]:
        for ground in mixture:
            if ground not in drawn:
                drawn[ground] = _draw(ground, winter)
        turn = np.mod(stripe, len(mixture))[..., None]
        picture = drawn[mixture[0]]
        for place, ground in enumerate(mixture[1:], start=1):
            picture = np.where(turn == place, drawn[ground], picture)
        pictures.append(np.rint(picture).astype(np.uint8))
    return Atlas(TEXEL_METRES, np.ascontiguousarray(np.stack(pictures)).view(np.uint32)[..., 0])
