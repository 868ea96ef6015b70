"""What decides a world, beside its seed."""

from dataclasses import dataclass
from itertools import product
from math import isfinite

import numpy as np

ZONES = ("water", "forest", "field", "desert", "town")
"""Land covers. Readable at LR."""

GLYPHS = ("ring", "cross", "bars", "ell", "checker", "dots")
"""Marks on a tile. Readable at HR alone."""

PLAIN, RUBBLE = "plain", "rubble"
"""Words for a pad without a mark and for a tile of rubble; no class has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """Sizes, rates and noise of a world. The words of a class are a glyph and a zone."""

    tile_px: int = 32
    """Pixels on a side of an HR tile, and of the LR overview."""

    zones: int = 4
    """Land covers in use, the first of ZONES."""

    glyphs: int = 4
    """Glyphs in use, the first of GLYPHS."""

    novel: int = 4
    """Compositions that no caption shows and no training learns of."""

    most_compounds: int = 4
    """A scene has one to this many compounds."""

    largest_compound: int = 6
    """Tiles of a compound: two to this many."""

    readable: float = 0.7
    """Probability that a tile of a compound carries its glyph; the others are empty pads."""

    camouflaged: float = 0.2
    """Probability that a glyph is drawn soft and faint: meaning with little structure."""

    most_rubble: int = 8
    """A scene has up to this many tiles of rubble: structure without meaning."""

    most_pads: int = 3
    """A scene has up to this many empty pads of no compound; at LR they look like one."""

    caption_noise: float = 0.1
    """Probability that a caption of the web names a wrong word."""

    lr_noise: float = 0.01
    """Standard deviation of the sensor noise at LR, in [0, 1] reflectance."""

    def __post_init__(self) -> None:
        if not (1 < self.zones <= len(ZONES) and 1 < self.glyphs <= len(GLYPHS)):
            raise ValueError(
                f"a world has 2 to {len(ZONES)} zones and 2 to {len(GLYPHS)} glyphs; asked for {self.zones} "
                f"and {self.glyphs}"
            )
        if self.tile_px < 32 or self.tile_px % 8:  # noqa: PLR2004 - the glyphs are 20 pixels wide
            raise ValueError(f"a tile has a multiple of 8 pixels, at least 32; asked for {self.tile_px}")
        counts = {"most_compounds": 1, "largest_compound": 2, "most_rubble": 0, "most_pads": 0}
        if low := [name for name, least in counts.items() if getattr(self, name) < least]:
            raise ValueError(f"{low[0]} is at least {counts[low[0]]}; asked for {getattr(self, low[0])}")
        rates = ("readable", "camouflaged", "caption_noise")
        if odd := [name for name in rates if not 0 <= getattr(self, name) <= 1]:
            raise ValueError(f"{odd[0]} is a probability; asked for {getattr(self, odd[0])}")
        if not (isfinite(self.lr_noise) and self.lr_noise >= 0):
            raise ValueError(f"lr_noise is a standard deviation, 0 or more; asked for {self.lr_noise}")
        if not 0 <= self.novel <= (self.zones - 1) * (self.glyphs - 1):
            raise ValueError(
                f"at most {(self.zones - 1) * (self.glyphs - 1)} of {self.zones * self.glyphs} compositions "
                f"can be Novel, so that each word is seen in another; asked for {self.novel}"
            )

    @property
    def compositions(self) -> tuple[tuple[int, int], ...]:
        """(glyph, zone) of each class, by its id."""
        return tuple(product(range(self.glyphs), range(self.zones)))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by id."""
        return tuple(f"{GLYPHS[glyph]} on {ZONES[zone]}" for glyph, zone in self.compositions)

    @property
    def words(self) -> tuple[str, ...]:
        """All words of the captions: glyphs, zones, plain, rubble."""
        return (*GLYPHS[: self.glyphs], *ZONES[: self.zones], PLAIN, RUBBLE)

    @property
    def novel_ids(self) -> tuple[int, ...]:
        """Ids of the Novel classes, drawn once for all seeds; every word keeps a Base composition.

        Walks a permuted diagonal of the glyph x zone square, so that no word loses all its compositions.
        """
        rng = np.random.default_rng(777)
        glyphs, zones = rng.permutation(self.glyphs), rng.permutation(self.zones)
        walk = [
            (int(glyphs[(place + shift) % self.glyphs]), int(zones[place % self.zones]))
            for shift in range(self.glyphs)
            for place in range(max(self.glyphs, self.zones))
        ]
        unique = list(dict.fromkeys(walk))[: self.novel]
        return tuple(sorted(glyph * self.zones + zone for glyph, zone in unique))

    @property
    def novel_names(self) -> tuple[str, ...]:
        """Names of the Novel classes."""
        return tuple(self.class_names[one] for one in self.novel_ids)
