"""The gradient to the image at stride 2: all four phases of a block together, and pixels woven from two.

Pixels of even and odd lines and columns see g through different taps: four convolutions of g, the *phases* (``planes.py``).
One after the other, each writes every second number of a line, so that results leave a tile number by number, copies the
same g, and packs its share of the filters in a pass over all of them. Here a block of outputs goes through all four:

    the lines of g that the block's windows see are copied once
    each phase is a packed matrix product (``conv_implicit.py``), whose results stay near, in two arrays a, b
    even and odd columns are woven, a0 b0 a1 b1 ..., and leave as whole vectors

If the image has an odd number of columns, the last of the odd ones is computed and dropped. Phases that no window sees are
zeros that are woven in. Images whose pixels fit the cache are sooner folded (``conv_folded.py``).

On a two-core processor with AVX2 this is 1.15 to 1.3 times as fast as one phase after the other for 3 x 3 filters of 128 to 512
channels. For 1 x 1 filters, three of whose phases are zeros, it is 0.96 to 1.3 times with AVX-512, most for many images: zeros
and results leave together, and lines are written once.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from minivision_kernels.cpu.bands import copy_band, input_phases, workers
from minivision_kernels.cpu.columns import READ, find_columns, pack_seen
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, prange
from minivision_kernels.cpu.panels import (
    COLUMNS,
    ROWS,
    SOON,
    TOGETHER,
    VECTORS,
    Unit,
    begin_products,
    end_products,
    find_left,
    multiply_panels,
    pack_bands,
    panel_at,
)
from minivision_kernels.cpu.simd import entry, lanes, lanes_of, load, prefetch, put_woven, room, turn
from minivision_kernels.cpu.stream import put_first
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

PHASES = 4
FEW = 8                     # filters of a band of weights that are packed in turn


class Plan(NamedTuple):
    """How the four phases are summed. A weight is a tap of a filter that the phase sees, filter by filter."""

    top: int                    # windows begin this far above and to the left of the pixel of g that has the same number
    left: int
    in_place: bool              # whether every window lies inside g, so that nothing is copied
    height: int                 # of what a block sees of an image of g, zeros included; of g if it is read in place
    width: int
    reach: int                  # from the first pixel of a window to its last
    blocks: int                 # of panels, and
    parts: int                  # of rows of panels, that are shared between threads
    begins: np.ndarray          # (PHASES + 1,): which are the weights of each phase
    stretch: np.ndarray         # (PHASES,): how many of them are packed together
    place: np.ndarray           # of the pixel that each of them meets, from the first of the window; SOON more are 0


@functools.lru_cache(maxsize=1024)
def plan(
    images: int, w_shape: tuple[int, ...], size: Pair, g_size: Pair, padding: Pair, dilation: Pair, groups: int, lanes: int,
    workers: int, unit: Unit,
) -> tuple[Plan, np.ndarray]:
    """How, and which weight of a channel's each is."""
    filters, channels = w_shape[0] // groups, w_shape[1]
    parts = input_phases(w_shape, size, (2, 2), padding, dilation, groups)
    taps = [part.taps for part in parts if part.taps]
    top, left = max(t.top for t in taps), max(t.left for t in taps)
    down, right = max(top - t.top + max(t.down) for t in taps), max(left - t.left + max(t.right) for t in taps)
    OH, OW = (-(-n // 2) for n in size)
    begins = np.cumsum([0, *(part.number.size for part in parts)])
    stretch = np.array([unit.stretches(part.number.size) if part.taps else 1 for part in parts])
    vectors = -(-images * OH * OW // lanes)
    panels = -(-vectors // unit.columns)
    blocks, shares = unit.division(vectors, int(stretch.max()), channels, groups, workers, 2)
    in_place = top <= 0 and left <= 0 and OH + down - top <= g_size[0] and OW + right - left <= g_size[1]
    lines = min(OH, (-(-panels // blocks) * unit.columns * lanes + OW - 2) // OW + 1)
    height, width = g_size if in_place else (lines + down, OW + right)
    plane = np.arange(filters)[:, None, None] * (height * width)
    place = np.concatenate([*(
        (plane + (np.array(t.down)[:, None] + top - t.top) * width + np.array(t.right) + left - t.left).ravel() for t in taps),
        np.zeros(SOON, np.int64)])
    number = np.concatenate([part.number for part in parts])
    return Plan(top, left, in_place, height, width, down * width + right, blocks, shares, begins, stretch, place), number


@functools.lru_cache(maxsize=1024)
def left_places(channels: int, *call: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where the weights of each filter and tap go as left panels, for such a `plan`: that of row r to base + r // ROWS * step +
    r % ROWS."""
    how, number = plan(*call)
    begins, stretch, order = how.begins, how.stretch, np.arange(number.size)
    phase = np.searchsorted(begins, order, side="right") - 1
    begin = begins[phase] + (order - begins[phase]) // stretch[phase] * stretch[phase]
    terms = np.minimum(stretch[phase], begins[phase + 1] - begin)
    lie = np.argsort(number)                            # each tap belongs to one phase
    bands = -(-channels // ROWS)
    return ((begin * bands + order - begin) * ROWS)[lie], (terms * ROWS)[lie]


def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The gradient to images of ``shape``, at least 2 x 2 pixels, of a convolution with stride (2, 2)."""
    N, C, H, W = shape
    F, channels, KH, KW = w.shape
    dx = empty(shape, g.dtype)
    if not g.size * w.size:
        dx.fill(0)
        return dx
    call = N, w.shape, (H, W), g.shape[2:], padding, dilation, groups, lanes_of(g), workers(), VECTORS
    (how, _), (base, step) = plan(*call), left_places(channels, *call)
    left = empty((-(-channels // ROWS) * ROWS * F * KH * KW,), g.dtype)
    _pack(contiguous(w).reshape(-1), channels, groups, KH * KW, base, step, int(how.stretch.max()), left, work=left.size)
    multiply(contiguous(g).reshape(-1), N, F, *g.shape[2:], *how, left, False, dx.reshape(-1), C, H, W, groups, workers(),
              np.zeros(workers(), g.dtype), work=g.size * channels * KH * KW // lanes_of(g))
    return dx


@compiled
def _pack(
    w: In1, rows: int, groups: int, taps: int, base: IntIn1, step: IntIn1, stretch: int, left: Out1, team: Team,
):
    """The weights of all phases as left panels.

    Those of a few filters and bands lie near each other in w; a few filters of one band do in the panels. Bands are often a
    power of two apart, and more than eight of them, written in turn, push each other out of the cache. A single tap belongs to
    one phase, and its rows lie side by side.
    """
    K, bands = base.shape[0], (rows + ROWS - 1) // ROWS
    filters, chunks = K // taps, (bands + TOGETHER - 1) // TOGETHER
    L = lanes(w)
    for item in prange(groups * chunks, team):
        group, chunk = item // chunks, item % chunks * TOGETHER
        if taps == 1:
            for begin in range(0, K, stretch):
                pack_bands(w, (group * K + begin) * rows, 1, rows, rows, chunk, min(bands, chunk + TOGETHER),
                           min(stretch, K - begin), left, (group * K + begin) * bands * ROWS)
            continue
        square = room(w, (L + 1) * L)
        first_row, last_row = chunk * ROWS, min(bands, chunk + TOGETHER) * ROWS
        for few in range(0, filters, FEW):
            for row in range(first_row, last_row, L):
                whole, here = min(L, last_row - row), max(0, min(L, rows - row))        # the last band has rows of zeros
                for filter_ in range(few, min(filters, few + FEW)):
                    at = ((group * filters + filter_) * rows + row) * taps
                    for soon in range(0, taps * L, 64 // w.itemsize):
                        prefetch(w, at + SOON * rows * taps + soon)
                    for tap in range(0, taps, L):       # the weights of a row lie side by side, those of a tap should
                        count = min(L, taps - tap)
                        turn(w, at + tap, taps, 0, count, here, square, 0, L, count, L)
                        for k in range(count):
                            term = filter_ * taps + tap + k
                            to, apart = group * K * bands * ROWS + entry(base, term), entry(step, term)
                            for i in range(0, whole, ROWS):
                                goal = to + (row + i) // ROWS * apart + (row + i) % ROWS
                                put_first(left, goal, load(square, k * L + i), min(L, ROWS))


@compiled
def multiply(
    g: In1, N: int, F: int, H: int, W: int, top: int, left_: int, in_place: bool, height: int, width: int, reach: int,
    blocks: int, parts: int, begins: IntIn1, stretch: IntIn1, place: IntIn1, left: In1, as_it_lies: bool, dx: Out1, C: int,
    dx_h: int, dx_w: int, groups: int, workers_: int, wrong: Out1, team: Team,
):
    L = lanes(g)
    wide, OH, OW = COLUMNS * L, (dx_h + 1) // 2, (dx_w + 1) // 2
    filters, channels, outputs, K = F // groups, C // groups, N * OH * OW, begins[PHASES]
    bands, all_panels = (channels + ROWS - 1) // ROWS, (outputs + wide - 1) // wide
    image_step = F * H * W if in_place else filters * height * width
    items, most = groups * blocks * parts, (all_panels + blocks - 1) // blocks
    images, longest = min(N, (most * wide + OH * OW - 2) // (OH * OW) + 1), stretch.max()
    most_bands = (bands + parts - 1) // parts
    for worker in prange(workers_, team):
        buffer = room(g, 0 if in_place else images * image_step + 2 * L)
        right = room(g, panel_at(most, longest, L))
        sums = room(g, (most_bands * most + 1) * ROWS * wide)
        woven = most_bands * ROWS * most * wide
        halves = room(g, 2 * woven + L)            # the results of two phases, even columns and odd ones
        seen, target = np.empty(most * wide, np.int64), np.empty(most * wide, np.int64)
        start, count = np.empty(most * COLUMNS, np.int64), np.empty(most * COLUMNS, np.int64)
        read = np.empty(most * COLUMNS * READ, np.int64)
        source, nothing = g if in_place else buffer, room(g, 0)[:0]
        begin_products()
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            group, part, block = item // (blocks * parts), item // blocks % parts, item % blocks
            first = all_panels * block // blocks
            panels = all_panels * (block + 1) // blocks - first
            top_band, bottom_band = bands * part // parts, bands * (part + 1) // parts
            rows, line = (bottom_band - top_band) * ROWS, panels * wide
            begin, end = first * wide, min(outputs, first * wide + line)
            n_first, n_end = begin // (OH * OW), (end - 1) // (OH * OW) + 1
            begin_line = begin % (OH * OW) // OW
            origin = ((n_first * F + group * filters) * H - top) * W - left_ if in_place else 0
            find_columns(begin, end, OH, OW, 0 if in_place else begin_line, image_step, width, 1, 0, 0, 0, 0, panels * COLUMNS,
                         L, g.shape[0] - origin - (filters - 1) * H * W - reach if in_place else buffer.shape[0],
                         seen, target, start, count, read)
            for v in range(panels * COLUMNS):               # results stay in the order of the panels for now
                start[v], count[v] = v * L, L
            if not in_place:
                for n in range(n_first, n_end):
                    copy_band(g, (n * F + group * filters) * H * W, filters, H, W, (begin_line if n == n_first else 0) - top,
                              height, left_, width, 1, buffer, (n - n_first) * image_step)
            for phase in range(PHASES):
                to = phase % 2 * woven
                first_term, last_term = begins[phase], begins[phase + 1]
                if first_term == last_term:
                    halves[to:to + rows * line] = 0
                for term in range(first_term, last_term, stretch[phase]):
                    terms = min(stretch[phase], last_term - term)
                    pack_seen(source, origin, place[term:], terms, seen, read, 1, panels, right)
                    where = find_left(as_it_lies, group, channels, K, top_band, term, terms)
                    wrong[worker] += multiply_panels(
                        left, where, min(rows, channels - top_band * ROWS), terms, right, (end - begin + L - 1) // L, sums,
                        term > first_term, term + terms == last_term, halves, to, line, start, count, start, False, nothing, 0,
                        False)
                if phase % 2 == 0:
                    continue
                for r in range(min(rows, channels - top_band * ROWS)):
                    c, at = group * channels + top_band * ROWS + r, begin
                    while at < end:                         # line by line
                        n, h, column = at // (OH * OW), at % (OH * OW) // OW * 2 + phase // 2, at % OW
                        here, from_ = min(OW - column, end - at), r * line + at - begin
                        if h < dx_h:
                            result = ((n * C + c) * dx_h + h) * dx_w + 2 * column
                            numbers = min(2 * here, dx_w - 2 * column)
                            for k in range(0, here, L):
                                put_woven(dx, result + 2 * k, load(halves, from_ + k), load(halves, woven + from_ + k),
                                          numbers - 2 * k, False)
                        at += here
        end_products()
