"""What rows take from outside, in words and in fact."""

from pathlib import Path

from gl10m.resources import bundled
from reference_model.baselines.covariates import Covariate
from reference_model.baselines.entry import Assets, MissingAssetError

SPARSE_OBR = 0.236
"""What SAR's sparse rows and the night-light rows buy (Tables 1 and 2)."""

ANSWERS = "class_maps/concept_scale.toml, or such a file for other classes"
LIGHTS = "a raster of night lights, as the VIIRS annual composite"


def covariate_of(assets: Assets) -> Covariate:
    """The covariate that was handed over.

    Raises:
        MissingAssetError: there is none.
    """
    if assets.covariate is None:
        raise MissingAssetError(
            f"night-light rows need {LIGHTS}, which was not handed over. Hand over NightLights(path) as "
            "Assets.covariate; for a synthetic world, SyntheticLights."
        )
    return assets.covariate


def answers_of(assets: Assets) -> Path:
    """The file with the scale of each class: the one handed over, or the bundled one."""
    return assets.concept_scale or bundled("class_maps", "concept_scale.toml")
