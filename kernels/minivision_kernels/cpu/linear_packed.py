"""The three products of the linear layer over packed panels: the matrix product as the fast libraries arrange it.

All three are one product with operands that lie differently: y = x wᵀ, dx = g w, dw = gᵀ x. Packing (``panels.py``) makes
them alike, so one kernel serves them. Threads share the columns of the result, and its rows if there are few columns.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, contiguous, prange
from minivision_kernels.cpu.goal import Goal, fill, matrix
from minivision_kernels.cpu.panels import (
    COLUMNS,
    ROWS,
    SOON,
    TOGETHER,
    VECTORS,
    Unit,
    begin_products,
    end_products,
    find_left,
    multiply_panels,
    pack_bands,
    pack_right,
    pack_rows,
    panel_at,
)
from minivision_kernels.cpu.simd import lanes, lanes_of, room, turn, turn_whole, vectors
from minivision_kernels.cpu.writer import BYTES
from minivision_kernels.ladder import run, rung
from minivision_kernels.memory import empty

LEAST = 8           # along each axis but the outputs'; with fewer, packing costs more than the product
SMALL = 1 << 22     # products; up to here, two rounds of threads cost more than packing gains
LONG = 1024         # terms of sums that are worth a result that has to be turned over


def _forward_worth(x: np.ndarray, w: np.ndarray) -> bool:
    """Here w is turned over while it is packed, which takes more rows to pay."""
    rows, terms = x.shape
    long = len(w) > lanes_of(w) and terms >= LONG
    return rows >= 3 * LEAST and terms >= LEAST and _pays(w, rows, terms, len(w), long, rows % ROWS == 0)


def _input_worth(g: np.ndarray, w: np.ndarray) -> bool:
    (rows, terms), columns = g.shape, w.shape[1]
    long = columns > lanes_of(w) and terms >= LONG
    return rows >= LEAST and columns >= LEAST and _pays(w, rows, terms, columns, long, rows % ROWS == 0)


def _weight_worth(g: np.ndarray, x: np.ndarray) -> bool:
    (terms, rows), columns = g.shape, x.shape[1]
    return terms >= LEAST and columns >= LEAST and _pays(x, rows, terms, columns, 2 * terms >= LONG, False)


def _pays(array: np.ndarray, rows: int, terms: int, columns: int, long: bool, as_it_lies: bool) -> bool:
    """Whether numbers that are copied once are used often enough. A narrow result pays if the left matrix is used as it lies,
    since little else is read then, and tiles of a last panel are as wide as it is; or, if ``long``, by being turned over."""
    narrow = 4 * columns > 3 * lanes_of(array) if as_it_lies else long and _narrow(array, rows, columns)
    return rows * terms * columns > SMALL and (filled(array, columns) or narrow)


def filled(array: np.ndarray, columns: int) -> bool:
    """With AVX-512 a panel has 48 columns. If a third of them would be empty, ``linear_tiles.py`` is up to twice as fast."""
    width = COLUMNS * lanes_of(array)
    return BYTES < 64 or 3 * columns >= 2 * (-(-columns // width) * width) + width // 8


def _narrow(array: np.ndarray, rows: int, columns: int) -> bool:
    """Whether the columns would leave panels empty, and the rows would not."""
    return not filled(array, columns) and filled(array, rows)


@rung("linear_forward", name="packed", device="cpu", accepts=vectors, worth=_forward_worth)
def linear_forward(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Both operands copied to panels first: from then on every load is of the next number in memory.

    On matrices of 1024 x 1024 it runs at 85 % of the speed of the bare tile, the rung below at a quarter to a half of it.
    """
    return product(x, w, x.shape[0], w.shape[0], x.shape[1], (x.shape[1], 1), (1, w.shape[1]))


@rung("linear_input", name="packed", device="cpu", accepts=vectors, worth=_input_worth)
def linear_input(g: np.ndarray, w: np.ndarray, finish: Goal | None = None) -> np.ndarray:
    """The same; w lies as its panels want it.

    If there is a ``finish``, the product goes there, with number m of its bias added to row m.
    """
    return product(g, w, g.shape[0], w.shape[1], g.shape[1], (g.shape[1], 1), (w.shape[1], 1), finish)


@rung("linear_weight", name="packed", device="cpu", accepts=vectors, worth=_weight_worth)
def linear_weight(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The same, with g read down its columns."""
    return product(g, x, g.shape[1], x.shape[1], g.shape[0], (1, g.shape[1]), (x.shape[1], 1))


def product(
    a: np.ndarray, b: np.ndarray, M: int, N: int, K: int, a_steps: Any, b_steps: Any, finish: Goal | None = None,
) -> np.ndarray:
    """y (M, N): y[m, n] = the sum over k of a[m * a_steps[0] + k * a_steps[1]] * b[k * b_steps[0] + n * b_steps[1]].

    A narrow result is computed as its transpose, whose columns fill the panels, and turned over: 1.2 to 5 times as fast. Not if
    a is used as it lies: that is 1.1 to 1.4 times as fast again.
    """
    as_it_lies = a_steps[1] == 1 and M % ROWS == 0
    y, goal = matrix(M, N, a.dtype, finish)
    if not as_it_lies and _narrow(a, M, N):
        turned = product(b, a, N, M, K, b_steps[::-1], a_steps[::-1])
        turn_over(turned.reshape(-1), N, M, y.reshape(-1), work=M * N)
        return y if finish is None else run("bias_add", y[None], goal.bias[:M], relu=goal.relu)[0]
    if not M * N * K:
        fill(y[None, :, None], goal)
        return y
    threads = workers()
    how = plan(M, N, K, lanes_of(a), threads, VECTORS)
    left = contiguous(a).reshape(-1)
    if not as_it_lies:
        left = pack_left_panels(left, a_steps[0], a_steps[1], M, K, how.stretch)
    multiply(left, as_it_lies, contiguous(b).reshape(-1), *b_steps, M, N, K, *how, threads, y.reshape(-1), goal.bias,
              goal.relu, np.zeros(threads, a.dtype), work=M * N * K // lanes_of(a))
    return y


def pack_left_panels(a: np.ndarray, a_row: int, a_term: int, M: int, K: int, stretch: int) -> np.ndarray:
    """The matrix of M rows and K terms that is a[m * a_row + k * a_term], as left panels."""
    panels = empty((-(-M // ROWS) * ROWS * K,), a.dtype)
    _pack(a, a_row, a_term, M, K, stretch, panels, work=panels.size)
    return panels


class Plan(NamedTuple):
    """How the work is divided."""

    stretch: int                # terms of the sum that are packed together
    blocks: int                 # of right panels, and
    parts: int                  # of rows


@functools.lru_cache(maxsize=1024)
def plan(M: int, N: int, K: int, lanes: int, workers: int, unit: Unit) -> Plan:
    """For y (M, N), sums of K terms."""
    stretch = unit.stretches(K)
    return Plan(stretch, *unit.division(-(-N // lanes), stretch, M, 1, workers))


@compiled
def turn_over(a: In1, rows: int, columns: int, out: Out1, team: Team):
    """The transpose of a (rows, columns), a strip of its columns after the other, in squares; the last may begin earlier."""
    L = lanes(a)
    for strip in prange((columns + L - 1) // L, team):
        j = strip * L
        here = min(L, columns - j)
        for row in range(0, rows, L):
            i = max(0, min(row, rows - L))
            if here == L and rows >= L:
                turn_whole(a, i * columns + j, columns, out, j * rows + i, rows)
            else:
                turn(a, i * columns + j, columns, 0, here, min(L, rows), out, j * rows + i, rows, here, min(L, rows))


@compiled
def _pack(a: In1, a_row: int, a_term: int, M: int, K: int, stretch: int, left: Out1, team: Team):
    bands = (M + ROWS - 1) // ROWS
    for item in prange((bands + TOGETHER - 1) // TOGETHER, team):
        first = item * TOGETHER
        for begin in range(0, K, stretch):              # a panel of a stretch lies behind that of the stretch before
            pack_bands(a, begin * a_term, a_row, a_term, M, first, min(bands, first + TOGETHER), min(stretch, K - begin), left,
                       bands * begin * ROWS)


@compiled
def multiply(
    left: In1, as_it_lies: bool, b: In1, b_term: int, b_column: int, M: int, N: int, K: int, stretch: int, blocks: int,
    parts: int, workers_: int, y: Out1, bias: In1, relu: bool, wrong: Out1, team: Team,
):
    L = lanes(b)
    width = COLUMNS * L
    all_panels, bands = (N + width - 1) // width, (M + ROWS - 1) // ROWS
    items = blocks * parts
    most = (all_panels + blocks - 1) // blocks
    for worker in prange(workers_, team):
        right = room(b, panel_at(most, stretch, L))
        sums = room(b, ((bands + parts - 1) // parts * most * (stretch < K) + 1) * ROWS * width)
        start, count = np.empty(most * COLUMNS, np.int64), np.empty(most * COLUMNS, np.int64)
        place = np.arange(stretch + SOON) * b_term
        begin_products()
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            part, block = item // blocks, item % blocks
            first, top = all_panels * block // blocks, bands * part // parts
            panels = all_panels * (block + 1) // blocks - first
            rows = min(M, bands * (part + 1) // parts * ROWS) - top * ROWS
            vectors = min(panels * COLUMNS, (N + L - 1) // L - first * COLUMNS)
            for v in range(vectors):
                start[v], count[v] = v * L, min(L, N - (first * COLUMNS + v) * L)
            for begin in range(0, K, stretch):
                terms = min(stretch, K - begin)
                whole = min(panels, N // width - first) if b_column == 1 else 0
                pack_rows(b, begin * b_term + first * width, place, terms, start, whole, right, 0)
                for p in range(whole, panels):
                    column = (first + p) * width
                    pack_right(b, begin * b_term + column * b_column, b_term, b_column, N - column, terms, right,
                               panel_at(p, terms, L))
                where = find_left(as_it_lies, 0, M, K, top, begin, terms)
                wrong[worker] += multiply_panels(
                    left, where, rows, terms, right, vectors, sums, begin > 0, begin + terms == K, y,
                    top * ROWS * N + first * width, N, start, count, start, False, bias, top * ROWS, relu)
        end_products()
