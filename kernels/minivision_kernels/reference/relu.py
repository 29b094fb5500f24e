"""The rectifier and its gradient."""

from __future__ import annotations

import numpy as np

from minivision_kernels.ladder import rung


@rung("relu_forward", name="numpy", device="cpu")
def relu_forward(x: np.ndarray) -> np.ndarray:
    """max(x, 0) for every element of x (any shape). NaN stays NaN."""
    return np.asarray(np.maximum(x, x.dtype.type(0)))


@rung("relu_backward", name="numpy", device="cpu")
def relu_backward(g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient to x: g where the output y is positive, else 0. At the kink, relu'(0) = 0."""
    return np.where(y > 0, g, g.dtype.type(0))
