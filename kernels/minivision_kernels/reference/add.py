"""The sum of two arrays of one shape."""

from __future__ import annotations

import numpy as np

from minivision_kernels.ladder import rung


@rung("add", name="numpy", device="cpu")
def add(x: np.ndarray, y: np.ndarray, relu: bool = False) -> np.ndarray:
    """x + y, element by element: two branches of a network that meet, or two gradients of one value. With ``relu`` what is
    negative becomes 0."""
    total = np.asarray(x + y)
    return np.where(total <= 0, total.dtype.type(0), total) if relu else total
