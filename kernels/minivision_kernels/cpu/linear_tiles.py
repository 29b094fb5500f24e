"""The three products of the linear layer with their sums in registers.

Two forms of tile fill the three products without turning a matrix round. Where the sum runs along the rows of both
(x wᵀ), a tile of inner products is formed, a vector of partial sums for each. Where it runs down the columns of the
second (g w and gᵀ x), numbers of the first are multiplied with vectors of the second.
"""

from __future__ import annotations

import functools

import numpy as np

from minivision_kernels.cpu.compile import In1, In2, IntIn1, Out2, Team, compiled, contiguous, prange
from minivision_kernels.cpu.goal import NOTHING, Goal, matrix
from minivision_kernels.cpu.simd import lanes, lanes_of, vectors
from minivision_kernels.cpu.tile import (
    INNER_COLUMNS,
    INNER_ROWS,
    OUTER_COLUMNS,
    OUTER_ROWS,
    add_totals,
    finish_rows,
    inner,
    inner_part,
    outer,
    outer_part,
    store,
    zeros,
)
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty

BLOCK = 8           # tiles side by side that one thread computes at a time
FEW = 1 << 16       # weights that one thread has gone through before another is called
SUM = 2048          # numbers of a row that go into an inner product before the next tile has its turn


def _has_rows(g: np.ndarray, w: np.ndarray) -> bool:
    return 2 * g.shape[0] >= OUTER_ROWS or w.size <= FEW


@rung("linear_forward", name="tile", device="cpu", accepts=vectors)
def linear_forward(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """4 x 6 inner products of rows at once: 10 loads for 24 multiply-adds, and w need not be turned.

    Two to three times the rung below.
    """
    N, O = x.shape[0], w.shape[0]
    place = _rows(O, w.shape[1])
    y = np.zeros((N, place.size), x.dtype)
    if O:
        _inner_products(contiguous(x), contiguous(w), place, y, work=_work(x, x.size * O, w.size))
    return contiguous(y[:, :O])


@rung("linear_input", name="tile", device="cpu", accepts=vectors, worth=_has_rows)
def linear_input(g: np.ndarray, w: np.ndarray, finish: Goal | None = None) -> np.ndarray:
    """8 rows x 3 vectors of results in registers while the sum over the outputs is formed; about three times the rung below.

    It needs rows: for a batch of one to three images, w is read once and the rung below reads it in longer stretches. If there
    is a ``finish``, the product goes there, with number n of its bias added to row n.
    """
    dx, goal = matrix(g.shape[0], w.shape[1], g.dtype, finish)
    _outer_products(contiguous(g).ravel(), g.shape[1], 1, contiguous(w), dx, goal.bias, goal.relu,
                    work=_work(g, g.size * w.shape[1], w.size))
    return dx


@rung("linear_weight", name="tile", device="cpu", accepts=vectors)
def linear_weight(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """As `linear_input`, with the sum over the batch; g is read down its columns, where it lies."""
    dw = empty((g.shape[1], x.shape[1]), g.dtype)
    _outer_products(contiguous(g).ravel(), 1, g.shape[1], contiguous(x), dw, NOTHING[g.dtype], False,
                    work=_work(g, g.size * x.shape[1], dw.size))
    return dw


def _work(array: np.ndarray, products: int, weights: int) -> int:
    """Multiply-adds of vectors, and for each line of weights as much as it takes to fetch it: for one image, that is most."""
    return products // lanes_of(array) + weights * array.itemsize // 16


@functools.lru_cache(maxsize=1024)
def _rows(count: int, length: int) -> np.ndarray:
    """Where each row of a matrix begins; up to a whole number of tiles, the last row again, whose products are dropped."""
    place = np.minimum(np.arange(count + -count % INNER_COLUMNS), count - 1) * length
    place.flags.writeable = False
    return place


@compiled
def _inner_products(x: In2, w: In2, place: IntIn1, y: Out2, team: Team):
    """y[n, o] += the inner product of row n of x and the row of w that starts at place[o]"""
    N, I = x.shape
    O = place.shape[0]
    rows, weights, out = x.reshape(N * I), w.reshape(w.shape[0] * I), y.reshape(N * O)
    o_step = BLOCK * INNER_COLUMNS
    bands, o_blocks = (N + INNER_ROWS - 1) // INNER_ROWS, (O + o_step - 1) // o_step
    for item in prange(bands * o_blocks, team):
        first, o_first = item % bands * INNER_ROWS, item // bands * o_step
        for left in range(0, I, SUM):
            right = min(I, left + SUM)
            for o in range(o_first, min(O, o_first + o_step), INNER_COLUMNS):
                if first + INNER_ROWS <= N:
                    tile = zeros(rows, INNER_ROWS, INNER_COLUMNS)
                    i = left
                    while i + lanes(rows) <= right:
                        tile = inner(tile, INNER_ROWS, INNER_COLUMNS, rows, first * I + i, I, weights, i, place, o)
                        i += lanes(rows)
                    if i < right:
                        tile = inner_part(
                            tile, INNER_ROWS, INNER_COLUMNS, rows, first * I + i, I, weights, i, place, o, right - i)
                    add_totals(tile, INNER_ROWS, INNER_COLUMNS, out, first * O + o, O)
                else:
                    for n in range(first, N):
                        line = zeros(rows, 1, INNER_COLUMNS)
                        i = left
                        while i + lanes(rows) <= right:
                            line = inner(line, 1, INNER_COLUMNS, rows, n * I + i, I, weights, i, place, o)
                            i += lanes(rows)
                        if i < right:
                            line = inner_part(line, 1, INNER_COLUMNS, rows, n * I + i, I, weights, i, place, o, right - i)
                        add_totals(line, 1, INNER_COLUMNS, out, n * O + o, O)


@compiled
def _outer_products(a: In1, a_row: int, a_k: int, b: In2, y: Out2, bias: In1, relu: bool, team: Team):
    """y (M, J): y[m] = sum over k of a[m * a_row + k * a_k] * b[k], and if there is a bias, bias[m], and ReLU if ``relu``"""
    M, J = y.shape
    K = b.shape[0]
    source, out = b.reshape(K * J), y.reshape(M * J)
    wide, narrow = OUTER_COLUMNS * lanes(source), lanes(source)
    bands, strips = (M + OUTER_ROWS - 1) // OUTER_ROWS, (J + BLOCK * wide - 1) // (BLOCK * wide)
    finish = bias.shape[0] > 0
    for item in prange(bands * strips, team):
        first, j = item // strips * OUTER_ROWS, item % strips * BLOCK * wide
        end = min(J, j + BLOCK * wide)
        if first + OUTER_ROWS <= M:
            at = first * a_row
            while j + wide <= end:
                tile = zeros(source, OUTER_ROWS, OUTER_COLUMNS)
                for k in range(K):
                    tile = outer(tile, OUTER_ROWS, OUTER_COLUMNS, a, at + k * a_k, a_row, source, k * J + j)
                if finish:
                    tile = finish_rows(tile, OUTER_ROWS, OUTER_COLUMNS, bias, first, relu)
                store(tile, OUTER_ROWS, OUTER_COLUMNS, out, first * J + j, J)
                j += wide
            while j + narrow <= end:
                column = zeros(source, OUTER_ROWS, 1)
                for k in range(K):
                    column = outer(column, OUTER_ROWS, 1, a, at + k * a_k, a_row, source, k * J + j)
                if finish:
                    column = finish_rows(column, OUTER_ROWS, 1, bias, first, relu)
                store(column, OUTER_ROWS, 1, out, first * J + j, J)
                j += narrow
            if j < end:
                column = zeros(source, OUTER_ROWS, 1)
                for k in range(K):
                    column = outer_part(column, OUTER_ROWS, 1, a, at + k * a_k, a_row, source, k * J + j, end - j)
                if finish:
                    column = finish_rows(column, OUTER_ROWS, 1, bias, first, relu)
                edge = np.empty(OUTER_ROWS * narrow, source.dtype)
                store(column, OUTER_ROWS, 1, edge, 0, narrow)
                for i in range(OUTER_ROWS):
                    y[first + i, j:end] = edge[i * narrow:i * narrow + end - j]
        else:
            left = j
            for m in range(first, M):
                at, j = m * a_row, left
                while j + wide <= end:
                    line = zeros(source, 1, OUTER_COLUMNS)
                    for k in range(K):
                        line = outer(line, 1, OUTER_COLUMNS, a, at + k * a_k, a_row, source, k * J + j)
                    if finish:
                        line = finish_rows(line, 1, OUTER_COLUMNS, bias, m, relu)
                    store(line, 1, OUTER_COLUMNS, out, m * J + j, J)
                    j += wide
                while j < end:
                    number = zeros(source, 1, 1)
                    for k in range(K):
                        number = outer_part(number, 1, 1, a, at + k * a_k, a_row, source, k * J + j, min(narrow, end - j))
                    if finish:
                        number = finish_rows(number, 1, 1, bias, m, relu)
                    tail = np.empty(narrow, source.dtype)
                    store(number, 1, 1, tail, 0, narrow)
                    y[m, j:min(end, j + narrow)] = tail[:min(narrow, end - j)]
                    j += narrow
