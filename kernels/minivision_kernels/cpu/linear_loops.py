"""The three products of the linear layer, one number of the result at a time."""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import In2, Out2, compiled, contiguous, floats
from minivision_kernels.ladder import rung


@rung("linear_forward", name="loops", device="cpu", accepts=floats)
def linear_forward(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Three nested loops, compiled: the formula and nothing else.

    Slow because each multiply-add waits for the one before it: they add to the same number.
    """
    y = np.empty((x.shape[0], w.shape[0]), x.dtype)
    _forward(contiguous(x), contiguous(w), y)
    return y


@rung("linear_input", name="loops", device="cpu", accepts=floats)
def linear_input(g: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Three nested loops; moreover the inner one walks down a column of w, a new cache line at every step."""
    dx = np.empty((g.shape[0], w.shape[1]), g.dtype)
    _input(contiguous(g), contiguous(w), dx)
    return dx


@rung("linear_weight", name="loops", device="cpu", accepts=floats)
def linear_weight(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Three nested loops; the inner one walks down a column of g and one of x."""
    dw = np.empty((g.shape[1], x.shape[1]), g.dtype)
    _weight(contiguous(g), contiguous(x), dw)
    return dw


@compiled
def _forward(x: In2, w: In2, y: Out2):
    N, I = x.shape
    for n in range(N):
        for o in range(w.shape[0]):
            total = x.dtype.type(0)
            for i in range(I):
                total += x[n, i] * w[o, i]
            y[n, o] = total


@compiled
def _input(g: In2, w: In2, dx: Out2):
    N, O = g.shape
    for n in range(N):
        for i in range(w.shape[1]):
            total = g.dtype.type(0)
            for o in range(O):
                total += g[n, o] * w[o, i]
            dx[n, i] = total


@compiled
def _weight(g: In2, x: In2, dw: Out2):
    N, O = g.shape
    for o in range(O):
        for i in range(x.shape[1]):
            total = g.dtype.type(0)
            for n in range(N):
                total += g[n, o] * x[n, i]
            dw[o, i] = total
