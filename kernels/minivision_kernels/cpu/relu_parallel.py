"""The rectifier, shared between threads."""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, contiguous, floats, prange
from minivision_kernels.ladder import rung


@rung("relu_forward", name="parallel", device="cpu", accepts=floats)
def relu_forward(x: np.ndarray) -> np.ndarray:
    """The elements are split between the threads: memory is the limit, and two cores can ask for more of it."""
    x = contiguous(x)
    y = np.empty_like(x)
    _forward(x.reshape(-1), y.reshape(-1), work=x.size)
    return y


@rung("relu_backward", name="parallel", device="cpu", accepts=floats)
def relu_backward(g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The elements are split between the threads."""
    g, y = contiguous(g), contiguous(y)
    dx = np.empty_like(g)
    _backward(g.reshape(-1), y.reshape(-1), dx.reshape(-1), work=g.size)
    return dx


@compiled
def _forward(x: In1, y: Out1, team: Team):
    zero = x.dtype.type(0)
    for i in prange(x.shape[0], team):
        y[i] = zero if x[i] <= zero else x[i]


@compiled
def _backward(g: In1, y: In1, dx: Out1, team: Team):
    zero = g.dtype.type(0)
    for i in prange(g.shape[0], team):
        dx[i] = g[i] if y[i] > zero else zero
