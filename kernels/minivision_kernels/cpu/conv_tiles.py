"""Convolution with its sums in registers.

``conv_parallel.py`` adds shifted planes to a row of sums, and each multiply-add pays for loading and storing its sum. Here
a block of sums, 8 filters x 3 vectors of pixels, stays in registers while all taps are added: for every 3 vectors loaded
there are 24 multiply-adds, and nothing is stored until the end. The planes stay where they are; in effect this is a
matrix product with an im2col matrix that nobody ever writes down.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivision_kernels.cpu.compile import In1, In2, In3, IntIn1, Out1, Out2, Out4, compiled, contiguous, helper, prange
from minivision_kernels.cpu.planes import Weights, deal, dealt, forward_weights, gradient_parts, widened
from minivision_kernels.cpu.simd import (
    INNER_COLUMNS,
    INNER_ROWS,
    OUTER_COLUMNS,
    OUTER_ROWS,
    add_totals,
    inner,
    inner_part,
    lanes,
    outer,
    outer_part,
    store,
    vectors,
    zeros,
)
from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair, conv_output_size

STRIP = 960         # sums of one filter between two stores
STRETCH = 256       # weights of a row that are packed before the next row has its turn
SUM = 4096          # numbers of one plane that go into an inner product before the lanes are added up
FILTERS = 16        # filters and
TAPS = 12 * INNER_COLUMNS       # taps of the weight gradient that one thread computes at a time


def _fills_tiles(channels: int, geometry: tuple, options: dict) -> bool:
    """Whether a group has enough channels of results to fill at least half the rows of a tile."""
    groups = options.get("groups", geometry[3] if len(geometry) > 3 else 1)
    return 2 * channels >= OUTER_ROWS * groups


def _forward_worth(_: np.ndarray, w: np.ndarray, *geometry: Any, **options: Any) -> bool:
    return _fills_tiles(w.shape[0], geometry, options)


@rung("conv2d_forward", name="tile", device="cpu", accepts=vectors, worth=_forward_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The sums of 8 filters and 3 vectors of pixels stay in registers while all taps are added.

    Three to five times the rung below, and near the most that the multiply-add units can do where there are at least
    64 channels. A group of few filters leaves rows of the tile empty; with fewer than 4 the rung below is better.
    """
    N, C, H, W = x.shape
    F, _, KH, KW = w.shape
    OH, OW = conv_output_size((H, W), (KH, KW), stride, padding, dilation)
    how = deal(C // groups, (KH, KW), (OH, OW), stride, dilation)
    y = np.empty((N, F, OH, OW), x.dtype)
    _sum_planes(
        dealt(x, how, stride, padding), panels(forward_weights(w, groups)), how.place, groups, how.width, OH, OW, y, 0, 0, 1, 1,
        work=y.size * how.place.size)
    return y


def _input_worth(_: np.ndarray, __: np.ndarray, shape: tuple[int, ...], *geometry: Any, **options: Any) -> bool:
    return _fills_tiles(shape[1], geometry, options)


@rung("conv2d_input", name="tile", device="cpu", accepts=vectors, worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The forward's tile over shifted planes of g, once for every phase of the image."""
    planes, width, parts = gradient_parts(g, w, shape, stride, padding, dilation, groups)
    dx = np.empty(shape, g.dtype)
    for weights, place, row, column in parts:
        _sum_planes(
            planes, panels(weights), place, groups, width, row.length, column.length, dx, row.first, column.first,
            *stride, work=len(dx) * row.length * column.length * shape[1] * place.size)
    return dx


@rung("conv2d_weight", name="tile", device="cpu", accepts=vectors)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """24 inner products at once: 4 filters x 6 taps, a vector of partial sums for each, all in registers.

    10 loads for 24 multiply-adds, where the rung below needs 2 for each; four to eight times as fast.
    """
    C = x.shape[1]
    F, _, KH, KW = shape
    OH, OW = g.shape[2:]
    how = deal(C // groups, (KH, KW), (OH, OW), stride, dilation)
    K = how.place.size
    spare = -K % INNER_COLUMNS  # a whole number of tiles: the last tap is computed again, and dropped
    dw = np.zeros((F, K + spare), x.dtype)
    _correlate(
        dealt(x, how, stride, padding), widened(g, how.width),
        np.pad(how.place, (0, spare), mode="edge") if spare else how.place, groups, max(0, (OH - 1) * how.width + OW), dw,
        work=g.size * K)
    return contiguous(dw[:, :K]).reshape(shape)


def panels(weights: Weights) -> np.ndarray:
    """Weights in the order in which tiles read them: panels of 8 rows, and in each (K, 8).

    Each group begins a new panel; places for which it has no row hold zeros.
    """
    K = weights.offset.size
    out = np.empty(weights.groups * -(-weights.rows // OUTER_ROWS) * K * OUTER_ROWS, weights.flat.dtype)
    _pack(*weights, out, work=out.size)
    return out


@compiled(parallel=True)
def _pack(flat: In1, rows: int, groups: int, row_step: int, group_step: int, offset: IntIn1, out: Out1):
    K = offset.shape[0]
    each = (rows + OUTER_ROWS - 1) // OUTER_ROWS
    for panel in prange(groups * each):
        group, first = panel // each, panel % each * OUTER_ROWS
        target = out[panel * K * OUTER_ROWS:(panel + 1) * K * OUTER_ROWS]
        for start in range(0, K, STRETCH):              # a stretch at a time: its 8 rows meet in the first-level cache
            end = min(K, start + STRETCH)
            for i in range(OUTER_ROWS):
                if first + i < rows:
                    at = group * group_step + (first + i) * row_step
                    for k in range(start, end):
                        target[k * OUTER_ROWS + i] = flat[at + offset[k]]
                else:
                    for k in range(start, end):
                        target[k * OUTER_ROWS + i] = 0


@helper
def sum_rows(source, base, place, weights, at, length, total, stretch):
    """total[i, j] = sum over k of weights[at + k * 8 + i] * source[base + place[k] + j], for the 8 rows of a panel."""
    K = place.shape[0]
    wide, narrow = OUTER_COLUMNS * lanes(source), lanes(source)
    j = 0
    while j + wide <= length:
        tile = zeros(source, OUTER_ROWS, OUTER_COLUMNS)
        for k in range(K):
            tile = outer(
                tile, OUTER_ROWS, OUTER_COLUMNS, weights, at + k * OUTER_ROWS, 1, source, base + place[k] + j)
        store(tile, OUTER_ROWS, OUTER_COLUMNS, total, j, stretch)
        j += wide
    while j + narrow <= length:
        tile = zeros(source, OUTER_ROWS, 1)
        for k in range(K):
            tile = outer(tile, OUTER_ROWS, 1, weights, at + k * OUTER_ROWS, 1, source, base + place[k] + j)
        store(tile, OUTER_ROWS, 1, total, j, stretch)
        j += narrow
    if j < length:
        tile = zeros(source, OUTER_ROWS, 1)
        for k in range(K):
            tile = outer_part(
                tile, OUTER_ROWS, 1, weights, at + k * OUTER_ROWS, 1, source, base + place[k] + j, length - j)
        store(tile, OUTER_ROWS, 1, total, j, stretch)


@compiled(parallel=True)
def _sum_planes(
    planes: In2, weights: In1, place: IntIn1, groups: int, width: int, OH: int, OW: int,
    y: Out4, first_h: int, first_w: int, step_h: int, step_w: int,
):
    """Sums of shifted planes, as in ``conv_parallel.py``, with the weights in panels."""
    N, Q = planes.shape[0], y.shape[1]
    K = place.shape[0]
    size = planes.shape[1]
    source = planes.reshape(N * size)
    filters = Q // groups
    each = (filters + OUTER_ROWS - 1) // OUTER_ROWS
    height = max(1, STRIP // max(1, width))             # rows of a strip
    strips = (OH + height - 1) // height
    for item in prange(N * groups * strips):
        n = item // (groups * strips)
        group = item // strips % groups
        top = item % strips * height
        count = min(height, OH - top)
        length = (count - 1) * width + OW
        stretch = length + lanes(source)                # the last vector may reach beyond the strip
        total = np.empty(OUTER_ROWS * stretch, planes.dtype)
        base = n * size + group * (size // groups) + top * width
        for panel in range(each):
            sum_rows(source, base, place, weights, (group * each + panel) * K * OUTER_ROWS, length, total, stretch)
            for i in range(min(OUTER_ROWS, filters - panel * OUTER_ROWS)):
                q = group * filters + panel * OUTER_ROWS + i
                for oh in range(count):
                    row = total[i * stretch + oh * width:]
                    for ow in range(OW):
                        y[n, q, first_h + (top + oh) * step_h, first_w + ow * step_w] = row[ow]


@compiled(parallel=True)
def _correlate(planes: In2, g: In3, place: IntIn1, groups: int, length: int, dw: Out2):
    """Inner products with shifted planes, as in ``conv_parallel.py``, added to dw; K is a whole number of tiles."""
    N, F, size_g = g.shape
    K = place.shape[0]
    size = planes.shape[1]
    source, upstream, out = planes.reshape(N * size), g.reshape(N * F * size_g), dw.reshape(F * K)
    filters = F // groups
    images = max(1, SUM // max(1, length))              # several small images go into one inner product
    f_blocks, k_blocks = (filters + FILTERS - 1) // FILTERS, (K + TAPS - 1) // TAPS
    for item in prange(groups * f_blocks * k_blocks):
        group = item // (f_blocks * k_blocks)
        f_first, k_first = item // k_blocks % f_blocks * FILTERS, item % k_blocks * TAPS
        f_end, k_end = min(filters, f_first + FILTERS), min(K, k_first + TAPS)
        whole = f_end - (f_end - f_first) % INNER_ROWS
        for first in range(0, N, images):
            end = min(N, first + images)
            for left in range(0, length, SUM):
                right = min(length, left + SUM)
                for f in range(f_first, whole, INNER_ROWS):
                    for k in range(k_first, k_end, INNER_COLUMNS):
                        tile = zeros(source, INNER_ROWS, INNER_COLUMNS)
                        for n in range(first, end):
                            a = (n * F + group * filters + f) * size_g
                            b = n * size + group * (size // groups)
                            j = left
                            while j + lanes(source) <= right:
                                tile = inner(
                                    tile, INNER_ROWS, INNER_COLUMNS, upstream, a + j, size_g, source, b + j, place, k)
                                j += lanes(source)
                            if j < right:
                                tile = inner_part(
                                    tile, INNER_ROWS, INNER_COLUMNS, upstream, a + j, size_g, source, b + j, place, k,
                                    right - j)
                        add_totals(tile, INNER_ROWS, INNER_COLUMNS, out, (group * filters + f) * K + k, K)
                for f in range(whole, f_end):           # the filters that do not fill a tile, one by one
                    for k in range(k_first, k_end, INNER_COLUMNS):
                        tile = zeros(source, 1, INNER_COLUMNS)
                        for n in range(first, end):
                            a = (n * F + group * filters + f) * size_g
                            b = n * size + group * (size // groups)
                            j = left
                            while j + lanes(source) <= right:
                                tile = inner(tile, 1, INNER_COLUMNS, upstream, a + j, size_g, source, b + j, place, k)
                                j += lanes(source)
                            if j < right:
                                tile = inner_part(
                                    tile, 1, INNER_COLUMNS, upstream, a + j, size_g, source, b + j, place, k, right - j)
                        add_totals(tile, 1, INNER_COLUMNS, out, (group * filters + f) * K + k, K)
