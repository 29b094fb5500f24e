"""A cascade at a vector of neighbouring windows at once.

Neighbouring windows ask the same question of neighbouring pixels: the corners of a rectangle, for eight windows side by side,
are eight numbers side by side, and one load brings them all. Most windows lie two pixels apart; so the tables are copied
first, the even columns of a row before its odd ones, and side by side they are again.

A window that has failed keeps its place in the vector until all of its neighbours have. That costs less than it seems:
windows that get far stand together, on a face.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivision_kernels.cascades import FLAT, LBP, SKIPPED, Haar, Trees
from minivision_kernels.cpu.cascade_loops import in_rows, new_answers, taps
from minivision_kernels.cpu.cascade_parallel import HANDS, dealt
from minivision_kernels.cpu.cascade_words import (
    CORNERS,
    HAAR_NUMBERS,
    HAAR_PLACES,
    LBP_NUMBERS,
    LBP_PLACES,
    SUBSET,
    WEIGHTS,
    failing,
)
from minivision_kernels.cpu.compile import (
    In1,
    In2,
    Int32In1,
    Int32In2,
    Int32In3,
    Int32Out1,
    Int32Out2,
    Out2,
    Team,
    UInt8In2,
    UInt8Out2,
    compiled,
    contiguous,
    have_compiler,
    helper,
    prange,
)
from minivision_kernels.cpu.simd import entry, load
from minivision_kernels.cpu.writer import BYTES, config
from minivision_kernels.ladder import rung
from minivision_kernels.reference.cascade import Pair

LANES = BYTES // 4
WINDOW = 10             # a window costs about as much as this many multiply-adds


def vectors(*_: Any, **__: Any) -> bool:
    """Whether there is a compiler; vectors are not for a debugger."""
    return have_compiler() and not config.DISABLE_JIT


@rung("shrink_exact", name="vectors", device="cpu", accepts=vectors)
def shrink_exact(image: np.ndarray, size: Pair) -> np.ndarray:
    """Two old rows are mixed first, over their whole width and in vectors; then two numbers are mixed for each new pixel,
    not four. All sums are of whole numbers, so their order does not matter."""
    result, rows = np.empty((*size, *image.shape[2:]), np.uint8), in_rows(image)
    _shrink(rows, *taps(image.shape, size), in_rows(result), work=2 * (result.size + size[0] * rows.shape[1]))
    return result


@rung("cascade_haar", name="vectors", device="cpu", accepts=vectors)
def cascade_haar(
    sums: np.ndarray, squares: np.ndarray, features: Haar, trees: Trees, size: Pair, step: int, rows: int,
) -> np.ndarray:
    """A vector of windows is asked at once; eight stumps cost what one did, and there is not a branch between them."""
    passed = new_answers(sums, size, step, rows)
    table, of_squares, pitch = _laid_out(sums, squares, step)
    places, numbers = _rows(trees, HAAR_PLACES, HAAR_NUMBERS)
    half, second = (pitch // 2 if step == 2 else 0), sums.shape[1] * pitch
    _haar_plan(features.weights, features.rects, features.tilted.view(np.uint8)[:, None], trees.nodes, trees.thresholds,
               trees.leaves, pitch, half, step, second, places, numbers, work=places.size)
    _haar(table, of_squares, places.reshape(-1), numbers.reshape(-1), trees.roots, trees.stages, trees.stage_thresholds,
          pitch, half, size[0], size[1], step, passed, work=WINDOW * passed.size)
    return passed


@rung("cascade_lbp", name="vectors", device="cpu", accepts=vectors)
def cascade_lbp(sums: np.ndarray, features: LBP, trees: Trees, size: Pair, step: int, rows: int) -> np.ndarray:
    """A vector of windows is asked at once, as in ``cascade_haar``; in which of the 256 bits each one looks is decided by
    choosing between vectors, not by addresses."""
    passed = new_answers(sums, size, step, rows)
    table, _, pitch = _laid_out(sums[:1], np.empty((0, sums.shape[2]), np.int32), step)
    places, numbers = _rows(trees, LBP_PLACES, LBP_NUMBERS)
    _lbp_plan(trees.leaves, features.rects, trees.nodes, trees.subsets, pitch, pitch // 2 if step == 2 else 0, step, places,
              numbers, work=places.size)
    _lbp(numbers.reshape(-1), table, places.reshape(-1), trees.roots, trees.stages, trees.stage_thresholds, pitch, step, passed,
         work=WINDOW * passed.size)
    return passed


def _rows(trees: Trees, wide: int, long: int) -> tuple[np.ndarray, np.ndarray]:
    """Room for the places and the numbers of every node."""
    return np.empty((len(trees.nodes), wide), np.int32), np.empty((len(trees.nodes), long), np.float32)


def _laid_out(sums: np.ndarray, squares: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The tables, a row after the other, in each the columns of even number first if ``step`` is 2; and a row's length.

    After the last row comes room for a vector, so that the last windows can be read as others are.
    """
    T, H, W = sums.shape
    pitch = (W + 1) // 2 * 2 if step == 2 else W
    table = np.empty(T * H * pitch + 2 * LANES, np.int32)
    of_squares = np.empty(len(squares) * pitch + 2 * LANES, np.int32)
    _lay_out(contiguous(sums).reshape(T * H, W), contiguous(squares), step, pitch, table, of_squares,
             work=sums.size + squares.size)
    return table, of_squares, pitch


@compiled
def _lay_out(sums: Int32In2, squares: Int32In2, step: int, pitch: int, table: Int32Out1, of_squares: Int32Out1, team: Team):
    above = sums.shape[0]
    for y in prange(above + squares.shape[0], team):
        if y < above:
            lay_row(sums[y], step, table[y * pitch:y * pitch + pitch])
        else:
            lay_row(squares[y - above], step, of_squares[(y - above) * pitch:(y - above + 1) * pitch])


@helper
def lay_row(row, step, out):
    W = row.shape[0]
    if step == 1:
        for x in range(W):
            out[x] = row[x]
        return
    half = out.shape[0] // 2
    for x in range(W // 2):
        out[x] = row[2 * x]
        out[half + x] = row[2 * x + 1]
    if W % 2 == 1:
        out[W // 2] = row[W - 1]
        out[half + W // 2] = 0


@compiled
def _shrink(
    image: UInt8In2, top: Int32In1, lower: Int32In1, fy: Int32In1, left: Int32In1, right: Int32In1, fx: Int32In1,
    result: UInt8Out2, team: Team,
):
    for y in prange(result.shape[0], team):
        mixed = np.empty(image.shape[1], np.int32)
        mix_rows(image[top[y]], image[lower[y]], fy[y], mixed)
        for x in range(result.shape[1]):
            first, second, f = entry(mixed, left[x]), entry(mixed, right[x]), fx[x]
            result[y, x] = (first * (256 - f) + second * f + 32768) >> 16


@helper
def mix_rows(above, below, f, mixed):
    for x in range(mixed.shape[0]):
        mixed[x] = np.int32(above[x]) * np.int32(256 - f) + np.int32(below[x]) * np.int32(f)


@compiled
def _haar_plan(
    weights: In2, rects: Int32In3, tilted: UInt8In2, nodes: Int32In2, thresholds: In1, leaves: In1, pitch: int, half: int,
    step: int, second: int, places: Int32Out2, numbers: Out2, team: Team,
):
    """All that is known of a node in two rows; ``cascade_words`` says how they are filled."""
    for m in prange(nodes.shape[0], team):
        k = nodes[m, 2]
        for r in range(3):
            x, y, w, h = rects[k, r, 0], rects[k, r, 1], rects[k, r, 2], rects[k, r, 3]
            for c in range(4):
                i, j = c // 2, c % 2
                if tilted[k, 0] != 0:
                    places[m, CORNERS + 4 * r + c] = second + place(y + i * h + j * w, x - i * h + j * w, pitch, half, step)
                else:
                    places[m, CORNERS + 4 * r + c] = place(y + i * h, x + j * w, pitch, half, step)
            numbers[m, WEIGHTS + r] = weights[k, r]
        numbers[m, WEIGHTS + 3] = thresholds[m]
        children(nodes[m], leaves, places[m], numbers[m])


@compiled
def _lbp_plan(
    leaves: In1, rects: Int32In2, nodes: Int32In2, subsets: Int32In2, pitch: int, half: int, step: int, places: Int32Out2,
    numbers: Out2, team: Team,
):
    for m in prange(nodes.shape[0], team):
        k = nodes[m, 2]
        x, y, w, h = rects[k, 0], rects[k, 1], rects[k, 2], rects[k, 3]
        for c in range(16):
            places[m, CORNERS + c] = place(y + c // 4 * h, x + c % 4 * w, pitch, half, step)
        for word in range(8):
            places[m, SUBSET + word] = subsets[m, word]
        children(nodes[m], leaves, places[m], numbers[m])


@helper
def children(node, leaves, places, numbers):
    for side in range(2):
        child = node[side]
        places[side] = child
        numbers[side] = leaves[-1 - child] if child < 0 else 0


@helper
def place(y, x, pitch, half, step):
    """Where the tables have the pixel (y, x)."""
    return y * pitch + (x & (step - 1)) * half + (x >> (step - 1))


@compiled
def _haar(
    sums: Int32In1, squares: Int32In1, places: Int32In1, numbers: In1, roots: Int32In1, stages: Int32In1,
    stage_thresholds: In1, pitch: int, half: int, height: int, width: int, step: int, passed: Int32Out2, team: Team,
):
    for i in prange((passed.shape[0] + HANDS - 1) // HANDS * HANDS, team):
        row = dealt(i, passed.shape[0])
        if row < passed.shape[0]:
            start, columns = row * step * pitch, passed.shape[1]
            norms = np.empty(columns + LANES, np.float32)
            inverse_deviations(sums, squares, start, pitch, half, height, width, step, norms)
            for column in range(0, columns, LANES):
                failed = failing(sums, places, numbers, roots, stages[0], stages[1], stage_thresholds[0], start + column,
                                 load(norms, column), HAAR_PLACES, HAAR_NUMBERS)
                for k in range(min(LANES, columns - column)):
                    passed[row, column + k] = FLAT if norms[column + k] == 0 else 1 - ((failed >> k) & 1)
            skip(passed[row])
            for column in range(0, columns, LANES):
                alive, norm, stage = through(passed[row], column), load(norms, column), 1
                while alive != 0 and stage < stage_thresholds.shape[0]:
                    alive &= ~failing(sums, places, numbers, roots, stages[stage], stages[stage + 1], stage_thresholds[stage],
                                      start + column, norm, HAAR_PLACES, HAAR_NUMBERS)
                    stage += 1
                    note(passed[row], column, alive, stage)


@compiled
def _lbp(
    numbers: In1, sums: Int32In1, places: Int32In1, roots: Int32In1, stages: Int32In1, stage_thresholds: In1, pitch: int,
    step: int, passed: Int32Out2, team: Team,
):
    for i in prange((passed.shape[0] + HANDS - 1) // HANDS * HANDS, team):
        row = dealt(i, passed.shape[0])
        if row < passed.shape[0]:
            start, columns = row * step * pitch, passed.shape[1]
            for column in range(0, columns, LANES):
                failed = failing(sums, places, numbers, roots, stages[0], stages[1], stage_thresholds[0], start + column,
                                 0, LBP_PLACES, LBP_NUMBERS)
                for k in range(min(LANES, columns - column)):
                    passed[row, column + k] = 1 - ((failed >> k) & 1)
            skip(passed[row])
            for column in range(0, columns, LANES):
                alive, stage = through(passed[row], column), 1
                while alive != 0 and stage < stage_thresholds.shape[0]:
                    alive &= ~failing(sums, places, numbers, roots, stages[stage], stages[stage + 1], stage_thresholds[stage],
                                      start + column, 0, LBP_PLACES, LBP_NUMBERS)
                    stage += 1
                    note(passed[row], column, alive, stage)


@helper
def skip(passed):
    """Mark the right neighbour of every window that was looked at and failed in the first stage."""
    for column in range(1, passed.shape[0]):
        if passed[column - 1] == 0:
            passed[column] = SKIPPED


@helper
def through(passed, column):
    """Which of the windows from ``column`` on passed the first stage: a bit for each."""
    alive = 0
    for k in range(min(LANES, passed.shape[0] - column)):
        alive |= (passed[column + k] == 1) << k
    return alive


@helper
def note(passed, column, alive, stage):
    for k in range(min(LANES, passed.shape[0] - column)):
        if (alive >> k) & 1:
            passed[column + k] = stage


@helper
def inverse_deviations(sums, squares, start, pitch, half, height, width, step, norms):
    """1 / (area * deviation) for each window of a row, as ``inverse_deviation`` has it for one."""
    a, b = start + place(1, 1, pitch, half, step), start + place(1, width - 1, pitch, half, step)
    down = (height - 2) * pitch
    area = (height - 2) * (width - 2)
    for j in range(norms.shape[0]):
        total = np.float64(np.int32(entry(sums, a + j) - entry(sums, b + j)
                                    - entry(sums, a + down + j) + entry(sums, b + down + j)))
        of_squares = np.float64(np.uint32(entry(squares, a + j) - entry(squares, b + j)
                                          - entry(squares, a + down + j) + entry(squares, b + down + j)))
        deviation = area * of_squares - total * total
        norm = np.float32(1.0 / math.sqrt(deviation))
        visible = (deviation > 0) & (np.float64(np.float32(area) * norm) < 0.1)
        norms[j] = norm if visible else np.float32(0)
