"""Filters of several taps in a matrix unit (``amx.py``): pixels are split once, and every tap sees them where they lie.

    y[n] (pixels, F) = the sum over taps of  x[n] (pixels, C), from the place of the tap on, times w (C, F) of the tap

A left tile is 16 rows of 64 bytes, the pieces of 32 channels of 16 pixels. If the channels of a pixel lie side by side, a row
is a pixel, a tile is any 16 pixels that follow each other, and the one for the next tap begins one row further: nothing is
packed for a tap. So the images are turned over as they are split, a band of lines at a time, and dealt out as in
``planes.py``, so that at stride 2 the pixels that a tap sees follow each other too. The sums are turned back as they are
written. As always with planes, what lies between the lines of a band is computed and dropped: a column or two for each line.
For panels (``conv_implicit.py``) each pixel is split for each tap, which takes as long as its products with 16 filters. So
this is the faster the fewer filters there are, up to twice for 32 of them; 3 x 3 filters at stride 2 with 128 channels of
56 x 56 pixels take 1 / 1.13 to 1 / 1.43 of the time. Where weights are many and pixels few it is the slower: weights are
written and read again for every band.

A band is as large as its pixels may be to stay near, those of a `stretch` of channels, for all of which its sums lie beside
them; images of which several fit are a band together. For each stretch all panels of filters pass by, a block of 32 channels
after the other, and its taps.

Three quarters of the time the unit is at work. To ask for the next tile of weights while this one is used made it 1.06 times
slower, to finish sums while the next are formed 1.05, to ask for lines of the image before they are split no different; nor
does the size of a band matter much, from half a megabyte on. First layers could have a window's line in a row, 8 pixels of
four channels each, with rows that overlap: for 7 x 7 filters at stride 2 on three channels that was no faster than vectors.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu.amx import (
    PIECES,
    SIDE,
    again,
    put_split,
    put_split_apart,
    tiles_add_rows,
    tiles_begin,
    tiles_end,
    tiles_store,
    tiles_zero,
    watched,
)
from minivision_kernels.cpu.amx_panels import COLUMNS, DEEP, PANEL, SUMS, added_up
from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, helper, inlined, prange
from minivision_kernels.cpu.goal import Goal
from minivision_kernels.cpu.patches import turn_line, turn_weights
from minivision_kernels.cpu.planes import Deal, Filters, deal
from minivision_kernels.cpu.simd import entry, load, none, put, room, turn, turn_whole
from minivision_kernels.cpu.tile import finish_columns, plus, store, zeros
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

WIDTH = COLUMNS * SIDE              # filters of a panel
FEW = 4                             # rows of sums that are finished together
TERMS = 576                         # of a stretch, about
NEAR, SUMS_NEAR = 704 * 1024, 1024 * 1024       # bytes of split pixels of a band, and of its sums
MOST = 64                           # images of a band

# What it costs, in multiply-adds of vectors of AVX-512, about 0.1 ns with two threads, from 870 random layers, most of which it
# tells within a tenth: all that is done once; to split the weights of 32 channels, 32 filters and a tap, to bring them near
# again, and a product of theirs with 16 pixels; to split a pixel of 32 channels, and to write the sums of 16 pixels and 32
# filters.
START, WEIGHTS, FETCH, PRODUCT, SPLIT, WRITE = 400_000, 7000, 490, 410, 62, 2160


class Plan(NamedTuple):
    """How a convolution is carried out."""

    how: Deal               # of a band
    images: int             # of a band, or
    lines: int              # of outputs of one image
    stretch: int            # blocks of channels
    price: float


@functools.lru_cache(maxsize=1024)
def plan(N: int, C: int, F: int, OH: int, OW: int, window: Pair, stride: Pair, dilation: Pair, workers_: int) -> Plan:
    """A division into bands, and what it costs."""
    blocks, panels, taps = -(-C // DEEP), -(-F // WIDTH), window[0] * window[1]
    stretch, one = max(1, min(blocks, TERMS // (DEEP * taps))), deal(1, window, (1, OW), stride, dilation)

    def cost(size: Pair) -> tuple[bool, float]:
        """Whether a band does not stay near, and what all bands cost."""
        images, lines = size
        pixels = images * len(one.rows) * len(one.columns) * (lines - 1 + one.height) * one.width
        tiles = images * -(-((lines - 1) * one.width + OW) // SIDE)
        far = 4 * pixels * stretch * PIECES * SIDE > NEAR or 4 * tiles * SIDE * panels * WIDTH > SUMS_NEAR
        band = (blocks * (pixels * SPLIT + panels * taps * (tiles * PRODUCT + FETCH))
                + tiles * panels * -(-blocks // stretch) * WRITE)
        return far, -(-(-(-N // images) * -(-OH // lines)) // workers_) * workers_ * band

    sizes = [(1, lines) for lines in range(1, OH + 1)] + [(images, OH) for images in range(2, min(N, MOST) + 1)]
    images, lines = best = min(sizes, key=cost)
    return Plan(deal(1, window, (lines, OW), stride, dilation), images, lines, stretch,
                START + WEIGHTS * blocks * panels * taps + cost(best)[1])


def price(
    images: Pair, F: int, output: Pair, window: Pair, stride: Pair, dilation: Pair, groups: int,
) -> float:
    """What a convolution of so many images and channels costs, in multiply-adds of vectors; infinitely much if it can't be done
    here, or there is a single tap."""
    if groups > 1 or window == (1, 1) or not F * math.prod(images) * math.prod(output):
        return math.inf
    return plan(*images, F, *output, window, stride, dilation, workers()).price


def convolve(
    x: np.ndarray, filters: Filters, F: int, output: Pair, window: Pair, stride: Pair, padding: Pair, dilation: Pair,
    goal: Goal,
) -> bool:
    """Write the convolution to the goal, and say whether it has to be computed again."""
    (N, C, H, W), threads, taps, (OH, OW) = x.shape, workers(), math.prod(window), output
    how, images, lines, stretch, _ = plan(N, C, F, OH, OW, window, stride, dilation, threads)
    wrong = np.zeros(threads, x.dtype)
    weights = empty((-(-F // WIDTH) * -(-C // DEEP) * taps * PANEL,), x.dtype)
    split_weights(*filters, F, C, taps, weights, work=weights.size)
    multiply(contiguous(x).reshape(-1), N, C, H, W, *padding, *stride, how.rows, how.columns, how.height, how.width, how.place,
             images, lines, stretch, weights, *goal, F, OH, OW, threads, wrong, work=N * F * OH * OW * C * taps // SIDE)
    return again(wrong)


@compiled
def split_weights(
    w: In1, row_step: int, term_step: int, backward: bool, F: int, C: int, taps: int, out: Out1, team: Team,
):
    """out: right panels for each panel of filters, block of channels and tap. Tap k of channel c of filter f is
    w[f * row_step + c * term_step + k], or if it goes ``backward`` the k-th from the last."""
    blocks = (C + DEEP - 1) // DEEP
    for item in prange((F + WIDTH - 1) // WIDTH * blocks, team):
        panel, block = item // blocks, item % blocks
        low, high = room(w, taps * SIDE * SIDE), room(w, taps * SIDE * SIDE)
        for half in range(COLUMNS):
            f, c = panel * WIDTH + half * SIDE, block * DEEP
            rows, some, more = max(0, min(SIDE, F - f)), min(SIDE, C - c), max(0, min(SIDE, C - c - SIDE))
            at = f * row_step + c * term_step
            if rows > 0:
                turn_weights(w, at, row_step, term_step, rows, some, taps, low, 0)
            if rows > 0 and more > 0:
                turn_weights(w, at + SIDE * term_step, row_step, term_step, rows, more, taps, high, 0)
            for tap in range(taps):
                from_ = taps - 1 - tap if backward else tap
                to = (item * taps + tap) * PANEL + half * SIDE * SIDE
                for i in range(SIDE):
                    here = (i * taps + from_) * SIDE
                    put_split(load(low, here) if rows > 0 and i < some else none(w),
                              load(high, here) if rows > 0 and i < more else none(w), out, to + i * SIDE)


@compiled
def multiply(
    x: In1, N: int, C: int, H: int, W: int, top: int, left: int, stride_h: int, stride_w: int, rows: IntIn1, columns: IntIn1,
    height: int, width: int, place: IntIn1, images: int, lines: int, stretch: int, weights: In1, y: Out1, y_step: int,
    bias: In1, relu: bool, F: int, OH: int, OW: int, workers_: int, wrong: Out1, team: Team,
):
    taps, blocks, panels = place.shape[0], (C + DEEP - 1) // DEEP, (F + WIDTH - 1) // WIDTH
    bands, plane = (OH + lines - 1) // lines, rows.shape[0] * columns.shape[0] * height * width
    items, apart = (N + images - 1) // images * bands, (images * plane + SIDE) * SIDE
    most = images * ((lines - 1) * width + OW + SIDE - 1) // SIDE * SIDE
    for worker in prange(workers_, team):
        split, sums, fresh = room(x, stretch * PIECES * apart), room(x, panels * most * WIDTH), room(x, SUMS)
        line = room(x, 2 * ((width - 1) * stride_w + columns[-1] + 1 + SIDE) * SIDE)
        seen, bad = np.empty(most // SIDE + 1, np.int64), zeros(x, FEW, COLUMNS)
        for piece in range(stretch * PIECES):           # what a tile sees beyond an image, if there is not another
            for m in range(images):
                for i in range(SIDE):
                    put(split, piece * apart + ((m + 1) * plane + i) * SIDE, none(x))
        tiles_begin()
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            n, first = item // bands * images, item % bands * lines
            count, high = min(images, N - n), min(lines, OH - first)
            tiles = ((high - 1) * width + OW + SIDE - 1) // SIDE
            for m in range(count):
                for t in range(tiles):
                    seen[m * tiles + t] = (m * plane + t * SIDE) * SIDE
            for begin in range(0, blocks, stretch):
                some = min(stretch, blocks - begin)
                for b in range(some):
                    c = (begin + b) * DEEP
                    for m in range(count):
                        split_lines(x, ((n + m) * C + c) * H * W, C - c, H, W, first * stride_h - top, left, stride_h,
                                    stride_w, rows, columns, height, width, line, split,
                                    b * PIECES * apart + m * plane * SIDE, apart)
                for panel in range(panels):
                    right, to = (panel * blocks + begin) * taps * PANEL, panel * most * WIDTH
                    for v in range(0, count * tiles, 2):
                        here = to + v * SIDE * WIDTH
                        if v + 1 < count * tiles:
                            add_taps(2, split, entry(seen, v), entry(seen, v + 1), apart, weights, right, some, place, fresh)
                        else:
                            add_taps(1, split, entry(seen, v), entry(seen, v), apart, weights, right, some, place, fresh)
                        for i in range(0, min(2, count * tiles - v) * SIDE, FEW):
                            tile = plus(zeros(x, FEW, COLUMNS), FEW, COLUMNS, fresh, i * WIDTH, WIDTH)
                            if begin > 0:
                                tile = plus(tile, FEW, COLUMNS, sums, here + i * WIDTH, WIDTH)
                            if begin + some == blocks:
                                bad = watched(bad, tile)
                                if bias.shape[0] > 0:
                                    tile = finish_columns(tile, FEW, COLUMNS, bias, panel * WIDTH, relu)
                            store(tile, FEW, COLUMNS, sums, here + i * WIDTH, WIDTH)
                    if begin + some == blocks:
                        for m in range(count):
                            put_lines(sums, to + m * tiles * SIDE * WIDTH, high, width, F - panel * WIDTH, y,
                                      (n + m) * y_step + (panel * WIDTH * OH + first) * OW, OH * OW, OW)
        tiles_end()
        store(bad, FEW, COLUMNS, fresh, 0, WIDTH)
        wrong[worker] = added_up(fresh, 0)


@helper
def split_lines(
    x, at, channels, H, W, first, left, stride_h, stride_w, rows, columns, height, width, line, out, to, apart,
):
    """The pieces of 32 channels of an image from x[at] on, dealt out: line q of phase i is line first + q * stride_h + rows[i]
    of the image, zeros where there is none."""
    count = (width - 1) * stride_w + columns[-1] + 1
    beyond = (count + SIDE) * SIDE
    for i in range(rows.shape[0]):
        for q in range(height):
            h = first + q * stride_h + rows[i]
            for half in range(2):
                here = min(SIDE, channels - half * SIDE)
                if 0 <= h < H and here > 0:
                    turn_line(x, at + (half * SIDE * H + h) * W, H * W, -left, W, here, line, half * beyond, count)
                else:
                    turn_line(x, 0, 0, 0, 0, 0, line, half * beyond, count)
            for j in range(columns.shape[0]):
                goal = to + ((i * columns.shape[0] + j) * height + q) * width * SIDE
                for r in range(width):
                    pixel = (r * stride_w + columns[j]) * SIDE
                    put_split_apart(load(line, pixel), load(line, beyond + pixel), out, goal + r * SIDE, apart)


@inlined
def add_taps(rows, left, first, second, apart, right, rt, blocks, place, sums):
    """rows x 2 tiles of sums over all taps of so many blocks of channels."""
    tiles_zero(rows, COLUMNS)
    for block in range(blocks):
        for tap in range(place.shape[0]):
            shift = block * PIECES * apart + entry(place, tap) * SIDE
            tiles_add_rows(rows, COLUMNS, left, first + shift, second + shift, apart, right, rt)
            rt += PANEL
    tiles_store(rows, COLUMNS, sums, 0)


@helper
def put_lines(sums, at, high, width, filters, y, to, plane, OW):
    """Turn a panel of filters of so many lines, ``width`` pixels apart, to where they belong in y."""
    for h in range(high):
        for half in range(0, min(WIDTH, filters), SIDE):
            some = min(SIDE, filters - half)
            for j in range(0, OW, SIDE):
                from_, goal, here = at + (h * width + j) * WIDTH + half, to + half * plane + h * OW + j, min(SIDE, OW - j)
                if some == SIDE and here == SIDE:
                    turn_whole(sums, from_, WIDTH, y, goal, plane)
                else:
                    turn(sums, from_, WIDTH, 0, some, here, y, goal, plane, some, here)
