"""The loader: scenes of a split as tensors, HR tiles on demand."""

from gl10m.loader.batches import BatchLoader
from gl10m.loader.choice import ObservationError, TileChoiceError
from gl10m.loader.collate import collate, scatter
from gl10m.loader.dataset import GL10MDataset
from gl10m.loader.sample import Batch, Sample
from gl10m.loader.scene import Scene
from gl10m.loader.selection import SelectionError
from gl10m.loader.stream import GL10MStream, StreamStateError
from gl10m.loader.transforms import RandomSymmetry

__all__ = [
    "Batch",
    "BatchLoader",
    "GL10MDataset",
    "GL10MStream",
    "ObservationError",
    "RandomSymmetry",
    "Sample",
    "Scene",
    "SelectionError",
    "StreamStateError",
    "TileChoiceError",
    "collate",
    "scatter",
]
