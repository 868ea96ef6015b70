"""Why not kept: one closed list of reasons, so that every row read is accounted for."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a stage let a row go. The list is closed: a new reason changes the manifest's schema."""

    # Polygons (A.3: "only valid polygons are retained").
    NOT_AN_AREA = "NOT_AN_AREA"
    """A closed way that its tags make a line, by the closed-way rule of the class map."""
    BROKEN_RELATION = "BROKEN_RELATION"
    """A multipolygon or boundary relation of which no area can be assembled, as at an extract's edge."""
    INVALID_GEOMETRY = "INVALID_GEOMETRY"
    """Empty, or still invalid after one repair that keeps polygons."""
    OFF_THE_MAP = "OFF_THE_MAP"
    """Too near to a pole or across the antimeridian: no footprint can stand there."""
    # Class mapping (A.3: "irrelevant tags", "insufficient spatial support").
    UNMAPPED = "UNMAPPED"
    """A tag of the class map is there, but no class accepts the object: an exclusion, a missing tag."""
    AREA_OUT_OF_RANGE = "AREA_OUT_OF_RANGE"
    """Geodesic area outside the limits of every class that the tags name."""
    # Footprints (A.3: class match, labelled area, thinning).
    FEW_CLASSES = "FEW_CLASSES"
    """Fewer classes in the footprint than the minimum class match asks for."""
    SMALL_LABELLED_AREA = "SMALL_LABELLED_AREA"
    """Labelled ground too small against the footprint."""
    THINNED = "THINNED"
    """Nearer than the thinning distance to a kept anchor."""
    # Coverage and subsampling (A.2, A.4).
    OUTSIDE_SENTINEL2_COVERAGE = "OUTSIDE_SENTINEL2_COVERAGE"
    """The footprint is not wholly inside the state's Sentinel-2 coverage."""
    OUTSIDE_NAIP_COVERAGE = "OUTSIDE_NAIP_COVERAGE"
    """Not every tile meets the state's NAIP coverage."""
    SUBSAMPLED = "SUBSAMPLED"
    """Given up by the class-aware subsampling."""
    OVER_LIMIT = "OVER_LIMIT"
    """Beyond the number of scenes that `--limit` asks for."""
    # Matching (A.2).
    NO_NAIP = "NO_NAIP"
    """No NAIP vintage of the acquisition window covers all tiles."""
    NO_SENTINEL2 = "NO_SENTINEL2"
    """No Sentinel-2 item under the cloud limit covers the footprint, in either search range."""
    # Quality control (A.3).
    BLACK_LR = "BLACK_LR"
    """Too many black or missing pixels in the LR image."""
    CLOUDY_LR = "CLOUDY_LR"
    """Too much cloud over the footprint by the scene classification layer."""
    BLACK_HR = "BLACK_HR"
    """Too many black or missing pixels in at least one HR tile: the whole pair goes."""
    CORRUPT_TILE = "CORRUPT_TILE"
    """A tile cannot be decoded to 268 x 268 pixels after writing: the whole pair goes."""
    INCOMPLETE = "INCOMPLETE"
    """The store does not hold exactly one LR image and 100 HR tiles with matching checksums."""
    DUPLICATE = "DUPLICATE"
    """Several data sets that were put together hold the scene: it is kept once."""


PLACE_STAGES = ("polygons", "classes", "footprints", "coverage", "subsampling", "matching")
"""Stages before the images, in order: each works on a whole region."""

IMAGE_STAGES = ("lr", "hr", "consistency")
"""Stages that read, check and encode images, in order: they work on batches of scenes."""

STAGES = (*PLACE_STAGES, *IMAGE_STAGES)
"""Stages in the order of the build, as they stand in the rejections manifest and in the funnel."""
