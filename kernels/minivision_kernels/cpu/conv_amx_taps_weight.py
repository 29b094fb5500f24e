"""The gradient to filters of several taps in a matrix unit (``amx.py``): pixels are split once for all taps.

    dw (F, C) of a tap = the sum over images of  g[n] (F, pixels) times x[n] (pixels, C), from the place of the tap on

As in ``conv_amx_taps.py`` a band of the image is turned over and dealt out as it is split, and a tap sees it from another row
on. Here pixels are the terms of the product, two to a word: a row is a pixel and the one 16 further, each for 16 channels, so
that again any 16 rows are a tile. Each pixel is stored twice for that. Lines of g get the columns that lie between those of a
band, with zeros.

A thread takes some blocks of channels and a part of the images. The sums of a band are formed in the unit, and those of all
its bands added up near by; what several parts have is added up at the end. There are as many parts for any number of threads.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu.amx import (
    PIECES,
    SIDE,
    TILE,
    again,
    put_split,
    put_split_apart,
    tiles_add_pairs,
    tiles_begin,
    tiles_end,
    tiles_store,
    tiles_zero,
    watched,
)
from minivision_kernels.cpu.amx_panels import COLUMNS, DEEP, PANEL, SUMS, added_up
from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, helper, inlined, prange
from minivision_kernels.cpu.patches import turn_line
from minivision_kernels.cpu.planes import Deal, deal
from minivision_kernels.cpu.simd import entry, load, load_between, none, put, room, turn
from minivision_kernels.cpu.tile import plus, store, zeros
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

WIDTH = COLUMNS * SIDE              # filters of a panel
FEW = 4                             # rows of sums that are added together
NEAR, LEFT_NEAR = 704 * 1024, 512 * 1024        # bytes of split pixels of a band, and of what is split of g for it
MOST = 64                           # images of a band
LEAST = 256                         # outputs; with fewer, the sums of a tap take longer to write than to form
SPAN, ITEMS = 2, 8                  # blocks of channels that go together, and so many pieces of work there should be

# What it costs, in multiply-adds of vectors of AVX-512, 0.085 ns with two threads, from 1,340 random layers, half of which it
# tells within a tenth: all that is done once; a product of 16 filters and 32 channels for 32 pixels of a tap; to split a pixel
# of 16 channels, to turn over 16 of a line, and to split 32 numbers of g; and to add up the sums of a part for 16 channels of a
# filter and a tap.
START, PRODUCT, SPLIT, LINE, GRADIENT, FOLD = 330_000, 470, 46, 47, 79, 60


class Plan(NamedTuple):
    """How the gradient is carried out."""

    how: Deal               # of a band
    images: int             # of a band, or
    lines: int              # of outputs of one image
    span: int               # blocks of channels of a piece of work,
    parts: int              # and parts of the images
    items: int              # pieces of work,
    each: float             # what each costs,
    once: float             # and what is done once


@functools.lru_cache(maxsize=1024)
def plan(N: int, C: int, F: int, OH: int, OW: int, window: Pair, stride: Pair, dilation: Pair) -> Plan:
    """A division of the work, the same for any number of threads, and what it costs."""
    blocks, halves, tiles, taps = -(-C // DEEP), -(-C // SIDE), -(-F // SIDE), math.prod(window)
    span = SPAN if blocks >= 2 * SPAN else 1
    groups, one = -(-blocks // span), deal(1, window, (1, OW), stride, dilation)

    def parts(size: Pair) -> int:
        return min(bands(size), -(-ITEMS // groups))

    def bands(size: Pair) -> int:
        return -(-N // size[0]) * -(-OH // size[1])

    def cost(size: Pair) -> tuple[bool, float]:
        """Whether a band does not stay near, and what a part of them costs for some blocks of channels."""
        images, lines = size
        planes = images * len(one.rows) * len(one.columns) * (lines - 1 + one.height)
        deep = images * -(-((lines - 1) * one.width + OW) // DEEP)
        far = 4 * planes * one.width * span * PIECES * WIDTH > NEAR or 4 * deep * -(-F // WIDTH) * PANEL > LEFT_NEAR
        band = (min(2 * span, halves) * planes * (one.width * SPLIT + -(-one.width // SIDE) * LINE)
                + span * tiles * taps * deep * PRODUCT + F * deep * GRADIENT)
        return far, -(-bands(size) // parts(size)) * band

    sizes = [(1, lines) for lines in range(1, OH + 1)] + [(images, OH) for images in range(2, min(N, MOST) + 1)]
    images, lines = best = min(sizes, key=cost)
    return Plan(deal(1, window, (lines, OW), stride, dilation), images, lines, span, parts(best), groups * parts(best),
                cost(best)[1], START + parts(best) * FOLD * halves * F * taps)


def fits(images: Pair, F: int, output: Pair, groups: int) -> bool:
    """Whether the gradient can be had here, for so many images and channels."""
    return groups == 1 and F * math.prod(images) * math.prod(output) > 0


def price(images: Pair, F: int, output: Pair, window: Pair, stride: Pair, dilation: Pair) -> float:
    """What it costs, in multiply-adds of vectors."""
    how, threads = plan(*images, F, *output, window, stride, dilation), workers()
    return how.once + -(-how.items // threads) * threads * how.each


def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair,
) -> np.ndarray | None:
    """The gradient to filters of ``shape``, or nothing if it has to be computed again."""
    (N, C, H, W), (_, F, OH, OW), window, threads = x.shape, g.shape, shape[2:], workers()
    how, images, lines, span, parts, *_ = plan(N, C, F, OH, OW, window, stride, dilation)
    dw, wrong, taps = empty(shape, x.dtype), np.zeros(threads, x.dtype), math.prod(window)
    groups, panels = -(-C // (span * DEEP)), -(-F // WIDTH)
    sums = empty((groups * parts * span * panels * taps * SUMS,), x.dtype)
    correlate(contiguous(x).reshape(-1), N, C, H, W, *padding, *stride, how.rows, how.columns, how.height, how.width, how.place,
              images, lines, span, parts, contiguous(g).reshape(-1), F, OH, OW, threads, sums,
              work=N * F * OH * OW * C * taps // SIDE)
    add_up(sums, F, C, taps, span, parts, threads, dw.reshape(-1), wrong, work=parts * dw.size)
    return None if again(wrong) else dw


@compiled
def correlate(
    x: In1, N: int, C: int, H: int, W: int, top: int, left_: int, stride_h: int, stride_w: int, rows: IntIn1, columns: IntIn1,
    height: int, width: int, place: IntIn1, images: int, lines: int, span: int, parts: int, g: In1, F: int, OH: int, OW: int,
    workers_: int, sums: Out1, team: Team,
):
    """sums (groups, parts, span, panels, taps, WIDTH filters, WIDTH channels)"""
    taps, blocks, panels = place.shape[0], (C + DEEP - 1) // DEEP, (F + WIDTH - 1) // WIDTH
    bands, plane = (OH + lines - 1) // lines, rows.shape[0] * columns.shape[0] * height * width
    all_bands, apart = (N + images - 1) // images * bands, (images * plane + SIDE) * SIDE
    most, items = images * (((lines - 1) * width + OW + DEEP - 1) // DEEP), (blocks + span - 1) // span * parts
    for worker in prange(workers_, team):
        right, left = room(x, span * COLUMNS * PIECES * apart), room(x, panels * most * PANEL)
        wide, fresh, seen = room(x, lines * width + 2 * DEEP), room(x, SUMS), np.empty(most, np.int64)
        line = room(x, ((width - 1) * stride_w + columns[-1] + 1 + SIDE) * SIDE)
        flat = room(x, columns.shape[0] * (height * width + SIDE) * SIDE)
        for i in range(0, flat.shape[0], SIDE):         # what is behind the last pixel stays 0
            put(flat, i, none(x))
        for piece in range(span * COLUMNS * PIECES):    # and what a tile sees beyond an image, if there is not another
            for m in range(images):
                for i in range(SIDE):
                    put(right, piece * apart + ((m + 1) * plane + i) * SIDE, none(x))
        tiles_begin()
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            group, part = item // parts, item % parts
            first_block, to = group * span, item * span * panels * taps * SUMS
            some, begin = min(span, blocks - first_block), all_bands * part // parts
            for band in range(begin, all_bands * (part + 1) // parts):
                n, first = band // bands * images, band % bands * lines
                count, high = min(images, N - n), min(lines, OH - first)
                deep = ((high - 1) * width + OW + DEEP - 1) // DEEP
                for m in range(count):
                    for i in range(deep):
                        seen[m * deep + i] = (m * plane + i * DEEP) * SIDE
                    split_gradient(g, ((n + m) * F * OH + first) * OW, OH * OW, F, high, OW, width, deep, wide, left,
                                   m * deep * PANEL, most * PANEL)
                    for c in range(first_block * DEEP, min(C, (first_block + some) * DEEP), SIDE):
                        split_pairs(x, ((n + m) * C + c) * H * W, min(SIDE, C - c), H, W, first * stride_h - top, left_,
                                    stride_h, stride_w, rows, columns, height, width, line, flat, right,
                                    (c // SIDE - first_block * COLUMNS) * PIECES * apart + m * plane * SIDE, apart)
                for panel in range(some * panels):
                    block, f = panel // panels, panel % panels * WIDTH
                    for tap in range(taps):
                        rt, lt = block * COLUMNS * PIECES * apart + entry(place, tap) * SIDE, panel % panels * most * PANEL
                        if F - f > SIDE:
                            add_pairs(2, left, lt, right, rt, seen, count * deep, apart, fresh)
                        else:
                            add_pairs(1, left, lt, right, rt, seen, count * deep, apart, fresh)
                        here = to + (panel * taps + tap) * SUMS
                        for i in range(0, min(WIDTH, (F - f + SIDE - 1) // SIDE * SIDE), FEW):
                            tile = plus(zeros(x, FEW, COLUMNS), FEW, COLUMNS, fresh, i * WIDTH, WIDTH)
                            if band > begin:
                                tile = plus(tile, FEW, COLUMNS, sums, here + i * WIDTH, WIDTH)
                            store(tile, FEW, COLUMNS, sums, here + i * WIDTH, WIDTH)
        tiles_end()


@helper
def split_gradient(g, at, plane, F, high, OW, width, deep, wide, left, to, step):
    """Left panels of so many lines of g, ``width`` apart, 32 pixels after the other; those of 32 filters ``step`` from the
    next. Rows beyond the last filter are 0."""
    for f in range((F + SIDE - 1) // SIDE * SIDE):
        goal = to + f // WIDTH * step + f % WIDTH // SIDE * TILE + f % SIDE * SIDE
        if f < F:
            for h in range(high):
                for j in range(0, width, SIDE):
                    put(wide, h * width + j, load_between(g, at + f * plane + h * OW + j, 0, OW - j))
            for j in range(high * width, deep * DEEP, SIDE):
                put(wide, j, none(g))
            for i in range(deep):
                put_split(load(wide, i * DEEP), load(wide, i * DEEP + SIDE), left, goal + i * PANEL)
        else:
            for i in range(deep):
                put_split(none(g), none(g), left, goal + i * PANEL)


@helper
def split_pairs(
    x, at, channels, H, W, first, left, stride_h, stride_w, rows, columns, height, width, line, flat, out, to, apart,
):
    """The pieces of a vector of channels of an image from x[at] on, dealt out as in ``conv_amx_taps.py``, each pixel together
    with the one 16 further in its plane."""
    size, count = height * width, (width - 1) * stride_w + columns[-1] + 1
    for i in range(rows.shape[0]):
        for q in range(height):
            h = first + q * stride_h + rows[i]
            if 0 <= h < H:
                turn_line(x, at + h * W, H * W, -left, W, channels, line, 0, count)
            else:
                turn_line(x, 0, 0, 0, 0, 0, line, 0, count)
            for j in range(columns.shape[0]):
                for r in range(width):
                    put(flat, (j * (size + SIDE) + q * width + r) * SIDE, load(line, (r * stride_w + columns[j]) * SIDE))
        for j in range(columns.shape[0]):
            for p in range(size):
                from_ = (j * (size + SIDE) + p) * SIDE
                put_split_apart(load(flat, from_), load(flat, from_ + SIDE * SIDE), out,
                                to + ((i * columns.shape[0] + j) * size + p) * SIDE, apart)


@inlined
def add_pairs(rows, left, lt, right, rt, seen, count, apart, sums):
    """rows x 2 tiles of sums over so many times 32 pixels."""
    tiles_zero(rows, COLUMNS)
    for i in range(count):
        tiles_add_pairs(rows, COLUMNS, left, lt + i * PANEL, right, rt + entry(seen, i), apart)
    tiles_store(rows, COLUMNS, sums, 0)


@compiled
def add_up(
    sums: In1, F: int, C: int, taps: int, span: int, parts: int, workers_: int, dw: Out1, wrong: Out1, team: Team,
):
    """dw (F, C, taps) of the sums of all parts, and for each worker 0 or, if a sum is infinite or NaN, NaN."""
    panels = (F + WIDTH - 1) // WIDTH
    for worker in prange(workers_, team):
        line, bad = room(sums, max(taps + SIDE, FEW * COLUMNS) * SIDE), zeros(sums, 1, 1)
        for f in range(F * worker // workers_, F * (worker + 1) // workers_):
            for c in range(0, C, SIDE):
                block = c // DEEP
                from_ = ((block // span * parts * span + block % span) * panels + f // WIDTH) * taps * SUMS
                for tap in range(taps):
                    here = from_ + tap * SUMS + f % WIDTH * WIDTH + c % DEEP
                    tile = plus(zeros(sums, 1, 1), 1, 1, sums, here, SIDE)
                    for part in range(1, parts):
                        tile = plus(tile, 1, 1, sums, here + part * span * panels * taps * SUMS, SIDE)
                    bad = watched(bad, tile)
                    store(tile, 1, 1, line, tap * SIDE, SIDE)
                for tap in range(0, taps, SIDE):
                    some = min(SIDE, taps - tap)
                    turn(line, tap * SIDE, SIDE, 0, min(SIDE, C - c), some, dw, (f * C + c) * taps + tap, taps,
                         min(SIDE, C - c), some)
        store(zeros(sums, FEW, COLUMNS), FEW, COLUMNS, line, 0, WIDTH)
        store(bad, 1, 1, line, 0, SIDE)
        wrong[worker] = added_up(line, 0)
