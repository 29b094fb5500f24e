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

from minivision_kernels.cpu.compile import In1, In4, Int32Out4, Out4, Team, compiled, inlined, prange, rebuilt
from minivision_kernels.cpu.simd import add, evens, lanes, lanes_of, load, load_between, none, odds, put_woven
from minivision_kernels.cpu.stream import (
    arrived,
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
        no_counts = np.empty(0, x.dtype)
        _pool(x, y, *padding, no_counts, no_counts, _soon(x), work=6 * y.size)
    else:
        _max_places(x, y, index, *padding, _soon(x), work=6 * y.size)


def avg_pool(x: np.ndarray, y: np.ndarray, padding: Pair, count_include_pad: bool, divisor: int | None) -> None:
    """Means of x to y."""
    MEANS(x, y, *padding, *_divisors(x, y, padding, count_include_pad, divisor), _soon(x), work=6 * y.size)


def spread_means(
    g: np.ndarray, dx: np.ndarray, padding: Pair, count_include_pad: bool, divisor: int | None, past: bool,
) -> None:
    """The gradient of that, with a padding of 1 on all sides, written past the caches if so said."""
    _spread_means(g, dx, *_divisors(dx, g, padding, count_include_pad, divisor), past, work=4 * g.size)


def _divisors(
    x: np.ndarray, y: np.ndarray, padding: Pair, count_include_pad: bool, divisor: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Two numbers for each sum, whose product it is divided by: for its row and for its column."""
    down, across = (
        _counts(x.shape[axis], y.shape[axis], padding[axis - 2], count_include_pad, lanes_of(x), x.dtype) for axis in (2, 3))
    return (np.full_like(down, divisor), np.ones_like(across)) if divisor else (down, across)


def _soon(x: np.ndarray) -> int:
    """How many numbers further on pixels are asked for; 0 if they are near."""
    return AHEAD * x.shape[3] if from_afar(x) else 0


@functools.lru_cache(maxsize=256)
def _counts(size: int, outputs: int, padding: int, count_include_pad: bool, lanes: int, dtype: np.dtype) -> np.ndarray:
    """How many pixels, or places for them, a window has along one axis; for whole vectors of windows, and one more."""
    first = 2 * np.arange((-(-outputs // lanes) + 1) * lanes) - padding
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


@inlined
def as_it_is(pixels, value, down, oh, across, ow):
    """A maximum."""
    return value


@inlined
def mean_of(pixels, sum_, down, oh, across, ow):
    """A sum, divided."""
    return div(sum_, mul(load(across, ow), spread(pixels, down[oh])))


@compiled
def _pool(x: In4, y: Out4, pad_h: int, pad_w: int, down: In1, across: In1, soon: int, team: Team):
    N, C, H, W = x.shape
    OH, OW = y.shape[2:]
    pixels, results, L = x.reshape(x.size), y.reshape(y.size), lanes(x)
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
            put_first(results, (plane * OH + oh) * OW + ow, as_it_is(pixels, value, down, oh, across, ow), OW - ow)


MEANS = rebuilt(_pool, {"best_of": sum_of, "larger_or_nan": add, "as_it_is": mean_of}, "_means")


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


@inlined
def share_of(upstream, row, ow, OW, down, across):
    """What the outputs of a row have for each of their pixels, from column ``ow`` on."""
    counts = mul(load(across, ow), spread(upstream, down))
    return div(load_between(upstream, row * OW + ow, 0, OW - ow), counts)


@compiled
def _spread_means(g: In4, dx: Out4, down: In1, across: In1, past: bool, team: Team):
    """Even pixels of a line have one window, odd ones two neighbours; and so it is with the lines."""
    N, C, H, W = dx.shape
    OH, OW = g.shape[2:]
    upstream, pixels, L = g.reshape(g.size), dx.reshape(dx.size), lanes(g)
    strips = ((W + 1) // 2 + L - 1) // L
    for item in prange(N * C * strips, team):
        plane, ow = item // strips, item % strips * L
        even = share_of(upstream, plane * OH, ow, OW, down[0], across)
        odd = add(even, share_of(upstream, plane * OH, ow + 1, OW, down[0], across))
        for oh in range((H + 1) // 2):
            to = (plane * H + 2 * oh) * W + 2 * ow
            next_even, next_odd = none(g), none(g)
            if oh + 1 < OH:
                next_even = share_of(upstream, plane * OH + oh + 1, ow, OW, down[oh + 1], across)
                next_odd = add(next_even, share_of(upstream, plane * OH + oh + 1, ow + 1, OW, down[oh + 1], across))
            put_woven(pixels, to, even, odd, W - 2 * ow, past)
            if 2 * oh + 1 < H:
                put_woven(pixels, to + W, add(even, next_even), add(odd, next_odd), W - 2 * ow, past)
            even, odd = next_even, next_odd
        arrived(past)
