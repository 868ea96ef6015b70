"""The Planetary Computer: NAIP and Sentinel-2 L2A in one STAC API, rasters behind short-lived signatures."""

import os

from pipelines.sources.patience import PATIENT, Patience
from pipelines.sources.signing import Signer
from pipelines.sources.stac import StacImagery

API = "https://planetarycomputer.microsoft.com/api/stac/v1"
"""Root of the STAC API. It needs no account; a subscription key only raises the limits."""

HOSTS = ("blob.core.windows.net",)
"""Where its rasters lie: no href of the catalogue leads to another host, see `pipelines.sources.reach`."""

MIRROR = "GL10M_PLANETARY_COMPUTER"
"""Environment variable that names another root: of a mirror, or of a catalogue to rehearse with."""


def planetary_computer(patience: Patience = PATIENT) -> StacImagery:
    """The default source of both sensors.

    Raises:
        RefusedAddressError: the variable holds no http or https address.
    """
    mirror = os.environ.get(MIRROR)
    return StacImagery(
        url=mirror or API,
        signer=Signer.PLANETARY_COMPUTER,
        patience=patience,
        hosts=() if mirror else HOSTS,
    )
