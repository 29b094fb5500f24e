"""The gradient to the filters as a product whose two sides are both packed.

    dw[f, k] = the sum over the outputs p of all images of g[f, p] * seen[k, p]

where row k of ``seen`` is a tap of a channel: the pixels that it sees at the outputs. Sums run over outputs, and outputs are
what lies side by side in memory, of g and of x alike. A tile wants it the other way round: rows and columns side by side, one
output after the other. ``conv_direct.py`` turns only g over, and takes the numbers of x from where they lie, 14 at a time from
14 channels. It has no registers for so many addresses and gets 60 % of the speed of its tile, or less. Here x is turned over
too, a few outputs at a time:

    right      the columns of a *stretch* of some hundred outputs, in panels of COLUMNS vectors, up to WIDE of them; they stay in
               the second-level cache and serve all rows
    left       the same stretch of ROWS rows, made when its turn comes, in the first-level cache

Both sides are what windows see. For x they are the windows of the convolution. Those for g are of a single pixel, and so are
those of 1 x 1 filters; the pixels they see are turned over from where they lie. Other windows' are first copied to some lines,
a vector of rows at a time, with zeros for padding. Which of the two is left and which is right is a matter of price.

While the sums of a tile are formed the processor is asked for what will be packed next, a line of the cache with each term:
the left side's next tile, and the right side's next stretch. Packing then costs 6 cycles for each vector, and layers of 64
channels of 56 x 56 pixels run 1.3 times as fast. It is bound by the way between the caches: to let loads do half of the turning over
(pieces of 16 bytes, put together in a register) made no difference.
"""
from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, helper, prange
from minivision_kernels.cpu.simd import (
    AHEAD,
    PACKED_COLUMNS,
    PACKED_ROWS,
    ask,
    entry,
    evens,
    fetch,
    lanes,
    lanes_of,
    load_between,
    none,
    outer,
    plus,
    put,
    room,
    store,
    store_turned,
    turn,
    turn_whole,
    vectors,
    zeros,
)
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

ROWS, COLUMNS = PACKED_ROWS, PACKED_COLUMNS
TERMS = 448                 # outputs of a stretch, about
WIDE = 256                  # columns that are packed together
PACKING = 12                # multiply-adds of vectors that take as long as it takes to pack one
LEAST = 3                   # stretches of a part


def _worth(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
           dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return False


@rung("conv2d_weight", name="packed", device="cpu", accepts=vectors, worth=_worth)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Both sides turned over and packed."""
    F, channels, KH, KW = shape
    N, C, H, W = x.shape
    OH, OW = g.shape[2:]
    K = channels * KH * KW
    if not N * OH * OW * K * F:
        return np.zeros(shape, x.dtype)
    seen = Windows(C, H, W, KH, dilation[0], KW, dilation[1], *stride, *padding)
    upstream = Windows(F, OH, OW, 1, 1, 1, 1, 1, 1, 0, 0)
    turned = _price(K, F // groups, lanes_of(x)) < _price(F // groups, K, lanes_of(x))
    sides = [(x, seen, K), (g, upstream, F // groups)]
    (a, left, rows), (b, right, columns) = sides if turned else sides[::-1]
    how = plan(N, OH, OW, rows, columns, groups, left, right, lanes_of(x), workers())
    dw = empty((how.parts, *shape), x.dtype)
    _sum_products(
        contiguous(a).reshape(-1), *left, rows, contiguous(b).reshape(-1), *right, columns, N, OH, OW, groups, *how, workers(),
        turned, dw.reshape(-1), work=F * K * N * OH * OW // lanes_of(x))
    return dw[0] if how.parts == 1 else dw.sum(axis=0)


class Windows(NamedTuple):
    """What one side of the product sees: windows of images (planes, H, W)."""

    planes: int
    H: int
    W: int
    KH: int                 # a row for each of the taps of a plane
    down: int               # dilation
    KW: int
    right: int
    stride_h: int
    stride_w: int
    top: int                # padding
    left: int


class Plan(NamedTuple):
    """How the work is divided."""

    images: int             # of a stretch, and
    lines: int              # of the outputs of each; all of them, if there is more than one
    parts: int              # stretches are shared between so many sums, each by itself
    strips: int             # of panels of columns that are packed together
    chunks: int             # of tiles of rows; those who share a strip pack it again
    near_left: np.ndarray   # where the planes of a tile have the lines of the cache that windows see in a stretch
    left_lines: int         # of each plane
    near_right: np.ndarray  # the same for the planes of a strip
    right_lines: int


@functools.lru_cache(maxsize=256)
def plan(
    N: int, OH: int, OW: int, rows: int, columns: int, groups: int, left: Windows, right: Windows, lanes: int, workers: int,
) -> Plan:
    bands = -(-OH * OW // TERMS)
    lines = -(-OH // min(bands, OH))
    images = max(1, min(N, TERMS // (OH * OW)))
    stretches = -(-N // images) * -(-OH // lines)
    tiles, panels = -(-rows // ROWS), -(-columns // (COLUMNS * lanes))
    strips = -(-panels * COLUMNS * lanes // WIDE)
    parts = max(1, min(stretches // LEAST, -(-16 // (strips * groups))))
    parts = 1 << parts.bit_length() - 1                 # so that two or four threads have the same to do
    others = parts * strips * groups
    chunks = min(tiles, workers // math.gcd(workers, others)) if others < 4 * workers else 1
    return Plan(images, lines, parts, strips, chunks, *_near(left, ROWS, images, lines, lanes), *_near(right, WIDE, images, lines, lanes))


def _near(seen: Windows, rows: int, images: int, lines: int, lanes: int) -> tuple[np.ndarray, int]:
    """Where the planes of so many rows have what is seen in a stretch, a place for each line of the cache; and how many lines each
    plane has there."""
    taps = seen.KH * seen.KW
    planes = np.arange(min(seen.planes, (rows - 1) // taps + 2))
    starts = {(line * seen.stride_h + i * seen.down) * seen.W for line in range(lines) for i in range(seen.KH)}
    places = np.array(sorted({at // lanes * lanes for start in starts for at in (*range(start, start + seen.W, lanes), start + seen.W - 1)}))
    step = seen.H * seen.W
    table = (planes[:, None, None] * step + np.arange(images)[:, None] * (seen.planes * step) + places).ravel().astype(np.int64)
    table.flags.writeable = False
    return table, images * len(places)


def _price(rows: int, columns: int, lanes: int) -> float:
    """Of a product, for each output: the sums of all tiles, and what is packed; in multiply-adds of vectors."""
    width = COLUMNS * lanes
    high, wide = -(-rows // ROWS) * ROWS, -(-columns // width) * width
    return high * wide + PACKING * (-(-columns // WIDE) * high + wide)


@compiled
def _sum_products(
    a: In1, a_planes: int, a_H: int, a_W: int, a_KH: int, a_down: int, a_KW: int, a_right: int, a_stride_h: int,
    a_stride_w: int, a_top: int, a_left: int, rows: int,
    b: In1, b_planes: int, b_H: int, b_W: int, b_KH: int, b_down: int, b_KW: int, b_right: int, b_stride_h: int,
    b_stride_w: int, b_top: int, b_left: int, columns: int,
    N: int, OH: int, OW: int, groups: int, images: int, lines: int, parts: int, strips: int, chunks: int, near_a: IntIn1,
    a_lines: int, near_b: IntIn1, b_lines: int, workers_: int, turned: bool, dw: Out1, team: Team,
):
    """dw[part, group, r, c] = the sum of a row of a times a column of b; dw[part, group, c, r] if ``turned``."""
    L = lanes(a)
    wide, size = COLUMNS * L, ROWS * COLUMNS * L
    a_seen = (a_planes, a_H, a_W, a_KH, a_down, a_KW, a_right, a_stride_h, a_stride_w, a_top, a_left)
    b_seen = (b_planes, b_H, b_W, b_KH, b_down, b_KW, b_right, b_stride_h, b_stride_w, b_top, b_left)
    tiles, all_panels = (rows + ROWS - 1) // ROWS, (columns + wide - 1) // wide
    bands, most = (OH + lines - 1) // lines, images * lines * OW
    stretches, space = (N + images - 1) // images * bands, (most + L - 1) // L * L
    items = parts * groups * strips * chunks
    for worker in prange(workers_, team):
        right = room(a, ((all_panels + strips - 1) // strips * space + AHEAD) * wide)
        left, scratch = room(a, (space + 1) * ROWS + L), room(a, (space + L) * L)
        sums = room(a, ((tiles + chunks - 1) // chunks) * ((all_panels + strips - 1) // strips) * size)
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            chunk, other = item % chunks, item // chunks
            strip, group, part = other % strips, other // strips % groups, other // (strips * groups)
            first = all_panels * strip // strips
            panels = all_panels * (strip + 1) // strips - first
            top, bottom = tiles * chunk // chunks, tiles * (chunk + 1) // chunks
            begin, end = stretches * part // parts, stretches * (part + 1) // parts
            a_plane, b_plane = group * (a_planes // groups), group * (b_planes // groups)
            for stretch in range(begin, end):
                n, line = stretch // bands * images, stretch % bands * lines
                here = (n, min(images, N - n), line, min(lines, OH - line), OW)
                terms = here[1] * here[3] * OW
                n_next, line_next = (stretch + 1) // bands * images, (stretch + 1) % bands * lines
                for k in range(panels):
                    pack(b, b_seen, b_plane, (first + k) * wide, wide, columns, here, scratch, space + L, right, k * space * wide)
                b_first = first * wide // (b_KH * b_KW)
                b_count = ((min(columns, (first + panels) * wide) - 1) // (b_KH * b_KW) + 1 - b_first) * b_lines
                b_soon = ((n_next * b_planes + b_plane + b_first) * b_H + line_next * b_stride_h - b_top) * b_W
                for t in range(top, bottom):
                    pack(a, a_seen, a_plane, t * ROWS, ROWS, rows, here, scratch, space + L, left, 0)
                    # What will be packed for the next tile, and all the others' share of what will be for the next stretch.
                    soon, n_soon, line_soon = t + 1, n, line
                    if soon == bottom:
                        soon, n_soon, line_soon = top, n_next, line_next
                    a_first = soon * ROWS // (a_KH * a_KW)
                    a_count = ((min(rows, (soon + 1) * ROWS) - 1) // (a_KH * a_KW) + 1 - a_first) * a_lines
                    a_soon = ((n_soon * a_planes + a_plane + a_first) * a_H + line_soon * a_stride_h - a_top) * a_W
                    for k in range(panels):
                        tile, at, keep = zeros(a, ROWS, COLUMNS), k * space * wide, ((t - top) * panels + k) * size
                        from_ = a_count * k // panels
                        a_few = min(terms, a_count * (k + 1) // panels - from_)
                        for i in range(a_few):
                            tile = outer(tile, ROWS, COLUMNS, left, i * ROWS, 1, right, at + i * wide)
                            ask(right, at + (i + AHEAD) * wide, COLUMNS)
                            fetch(a, a_soon + entry(near_a, from_ + i))
                        turn_, turns = (t - top) * panels + k, (bottom - top) * panels
                        from_ = b_count * turn_ // turns - a_few
                        few = min(terms, b_count * (turn_ + 1) // turns - from_)
                        for i in range(a_few, few):
                            tile = outer(tile, ROWS, COLUMNS, left, i * ROWS, 1, right, at + i * wide)
                            ask(right, at + (i + AHEAD) * wide, COLUMNS)
                            fetch(b, b_soon + entry(near_b, from_ + i))
                        for i in range(few, terms):
                            tile = outer(tile, ROWS, COLUMNS, left, i * ROWS, 1, right, at + i * wide)
                            ask(right, at + (i + AHEAD) * wide, COLUMNS)
                        if stretch > begin:
                            tile = plus(tile, ROWS, COLUMNS, sums, keep)
                        if stretch + 1 < end:
                            store(tile, ROWS, COLUMNS, sums, keep, wide)
                            continue
                        row, column = t * ROWS, (first + k) * wide
                        high, exist, to = min(ROWS, rows - row), min(wide, columns - column), (part * groups + group) * rows * columns
                        if turned:
                            store_turned(tile, ROWS, COLUMNS, dw, to + column * rows + row, rows, high, exist)
                        elif high == ROWS and exist == wide:
                            store(tile, ROWS, COLUMNS, dw, to + row * columns + column, columns)
                        else:
                            store(tile, ROWS, COLUMNS, sums, keep, wide)
                            for i in range(high):
                                for j in range(exist):
                                    dw[to + (row + i) * columns + column + j] = sums[keep + i * wide + j]


@helper
def pack(a, seen, plane, first, rows, exist, here, scratch, space, out, to):
    """out[to + p * rows + i] = what row ``first`` + i sees at output p of the stretch, for a multiple of L outputs.

    The last vector of rows is written first, so that the others cover what reaches beyond.
    """
    L = lanes(a)
    planes, H, W, KH, _, KW, _, stride_h, stride_w, top, left = seen
    n, images, line, lines, OW = here
    length = lines * OW
    in_place = KH * KW * stride_h * stride_w == 1 and top == left == 0
    for i in range((rows - 1) // L * L, -1, -L):
        count = min(L, exist - first - i)
        if not in_place:
            see(a, seen, plane, first + i, count, here, scratch, space)
            for p in range(0, images * length, L):
                turn_whole(scratch, p, space, out, to + p * rows + i, rows)
            continue
        for m in range(images):
            at, goal = (((n + m) * planes + plane + first + i) * H + line) * W, to + m * length * rows + i
            for p in range(0, length, L):
                if count == L <= length:
                    q = min(p, length - L)              # the last vectors may overlap
                    turn_whole(a, at + q, H * W, out, goal + q * rows, rows)
                else:
                    turn(a, at + p, H * W, 0, min(L, length - p), max(0, count), out, goal + p * rows, rows, min(L, length - p), L)


@helper
def see(a, seen, plane, first, count, here, scratch, space):
    """scratch[i * space + p] = what row ``first`` + i sees at output p of the stretch; zeros from row ``count`` on."""
    L = lanes(a)
    planes, H, W, KH, down, KW, right, stride_h, stride_w, top, left = seen
    n, images, line, lines, OW = here
    for i in range(L):
        to = i * space
        if i >= count:
            for p in range(0, space, L):
                put(scratch, to + p, none(a))
            continue
        channel, tap = (first + i) // (KH * KW), (first + i) % (KH * KW)
        column = tap % KW * right - left
        for m in range(n, n + images):
            for h in range(line, line + lines):
                row = h * stride_h + tap // KW * down - top
                at, inside = ((m * planes + plane + channel) * H + row) * W, 0 <= row < H
                for w in range(0, OW, L):
                    x = column + w * stride_w
                    if not inside:
                        put(scratch, to + w, none(a))
                    elif stride_w == 1:
                        put(scratch, to + w, load_between(a, at + x, -x, W - x))
                    elif stride_w == 2:
                        near, far = load_between(a, at + x, -x, W - x), load_between(a, at + x + L, -x - L, W - x - L)
                        put(scratch, to + w, evens(near, far))
                    else:
                        for k in range(w, min(OW, w + L)):
                            x = column + k * stride_w
                            scratch[to + k] = a[at + x] if 0 <= x < W else 0
                to += OW
