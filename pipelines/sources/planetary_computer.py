"""The Planetary Computer: NAIP and Sentinel-2 L2A in one STAC API, rasters behind short-lived signatures."""

from pipelines.sources.signing import Signer
from pipelines.sources.stac import StacImagery

API = "https://planetarycomputer.microsoft.com/api/stac/v1"
"""Root of the STAC API. It needs no account; a subscription key only raises the limits."""


def planetary_computer() -> StacImagery:
    """The default source of both sensors."""
    return StacImagery(url=API, signer=Signer.PLANETARY_COMPUTER)
