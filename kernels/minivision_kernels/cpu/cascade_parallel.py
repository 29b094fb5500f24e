"""A cascade with the rows of windows shared between the threads.

How long a row takes depends on what it shows: rows through a face are ten times as slow as rows of sky. Numba gives each
thread a run of neighbouring rows, so the rows are dealt out like cards first (``dealt``): every thread gets some of the face.
"""

from __future__ import annotations

import numpy as np

from minivision_kernels.cascades import LBP, Haar, Trees
from minivision_kernels.cpu.cascade_loops import (
    haar_plan,
    haar_row,
    in_rows,
    lbp_plan,
    lbp_row,
    new_answers,
    shrink_row,
    taps,
    tilted_sums,
    trees_plan,
)
from minivision_kernels.cpu.compile import (
    In1,
    In2,
    Int32In1,
    Int32In2,
    Int32Out2,
    Int32Out3,
    Team,
    UInt8In2,
    UInt8Out2,
    compiled,
    contiguous,
    have_compiler,
    helper,
    prange,
)
from minivision_kernels.ladder import rung
from minivision_kernels.reference.cascade import Pair

HANDS = 16              # into so many hands the rows are dealt
WINDOW = 60             # a window costs about as much as this many multiply-adds
STRIP = 64              # columns of a table that a thread sums up at a time: four cache lines


@rung("shrink_exact", name="parallel", device="cpu", accepts=have_compiler)
def shrink_exact(image: np.ndarray, size: Pair) -> np.ndarray:
    """The new rows are shared between the threads."""
    result = np.empty((*size, *image.shape[2:]), np.uint8)
    _shrink(in_rows(image), *taps(image.shape, size), in_rows(result), work=8 * result.size)
    return result


@rung("window_sums", name="parallel", device="cpu", accepts=have_compiler)
def window_sums(image: np.ndarray, tilted: bool) -> tuple[np.ndarray, np.ndarray]:
    """In two passes, each shared: first along every row, then down every column.

    The second pass adds whole rows, which LLVM does in vectors; the first, in which each sum waits for the one before it,
    is shorter for it. The tilted table is one thread's work, row after row.
    """
    H, W = image.shape
    sums, squares = np.empty((1 + tilted, H + 1, W + 1), np.int32), np.empty((H + 1, W + 1), np.int32)
    _along(contiguous(image), sums, squares, work=8 * image.size)
    _down(sums, squares, work=2 * image.size)
    if tilted:
        _tilted(contiguous(image), sums)
    return sums, squares


@rung("cascade_haar", name="parallel", device="cpu", accepts=have_compiler)
def cascade_haar(
    sums: np.ndarray, squares: np.ndarray, features: Haar, trees: Trees, size: Pair, step: int, rows: int,
) -> np.ndarray:
    """The rows of windows are shared between the threads, dealt out so that each gets its part of the difficult ones."""
    passed = new_answers(sums, size, step, rows)
    _haar(contiguous(sums).reshape(-1), contiguous(squares).reshape(-1), *haar_plan(features, trees, sums.shape),
          *trees_plan(trees), sums.shape[2], size[0], size[1], step, passed, work=WINDOW * passed.size)
    return passed


@rung("cascade_lbp", name="parallel", device="cpu", accepts=have_compiler)
def cascade_lbp(sums: np.ndarray, features: LBP, trees: Trees, size: Pair, step: int, rows: int) -> np.ndarray:
    """The rows of windows are shared between the threads, dealt out as in ``cascade_haar``."""
    passed = new_answers(sums, size, step, rows)
    _lbp(contiguous(sums[0]).reshape(-1), lbp_plan(features, trees, sums.shape[2]), trees.subsets, *trees_plan(trees),
         sums.shape[2], step, passed, work=WINDOW * passed.size)
    return passed


@helper
def dealt(i, rows):
    """Of ``HANDS * each`` turns, the row whose turn is number i: 0, 16, 32, ..., 1, 17, ...; past the last row, none."""
    each = (rows + HANDS - 1) // HANDS
    return i % each * HANDS + i // each


@compiled
def _shrink(
    image: UInt8In2, top: Int32In1, lower: Int32In1, fy: Int32In1, left: Int32In1, right: Int32In1, fx: Int32In1,
    result: UInt8Out2, team: Team,
):
    for y in prange(result.shape[0], team):
        shrink_row(image[top[y]], image[lower[y]], fy[y], left, right, fx, result[y])


@compiled
def _along(image: UInt8In2, sums: Int32Out3, squares: Int32Out2, team: Team):
    for y in prange(image.shape[0] + 1, team):
        along_row(image, sums, squares, y)


@compiled
def _down(sums: Int32Out3, squares: Int32Out2, team: Team):
    rows, columns = squares.shape
    for strip in prange((columns + STRIP - 1) // STRIP, team):
        first, last = strip * STRIP, min(strip * STRIP + STRIP, columns)
        for y in range(1, rows - 1):
            add_row(sums[0, y, first:last], sums[0, y + 1, first:last])
            add_row(squares[y, first:last], squares[y + 1, first:last])


@compiled
def _tilted(image: UInt8In2, sums: Int32Out3):
    tilted_sums(image, sums[1])


@helper
def along_row(image, sums, squares, y):
    """Row y of the tables, as far as its own pixels go."""
    total, of_squares = np.int32(0), np.int32(0)
    sums[0, y, 0] = 0
    squares[y, 0] = 0
    if y == 0:
        sums[0, 0, :] = 0
        squares[0, :] = 0
        return
    for x in range(image.shape[1]):
        value = np.int32(image[y - 1, x])
        total = np.int32(total + value)
        of_squares = np.int32(of_squares + value * value)
        sums[0, y, x + 1] = total
        squares[y, x + 1] = of_squares


@helper
def add_row(above, row):
    for x in range(row.shape[0]):
        row[x] += above[x]


@compiled
def _haar(
    sums: Int32In1, squares: Int32In1, corners: Int32In2, weights: In2, thresholds: In1, nodes: Int32In2, leaves: In1,
    roots: Int32In1, stages: Int32In1, stage_thresholds: In1, pitch: int, height: int, width: int, step: int,
    passed: Int32Out2, team: Team,
):
    for i in prange((passed.shape[0] + HANDS - 1) // HANDS * HANDS, team):
        row = dealt(i, passed.shape[0])
        if row < passed.shape[0]:
            haar_row(sums, squares, corners, weights, thresholds, nodes, leaves, roots, stages, stage_thresholds, pitch,
                     height, width, step, row, passed)


@compiled
def _lbp(
    sums: Int32In1, corners: Int32In2, subsets: Int32In2, nodes: Int32In2, leaves: In1, roots: Int32In1, stages: Int32In1,
    stage_thresholds: In1, pitch: int, step: int, passed: Int32Out2, team: Team,
):
    for i in prange((passed.shape[0] + HANDS - 1) // HANDS * HANDS, team):
        row = dealt(i, passed.shape[0])
        if row < passed.shape[0]:
            lbp_row(sums, corners, subsets, nodes, leaves, roots, stages, stage_thresholds, pitch, step, row, passed)
