"""The three products of the linear layer in a matrix unit, with numbers split into three (``amx.py``).

The kernel is that of ``linear_packed.py``, built with the words of ``amx_panels.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivision_kernels.cpu import amx_panels, linear_packed
from minivision_kernels.cpu.amx import SIDE, again, takes
from minivision_kernels.cpu.amx_panels import price
from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import contiguous, rebuilt
from minivision_kernels.cpu.goal import Goal, fill, matrix
from minivision_kernels.cpu.panels import ROWS as PANEL_ROWS
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty

OFTEN = 2                   # blocks, for each of which the left side would be turned over
WEIGHT = 0.7                # multiply-adds of vectors that take as long as it takes to split a number of the left side

_multiply = rebuilt(linear_packed.multiply, amx_panels.WORDS, "_amx")


def _pays(rows: int, columns: int, terms: int) -> bool:
    """Whether the unit does sooner what vectors do."""
    vectors = -(-columns // SIDE)
    return price(rows, vectors, terms, WEIGHT) < -(-rows // PANEL_ROWS) * PANEL_ROWS * vectors


def _forward_worth(x: np.ndarray, w: np.ndarray) -> bool:
    return _pays(x.shape[0], w.shape[0], x.shape[1])


def _input_worth(g: np.ndarray, w: np.ndarray) -> bool:
    return _pays(g.shape[0], w.shape[1], g.shape[1])


def _weight_worth(g: np.ndarray, x: np.ndarray) -> bool:
    return _pays(g.shape[1], x.shape[1], g.shape[0])


@rung("linear_forward", name="amx", device="cpu", accepts=takes, worth=_forward_worth)
def linear_forward(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Six products of bfloat16 for one of float32, in a unit that makes them sixteen times as fast.

    Square matrices of 512 to 2048: 1.35 to 1.7 times the speed of ``packed``, with half the error. Of the 2.7 times that the
    instructions promise, a fifth is lost to the heat that numbers other than 0 make, as much to splitting, and a tenth to
    sums on their way through the caches. Without a unit, and for float64, this is ``packed``.
    """
    return product(x, w, x.shape[0], w.shape[0], x.shape[1], (x.shape[1], 1), (1, w.shape[1]))


@rung("linear_input", name="amx", device="cpu", accepts=takes, worth=_input_worth)
def linear_input(g: np.ndarray, w: np.ndarray, finish: Goal | None = None) -> np.ndarray:
    """The same, 1.35 to 1.7 times as fast as ``packed`` with matrices of 512 to 2048.

    If there is a ``finish``, the product goes there, with number m of its bias added to row m.
    """
    return product(g, w, g.shape[0], w.shape[1], g.shape[1], (g.shape[1], 1), (w.shape[1], 1), finish)


@rung("linear_weight", name="amx", device="cpu", accepts=takes, worth=_weight_worth)
def linear_weight(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The same, with g turned over as it is split, or before if it would be for more than two blocks: 1.3 to 1.5 times the
    speed of ``packed``."""
    return product(g, x, g.shape[1], x.shape[1], g.shape[0], (1, g.shape[1]), (x.shape[1], 1))


def product(
    a: np.ndarray, b: np.ndarray, M: int, N: int, K: int, a_steps: Any, b_steps: Any, finish: Goal | None = None,
) -> np.ndarray:
    """y (M, N): y[m, n] = the sum over k of a[m * a_steps[0] + k * a_steps[1]] * b[k * b_steps[0] + n * b_steps[1]].

    A result that is not finite is computed again with vectors (``amx.py`` says why).
    """
    if not takes(a):
        return linear_packed.product(a, b, M, N, K, a_steps, b_steps, finish)
    y, goal = matrix(M, N, a.dtype, finish)
    if not M * N * K:
        fill(y[None, :, None], goal)
        return y
    threads, left, by_rows = workers(), contiguous(a).reshape(-1), a_steps[1] == 1
    how = linear_packed.plan(M, N, K, SIDE, threads, amx_panels.TILES)
    if not by_rows and how.blocks > OFTEN:
        left, by_rows = turned_over(left, 1, K), True
    wrong = np.zeros(threads, a.dtype)
    _multiply(left, by_rows, contiguous(b).reshape(-1), *b_steps, M, N, K, *how, threads, y.reshape(-1), goal.bias, goal.relu,
              wrong, work=M * N * K // SIDE)
    if again(wrong):
        return linear_packed.product(a, b, M, N, K, a_steps, b_steps, finish)
    return y


def turned_over(matrices: np.ndarray, count: int, rows: int) -> np.ndarray:
    """The transposes of so many matrices of ``rows``, one behind the other in memory as they are."""
    out = empty(matrices.shape, matrices.dtype)
    for one, goal in zip(np.split(matrices, count), np.split(out, count)):
        linear_packed.turn_over(one, rows, len(one) // rows, goal, work=len(one))
    return out
