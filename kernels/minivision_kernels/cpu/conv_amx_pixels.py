"""Filters of 1 x 1 in a matrix unit (``amx.py``), past which the pixels stream.

    y[n] (F, pixels) = w (F, C) times x[n] (C, pixels)

There are few weights, and many pixels, each of which is used for all filters at once. So the left side is split first, all of
it, by each thread for itself; and the right one while others are multiplied, since the unit needs neither the vectors nor the
memory that they wait for. Nothing is packed before, and nothing waits: 1.2 to 2.1 times as fast as the panels of
``conv_implicit.py``, which are packed block by block (layers of ResNet-50 with 56 x 56 and 28 x 28 pixels).

A panel is two vectors of 16 pixels. The last vector of an image begins earlier, so that it is whole, and some pixels are
computed twice. Some panels go together: what is read and written then lies in longer runs, and left tiles, which come from the
second-level cache, serve all of them. One by one, large batches from memory take 1.4 times as long; two to four are best, or
eight if there are few channels. Lines of the group after the next are asked for as this one is split.

With more weights than fit beside the panels, those that are packed block by block are as fast or faster. So they are where
a filter has several taps, each of which sees the same pixels from another place on: there each pixel is split for each tap,
vectors begin anywhere, and results lie in torn lines. For 3 x 3 filters at stride 2 that took 0.7 to 1.4 times as long.
"""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.amx import (
    SIDE,
    TILE,
    again,
    put_split,
    tiles_add_products,
    tiles_begin,
    tiles_end,
    tiles_store,
    tiles_zero,
    watched,
)
from minivision_kernels.cpu.amx_panels import COLUMNS, DEEP, PANEL, ROWS, SUMS, added_up, split_left, split_panel
from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, contiguous, helper, inlined, prange
from minivision_kernels.cpu.goal import Goal
from minivision_kernels.cpu.simd import entry, fetch, load, none, prefetch, put, room
from minivision_kernels.cpu.tile import finish_rows, plus, store, zeros
from minivision_kernels.shapes import Pair

WIDTH = COLUMNS * SIDE
FEW = 4                             # rows of sums that are written together
NEAR, MOST = 192 * 1024, 8          # bytes of split pixels that go together, about, and panels
WEIGHTS, TERMS = 200_000, 768       # so many weights, and of each filter, are near
LEAST, ROWS_LEAST = SIDE + 1, 8     # channels and filters for which it is faster than vectors


def fits(shape: tuple[int, ...], rows: int, filters: Pair, stride: Pair, padding: Pair, groups: int) -> bool:
    """Whether images of this shape, filters for so many ``rows`` and this geometry are what the kernel is for."""
    N, terms, H, W = shape
    simple = filters == stride == (1, 1) and padding == (0, 0) and groups == 1
    return simple and N > 0 and H * W >= SIDE and 0 < rows * terms <= WEIGHTS and terms <= TERMS


def pays(rows: int, terms: int) -> bool:
    """Whether it is faster than vectors are, where it `fits`. Of 300 random layers of 3e4 to 1.5e9 multiply-adds with so many
    channels and filters six took longer, by a sixth at most, and all of them together 0.7 times as long."""
    return terms >= LEAST and rows >= ROWS_LEAST


def multiply(x: np.ndarray, w: np.ndarray, steps: Pair, rows: int, goal: Goal) -> bool:
    """Write the products to the goal, and say whether they have to be computed again. Weight k of row r is
    w[r * steps[0] + k * steps[1]]; one of the steps is 1."""
    N, terms, H, W = x.shape
    threads = workers()
    wrong = np.zeros(threads, x.dtype)
    multiply_pixels(contiguous(x).reshape(-1), N, terms, H * W, contiguous(w).reshape(-1), *steps, rows, panels_together(terms),
                    *goal, threads, wrong, work=x.size * rows // SIDE)
    return again(wrong)


def panels_together(terms: int) -> int:
    """How many panels of so many terms go together."""
    return max(2, min(MOST, NEAR // (-(-terms // DEEP) * PANEL * 4)))


@inlined
def add_streaming(left, lt, right, rt, blocks, sums, x, at, beside, later, after, step, terms, first, end, other, rows):
    """rows x 2 tiles of sums. Meanwhile the vectors split rows ``first`` to ``end`` of each block of another right panel into
    ``other``, as `split_panel` does, and ask for those of a third one, from ``later`` and ``after`` on."""
    tiles_zero(rows, COLUMNS)
    for block in range(blocks):
        tiles_add_products(rows, COLUMNS, left, lt + block * PANEL, right, rt + block * PANEL)
        for i in range(first, end):
            k, to = block * DEEP + i, rt + block * PANEL + i * SIDE
            low, high = k * step, (k + SIDE) * step
            if k + SIDE < terms:
                fetch(x, later + low)
                fetch(x, after + low)
                fetch(x, later + high)
                fetch(x, after + high)
                put_split(load(x, at + low), load(x, at + high), other, to)
                put_split(load(x, beside + low), load(x, beside + high), other, to + TILE)
            else:
                put_split(load(x, at + low) if k < terms else none(x), none(x), other, to)
                put_split(load(x, beside + low) if k < terms else none(x), none(x), other, to + TILE)
    tiles_store(rows, COLUMNS, sums, 0)


@compiled
def multiply_pixels(
    x: In1, N: int, C: int, pixels: int, w: In1, row_step: int, term_step: int, F: int, together: int, y: Out1, y_step: int,
    bias: In1, relu: bool, workers_: int, wrong: Out1, team: Team,
):
    """Weight c of filter f is w[f * row_step + c * term_step]; one of the steps is 1."""
    of_image, blocks = (pixels + SIDE - 1) // SIDE, (C + DEEP - 1) // DEEP
    last, panels = N * of_image - 1, (N * of_image + COLUMNS - 1) // COLUMNS
    for worker in prange(workers_, team):
        begin = panels * worker // workers_
        mine = panels * (worker + 1) // workers_ - begin
        left, right = room(x, (F + ROWS - 1) // ROWS * blocks * PANEL), room(x, 2 * together * blocks * PANEL)
        if mine > 0:
            split_weights(w, 0, row_step, term_step, F, C, left)
        count = COLUMNS * (mine + 2 * together)         # those beyond the last are that again, and asked for in vain
        seen, target = np.empty(count, np.int64), np.empty(count, np.int64)
        for i in range(count):
            v = min(COLUMNS * begin + i, last)
            pixel = min(v % of_image * SIDE, pixels - SIDE)
            seen[i], target[i] = v // of_image * C * pixels + pixel, v // of_image * y_step + pixel
        tiles_begin()
        wrong[worker] += stream(x, 0, seen, mine, together, C, pixels, left, F, right, y, target, pixels, bias, relu)
        tiles_end()


@helper
def split_weights(w, at, row_step, term_step, rows, terms, left):
    """Left panels of a matrix that begins at ``at``: number k of row i is w[at + i * row_step + k * term_step]."""
    blocks, piece = (terms + DEEP - 1) // DEEP, room(w, SIDE * DEEP)
    for row in range(0, rows, ROWS):
        split_left(w, at + row * row_step, row_step, term_step, min(ROWS, rows - row), terms, left,
                   row // ROWS * blocks * PANEL, piece)


@helper
def stream(x, at, seen, panels, together, terms, step, left, rows, right, y, target, plane, bias, relu):
    """The products of left panels with so many right ones. Term k of vector v is x[at + seen[v] + k * step] and on, and the
    sums of row r go to target[v] + r * plane. There are as many vectors more as two times ``together`` panels have, and in
    ``right`` there is room for as many panels.

    Returns 0, or NaN if a sum is infinite or NaN.
    """
    blocks, bands, size = (terms + DEEP - 1) // DEEP, (rows + ROWS - 1) // ROWS, together * ((terms + DEEP - 1) // DEEP) * PANEL
    share = (SIDE + bands - 1) // bands                 # rows of each block that are split by a band
    mine, other, sums, bad = right[:size], right[size:], room(x, SUMS), zeros(x, FEW, COLUMNS)
    for p in range(min(together, panels)):
        split_panel(x, at + seen[COLUMNS * p], at + seen[COLUMNS * p + 1], step, terms, mine, p * blocks * PANEL)
    for group in range(0, panels, together):
        for band in range(bands):
            top, lt = band * ROWS, band * blocks * PANEL
            high = min(ROWS, rows - top)
            for p in range(group, min(group + together, panels)):
                rt, next_, later = (p - group) * blocks * PANEL, COLUMNS * (p + together), COLUMNS * (p + 2 * together)
                first = min(SIDE, band * share)
                end = min(SIDE, first + share) if p + together < panels else first
                goal, beside = entry(target, COLUMNS * p) + top * plane, entry(target, COLUMNS * p + 1) + top * plane
                for i in range(high):
                    prefetch(y, goal + i * plane)
                    prefetch(y, beside + i * plane)
                if high > SIDE:
                    add_streaming(left, lt, mine, rt, blocks, sums, x, at + entry(seen, next_), at + entry(seen, next_ + 1),
                                 at + entry(seen, later), at + entry(seen, later + 1), step, terms, first, end, other, 2)
                else:
                    add_streaming(left, lt, mine, rt, blocks, sums, x, at + entry(seen, next_), at + entry(seen, next_ + 1),
                                 at + entry(seen, later), at + entry(seen, later + 1), step, terms, first, end, other, 1)
                if beside == goal + SIDE and high % FEW == 0:
                    for i in range(0, high, FEW):
                        tile = plus(zeros(sums, FEW, COLUMNS), FEW, COLUMNS, sums, i * WIDTH, WIDTH)
                        bad = watched(bad, tile)
                        if bias.shape[0] > 0:
                            tile = finish_rows(tile, FEW, COLUMNS, bias, top + i, relu)
                        store(tile, FEW, COLUMNS, y, goal + i * plane, plane)
                    continue
                for i in range(0, high, FEW):
                    tile = plus(zeros(sums, FEW, COLUMNS), FEW, COLUMNS, sums, i * WIDTH, WIDTH)
                    bad = watched(bad, tile)
                    if bias.shape[0] > 0:
                        tile = finish_rows(tile, FEW, COLUMNS, bias, top + i, relu)
                    store(tile, FEW, COLUMNS, sums, i * WIDTH, WIDTH)
                    for line in range(i, min(high, i + FEW)):
                        put(y, goal + line * plane, load(sums, line * WIDTH))
                        put(y, beside + line * plane, load(sums, line * WIDTH + SIDE))
        mine, other = other, mine
    store(bad, FEW, COLUMNS, sums, 0, WIDTH)
    return added_up(sums, 0)
