"""The three products of the linear layer in a matrix unit, with numbers split into three (``amx.py``).

The arrangement is that of ``linear_packed.py``: threads share the columns of the result, and its rows if there are few columns;
each copies the columns that it needs, a block at a time, and the left matrix has been copied before.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minivision_kernels.cpu import linear_packed
from minivision_kernels.cpu.amx import BLOCK_TERMS, SIDE, matrix_unit, require, tiles_begin, tiles_end
from minivision_kernels.cpu.amx_panels import (
    BLOCK,
    CHUNK,
    PAIR,
    PANEL,
    SHAPE,
    SUMS,
    WIDE,
    multiply_tiles,
    split_rows,
    split_turned,
    stretches,
)
from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, contiguous, prange
from minivision_kernels.cpu.goal import Goal, fill, matrix
from minivision_kernels.cpu.panels import division
from minivision_kernels.cpu.simd import load_between, put, room
from minivision_kernels.ladder import rung


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
    threads = workers()
    stretch, blocks, parts = plan(M, N, K, threads)
    wrong = np.zeros(threads, a.dtype)
    _multiply(contiguous(a).reshape(-1), *a_steps, contiguous(b).reshape(-1), *b_steps, M, N, K, stretch, blocks, parts, threads, y.reshape(-1), goal.bias,
              goal.relu, wrong, work=M * N * K // SIDE)
    if wrong.any():
        return linear_packed.product(a, b, M, N, K, a_steps, b_steps, finish)
    return y


@functools.lru_cache(maxsize=1024)
def plan(M: int, N: int, K: int, workers: int) -> tuple[int, int, int]:
    """Terms of a stretch, blocks of panels and parts of rows."""
    stretch = stretches(K)
    return stretch, *division(-(-N // SIDE), -(-stretch // BLOCK_TERMS) * BLOCK_TERMS, M, 1, workers, BLOCK, SHAPE)


@compiled
def _multiply(
    a: In1, a_row: int, a_term: int, b: In1, b_term: int, b_column: int, M: int, N: int, K: int, stretch: int, blocks: int, parts: int, workers_: int,
    y: Out1, bias: In1, relu: bool, wrong: Out1, team: Team,
):
    all_panels, bands = (N + WIDE - 1) // WIDE, (M + WIDE - 1) // WIDE
    items = blocks * parts
    most, deep = (all_panels + blocks - 1) // blocks, (stretch + BLOCK_TERMS - 1) // BLOCK_TERMS
    for worker in prange(workers_, team):
        right = room(b, most * deep * PANEL)
        sums = room(b, ((bands + parts - 1) // parts * most * (stretch < K) + 1) * SUMS)
        start, count = np.empty(most * PAIR, np.int64), np.empty(most * PAIR, np.int64)
        band, piece, line = room(b, deep * PANEL), room(b, BLOCK_TERMS * CHUNK), room(b, (stretch + BLOCK_TERMS) * SIDE)
        place, lines = np.arange(stretch) * b_term, np.arange(stretch) * SIDE
        nothing = np.zeros(1, np.int64)
        tiles_begin()
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            part, block = item // blocks, item % blocks
            first, top = all_panels * block // blocks, bands * part // parts
            panels = all_panels * (block + 1) // blocks - first
            rows = min(M, bands * (part + 1) // parts * WIDE) - top * WIDE
            vectors = min(panels * PAIR, (N + SIDE - 1) // SIDE - first * PAIR)
            for v in range(vectors):
                start[v], count[v] = v * SIDE, min(SIDE, N - (first * WIDE + v * SIDE))
            for begin in range(0, K, stretch):
                terms = min(stretch, K - begin)
                tall = (terms + BLOCK_TERMS - 1) // BLOCK_TERMS
                if b_column == 1:
                    at, whole = begin * b_term + first * WIDE, vectors - (count[vectors - 1] < SIDE)
                    split_rows(b, at, place, terms, start, whole, right, 0, tall)
                    for v in range(whole, vectors):
                        for k in range(terms):
                            put(line, k * SIDE, load_between(b, at + v * SIDE + k * b_term, 0, count[v]))
                        split_rows(line, 0, lines, terms, nothing, 1, right, v // PAIR * tall * PANEL + v % PAIR * 256, tall)
                else:
                    for p in range(panels):
                        column = (first + p) * WIDE
                        split_turned(b, begin * b_term + column * b_column, b_column, N - column, terms, right,
                                     p * tall * PANEL, piece)
                wrong[worker] += multiply_tiles(
                    a, top * WIDE * a_row + begin * a_term, a_row, a_term, rows, terms, right, vectors, sums, begin > 0, begin + terms == K, y,
                    top * WIDE * N + first * WIDE, N, start, count, start, False, bias, top * WIDE, relu, band, piece)
        tiles_end()
