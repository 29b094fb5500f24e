"""The rectifier in vectors, written past the caches where its result does not fit into them."""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, contiguous, prange
from minivision_kernels.cpu.simd import lanes, load, vectors
from minivision_kernels.cpu.stream import PIECE, arrived, past_caches, pieces, put_past, rectified, where_positive, whole
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty


@rung("relu_forward", name="vectors", device="cpu", accepts=vectors)
def relu_forward(x: np.ndarray) -> np.ndarray:
    """Explicit vectors, in memory that was used before.

    LLVM had made vectors of the rung below as well. What counts is the memory: fresh pages cost as much as the whole
    pass, and results larger than the last cache are written past it, which needs stores that only explicit vectors have.
    """
    x = contiguous(x)
    y = empty(x.shape, x.dtype)
    _forward(x.reshape(-1), y.reshape(-1), past_caches(y), work=x.size)
    return y


@rung("relu_backward", name="vectors", device="cpu", accepts=vectors)
def relu_backward(g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """As the forward: two arrays are read and one is written."""
    g, y = contiguous(g), contiguous(y)
    dx = empty(g.shape, g.dtype)
    _backward(g.reshape(-1), y.reshape(-1), dx.reshape(-1), past_caches(dx), work=g.size)
    return dx


@compiled
def _forward(x: In1, y: Out1, past: bool, team: Team):
    for piece in prange(pieces(x.shape[0]), team):
        start, end = piece * PIECE, min(piece * PIECE + PIECE, x.shape[0])
        last = whole(x, start, end)
        for at in range(start, last, lanes(x)):
            put_past(y, at, rectified(load(x, at)), past)
        for i in range(last, end):
            y[i] = x.dtype.type(0) if x[i] <= 0 else x[i]       # NaN <= 0 is false: NaN passes through
        arrived(past)


@compiled
def _backward(g: In1, y: In1, dx: Out1, past: bool, team: Team):
    for piece in prange(pieces(g.shape[0]), team):
        start, end = piece * PIECE, min(piece * PIECE + PIECE, g.shape[0])
        last = whole(g, start, end)
        for at in range(start, last, lanes(g)):
            put_past(dx, at, where_positive(load(y, at), load(g, at)), past)
        for i in range(last, end):
            dx[i] = g[i] if y[i] > 0 else g.dtype.type(0)
        arrived(past)
