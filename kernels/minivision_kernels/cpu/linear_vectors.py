"""The three products of the linear layer with a vector of sums in a register: the first use of the words of ``tile.py``.

The loops of ``linear_blocked.py`` load a piece of y, add to it and store it again for every term of the sum, since a compiler
does not dare to keep it anywhere else. Said in vectors, eight neighbouring sums (with AVX2) stay in one register from the
first term to the last, and a multiply-add needs one load. What still limits it is that each multiply-add has to wait for the
one before: four cycles, in which a core could do eight. For that one needs more sums at a time, a tile of them:
``linear_tiles.py``.
"""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, contiguous, prange
from minivision_kernels.cpu.simd import lanes, lanes_of, vectors
from minivision_kernels.cpu.tile import outer, outer_part, store, zeros
from minivision_kernels.ladder import rung

STRIP = 8           # vectors side by side that one thread computes, for all terms, one after the other


@rung("linear_forward", name="vectors", device="cpu", accepts=vectors)
def linear_forward(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """A vector of sums that stays in a register while the sum is formed: 4 times the rung below for 256 rows and columns.

    For 512 it is only 1.4 times: the columns of b that a sum walks down lie on as many pages as it has terms. The rung above
    walks along rows, eight at a time, which LLVM makes vectors of by itself.
    """
    return _product(contiguous(x), contiguous(w.T))


@rung("linear_input", name="vectors", device="cpu", accepts=vectors)
def linear_input(g: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The same; w lies as it is needed."""
    return _product(contiguous(g), contiguous(w))


@rung("linear_weight", name="vectors", device="cpu", accepts=vectors)
def linear_weight(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The same; g is turned round first."""
    return _product(contiguous(g.T), contiguous(x))


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a (M, K) @ b (K, J)"""
    y = np.empty((a.shape[0], b.shape[1]), a.dtype)
    _sums(a.reshape(-1), b.reshape(-1), *y.shape, a.shape[1], y.reshape(-1), work=a.size * b.shape[1] // lanes_of(a))
    return y


@compiled
def _sums(a: In1, b: In1, M: int, J: int, K: int, y: Out1, team: Team):
    L = lanes(a)
    strips = (J + STRIP * L - 1) // (STRIP * L)
    for item in prange(M * strips, team):         # strip by strip, so that the columns of b in use stay near
        m, left = item % M, item // M * STRIP * L
        for j in range(left, min(J, left + STRIP * L), L):
            sum_ = zeros(b, 1, 1)
            if j + L <= J:
                for k in range(K):
                    sum_ = outer(sum_, 1, 1, a, m * K + k, 1, b, k * J + j)
                store(sum_, 1, 1, y, m * J + j, J)
            else:
                for k in range(K):
                    sum_ = outer_part(sum_, 1, 1, a, m * K + k, 1, b, k * J + j, J - j)
                edge = np.empty(L, b.dtype)
                store(sum_, 1, 1, edge, 0, L)
                y[m * J + j:m * J + J] = edge[:J - j]
