"""Pooling by windows of 2 x 2 or 3 x 3 at stride 2, a row at a time.

Nearly all networks pool like this. As many neighbouring windows as a vector has lanes go down the image together. Of every row
of pixels they take two or three numbers each: even ones, odd ones, and even ones again. Windows of 3 x 3 meet in every other
row, and what it has for them is kept in a register from one to the next. That leaves two thirds of the loads. No window lies at
an edge: lanes beyond one are told that there is nothing. (Those windows, done by themselves, took as long as all others.)

If images are larger than the caches, the outputs are made ready in the first of them and then sent to memory, some rows at a
time: a row need not end where a line of memory does, and only whole lines can be written without reading them first
(``stream.py``). Pixels are asked for ahead of time. To images of 100 MB, both together took half the time of either alone.

Numbers meet in reading order, row by row, so of equal ones the first is the maximum, and of several NaN the last.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from minivision_kernels.cpu import stream
from minivision_kernels.cpu.compile import In1, In4, Int32Out4, Kernel, Out4, Team, compiled, inlined, prange, rebuilt
from minivision_kernels.cpu.simd import add, entry, evens, lanes, lanes_of, load, load_between, odds, prefetch, room
from minivision_kernels.cpu.stream import (
    arrived,
    begins_a_line,
    better,
    div,
    larger_or_nan,
    load_or,
    mul,
    no_less,
    past_caches,
    places,
    put_first,
    send,
    spread,
)
from minivision_kernels.shapes import Pair

AHEAD = 32          # rows further on, pixels are asked for
MANY = 1 << 21      # if they have so many bytes
NEAR_ROWS = 8       # of outputs that are made before those beside them; and if pixels are far, so that those beside them are
FAR_ROWS = 2        # better read soon
SIDE, FAR, ROWS = 3, False, NEAR_ROWS       # of a window, whether its pixels are far, and so many rows, until it is rebuilt

Forms: TypeAlias = dict[tuple[int, bool], Kernel]       # of a kernel, for windows of a side, and for pixels from afar


def by_rows(kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1)) -> bool:
    """Whether windows are such that these kernels serve."""
    return stride == (2, 2) and dilation == (1, 1) and (
        (kernel_size == (3, 3) and max(padding) <= 1) or (kernel_size == (2, 2) and padding == (0, 0)))


def max_pool(x: np.ndarray, y: np.ndarray, index: np.ndarray | None, side: int, padding: Pair) -> None:
    """Maxima of x to y, and where they are to ``index``, if there is one."""
    kernels = MAXIMA if index is None else MAXIMA_AND_PLACES
    _run(kernels, x, y, nowhere() if index is None else index, side, padding, nothing(x.dtype), nothing(x.dtype))


def avg_pool(x: np.ndarray, y: np.ndarray, side: int, padding: Pair, count_include_pad: bool, divisor: int | None) -> None:
    """Means of x to y."""
    _run(MEANS, x, y, nowhere(), side, padding, *divisors(x, y, side, padding, count_include_pad, divisor))


def _run(
    kernels: Forms, x: np.ndarray, y: np.ndarray, index: np.ndarray, side: int, padding: Pair, down: np.ndarray,
    across: np.ndarray,
) -> None:
    parts = max(1, min(y.shape[2], 16 // max(1, x.shape[0] * x.shape[1])))
    past = past_caches(y) and parts == 1 and (index.size == 0 or begins_a_line(index))
    kernels[side, x.nbytes >= stream.LARGE](
        x, y, index, *padding, down, across, together(y) if past else 1, parts, x.nbytes >= MANY, past, work=6 * y.size)


def together(planes: np.ndarray) -> int:
    """How many planes of an array end where a vector does, if the first of them begins where one does."""
    return lanes_of(planes) // math.gcd(math.prod(planes.shape[2:]), lanes_of(planes))


@functools.cache
def nowhere() -> np.ndarray:
    """The index of a kernel that keeps none."""
    return np.empty((0, 0, 0, 0), np.int32)


@functools.cache
def nothing(dtype: np.dtype) -> np.ndarray:
    """The divisors of a kernel that divides nothing."""
    return np.empty(0, dtype)


def divisors(
    x: np.ndarray, y: np.ndarray, side: int, padding: Pair, count_include_pad: bool, divisor: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Two numbers for each sum, whose product it is divided by: for its row and for its column.

    The first is that of the window before the first, and there are some behind the last, for whole vectors.
    """
    return _divisors(x.shape[2:], y.shape[2:], side, padding, count_include_pad, divisor, lanes_of(x), x.dtype)


@functools.lru_cache(maxsize=256)
def _divisors(
    size: Pair, outputs: Pair, side: int, padding: Pair, count_include_pad: bool, divisor: int | None, lanes: int,
    dtype: np.dtype,
) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for axis in (0, 1):
        first = 2 * np.arange(-1, (-(-outputs[axis] // lanes) + 1) * lanes) - padding[axis]
        end = np.minimum(first + side, size[axis] + padding[axis])          # what lies beyond the padding never counts
        if not count_include_pad:
            first, end = np.maximum(first, 0), np.minimum(end, size[axis])
        counts = np.maximum(end - first, 1).astype(dtype)
        if divisor:
            counts[:] = divisor if axis == 0 else 1
        counts.flags.writeable = False
        found.append(counts)
    return found[0], found[1]


@inlined
def itself(results, count):
    """Where results are made if they stay in the caches."""
    return results


@inlined
def room_for(results, count):
    """Where they are made if not: so many of them, with what is left over from those before them."""
    return room(results, count + 2 * lanes(results))


@inlined
def pairs(pixels, at, left, W, other):
    """The even and the odd numbers of two vectors from ``at`` on, a place in column ``left``; ``other`` beyond the edges."""
    L = lanes(pixels)
    a, b = load_or(pixels, at, -left, W - left, other), load_or(pixels, at + L, 0, W - left - L, other)
    return evens(a, b), odds(a, b)


@inlined
def seen_in(pixels, at, left, W, side, other):
    """What windows that begin ``at`` a place of a row, column ``left``, and every second one after it, see there: their first
    pixels, their second ones, and the third ones of those that have them."""
    first, second = pairs(pixels, at, left, W, other)
    third = first
    if side == 3:
        third, _ = pairs(pixels, at + 2, left + 2, W, other)
    return first, second, third


@inlined
def largest_of(pixels, at, start, left, W, side):
    """The largest."""
    first, second, third = seen_in(pixels, at, left, W, side, pixels.dtype.type(-math.inf))
    value = larger_or_nan(first, second)
    return larger_or_nan(value, third) if side == 3 else value


@inlined
def largest_and_place_of(pixels, at, start, left, W, side):
    """The same, and its place in the image that begins at ``start``. Padding before the row has that of the row's first pixel,
    which is then taken for it at a tie."""
    first, second, third = seen_in(pixels, at, left, W, side, pixels.dtype.type(-math.inf))
    place = at - start
    state = better(first, no_less(pixels, places(pixels, place, 2), place - left), second, places(pixels, place + 1, 2))
    return better(state[0], state[1], third, places(pixels, place + 2, 2)) if side == 3 else state


@inlined
def sum_of(pixels, at, start, left, W, side):
    """Their sum."""
    first, second, third = seen_in(pixels, at, left, W, side, pixels.dtype.type(0))
    sums = add(first, second)
    return add(sums, third) if side == 3 else sums


@inlined
def both_better(state, more):
    """The maxima of two rows and their places."""
    return better(state[0], state[1], more[0], more[1])


@inlined
def keep(results, wheres, at, value, count, across, down, oh):
    """Maxima."""
    put_first(results, at, value, count)


@inlined
def keep_both(results, wheres, at, state, count, across, down, oh):
    """Maxima and their places."""
    put_first(results, at, state[0], count)
    put_first(wheres, at, state[1], count)


@inlined
def keep_means(results, wheres, at, sums, count, across, down, oh):
    """Sums, divided."""
    put_first(results, at, div(sums, mul(across, spread(results, entry(down, oh + 1)))), count)


@compiled
def _pool(
    x: In4, y: Out4, index: Int32Out4, pad_h: int, pad_w: int, down: In1, across: In1, planes: int, parts: int, asks: bool,
    past: bool, team: Team,
):
    N, C, H, W = x.shape
    OH, OW = y.shape[2:]
    pixels, results, wheres, L = x.reshape(x.size), y.reshape(y.size), index.reshape(index.size), lanes(x)
    rows = ROWS if FAR or OW > L else OH
    out, out_places = made_in(results, rows * OW), made_in(wheres, rows * OW)
    for item in prange((N * C + planes - 1) // planes * parts, team):
        plane, begin, end = item * planes, 0, OH
        if parts > 1:
            plane, begin, end = item // parts * planes, OH * (item % parts) // parts, OH * (item % parts + 1) // parts
        sent = (plane * OH + begin) * OW
        made = 0 if FAR else sent
        for each in range(plane, min(N * C, plane + planes)):
            start = each * H * W
            first = begin
            while first < end:
                behind = min(end, first + rows)
                for ow in range(0, OW, L):
                    left, to, row = 2 * ow - pad_w, made + ow, 2 * first - pad_h
                    at, counts = start + row * W + left, load_between(across, ow + 1, 0, across.size - ow - 1)
                    for oh in range(first, behind):
                        if asks:
                            for ahead in (AHEAD * W, AHEAD * W + W):
                                prefetch(pixels, at + ahead)
                                prefetch(pixels, at + ahead + L)
                        padding = SIDE == 3 and row < 0
                        if SIDE == 2 or oh == first:
                            last = of_row(pixels, at + W if padding else at, start, left, W, SIDE)
                        state = last
                        if not padding and row + 1 < H:
                            state = merged(state, of_row(pixels, at + W, start, left, W, SIDE))
                        if SIDE == 3 and row + 2 < H:
                            last = of_row(pixels, at + 2 * W, start, left, W, SIDE)
                            state = merged(state, last)
                        kept(out, out_places, to, state, OW - ow, counts, down, oh)
                        to, at, row = to + OW, at + 2 * W, row + 2
                made += (behind - first) * OW
                first = behind
                if FAR:
                    if wheres.size > 0:
                        send(out_places, made, wheres, sent, past, results)
                    count = send(out, made, results, sent, past, results)
                    sent, made = sent + count, made - count
        if FAR:
            put_first(results, sent, load(out, 0), made)
            for i in range(min(made, wheres.size)):
                wheres[sent + i] = out_places[i]
            arrived(past)


of_row, merged, kept = largest_of, larger_or_nan, keep      # what the kernel calls so; its other forms mean something else
made_in = itself


def forms(kernel: Kernel, words: Mapping[int, Mapping[str, Any]], name: str, far_rows: int) -> Forms:
    """A kernel for windows of either side, with words of its own, and for pixels that are near and far."""
    return {
        (side, far): rebuilt(kernel, {"SIDE": side, "FAR": far, "ROWS": far_rows if far else NEAR_ROWS,
                                      "made_in": room_for if far else itself, **words[side]}, f"_{name}_{side}{'_far' * far}")
        for side in words for far in (False, True)}


def _forms(name: str, **words: Any) -> Forms:
    return forms(_pool, {2: words, 3: words}, name, FAR_ROWS)


MAXIMA = _forms("maxima")
MAXIMA_AND_PLACES = _forms("places", of_row=largest_and_place_of, merged=both_better, kept=keep_both)
MEANS = _forms("means", of_row=sum_of, merged=add, kept=keep_means)
