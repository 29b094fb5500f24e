"""Resizing: a weighted sum along the rows, then one along the columns."""

from __future__ import annotations

import numpy as np

from minivision_kernels.ladder import rung
from minivision_kernels.resample import BITS, NEAREST, nearest, passes, taps
from minivision_kernels.shapes import Pair


@rung("resize", name="numpy", device="cpu")
def resize(x: np.ndarray, size: Pair, method: str, antialias: bool) -> np.ndarray:
    """The image x (H, W, C) with ``size`` (OH, OW) pixels, by one of the methods of ``resample.py``.

    Bytes are rounded and cut to 0..255 after each of the two sums; floats are summed in float64 and stored in their own
    dtype. An axis that keeps its length is left alone.
    """
    y = x
    for axis in passes((x.shape[0], x.shape[1]), size):
        y = _along(y, axis, size[axis], method, antialias)
    return y.copy() if y is x else y


def _along(x: np.ndarray, axis: int, m: int, method: str, antialias: bool) -> np.ndarray:
    """x with m pixels along one axis."""
    n = x.shape[axis]
    if method == NEAREST:
        return np.take(x, nearest(n, m), axis)
    whole = x.dtype == np.uint8
    first, count, weights = taps(n, m, method, antialias, whole)
    shape = [1, 1, 1]
    shape[axis] = m
    total = np.full(x.shape[:axis] + (m,) + x.shape[axis + 1:], 1 << BITS - 1 if whole else 0, weights.dtype)
    for k in range(int(count.max())):
        total += weights[:, k].reshape(shape) * np.take(x, np.minimum(first + k, n - 1), axis)
    return np.clip(total >> BITS, 0, 255).astype(np.uint8) if whole else total.astype(x.dtype)
