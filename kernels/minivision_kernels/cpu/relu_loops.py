"""The rectifier, one element at a time."""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import In1, Out1, compiled, contiguous, floats
from minivision_kernels.ladder import rung


@rung("relu_forward", name="loops", device="cpu", accepts=floats)
def relu_forward(x: np.ndarray) -> np.ndarray:
    """One pass of compare and select. NaN needs no care: it is not <= 0, so it is passed on like a positive number."""
    x = contiguous(x)
    y = np.empty_like(x)
    _forward(x.reshape(-1), y.reshape(-1))
    return y


@rung("relu_backward", name="loops", device="cpu", accepts=floats)
def relu_backward(g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """One compiled pass; NumPy needs two, with a boolean array between the comparison and the choice."""
    g, y = contiguous(g), contiguous(y)
    dx = np.empty_like(g)
    _backward(g.reshape(-1), y.reshape(-1), dx.reshape(-1))
    return dx


@compiled
def _forward(x: In1, y: Out1):
    zero = x.dtype.type(0)
    for i in range(x.shape[0]):
        y[i] = zero if x[i] <= zero else x[i]           # NaN <= 0 is false: NaN passes through


@compiled
def _backward(g: In1, y: In1, dx: Out1):
    zero = g.dtype.type(0)
    for i in range(g.shape[0]):
        dx[i] = g[i] if y[i] > zero else zero
