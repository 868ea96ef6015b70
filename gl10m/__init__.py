"""GL-10M: aligned Sentinel-2 and NAIP scenes with OpenStreetMap labels.

The paper is arXiv 2604.11415. This package is the ground floor: the vocabulary (`gl10m.scene`), the
manifests (`gl10m.manifest`), the store (`gl10m.store`), the loader and the reports. `pipelines` builds data
sets and `reference_model` learns from them; both stand on this package, which imports neither.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gl10m.loader import GL10MDataset, GL10MStream

__version__ = "0.1.0"

__all__ = ["GL10MDataset", "GL10MStream", "__version__"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the signature that PEP 562 asks for
    """Hand out the loader on first use, so that building a data set does not import PyTorch (PEP 562)."""
    if name in {"GL10MDataset", "GL10MStream"}:
        from gl10m import loader

        return getattr(loader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
