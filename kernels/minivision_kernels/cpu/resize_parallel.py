"""Resizing, the rows of the result shared between the threads."""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import (
    Float64In2,
    In2,
    In3,
    Int32In2,
    IntIn1,
    Out2,
    Out3,
    Team,
    UInt8In2,
    UInt8In3,
    UInt8Out2,
    UInt8Out3,
    compiled,
    contiguous,
    helper,
    pixels,
    prange,
)
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.resample import BITS, NEAREST, nearest, passes, taps
from minivision_kernels.shapes import Pair

HALF = 1 << BITS - 1
LANES = 48                      # numbers that are summed together along rows: whole vectors, for 1, 2, 3 and 4 channels
TILE = 256                      # numbers of a row that are summed at a time: their sums stay in the nearest cache


@rung("resize", name="parallel", device="cpu", accepts=pixels)
def resize(x: np.ndarray, size: Pair, method: str, antialias: bool) -> np.ndarray:
    """Sums are formed where they stay near: 48 or 256 of them at a time, each written once.

    NumPy writes a whole image of partial sums for every tap, and reads it for the next. To sum along columns, one weight
    serves a stretch of neighbours in a row, and vectors do the work. Along the rows of bytes no two neighbours have the
    same weights, so some rows are turned on their side first.
    """
    x = contiguous(x)
    H, W, C = x.shape
    OH, OW = size
    whole = x.dtype == np.uint8
    if method == NEAREST:
        y = empty((OH, OW, C), x.dtype)
        if whole:
            _pick_bytes(x, nearest(H, OH), nearest(W, OW), y, work=y.size)
        else:
            _pick_floats(x, nearest(H, OH), nearest(W, OW), y, work=y.size)
        return y
    y = x
    for axis in passes((H, W), size):
        first, count, weights = taps(x.shape[axis], size[axis], method, antialias, whole)
        if axis == 1:
            z = empty((y.shape[0], OW, C), x.dtype)
            (_rows_of_bytes if whole else _rows_of_floats)(y, first, count, weights, z, work=z.size * weights.shape[1])
        else:
            z = empty((OH, y.shape[1], C), x.dtype)
            (_columns_of_bytes if whole else _columns_of_floats)(
                y.reshape(H, -1), first, count, weights, z.reshape(OH, -1), work=z.size * weights.shape[1] // 8)
        y = z
    return y.copy() if y is x else y


@compiled
def _rows_of_bytes(x: UInt8In3, first: IntIn1, count: IntIn1, weights: Int32In2, y: UInt8Out3, team: Team):
    H, OW, C = y.shape
    W, height = x.shape[1], LANES // C                  # so many rows are turned on their side, and summed together
    for block in prange((H + height - 1) // height, team):
        begin, end = block * height, min(H, (block + 1) * height)
        turned, done, total = np.zeros((W, LANES), np.uint8), np.empty(LANES, np.uint8), np.empty(LANES, np.int32)
        for h in range(begin, end):
            turn_row(x[h], (h - begin) * C, turned)
        for o in range(OW):
            for i in range(LANES):
                total[i] = HALF
            for k in range(count[o]):
                weight, column = weights[o, k], turned[first[o] + k]
                for i in range(LANES):
                    total[i] += column[i] * weight
            for i in range(LANES):
                done[i] = min(max(total[i] >> BITS, 0), 255)
            if C == 1:
                for h in range(begin, end):
                    y[h, o, 0] = done[h - begin]
            else:
                for h in range(begin, end):
                    for c in range(C):
                        y[h, o, c] = done[(h - begin) * C + c]


@helper
def turn_row(row, at, turned):
    """Make a row of pixels a column, or as many columns as there are channels."""
    W, C = row.shape
    if C == 1:
        for w in range(W):
            turned[w, at] = row[w, 0]
    elif C == 3:
        for w in range(W):
            turned[w, at], turned[w, at + 1], turned[w, at + 2] = row[w, 0], row[w, 1], row[w, 2]
    else:
        for w in range(W):
            for c in range(C):
                turned[w, at + c] = row[w, c]


@compiled
def _columns_of_bytes(x: UInt8In2, first: IntIn1, count: IntIn1, weights: Int32In2, y: UInt8Out2, team: Team):
    OH, length = y.shape
    for o in prange(OH, team):
        total = np.empty(TILE, np.int32)
        for begin in range(0, length, TILE):
            size = min(TILE, length - begin)
            for i in range(size):
                total[i] = HALF
            for k in range(count[o]):
                weight, row = weights[o, k], first[o] + k
                for i in range(size):
                    total[i] += x[row, begin + i] * weight
            for i in range(size):
                y[o, begin + i] = min(max(total[i] >> BITS, 0), 255)


@compiled
def _rows_of_floats(x: In3, first: IntIn1, count: IntIn1, weights: Float64In2, y: Out3, team: Team):
    H, OW, C = y.shape
    for h in prange(H, team):
        for o in range(OW):
            for c in range(C):
                total = 0.0
                for k in range(count[o]):
                    total += x[h, first[o] + k, c] * weights[o, k]
                y[h, o, c] = total


@compiled
def _columns_of_floats(x: In2, first: IntIn1, count: IntIn1, weights: Float64In2, y: Out2, team: Team):
    OH, length = y.shape
    for o in prange(OH, team):
        total = np.empty(TILE, np.float64)
        for begin in range(0, length, TILE):
            size = min(TILE, length - begin)
            for i in range(size):
                total[i] = 0.0
            for k in range(count[o]):
                weight, row = weights[o, k], first[o] + k
                for i in range(size):
                    total[i] += x[row, begin + i] * weight
            for i in range(size):
                y[o, begin + i] = total[i]


@compiled
def _pick_bytes(x: UInt8In3, rows: IntIn1, columns: IntIn1, y: UInt8Out3, team: Team):
    OH, OW, C = y.shape
    for h in prange(OH, team):
        source, result = x[rows[h]], y[h]
        if C == 1:
            for w in range(OW):
                result[w, 0] = source[columns[w], 0]
        elif C == 3:
            for w in range(OW):
                column = columns[w]
                result[w, 0], result[w, 1], result[w, 2] = source[column, 0], source[column, 1], source[column, 2]
        else:
            for w in range(OW):
                for c in range(C):
                    result[w, c] = source[columns[w], c]


@compiled
def _pick_floats(x: In3, rows: IntIn1, columns: IntIn1, y: Out3, team: Team):
    OH, OW, C = y.shape
    for h in prange(OH, team):
        source, result = x[rows[h]], y[h]
        if C == 1:
            for w in range(OW):
                result[w, 0] = source[columns[w], 0]
        elif C == 3:
            for w in range(OW):
                column = columns[w]
                result[w, 0], result[w, 1], result[w, 2] = source[column, 0], source[column, 1], source[column, 2]
        else:
            for w in range(OW):
                for c in range(C):
                    result[w, c] = source[columns[w], c]
