"""Pooling by windows of 3 x 3 at stride 2, a row at a time.

Networks that do not pool by 2 x 2 pool like this. As many neighbouring windows as a vector has lanes go down the image
together. Of every row of pixels they take three numbers each, which four loads bring: even ones, odd ones, and even ones again.
Every other row is the last of a window and the first of the next, and what it has for them is kept in a register until then.
That leaves two thirds of the loads, and no window lies at an edge: lanes beyond one are told that there is nothing. (Those
windows, done by themselves, took as long as all others.)

Numbers meet in reading order, row by row, so of equal ones the first is the maximum, and of several NaN the last.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from minivision_kernels.cpu.compile import In1, In4, Int32Out4, Out4, Team, compiled, inlined, prange
from minivision_kernels.cpu.simd import add, evens, lanes, lanes_of, load, odds
from minivision_kernels.cpu.stream import (
    ask_lines,
    better,
    div,
    from_afar,
    larger_or_nan,
    load_or,
    mul,
    no_less,
    places,
    put_first,
    spread,
)
from minivision_kernels.shapes import Pair

AHEAD = 16          # rows further on, pixels from afar are asked for, whole rows of them by the windows at their beginning

def by_rows(kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1)) -> bool:
    """Whether windows are such that these kernels serve."""
    return kernel_size == (3, 3) and stride == (2, 2) and dilation == (1, 1) and max(padding) <= 1


def max_pool(x: np.ndarray, y: np.ndarray, index: np.ndarray | None, padding: Pair) -> None:
    """Maxima of x to y, and where they are to ``index``, if there is one."""
    if index is None:
        _max_values(x, y, *padding, _soon(x), work=6 * y.size)
    else:
        _max_places(x, y, index, *padding, _soon(x), work=6 * y.size)


def avg_pool(x: np.ndarray, y: np.ndarray, padding: Pair, count_include_pad: bool, divisor: int | None) -> None:
    """Means of x to y."""
    down, across = (
        _counts(x.shape[axis], y.shape[axis], padding[axis - 2], count_include_pad, lanes_of(x), x.dtype) for axis in (2, 3))
    if divisor:
        down, across = np.full_like(down, divisor), np.ones_like(across)
    _means(x, y, *padding, down, across, _soon(x), work=6 * y.size)


def _soon(x: np.ndarray) -> int:
    """How many numbers further on pixels are asked for; 0 if they are near."""
    return AHEAD * x.shape[3] if from_afar(x) else 0


@functools.lru_cache(maxsize=256)
def _counts(size: int, outputs: int, padding: int, count_include_pad: bool, lanes: int, dtype: np.dtype) -> np.ndarray:
    """How many pixels, or places for them, a window has along one axis; for whole vectors of windows."""
    first = 2 * np.arange(-(-outputs // lanes) * lanes) - padding
    end = np.minimum(first + 3, size + padding)             # what lies beyond the padding never counts
    if not count_include_pad:
        first, end = np.maximum(first, 0), np.minimum(end, size)
    counts = np.maximum(end - first, 1).astype(dtype)
    counts.flags.writeable = False
    return counts


@inlined
def four(pixels, at, left, W, nothing):
    """What a vector of windows sees of a row, the first of which begins at ``at`` in column ``left``: two vectors from there,
    and two from two columns further, with ``nothing`` beyond the edges."""
    L = lanes(pixels)
    return (load_or(pixels, at, -left, W - left, nothing), load_or(pixels, at + L, 0, W - left - L, nothing),
            load_or(pixels, at + 2, 0, W - left - 2, nothing), load_or(pixels, at + 2 + L, 0, W - left - 2 - L, nothing))


@inlined
def best_of(pixels, start, row, W, left):
    """What a row of pixels has for windows that begin in column ``left`` and every second one after it."""
    a, b, c, d = four(pixels, start + row * W + left, left, W, pixels.dtype.type(-math.inf))
    return larger_or_nan(larger_or_nan(evens(a, b), odds(a, b)), evens(c, d))


@inlined
def best_place_of(pixels, start, row, W, left):
    """The same, and its place. Padding before the row has that of its first pixel, which is then taken for it at a tie."""
    a, b, c, d = four(pixels, start + row * W + left, left, W, pixels.dtype.type(-math.inf))
    place = row * W + left
    value, where = better(
        evens(a, b), no_less(pixels, places(pixels, place, 2), row * W), odds(a, b), places(pixels, place + 1, 2))
    return better(value, where, evens(c, d), places(pixels, place + 2, 2))


@inlined
def sum_of(pixels, start, row, W, left):
    """Their sum."""
    a, b, c, d = four(pixels, start + row * W + left, left, W, pixels.dtype.type(0))
    return add(add(evens(a, b), odds(a, b)), evens(c, d))


@compiled
def _max_values(x: In4, y: Out4, pad_h: int, pad_w: int, soon: int, team: Team):
    N, C, H, W = x.shape
    OH, OW = y.shape[2:]
    pixels, best, L = x.reshape(x.size), y.reshape(y.size), lanes(x)
    strips = (OW + L - 1) // L
    for item in prange(N * C * strips, team):
        plane, ow = item // strips, item % strips * L
        start, left = plane * H * W, 2 * ow - pad_w
        last = best_of(pixels, start, 0, W, left)
        for oh in range(OH):
            row, value = 2 * oh - pad_h, last
            if soon > 0 and ow == 0:
                ask_lines(pixels, start + row * W + soon, 2 * W)
            if row >= 0 and row + 1 < H:
                value = larger_or_nan(value, best_of(pixels, start, row + 1, W, left))
            if row + 2 < H:
                last = best_of(pixels, start, row + 2, W, left)
                value = larger_or_nan(value, last)
            put_first(best, (plane * OH + oh) * OW + ow, value, OW - ow)


@compiled
def _max_places(x: In4, y: Out4, index: Int32Out4, pad_h: int, pad_w: int, soon: int, team: Team):
    N, C, H, W = x.shape
    OH, OW = y.shape[2:]
    pixels, best, wheres, L = x.reshape(x.size), y.reshape(y.size), index.reshape(index.size), lanes(x)
    strips = (OW + L - 1) // L
    for item in prange(N * C * strips, team):
        plane, ow = item // strips, item % strips * L
        start, left = plane * H * W, 2 * ow - pad_w
        last, there = best_place_of(pixels, start, 0, W, left)
        for oh in range(OH):
            row, value, where = 2 * oh - pad_h, last, there
            if soon > 0 and ow == 0:
                ask_lines(pixels, start + row * W + soon, 2 * W)
            if row >= 0 and row + 1 < H:
                value, where = better(value, where, *best_place_of(pixels, start, row + 1, W, left))
            if row + 2 < H:
                last, there = best_place_of(pixels, start, row + 2, W, left)
                value, where = better(value, where, last, there)
            put_first(best, (plane * OH + oh) * OW + ow, value, OW - ow)
            put_first(wheres, (plane * OH + oh) * OW + ow, where, OW - ow)


@compiled
def _means(x: In4, y: Out4, pad_h: int, pad_w: int, down: In1, across: In1, soon: int, team: Team):
    N, C, H, W = x.shape
    OH, OW = y.shape[2:]
    pixels, means, L = x.reshape(x.size), y.reshape(y.size), lanes(x)
    strips = (OW + L - 1) // L
    for item in prange(N * C * strips, team):
        plane, ow = item // strips, item % strips * L
        start, left, counts = plane * H * W, 2 * ow - pad_w, load(across, ow)
        last = sum_of(pixels, start, 0, W, left)
        for oh in range(OH):
            row, sum_ = 2 * oh - pad_h, last
            if soon > 0 and ow == 0:
                ask_lines(pixels, start + row * W + soon, 2 * W)
            if row >= 0 and row + 1 < H:
                sum_ = add(sum_, sum_of(pixels, start, row + 1, W, left))
            if row + 2 < H:
                last = sum_of(pixels, start, row + 2, W, left)
                sum_ = add(sum_, last)
            share = div(sum_, mul(counts, spread(pixels, down[oh])))
            put_first(means, (plane * OH + oh) * OW + ow, share, OW - ow)
