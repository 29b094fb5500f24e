"""The three products of the linear layer in a matrix unit, with numbers split into three (``amx.py``).

The kernel is that of ``linear_packed.py``, built with the words of ``amx_panels.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivision_kernels.cpu import amx_panels, linear_packed
from minivision_kernels.cpu.amx import SIDE, matrix_unit, require
from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import contiguous, rebuilt
from minivision_kernels.cpu.goal import Goal, fill, matrix
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty

OFTEN = 2                   # blocks, for each of which the left side would be turned over

_multiply = rebuilt(linear_packed.multiply, amx_panels, "_amx")


@rung("linear_forward", name="amx", device="cpu", accepts=matrix_unit, worth=lambda *a, **k: False)
def linear_forward(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Tiles of a matrix unit."""
    return product(x, w, x.shape[0], w.shape[0], x.shape[1], (x.shape[1], 1), (1, w.shape[1]))


@rung("linear_input", name="amx", device="cpu", accepts=matrix_unit, worth=lambda *a, **k: False)
def linear_input(g: np.ndarray, w: np.ndarray, finish: Goal | None = None) -> np.ndarray:
    """The same."""
    return product(g, w, g.shape[0], w.shape[1], g.shape[1], (g.shape[1], 1), (w.shape[1], 1), finish)


@rung("linear_weight", name="amx", device="cpu", accepts=matrix_unit, worth=lambda *a, **k: False)
def linear_weight(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The same, with g read down its columns."""
    return product(g, x, g.shape[1], x.shape[1], g.shape[0], (1, g.shape[1]), (x.shape[1], 1))


def product(
    a: np.ndarray, b: np.ndarray, M: int, N: int, K: int, a_steps: Any, b_steps: Any, finish: Goal | None = None,
) -> np.ndarray:
    """y (M, N): y[m, n] = the sum over k of a[m * a_steps[0] + k * a_steps[1]] * b[k * b_steps[0] + n * b_steps[1]]."""
    require()
    y, goal = matrix(M, N, a.dtype, finish)
    if not M * N * K:
        fill(y[None, :, None], goal)
        return y
    threads, left, by_rows = workers(), contiguous(a).reshape(-1), a_steps[1] == 1
    how = linear_packed.plan(M, N, K, SIDE, threads, amx_panels.TILES)
    if not by_rows and how.blocks > OFTEN:
        turned = empty((M * K,), a.dtype)
        linear_packed.turn_over(left, K, M, turned, work=M * K)
        left, by_rows = turned, True
    wrong = np.zeros(threads, a.dtype)
    _multiply(left, by_rows, contiguous(b).reshape(-1), *b_steps, M, N, K, *how, threads, y.reshape(-1), goal.bias, goal.relu,
              wrong, work=M * N * K // SIDE)
    if wrong.any():
        return linear_packed.product(a, b, M, N, K, a_steps, b_steps, finish)
    return y
