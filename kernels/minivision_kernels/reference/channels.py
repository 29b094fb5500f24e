"""One number for each channel: adding it to all pixels, multiplying them by it, and summing over them."""

from __future__ import annotations

import numpy as np

from minivision_kernels.ladder import rung
from minivision_kernels.reference.relu import relu_backward


@rung("bias_add", name="numpy", device="cpu")
def bias_add(y: np.ndarray, bias: np.ndarray, relu: bool = False) -> np.ndarray:
    """Add bias (C,) to every pixel of y (N, C, ...), in place; returns y. With ``relu`` what is negative then becomes 0.

    In place, since y is always what a convolution or a matrix product has just made.
    """
    y += bias.reshape(-1, *(1,) * (y.ndim - 2))
    return np.maximum(y, y.dtype.type(0), out=y) if relu else y


@rung("channel_affine", name="numpy", device="cpu")
def channel_affine(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, relu: bool = False) -> np.ndarray:
    """x * weight + bias for x (N, C, ...), weight (C,) and bias (C,): what batch norm is once its statistics stand.

    With ``relu`` what is negative then becomes 0.
    """
    column = (-1, *(1,) * (x.ndim - 2))
    y = x * weight.reshape(column)
    y = y if bias is None else np.add(y, bias.reshape(column), out=y)
    return np.maximum(y, y.dtype.type(0), out=y) if relu else y


@rung("channel_sum", name="numpy", device="cpu")
def channel_sum(g: np.ndarray) -> np.ndarray:
    """The sum (C,) of g (N, C, ...) over all axes but the channels: the gradient to a bias."""
    return g.sum(axis=(0, *range(2, g.ndim)))


@rung("relu_bias_backward", name="numpy", device="cpu")
def relu_bias_backward(g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From g, the gradient to y = max(z + bias, 0), those to z (N, C, ...) and to the bias (C,)."""
    passed = relu_backward(g, y)
    return passed, channel_sum(passed)
