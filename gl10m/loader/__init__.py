"""The loader: scenes of a split as tensors, HR tiles on demand."""
