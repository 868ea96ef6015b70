"""Finds the tables that travel with the package: class_maps/ and manifests/."""

from importlib.resources import files
from pathlib import Path


def bundled(folder: str, name: str) -> Path:
    """Path of one bundled table, in the wheel or in a checkout.

    Args:
        folder: "class_maps" or "manifests".
        name: file name inside that folder.

    Raises:
        FileNotFoundError: the table is in neither place, which means a broken installation.
    """
    package = Path(str(files("gl10m")))
    places = (package / "_bundled" / folder / name, package.parent / folder / name)
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"{folder}/{name} is missing from the installation; looked in "
        f"{' and '.join(str(place.parent) for place in places)}. Reinstall gl10m."
    )
