"""The three products of the linear layer as sums of rows, shared between threads.

All three are one matrix product, once the operands are turned the right way: row m of the result is the sum over k of
a[m, k] times row k of b. Whole rows are added, which vectorises, and no BLAS is involved: the order of every sum is
the order of k, whatever the number of threads.
"""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import In2, Out2, Team, compiled, contiguous, floats, prange
from minivision_kernels.cpu.rows import add_product, add_weighted_rows, fold
from minivision_kernels.ladder import rung

STRIP = 256         # columns of the result summed at a time: few enough to stay close, enough for long vectors
LANES = 64          # partial sums of an inner product
FEW = 4             # below this batch, turning w costs more than it saves


@rung("linear_forward", name="parallel", device="cpu", accepts=floats)
def linear_forward(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Sums of rows of w^T, eight per pass: vectors in the inner loop instead of one number that all must wait for.

    For a batch of a few images, w is not worth turning; its rows are then multiplied with x in 64 partial sums.
    """
    y = np.empty((x.shape[0], w.shape[0]), x.dtype)
    if len(x) < FEW:
        _inner_products(contiguous(x), contiguous(w), y, work=x.size * w.shape[0])
    else:
        _product(contiguous(x), contiguous(w.T), y, work=x.size * w.shape[0])
    return y


@rung("linear_input", name="parallel", device="cpu", accepts=floats)
def linear_input(g: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Sums of rows of w, as they lie in memory."""
    dx = np.empty((g.shape[0], w.shape[1]), g.dtype)
    _product(contiguous(g), contiguous(w), dx, work=g.size * w.shape[1])
    return dx


@rung("linear_weight", name="parallel", device="cpu", accepts=floats)
def linear_weight(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Sums of rows of x, weighted by the columns of g, which are turned into rows first."""
    dw = np.empty((g.shape[1], x.shape[1]), g.dtype)
    _product(contiguous(g.T), contiguous(x), dw, work=g.size * x.shape[1])
    return dw


@compiled
def _product(a: In2, b: In2, y: Out2, team: Team):
    """y (M, J) = a (M, K) @ b (K, J)"""
    M, J = y.shape
    K = a.shape[1]
    place = np.arange(K) * J                # where each row of b starts
    source = b.reshape(K * J)
    strips = (J + STRIP - 1) // STRIP
    for item in prange(M * strips, team):         # strip by strip, so that the rows of b in use stay in the cache
        m, left = item % M, item // M * STRIP
        total = np.zeros(min(STRIP, J - left), a.dtype)
        add_weighted_rows(total, a[m], source[left:], place)
        y[m, left:left + total.shape[0]] = total


@compiled
def _inner_products(x: In2, w: In2, y: Out2, team: Team):
    """y (N, O) = x (N, I) @ w (O, I)^T"""
    O, I = w.shape
    for item in prange(x.shape[0] * O, team):
        n, o = item // O, item % O
        total = np.zeros(LANES, x.dtype)
        for left in range(0, I, LANES):
            add_product(total[:min(LANES, I - left)], x[n, left:], w[o, left:])
        y[n, o] = fold(total)
