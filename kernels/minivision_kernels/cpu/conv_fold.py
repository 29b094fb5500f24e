"""The gradient to images of few channels: a matrix product whose rows are taps, and its sums folded into the image.

The first layer of a network sees one or three channels. As the rows of a tile they leave some or most of it empty, and for each
phase of a strided convolution g is copied again for a few products. Here the rows are all taps of all channels,

    P = Wᵀ G        (T, F) (F, OH OW)       T = C KH KW taps

147 rows for 7 x 7 filters, and row (c, kh, kw) is added to channel c of the image, kh lines down and kw pixels to the right,
every stride-th pixel. This is im2col the other way round, *col2im* or *fold* (Chellapilla et al. 2006); but P is never written
down: a tile of it is added to the image when its sum is complete, which costs as much as some six more filters.

    lines of g are read as if each ended with so many zeros that its taps need not ask where a line ends: then a tap moves
    all pixels by the same distance, and vectors run over the ends of lines; lines shorter than a vector are written one
    after the other, each over the lanes that the one before it left over, and need no packing
    the sums lie in planes, one for each phase of the image (pixels modulo the stride), where every row of a tile is a
    few whole vectors; they are woven into the image when no more is added to them
    a block of lines of g reaches some lines beyond its own, which are carried to the next block, so that g is read once

Pixels are packed some panels at a time (``panels.py``), so that memory is read along its lines. Of the
taps, kw changes last: rows of a tile that go side by side read what was just written, and adding took 1.5 to 2 times as long.

A thread takes blocks that follow each other. Where it begins within an image, it first computes what the block before adds to
the lines that it was going to be carried, tile by tile the same: the bits do not depend on who does what.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, helper, prange
from minivision_kernels.cpu.panels import COLUMNS, ROWS, stretches
from minivision_kernels.cpu.simd import (
    entries,
    entry,
    fetch,
    joined,
    lanes,
    lanes_of,
    load,
    load_between,
    none,
    put,
    put_woven,
    room,
    vectors,
)
from minivision_kernels.cpu.tile import add_rows, outer, zeros
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

SUMS = 128 * 1024           # bytes of planes of a block, so that weights and a panel of g fit beside them
PANELS = 64 * 1024          # bytes of panels of g
SHARES = 8                  # into which the blocks of all images should divide evenly


def _worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
           dilation: Pair = (1, 1), groups: int = 1) -> bool:
    """For few channels, and enough filters that a sum is longer than it takes to add it to the image: 9 at stride 1, or more by
    as much as there are more pixels than outputs, since the other rungs sum for each pixel. Up to 16 if the phases of stride 2
    are the other way (``conv_phases.py``), which takes less for lines of half a vector. At most 256 filters, or 1024 for up to
    4 channels, where tiles take 2 to 4 times as long, unless windows tile the image with a larger stride: for so many phases
    768 of 16 x 16, as a transformer of images has them, take a sixth of the time here."""
    filters, channels = len(w) // max(1, groups), w.shape[1]
    most = 8 if 2 * g.shape[3] <= lanes_of(g) else 16
    if stride == (1, 1):
        most = 9 * math.prod(shape[2:]) // max(1, math.prod(g.shape[2:]))
    tiled = w.shape[2:] == stride and math.prod(stride) > 4
    return channels <= most and 2 * channels <= filters and (filters <= (1024 if channels <= 4 else 256) or tiled)


@rung("conv2d_input", name="fold", device="cpu", accepts=vectors, worth=_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Taps as rows, each tile added to the image where it belongs: full tiles for images of few channels.

    The time of the rung that was chosen before / this one's, on two cores with AVX2: 2.2 to 2.4 for 3 channels and 64 or 96
    filters of 7 x 7 at stride 2, 3.4 for 32 of 3 x 3, 1.2 to 2.3 for 16 channels at stride 2; at stride 1 2.0 for 64 filters of
    3 x 3 on 224 x 224 pixels, 1.1 to 1.6 for 16 or 32 on 32 x 32, 1.6 to 2.1 for 5 x 5 filters on 1 or 6 channels. With 512
    filters it is 0.9, with 12 channels at stride 1 0.8.
    """
    N, C, H, W = shape
    F, channels, KH, KW = w.shape
    dx = empty(shape, g.dtype)
    if not g.size * w.size:
        dx.fill(0)
        return dx
    how = plan(N, F // groups, g.shape[2:], w.shape[1:], (H, W), stride, padding, dilation, groups, g.itemsize, lanes_of(g))
    _fold(contiguous(g).reshape(-1), N, F, *g.shape[2:], contiguous(w).reshape(-1), *how, dx.reshape(-1), C, H, W, *stride,
          *padding, groups, workers(), work=g.size * channels * KH * KW // lanes_of(g))
    return dx


class Plan(NamedTuple):
    """How the product is divided, and where its rows go."""

    lines: int                  # of g in a block
    reach: int                  # how many lines beyond its own a block adds to
    width: int                  # of the planes, and of a line of g with the zeros at its end
    stretch: int                # filters that are summed together
    together: int               # panels of g that are packed together
    taps: np.ndarray            # the tap of each row; rows that tiles have too many are those of another tap,
    place: np.ndarray           # and where in the planes it goes; those too many to a plane of their own


@functools.lru_cache(maxsize=1024)
def plan(
    N: int, filters: int, size: Pair, window: tuple[int, int, int], image: Pair, stride: Pair, padding: Pair, dilation: Pair,
    groups: int, itemsize: int, lanes: int,
) -> Plan:
    (OH, OW), (channels, KH, KW), (s_h, s_w) = size, window, stride
    reach, right = (max(0, (k - 1) * d // s, (pixels - 1 + p) // s + 1 - outputs) for k, d, s, pixels, p, outputs in zip(
        (KH, KW), dilation, stride, image, padding, size))
    width, wide, stretch = OW + right, COLUMNS * lanes, stretches(filters)
    phases, T = channels * s_h * s_w, channels * KH * KW
    bands = -(-T // ROWS)

    def time(lines: int) -> float:
        """In cycles: tiles, their folding, packing; and planes cleared, carried and woven."""
        block = -(-lines * width // wide) * (bands * (filters * ROWS * COLUMNS / 2 + 30) + 6 * filters)
        return -(-N * groups * -(-OH // lines) // SHARES) * (block + (phases + 1) * (lines + 2 * reach) * width / lanes)

    least, most = min(OH, max(1, reach)), SUMS // (width * (phases + 1) * itemsize) - reach
    if width < lanes:                                           # all panels of a block are written together
        most = min(most, PANELS // (stretch * width * itemsize))
    lines = min(range(least, max(least, min(OH, most)) + 1), key=time)
    plane = plane_size(lines, reach, width, wide)
    # Rows that follow each other go to different lines: what has just been written in part cannot be read at once.
    kw, kh, c = (a.ravel() for a in np.meshgrid(np.arange(KW), np.arange(KH), np.arange(channels), indexing="ij"))
    down, across = kh * dilation[0], kw * dilation[1]
    phase = (c * s_h + down % s_h) * s_w + across % s_w
    place = phase * plane + down // s_h * width + across // s_w
    spare = (0, -T % ROWS)
    taps = np.pad((c * KH + kh) * KW + kw, spare)
    together = -(-lines * width // wide)
    if width >= lanes:
        together = max(1, min(PANELS // (stretch * wide * itemsize), together))
    return Plan(lines, reach, width, stretch, together, taps, np.pad(place, spare, constant_values=phases * plane))


@helper
def plane_size(lines, reach, width, wide):
    """Numbers of a plane: the last panel of a block, moved by the farthest tap, ends in it."""
    return (lines + reach + 1) * width + wide


@compiled
def _fold(
    g: In1, N: int, F: int, OH: int, OW: int, w: In1,
    lines: int, reach: int, width: int, stretch: int, together: int, taps: IntIn1, place: IntIn1,
    dx: Out1, C: int, H: int, W: int, stride_h: int, stride_w: int, top: int, left: int, groups: int, workers_: int, team: Team,
):
    L = lanes(g)
    wide, filters, channels, rows = COLUMNS * L, F // groups, C // groups, taps.shape[0]
    phases, plane = stride_h * stride_w, plane_size(lines, reach, width, wide)
    blocks = (OH + lines - 1) // lines
    items, T = N * groups * blocks, w.shape[0] // F
    for worker in prange(workers_, team):
        weights, right = room(g, groups * rows * filters), room(g, together * stretch * wide + L)
        seen = np.empty(4 * together * COLUMNS, np.int64)
        for group in range(groups):                     # left panels, see panels.py
            for first in range(0, rows, ROWS):
                mine = entries(taps, first, ROWS)
                for f in range(filters):
                    for i in range(ROWS):
                        weights[(group * rows + first) * filters + f * ROWS + i] = entry(w, (group * filters + f) * T + mine[i])
        sums = room(g, (channels * phases + 1) * plane)
        begin_item, end_item = items * worker // workers_, items * (worker + 1) // workers_
        if begin_item == end_item:
            continue
        early = begin_item % blocks > 0                 # the lines carried from the block before have to be computed
        for item in range(begin_item - early, end_item):
            block, group, n = item % blocks, item // blocks % groups, item // blocks // groups
            first_panel = 0
            if item < begin_item:
                first_panel = (lines - reach) * width // wide
                if stretch < filters or width < L:      # panels that are packed together, as ever
                    first_panel -= first_panel % together
            if block == 0 or item < begin_item:
                sums[:] = 0
            here = min(lines, OH - block * lines)
            at = (item // blocks * filters * OH + block * lines) * OW
            after = ((item + 1) // blocks * filters * OH + (item + 1) % blocks * lines) * OW        # the next item begins there
            fold_lines(g, at, OH * OW, here, OW, width, first_panel, together, weights, group * rows * filters, filters,
                       stretch, right, place, sums, seen, after)
            last = (H + top + stride_h - 1) // stride_h if block == blocks - 1 else (block + 1) * lines
            if item >= begin_item:
                for c in range(channels):
                    for line in range(block * lines, last):
                        for phase in range(stride_h):
                            h = line * stride_h + phase - top
                            if 0 <= h < H:
                                from_ = (c * stride_h + phase) * stride_w * plane + (line - block * lines) * width
                                leave_line(sums, from_, plane, stride_w, left, dx, ((n * C + group * channels + c) * H + h) * W,
                                           W)
            for start in range(0, channels * phases * plane, plane):
                carry(sums, start, here * width, reach * width, plane)


@helper
def fold_lines(
    g, at, plane, lines, OW, width, first, together, weights, weights_at, filters, stretch, right, place, sums, seen, after,
):
    """Products of some lines of g with all weights, from panel ``first`` on, added to the planes."""
    L = lanes(g)
    wide, rows, all_panels = COLUMNS * L, place.shape[0], (lines * width + COLUMNS * L - 1) // (COLUMNS * L)
    line = 64 // g.itemsize                             # numbers of a cache line
    for chunk in range(first, all_panels, together):
        panels, next_, next_at = min(together, all_panels - chunk), (chunk + together) * wide, after
        if next_ < lines * width:
            next_at = at + next_ // width * OW + min(OW, next_ % width)
        # A panel is a block by itself, or a part of each term's line: how far it is from term to term.
        step = wide if width >= L else panels * wide
        if width >= L:
            find_vectors(chunk * wide, panels * COLUMNS, lines, OW, width, L, seen)
        for begin in range(0, filters, stretch):
            terms = min(stretch, filters - begin)
            if width >= L:
                pack_lines(g, at + begin * plane, plane, panels, seen, width - OW, terms, right)
            else:
                lay_lines(g, at + begin * plane, plane, lines, OW, width, terms, right, step)
            # Lines of the next panels are asked for, some before each tile.
            asked, from_ = (terms * together * wide // line * ROWS + rows * panels - 1) // (rows * panels), 0
            run = next_at + begin * plane
            for p in range(panels):
                for r in range(0, rows, ROWS):
                    for _ in range(asked):
                        fetch(g, run + from_)
                        from_ += line
                        if from_ >= together * wide:
                            run, from_ = run + plane, 0
                    tile, weight = zeros(g, ROWS, COLUMNS), weights_at + r * filters + begin * ROWS
                    pixels = p * wide if width < L else p * terms * wide
                    for k in range(terms):
                        tile = outer(tile, ROWS, COLUMNS, weights, weight + k * ROWS, 1, right, pixels + k * step)
                    add_rows(tile, ROWS, COLUMNS, sums, (chunk + p) * wide, entries(place, r, ROWS))


@helper
def find_vectors(begin, vectors_, lines, OW, width, L, seen):
    """What is seen by vectors of pixels from ``begin`` on of lines with zeros at their ends, four numbers each:

    where the first pixel lies in a plane of g, how many lanes are in its line, and from which lane to which others in the next.
    """
    line, column = begin // width, begin % width
    for v in range(vectors_):
        seen[4 * v] = line * OW + column
        seen[4 * v + 1] = OW - column if line < lines else 0
        seen[4 * v + 2] = width - column
        seen[4 * v + 3] = width - column + (OW if line + 1 < lines else 0)
        column += L
        if column >= width:
            line, column = line + 1, column - width


@helper
def pack_lines(g, at, plane, panels, seen, gap, terms, right):
    """Right panels of ``terms`` planes of g."""
    L = lanes(g)
    for k in range(terms):
        for p in range(panels):
            for j in range(COLUMNS):
                v, to = 4 * (p * COLUMNS + j), ((p * terms + k) * COLUMNS + j) * L
                here, end = at + k * plane + entry(seen, v), entry(seen, v + 1)
                if end >= L:
                    put(right, to, load(g, here))
                else:
                    next_ = entry(seen, v + 2)
                    line, after = load_between(g, here, 0, end), load_between(g, here - gap, next_, entry(seen, v + 3))
                    put(right, to, joined(line, after, next_))


@helper
def lay_lines(g, at, plane, lines, OW, width, terms, right, step):
    """``terms`` planes of g, each a line of ``step`` numbers: all its lines, which are shorter than a vector, then zeros."""
    L = lanes(g)
    for k in range(terms):
        for line in range(lines):
            put(right, k * step + line * width, load_between(g, at + k * plane + line * OW, 0, OW))
        for j in range(lines * width, step, L):
            put(right, k * step + j, none(g))


@helper
def leave_line(sums, at, plane, stride, left, dx, to, W):
    """A line of the image, its pixels from as many planes as the stride says."""
    L = lanes(dx)
    if stride == 1:
        for j in range(0, W - L + 1, L):
            put(dx, to + j, load(sums, at + left + j))
        for j in range(W - W % L, W):
            dx[to + j] = entry(sums, at + left + j)
    elif stride == 2:
        even, odd = at + left // 2, at + plane + left // 2
        if left % 2:
            even, odd = odd, even + 1
        for j in range(0, W, 2 * L):
            put_woven(dx, to + j, load(sums, even + j // 2), load(sums, odd + j // 2), W - j, False)
    else:
        for j in range(W):
            dx[to + j] = entry(sums, at + (j + left) % stride * plane + (j + left) // stride)


@helper
def carry(sums, start, done, kept, plane):
    """The numbers of a plane behind the ``done`` first ones move to its beginning, ``kept`` of them; zeros follow."""
    L = lanes(sums)
    for i in range(0, kept, L):
        put(sums, start + i, load(sums, start + done + i))
    for i in range(kept, plane - L, L):
        put(sums, start + i, none(sums))
    put(sums, start + plane - L, none(sums))
