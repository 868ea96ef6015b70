"""Kernels over reflectance and classes, compiled: small images, so plain floats."""

import math

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.compiled import compiled
from pipelines.sources.resample import NODE_STEP, kernel_steps


def resample_reflectance(
    reflectance: NDArray[np.float32],
    valid: NDArray[np.bool_],
    nodes: tuple[NDArray[np.float64], NDArray[np.float64]],
    step: tuple[float, float],
    side: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Resample bands, bilinear over the valid pixels alone.

    Args:
        reflectance: shape (bands, rows, columns).
        valid: shape (rows, columns).
        nodes: as in `pipelines.sources.resample`.
        step: size of an output pixel in pixels of the source, across and down.
        side: pixels on a side of the output.

    Returns:
        Shape (bands, side, side), 0 where not observed; and shape (side, side), True where the nearest pixel
        is valid.
    """
    output = np.zeros((len(reflectance), side, side), np.float32)
    observed = np.zeros((side, side), np.bool_)
    _resample(reflectance, valid, *nodes, *kernel_steps(step), output, observed)
    return output, observed


def resample_classes(
    classes: NDArray[np.uint8], nodes: tuple[NDArray[np.float64], NDArray[np.float64]], side: int
) -> NDArray[np.uint8]:
    """Resample a class raster, nearest neighbour.

    Args:
        classes: shape (rows, columns).
        nodes: as in `pipelines.sources.resample`.
        side: pixels on a side of the output.

    Returns:
        Shape (side, side); 0 where the raster does not reach.
    """
    output = np.zeros((side, side), np.uint8)
    _nearest(classes, *nodes, output)
    return output


@compiled
def _at(nodes: NDArray[np.float64], row: int, column: int) -> float:
    """A position between four nodes."""
    i, j = row // NODE_STEP, column // NODE_STEP
    down, across = (row - i * NODE_STEP) / NODE_STEP, (column - j * NODE_STEP) / NODE_STEP
    left = nodes[i, j] * (1 - down) + nodes[i + 1, j] * down
    right = nodes[i, j + 1] * (1 - down) + nodes[i + 1, j + 1] * down
    return float(left * (1 - across) + right * across)


@compiled
def _nearest(
    classes: NDArray[np.uint8], xs: NDArray[np.float64], ys: NDArray[np.float64], output: NDArray[np.uint8]
) -> None:
    for row in range(output.shape[0]):
        for column in range(output.shape[1]):
            y, x = math.floor(_at(ys, row, column)), math.floor(_at(xs, row, column))
            if 0 <= y < classes.shape[0] and 0 <= x < classes.shape[1]:
                output[row, column] = classes[y, x]


@compiled
def _resample(
    bands: NDArray[np.float32],
    valid: NDArray[np.bool_],
    xs: NDArray[np.float64],
    ys: NDArray[np.float64],
    wide: float,
    high: float,
    output: NDArray[np.float32],
    observed: NDArray[np.bool_],
) -> None:
    total = np.zeros(bands.shape[0], np.float64)
    for row in range(output.shape[1]):
        for column in range(output.shape[2]):
            x, y = _at(xs, row, column), _at(ys, row, column)
            near_x, near_y = math.floor(x), math.floor(y)
            if not (0 <= near_y < valid.shape[0] and 0 <= near_x < valid.shape[1] and valid[near_y, near_x]):
                continue
            observed[row, column] = True
            total[:] = 0.0
            sum_of_weights = 0.0
            for i in range(
                max(math.ceil(y - 0.5 - high), 0), min(math.floor(y - 0.5 + high) + 1, valid.shape[0])
            ):
                weight_down = 1.0 - abs(i + 0.5 - y) / high
                for j in range(
                    max(math.ceil(x - 0.5 - wide), 0), min(math.floor(x - 0.5 + wide) + 1, valid.shape[1])
                ):
                    if valid[i, j]:
                        weight = weight_down * (1.0 - abs(j + 0.5 - x) / wide)
                        sum_of_weights += weight
                        for band in range(total.shape[0]):
                            total[band] += weight * bands[band, i, j]
            # The nearest pixel is valid and less than a pixel away, so there is a weight.
            for band in range(total.shape[0]):
                output[band, row, column] = total[band] / sum_of_weights
