"""A cascade of boosted trees, window by window.

All four corners of every rectangle are turned into distances from the window's own corner first, once for the image: then a
rectangle is four numbers at fixed distances, and a feature eight or twelve. The nodes' features are laid out in the order
in which they are asked, so that the first stages, which nearly all windows see, lie in a few cache lines.
"""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels.cascades import FLAT, LBP, SKIPPED, Haar, Trees
from minivision_kernels.cpu.compile import (
    In1,
    In2,
    Int32In1,
    Int32In2,
    Int32In3,
    Int32Out2,
    Int32Out3,
    Out2,
    UInt8In2,
    UInt8Out2,
    compiled,
    contiguous,
    have_compiler,
    helper,
)
from minivision_kernels.ladder import rung
from minivision_kernels.reference.cascade import Pair, linear_taps

CORNERS = 12            # of up to three rectangles
GRID = 16               # of 3 x 3 blocks


@rung("shrink_exact", name="loops", device="cpu", accepts=have_compiler)
def shrink_exact(image: np.ndarray, size: Pair) -> np.ndarray:
    """Each new pixel is made at once from the four around it, where NumPy writes whole images in between."""
    result = np.empty((*size, *image.shape[2:]), np.uint8)
    _shrink(in_rows(image), *taps(image.shape, size), in_rows(result))
    return result


@rung("window_sums", name="loops", device="cpu", accepts=have_compiler)
def window_sums(image: np.ndarray, tilted: bool) -> tuple[np.ndarray, np.ndarray]:
    """One walk over the pixels makes all tables; the sum of a row so far is kept in a register."""
    H, W = image.shape
    sums, squares = np.empty((1 + tilted, H + 1, W + 1), np.int32), np.empty((H + 1, W + 1), np.int32)
    _sums(contiguous(image), sums, squares)
    return sums, squares


@rung("cascade_haar", name="loops", device="cpu", accepts=have_compiler)
def cascade_haar(
    sums: np.ndarray, squares: np.ndarray, features: Haar, trees: Trees, size: Pair, step: int, rows: int,
) -> np.ndarray:
    """A window leaves at the first stage it fails, and nothing more is computed of it: that is the idea of a cascade."""
    passed = new_answers(sums, size, step, rows)
    _haar(contiguous(sums).reshape(-1), contiguous(squares).reshape(-1), *haar_plan(features, trees, sums.shape),
          *trees_plan(trees), sums.shape[2], size[0], size[1], step, passed)
    return passed


@rung("cascade_lbp", name="loops", device="cpu", accepts=have_compiler)
def cascade_lbp(sums: np.ndarray, features: LBP, trees: Trees, size: Pair, step: int, rows: int) -> np.ndarray:
    """The nine blocks of a pattern share their corners: sixteen numbers are read, not thirty-six."""
    passed = new_answers(sums, size, step, rows)
    _lbp(contiguous(sums[0]).reshape(-1), lbp_plan(features, trees, sums.shape[2]), trees.subsets, *trees_plan(trees),
         sums.shape[2], step, passed)
    return passed


# ------------------------------------------------------------------------------------------------ before the loops


def in_rows(image: np.ndarray) -> np.ndarray:
    """(H, W) of an image (H, W), or (H, W C) of one (H, W, C)."""
    return contiguous(image).reshape(len(image), -1)


def taps(shape: tuple[int, ...], size: Pair) -> tuple[np.ndarray, ...]:
    """For the rows, then the columns: the pixel before, the one after, and its weight in 256ths; places in ``in_rows``."""
    C = math.prod(shape[2:])
    down, (left, right, weight) = linear_taps(shape[0], size[0]), linear_taps(shape[1], size[1])
    across = *((place[:, None] * C + np.arange(C)).reshape(-1) for place in (left, right)), np.repeat(weight, C)
    return tuple(part.astype(np.int32) for part in (*down, *across))


def new_answers(sums: np.ndarray, size: Pair, step: int, rows: int) -> np.ndarray:
    return np.empty((rows, len(range(0, max(sums.shape[2] - size[1], 0), step))), np.int32)


def trees_plan(trees: Trees) -> tuple[np.ndarray, ...]:
    return trees.nodes, trees.leaves, trees.roots, trees.stages, trees.stage_thresholds


def haar_plan(features: Haar, trees: Trees, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each node: its corners' distances from the window's corner, int32 (M, 12); its weights (M, 3); its threshold."""
    corners = np.empty((len(trees.nodes), CORNERS), np.int32)
    weights = np.empty((len(trees.nodes), 3), np.float32)
    _haar_corners(features.weights, features.rects, features.tilted.view(np.uint8)[:, None], trees.nodes, shape[2], 0, 1,
                  shape[1] * shape[2], corners, weights)
    return corners, weights, trees.thresholds


def lbp_plan(features: LBP, trees: Trees, width: int) -> np.ndarray:
    """For each node: the distances of the 4 x 4 corners of its blocks from the window's corner, int32 (M, 16)."""
    x, y, w, h = features.rects[trees.nodes[:, 2]].T[:, :, None, None]
    i, j = np.mgrid[:4, :4]
    return ((y + i * h) * width + x + j * w).reshape(-1, GRID).astype(np.int32)


# ------------------------------------------------------------------------------------------------ the loops


@compiled
def _shrink(
    image: UInt8In2, top: Int32In1, lower: Int32In1, fy: Int32In1, left: Int32In1, right: Int32In1, fx: Int32In1,
    result: UInt8Out2,
):
    for y in range(result.shape[0]):
        shrink_row(image[top[y]], image[lower[y]], fy[y], left, right, fx, result[y])


@helper
def shrink_row(above, below, fy, left, right, fx, row):
    for x in range(row.shape[0]):
        l, r = left[x], right[x]
        first = above[l] * (256 - fx[x]) + above[r] * fx[x]
        second = below[l] * (256 - fx[x]) + below[r] * fx[x]
        row[x] = (first * (256 - fy) + second * fy + 32768) >> 16


@compiled
def _sums(image: UInt8In2, sums: Int32Out3, squares: Int32Out2):
    H, W = image.shape
    for x in range(W + 1):
        sums[0, 0, x] = 0
        squares[0, x] = 0
    for y in range(H):
        sum_row(image[y], sums[0, y], sums[0, y + 1], squares[y], squares[y + 1])
    if sums.shape[0] == 2:
        tilted_sums(image, sums[1])


@helper
def sum_row(pixels, above, sums, squares_above, squares):
    """A row of the tables from the one above it."""
    total, of_squares = 0, 0
    sums[0] = 0
    squares[0] = 0
    for x in range(pixels.shape[0]):
        value = np.int64(pixels[x])
        total += value
        of_squares += value * value
        sums[x + 1] = above[x + 1] + total
        squares[x + 1] = squares_above[x + 1] + of_squares


@helper
def tilted_sums(image, T):
    """T[y, x], the triangle above: the one above and to the left, the one above and to the right, less the one they share,
    plus the two pixels that neither has.

    At the borders one of them lies outside: the triangle of (y - 1, -1) holds of the image what that of (y - 2, 0) holds,
    which is the shared one. So both drop out; likewise on the right.
    """
    H, W = image.shape
    T[0] = 0
    if H == 0:
        return
    T[1, 0] = 0
    for x in range(W):
        T[1, x + 1] = image[0, x]
    for y in range(2, H + 1):
        T[y, 0] = T[y - 1, min(1, W)]
        for x in range(1, W):
            T[y, x] = (T[y - 1, x - 1] + T[y - 1, x + 1] - T[y - 2, x]
                       + (np.int32(image[y - 1, x - 1]) + np.int32(image[y - 2, x - 1])))
        if W > 0:
            T[y, W] = T[y - 1, W - 1] + np.int32(image[y - 1, W - 1]) + np.int32(image[y - 2, W - 1])


@compiled
def _haar_corners(
    feature_weights: In2, rects: Int32In3, tilted: UInt8In2, nodes: Int32In2, pitch: int, odd: int, step: int, second: int,
    corners: Int32Out2, weights: Out2,
):
    """The pixel (y, x) has its place at y * pitch + (x % step) * odd + x // step; the tilted sums begin at ``second``."""
    for m in range(nodes.shape[0]):
        k = nodes[m, 2]
        for r in range(3):
            x, y, w, h = rects[k, r, 0], rects[k, r, 1], rects[k, r, 2], rects[k, r, 3]
            for c in range(4):
                i, j = c // 2, c % 2
                if tilted[k, 0] != 0:                    # down by h goes left by h, down by w goes right by w
                    py, px = y + i * h + j * w, x - i * h + j * w
                else:
                    py, px = y + i * h, x + j * w
                corners[m, 4 * r + c] = py * pitch + (px % step) * odd + px // step + (second if tilted[k, 0] != 0 else 0)
            weights[m, r] = feature_weights[k, r]


@compiled
def _haar(
    sums: Int32In1, squares: Int32In1, corners: Int32In2, weights: In2, thresholds: In1, nodes: Int32In2, leaves: In1,
    roots: Int32In1, stages: Int32In1, stage_thresholds: In1, pitch: int, height: int, width: int, step: int,
    passed: Int32Out2,
):
    for row in range(passed.shape[0]):
        haar_row(sums, squares, corners, weights, thresholds, nodes, leaves, roots, stages, stage_thresholds, pitch,
                 height, width, step, row, passed)


@helper
def haar_row(sums, squares, corners, weights, thresholds, nodes, leaves, roots, stages, stage_thresholds, pitch, height,
             width, step, row, passed):
    skip = False
    for column in range(passed.shape[1]):
        if skip:
            passed[row, column] = SKIPPED
            skip = False
            continue
        at = row * step * pitch + column * step
        norm = inverse_deviation(sums, squares, at, pitch, height, width, weights)
        if norm == 0:
            passed[row, column] = FLAT
            continue
        stage = haar_stages(sums, corners, weights, thresholds, nodes, leaves, roots, stages, stage_thresholds, at, norm, 0)
        passed[row, column] = stage
        skip = stage == 0


@helper
def inverse_deviation(sums, squares, at, pitch, height, width, weights):
    """1 / (area * deviation) of the window less its border, as float32; 0 for a window that is flat."""
    a, b = at + pitch + 1, at + pitch + width - 1
    c, d = at + (height - 1) * pitch + 1, at + (height - 1) * pitch + width - 1
    area = (height - 2) * (width - 2)
    total = np.float64(np.int32(sums[a] - sums[b] - sums[c] + sums[d]))
    of_squares = np.float64(np.uint32(squares[a] - squares[b] - squares[c] + squares[d]))
    spread = area * of_squares - total * total
    if spread > 0:
        norm = np.float32(1.0 / math.sqrt(spread))
        if np.float64(np.float32(area) * norm) < 0.1:
            return norm
    return np.float32(0)


@helper
def haar_stages(sums, corners, weights, thresholds, nodes, leaves, roots, stages, stage_thresholds, at, norm, first):
    """How many stages the window at ``at`` passes, which has already passed the stages before ``first``."""
    for stage in range(first, stage_thresholds.shape[0]):
        total = 0.0
        for tree in range(stages[stage], stages[stage + 1]):
            node = np.int64(roots[tree])
            while node >= 0:
                value = haar_value(sums, corners, weights, at, node) * norm
                node = np.int64(nodes[node, 0] if value < thresholds[node] else nodes[node, 1])
            total += np.float64(leaves[-1 - node])
        if total < np.float64(stage_thresholds[stage]):
            return stage
    return stage_thresholds.shape[0]


@helper
def haar_value(sums, corners, weights, at, node):
    """The weighted sum of the rectangles of a node's feature; the third is rarer, and its weight is 0 where there is none."""
    value = weights[node, 0] * np.float32(four(sums, corners, at, node, 0))
    value = value + weights[node, 1] * np.float32(four(sums, corners, at, node, 4))
    if weights[node, 2] != 0:
        value = value + weights[node, 2] * np.float32(four(sums, corners, at, node, 8))
    return value


@helper
def four(sums, corners, at, node, first):
    return np.int32(sums[at + corners[node, first]] - sums[at + corners[node, first + 1]]
                    - sums[at + corners[node, first + 2]] + sums[at + corners[node, first + 3]])


@compiled
def _lbp(
    sums: Int32In1, corners: Int32In2, subsets: Int32In2, nodes: Int32In2, leaves: In1, roots: Int32In1, stages: Int32In1,
    stage_thresholds: In1, pitch: int, step: int, passed: Int32Out2,
):
    for row in range(passed.shape[0]):
        lbp_row(sums, corners, subsets, nodes, leaves, roots, stages, stage_thresholds, pitch, step, row, passed)


@helper
def lbp_row(sums, corners, subsets, nodes, leaves, roots, stages, stage_thresholds, pitch, step, row, passed):
    skip = False
    for column in range(passed.shape[1]):
        if skip:
            passed[row, column] = SKIPPED
            skip = False
            continue
        at = row * step * pitch + column * step
        stage = lbp_stages(sums, corners, subsets, nodes, leaves, roots, stages, stage_thresholds, at)
        passed[row, column] = stage
        skip = stage == 0


@helper
def lbp_stages(sums, corners, subsets, nodes, leaves, roots, stages, stage_thresholds, at):
    """How many stages the window at ``at`` passes."""
    for stage in range(stage_thresholds.shape[0]):
        total = 0.0
        for tree in range(stages[stage], stages[stage + 1]):
            node = np.int64(roots[tree])
            while node >= 0:
                code = pattern(sums, corners, at, node)
                inside = (subsets[node, code >> 5] >> (code & 31)) & 1
                node = np.int64(nodes[node, 0] if inside == 1 else nodes[node, 1])
            total += np.float64(leaves[-1 - node])
        if total < np.float64(stage_thresholds[stage]):
            return stage
    return stage_thresholds.shape[0]


@helper
def pattern(sums, corners, at, node):
    """The code of eight blocks held against the one in the middle."""
    middle = block(sums, corners, at, node, 5)
    code = (block(sums, corners, at, node, 0) >= middle) << 7
    code |= (block(sums, corners, at, node, 1) >= middle) << 6
    code |= (block(sums, corners, at, node, 2) >= middle) << 5
    code |= (block(sums, corners, at, node, 6) >= middle) << 4
    code |= (block(sums, corners, at, node, 10) >= middle) << 3
    code |= (block(sums, corners, at, node, 9) >= middle) << 2
    code |= (block(sums, corners, at, node, 8) >= middle) << 1
    return code | (block(sums, corners, at, node, 4) >= middle)


@helper
def block(sums, corners, at, node, first):
    """The sum over the block whose top left corner is number ``first`` of 4 x 4."""
    return np.int32(sums[at + corners[node, first]] - sums[at + corners[node, first + 1]]
                    - sums[at + corners[node, first + 4]] + sums[at + corners[node, first + 5]])
