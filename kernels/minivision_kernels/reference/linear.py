"""The linear layer and its two gradients: three matrix products."""

from __future__ import annotations

import numpy as np

from minivision_kernels.ladder import rung


@rung("linear_forward", name="numpy", device="cpu", repeatable=False)
def linear_forward(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """y = x w^T: inputs x (N, I) and weights w (O, I) give y (N, O). NumPy hands the product to BLAS.

    BLAS multiplies tile by tile, each held in registers: fast, but the order of its sums may depend on the threads.
    """
    return x @ w.T


@rung("linear_input", name="numpy", device="cpu", repeatable=False)
def linear_input(g: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The gradient to x: upstream g (N, O) and weights w (O, I) give g w (N, I)."""
    return g @ w


@rung("linear_weight", name="numpy", device="cpu", repeatable=False)
def linear_weight(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The gradient to w: upstream g (N, O) and inputs x (N, I) give g^T x (O, I), summed over the batch."""
    return g.T @ x
