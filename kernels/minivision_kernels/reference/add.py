"""The sum of two arrays of one shape."""

from __future__ import annotations

import numpy as np

from minivision_kernels.ladder import rung


@rung("add", name="numpy", device="cpu")
def add(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x + y, element by element: two branches of a network that meet, or two gradients of one value."""
    return np.asarray(x + y)
