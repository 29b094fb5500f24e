"""The gradient to 1 x 1 filters: a product of two matrices that are both packed the wrong way round.

    dw[f, c] = the sum over the pixels p of all images of g[f, p] * x[c, p]

What lies side by side in memory, pixels of g as of x, is what is summed over. A tile wants it the other way round: rows side by
side and columns side by side, one pixel after the other. ``conv_direct_weight.py`` turns g over, and takes 14 numbers of x from
where they lie in 14 channels; there are no registers for so many addresses, and its tile gets 60 to 70 % of the peak. Here both
are turned over, some hundred pixels at a time, a *stretch*:

    right      up to `WIDE` columns of a stretch, as panels of COLUMNS vectors in the second-level cache, which serve all rows
    left       ROWS rows of the stretch, in the first-level cache, made just before they are used

Which of x and g is left, and so is packed once for every `WIDE` columns, is a matter of price.

With few channels packing takes a third as long as the sums, or as long if it waits for memory. So while a tile is summed,
the processor is asked for what will be packed next, a line of the cache with each term: the next rows, and a share of the
next stretch. Layers of 64 channels of 56 x 56 pixels took 0.78 of the time for it, large ones 0.92 to 1. What remains, six
cycles for each vector, is the way between the caches, not the turning over: to let loads do half of that, by putting vectors
together of pieces of 16 bytes, made no difference.

Larger filters could go this way, their windows' pixels copied together first. It was tried for 3 x 3 and 7 x 7 filters at
stride 2, and took 1.0 to 1.6 times as long as ``conv_direct_weight.py``: lines of windows are too short for what it costs to
copy one.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, helper, inlined, prange
from minivision_kernels.cpu.conv_direct_weight import short_side_pays
from minivision_kernels.cpu.simd import (
    entry,
    evens,
    fetch,
    lanes,
    lanes_of,
    load_between,
    none,
    put,
    room,
    turn,
    turn_whole,
    vectors,
)
from minivision_kernels.cpu.tile import AHEAD, PACKED_COLUMNS, PACKED_ROWS, ask, outer, plus, store, store_turned, zeros
from minivision_kernels.cpu.writer import BYTES
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair, seen_by_one

ROWS, COLUMNS = PACKED_ROWS, PACKED_COLUMNS
TERMS = 448                 # outputs of a stretch, about
WIDE = 256 if BYTES == 64 else 128      # columns that are packed together
PACKING = 12                # multiply-adds of vectors that take as long as it takes to pack one
LEAST = 3                   # stretches of a part


def of_one_pixel(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], *_: Any, **__: Any) -> bool:
    """Whether filters are 1 x 1."""
    return shape[2:] == (1, 1) and vectors(x)


def _worth(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
           dilation: Pair = (1, 1), groups: int = 1) -> bool:
    """Not for few filters and channels: ``conv_tiles.py`` packs nothing, but needs a load for every second or third product.
    Nor for a vector of filters, or three at a stride, or where one side is much shorter than the other, and pixels are many:
    ``conv_direct_weight.py`` takes 0.5 to 0.97 of the time."""
    rows, columns, across = shape[1], g.shape[1] // groups, max(1, g.shape[3])
    L = lanes_of(x)
    if short_side_pays(g, shape, stride, padding, groups):
        return False
    if columns <= (L if stride == (1, 1) else 3 * L):
        return False
    return min(price(rows, columns, L), price(columns, rows, L)) <= 2 * rows * columns * -(-across // L) * L / across


@rung("conv2d_weight", name="packed", device="cpu", accepts=of_one_pixel, worth=_worth)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The time of the rung below / this one's, on layers of ResNet-50: 1.15 to 1.5, and 1.5 to 1.8 at stride 2."""
    if shape[2:] != (1, 1):
        raise ValueError(f"the filters are {shape[2]} x {shape[3]}, and this rung takes 1 x 1; call the rung 'direct'")
    x, g, stride = meeting(x, g, stride, padding)
    N, (F, OH, OW), channels = len(x), g.shape[1:], shape[1]
    if not x.size * g.size * channels:
        return np.zeros(shape, x.dtype)
    turned, left, right, how = plan(x.shape, g.shape, channels, stride, groups, lanes_of(x), workers())
    a, b = (x, g) if turned else (g, x)
    dw = empty((how.parts, *shape), x.dtype)
    _sum_products(
        contiguous(a).reshape(-1), *left, contiguous(b).reshape(-1), *right, N, OH, OW, groups, *how, workers(), turned,
        dw.reshape(-1), work=F * channels * N * OH * OW // lanes_of(x))
    return dw[0] if how.parts == 1 else dw.sum(axis=0)


def meeting(x: np.ndarray, g: np.ndarray, stride: Pair, padding: Pair) -> tuple[np.ndarray, np.ndarray, Pair]:
    """Without padding: the part of x that filters of 1 x 1 see, and the outputs that see a pixel."""
    if padding == (0, 0):
        return x, g, stride
    (down, rows), (right, lines) = (seen_by_one(*along) for along in zip(x.shape[2:], stride, padding, g.shape[2:]))
    return x[:, :, rows.start:, lines.start:], g[:, :, down, right], stride


class Seen(NamedTuple):
    """What one side of the product is made of: every stride-th pixel of planes."""

    planes: int             # of an image, all groups'
    H: int
    W: int
    stride_h: int
    stride_w: int
    of_group: int           # planes of one group: rows or columns of a product


class Plan(NamedTuple):
    """How the work is divided."""

    images: int             # of a stretch, and
    lines: int              # of each of them; all its lines, if there is more than one
    parts: int              # stretches are shared between so many sums, each by itself
    strips: int             # of panels of columns, packed together
    chunks: int             # of tiles of rows; each packs the columns for itself
    near_left: np.ndarray   # where the planes of a tile have their pixels of a stretch, each line of the cache,
    left_lines: int         # and how many lines each plane has
    near_right: np.ndarray  # the same for the planes of a strip
    right_lines: int


@functools.lru_cache(maxsize=1024)
def plan(
    x_shape: tuple[int, ...], g_shape: tuple[int, ...], channels: int, stride: Pair, groups: int, lanes: int, workers: int,
) -> tuple[bool, Seen, Seen, Plan]:
    """Whether x is on the left, what the left and the right side are made of, and how the work is divided. Sums depend on
    ``images``, ``lines`` and ``parts``, and these on shapes alone."""
    (N, C, H, W), (F, OH, OW) = x_shape, g_shape[1:]
    filters = F // groups
    sides = Seen(C, H, W, *stride, channels), Seen(F, OH, OW, 1, 1, filters)
    turned = price(channels, filters, lanes) < price(filters, channels, lanes)
    left, right = sides if turned else sides[::-1]
    rows, columns = left.of_group, right.of_group
    lines = -(-OH // min(OH, -(-OH * OW // TERMS)))
    images = max(1, min(N, TERMS // (OH * OW)))
    stretches, width = -(-N // images) * -(-OH // lines), COLUMNS * lanes
    tiles, panels = -(-rows // ROWS), -(-columns // width)
    strips = -(-panels * width // WIDE)
    parts = max(1, min(stretches // LEAST, -(-16 // (strips * groups))))
    parts = 1 << parts.bit_length() - 1                 # so that two or four threads have the same to do
    others = parts * strips * groups
    chunks = min(tiles, workers // math.gcd(workers, others)) if others < 4 * workers else 1
    return turned, left, right, Plan(
        images, lines, parts, strips, chunks, *_near(left, ROWS, images, lines, lanes),
        *_near(right, WIDE, images, lines, lanes))


def _near(seen: Seen, most: int, images: int, lines: int, lanes: int) -> tuple[np.ndarray, int]:
    """Where up to ``most`` planes have the pixels of a stretch, each line of the cache, and how many lines each of them has."""
    planes, starts = np.arange(min(seen.planes, most)), np.arange(lines) * seen.stride_h * seen.W
    line = lanes * 64 // BYTES
    place = np.unique((starts[:, None] + np.append(np.arange(0, seen.W, line), seen.W - 1)) // line * line)
    step = seen.H * seen.W
    near = planes[:, None, None] * step + np.arange(images)[:, None] * (seen.planes * step) + place
    near = near.ravel().astype(np.int64)
    near.flags.writeable = False
    return near, images * len(place)


def price(rows: int, columns: int, lanes: int) -> float:
    """Of a product, for each output: the sums of all tiles, and what is packed; in multiply-adds of vectors."""
    width = COLUMNS * lanes
    high, wide = -(-rows // ROWS) * ROWS, -(-columns // width) * width
    return high * wide + PACKING * (-(-columns // WIDE) * high + wide)


@compiled
def _sum_products(
    a: In1, a_planes: int, a_H: int, a_W: int, a_stride_h: int, a_stride_w: int, rows: int,
    b: In1, b_planes: int, b_H: int, b_W: int, b_stride_h: int, b_stride_w: int, columns: int,
    N: int, OH: int, OW: int, groups: int, images: int, lines: int, parts: int, strips: int, chunks: int,
    near_a: IntIn1, a_lines: int, near_b: IntIn1, b_lines: int, workers_: int, turned: bool, dw: Out1, team: Team,
):
    """dw[part, group, r, c] = the sum of a[r, p] * b[c, p] over the pixels of a part; dw[part, group, c, r] if ``turned``."""
    L = lanes(a)
    wide, size = COLUMNS * L, ROWS * COLUMNS * L
    a_seen, b_seen = (a_planes, a_H, a_W, a_stride_h, a_stride_w), (b_planes, b_H, b_W, b_stride_h, b_stride_w)
    tiles, all_panels = (rows + ROWS - 1) // ROWS, (columns + wide - 1) // wide
    most_tiles, most_panels = (tiles + chunks - 1) // chunks, (all_panels + strips - 1) // strips
    bands, space = (OH + lines - 1) // lines, (images * lines * OW + L - 1) // L * L
    stretches, items = (N + images - 1) // images * bands, parts * groups * strips * chunks
    for worker in prange(workers_, team):
        right, left = room(a, most_panels * space * wide), room(a, (space + 1) * ROWS + L)
        picked, sums = room(a, (space + L) * L), room(a, most_tiles * most_panels * size)
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            chunk, other = item % chunks, item // chunks
            strip, group, part = other % strips, other // strips % groups, other // (strips * groups)
            top, first = tiles * chunk // chunks, all_panels * strip // strips
            high, panels = tiles * (chunk + 1) // chunks - top, all_panels * (strip + 1) // strips - first
            begin, end = stretches * part // parts, stretches * (part + 1) // parts
            a_plane, b_plane = group * rows + top * ROWS, group * columns + first * wide
            a_exist, b_exist = min(rows - top * ROWS, high * ROWS), min(columns - first * wide, panels * wide)
            for stretch in range(begin, end):
                n, line = stretch // bands * images, stretch % bands * lines
                n_next, line_next = (stretch + 1) // bands * images, (stretch + 1) % bands * lines
                here = n, min(images, N - n), line, min(lines, OH - line), OW
                terms = here[1] * here[3] * OW
                for k in range(panels):
                    pack(b, b_seen, b_plane + k * wide, wide, b_exist - k * wide, here, picked, right, k * space * wide)
                b_next = ((n_next * b_planes + b_plane) * b_H + line_next * b_stride_h) * b_W
                for t in range(high):
                    pack(a, a_seen, a_plane + t * ROWS, ROWS, a_exist - t * ROWS, here, picked, left, 0)
                    # Asked for meanwhile: all rows of the next tile, and this tile's share of the columns of the next stretch.
                    next_, n_soon, line_soon = (t + 1, n, line) if t + 1 < high else (0, n_next, line_next)
                    a_next = ((n_soon * a_planes + a_plane + next_ * ROWS) * a_H + line_soon * a_stride_h) * a_W
                    a_soon, b_soon = min(ROWS, a_exist - next_ * ROWS) * a_lines, b_exist * b_lines
                    for k in range(panels):
                        tile, at, turn_ = zeros(a, ROWS, COLUMNS), k * space * wide, t * panels + k
                        from_ = a_soon * k // panels
                        some = min(terms, a_soon * (k + 1) // panels - from_)
                        tile = add_asking(tile, left, right, at, 0, some, a, a_next, near_a, from_)
                        from_ = b_soon * turn_ // (high * panels)
                        more = min(terms, some + b_soon * (turn_ + 1) // (high * panels) - from_)
                        tile = add_asking(tile, left, right, at, some, more, b, b_next, near_b, from_)
                        tile = add_terms(tile, left, right, at, more, terms)
                        if stretch > begin:
                            tile = plus(tile, ROWS, COLUMNS, sums, turn_ * size, wide)
                        if stretch + 1 < end:
                            store(tile, ROWS, COLUMNS, sums, turn_ * size, wide)
                            continue
                        row, column, to = (top + t) * ROWS, (first + k) * wide, (part * groups + group) * rows * columns
                        down, across = min(ROWS, rows - row), min(wide, columns - column)
                        if turned:
                            store_turned(tile, ROWS, COLUMNS, dw, to + column * rows + row, rows, down, across)
                        elif down == ROWS and across == wide:
                            store(tile, ROWS, COLUMNS, dw, to + row * columns + column, columns)
                        else:
                            store(tile, ROWS, COLUMNS, sums, turn_ * size, wide)
                            for i in range(down):
                                for j in range(across):
                                    dw[to + (row + i) * columns + column + j] = sums[turn_ * size + i * wide + j]


@inlined
def add_terms(tile, left, right, at, begin, end):
    """The terms of a tile from ``begin`` to ``end``; its columns lie in ``right`` from ``at`` on."""
    wide = COLUMNS * lanes(left)
    for k in range(begin, end):
        tile = outer(tile, ROWS, COLUMNS, left, k * ROWS, 1, right, at + k * wide)
        ask(right, at + (k + AHEAD) * wide, COLUMNS)
    return tile


@inlined
def add_asking(tile, left, right, at, begin, end, x, base, near, first):
    """The same, and with each of them a line of x is asked for: those at base + near[first], base + near[first + 1], ..."""
    wide = COLUMNS * lanes(left)
    for k in range(begin, end):
        tile = outer(tile, ROWS, COLUMNS, left, k * ROWS, 1, right, at + k * wide)
        ask(right, at + (k + AHEAD) * wide, COLUMNS)
        fetch(x, base + entry(near, first + k - begin))
    return tile


@helper
def pack(x, seen, plane, rows, exist, here, picked, out, to):
    """out[to + p * rows + i] = pixel p of the stretch of plane ``plane`` + i; zeros from plane ``exist`` on.

    The last vector of planes is written first, so that the others cover what reaches beyond.
    """
    L = lanes(x)
    planes, H, W, stride_h, stride_w = seen
    n, images, line, lines, OW = here
    length = lines * OW
    for i in range((rows - 1) // L * L, -1, -L):
        count = max(0, min(L, exist - i))
        if stride_h * stride_w > 1 or W > OW:
            space = picked.shape[0] // L
            pick(x, seen, plane + i, count, here, picked, space)
            for p in range(0, images * length, L):
                turn_whole(picked, p, space, out, to + p * rows + i, rows)
            continue
        for m in range(images):
            at, goal = (((n + m) * planes + plane + i) * H + line) * W, to + m * length * rows + i
            for p in range(0, length, L):
                if count == L <= length:
                    q = min(p, length - L)              # the last two may overlap
                    turn_whole(x, at + q, H * W, out, goal + q * rows, rows)
                else:
                    some = min(L, length - p)
                    turn(x, at + p, H * W, 0, some, count, out, goal + p * rows, rows, some, L)


@helper
def pick(x, seen, plane, count, here, picked, space):
    """picked[i * space + p] = pixel p of the stretch of plane ``plane`` + i, for L planes; zeros from plane ``count`` on."""
    L = lanes(x)
    planes, H, W, stride_h, stride_w = seen
    n, images, line, lines, OW = here
    for i in range(L):
        to = i * space
        if i >= count:
            for p in range(0, space, L):
                put(picked, to + p, none(x))
            continue
        for m in range(n, n + images):
            for h in range(line, line + lines):
                at = ((m * planes + plane + i) * H + h * stride_h) * W
                for w in range(0, OW, L):
                    pixel, rest = at + w * stride_w, W - w * stride_w
                    if stride_w == 1:
                        put(picked, to + w, load_between(x, pixel, 0, rest))
                    elif stride_w == 2:
                        near, far = load_between(x, pixel, 0, rest), load_between(x, pixel + L, 0, rest - L)
                        put(picked, to + w, evens(near, far))
                    else:
                        for k in range(w, min(OW, w + L)):
                            picked[to + k] = entry(x, at + k * stride_w)
                to += OW
