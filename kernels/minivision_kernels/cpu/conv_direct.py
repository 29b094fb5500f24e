"""Direct convolution with the filters in the lanes: one kernel for all three directions.

``conv_tiles.py`` puts neighbouring pixels into the lanes of a vector, so small images leave lanes empty, and strides and
the ends of rows have to be dealt with. Here the lanes are filters, and a pixel is a single number that is multiplied with
a vector of weights. Then pixels may lie anywhere. A *tile* of sums is 14 pixels x 2 vectors of filters, and

    tile[i, f] = sum over k of  source[row[i] + place[k]] * panel[k, f]

where ``row[i]`` says where the window of pixel i begins and ``place[k]`` where tap k lies in any window. Rows of a tile
may come from different lines and different images: 7 x 7 images fill tiles as well as large ones do. Nothing is copied
but the padding, and the weights, which are turned over once so that the filters lie side by side (a *panel*).

The same sum, with other rows and places, is each of the gradients:

    direction      rows i                      sum over k                      lanes f
    forward        output pixels               taps of all channels of x       filters
    input          pixels of one phase of x    taps of all filters             channels of x
    weight         taps of all channels of x   output pixels of all images     filters

This is the arrangement of oneDNN's convolutions (its "brgemm" with virtual im2col; Georganas et al. 2018, section II), which
keep images with the channels innermost to make the writing of tiles simple. Here images stay (N, C, H, W): a tile is
turned over in registers before it is stored, which costs a tenth of the time of 64 taps, and nothing for hundreds.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy import empty

from minivision_kernels.cpu.compile import In1, IntIn1, Out1, compiled, contiguous, inlined, prange
from minivision_kernels.cpu.planes import Deal, dealt, margins, phases
from minivision_kernels.cpu.simd import (
    TALL_COLUMNS,
    TALL_ROWS,
    lanes,
    lanes_of,
    outer_at,
    plus,
    store,
    store_turned,
    turn,
    vectors,
    zeros,
)
from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair, conv_output_size

NARROW_ROWS = TALL_ROWS * TALL_COLUMNS      # a tile of one vector of filters has room for twice as many rows
TERMS = 1024                                # products added up in registers before they are added to the rest of the sum
ITEMS = 32                                  # pieces of work to be dealt to threads, if there is enough
NEAR = 2**19                                # bytes of weights that stay in the second-level cache


class Rows(NamedTuple):
    """Positions on a grid of three axes: where each lies in the source, and where its results go."""

    counts: tuple[int, int, int]
    source: tuple[int, int, int]            # how far one step along each axis moves in the source
    target: tuple[int, int, int]            # and in the results
    first: tuple[int, int] = (0, 0)         # where the grid begins in the source and in the results


@rung("conv2d_forward", name="direct", device="cpu", accepts=vectors)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Filters in the lanes, pixels from anywhere: full tiles for every size of image."""
    N, C, H, W = x.shape
    F, _, KH, KW = w.shape
    OH, OW = conv_output_size((H, W), (KH, KW), stride, padding, dilation)
    planes, height, width = padded(x, padding)
    place = places(C // groups, KH, KW, height * width, dilation[0] * width, dilation[1])
    size = C * height * width
    rows = Rows((N, OH, OW), (size, stride[0] * width, stride[1]), (F * OH * OW, OW, 1))
    K = place.size
    weights = turned_panels(w, groups, w.size // groups, F // groups, K, 1, 0, K)
    y = empty((N, F, OH, OW), x.dtype)
    _sum(planes, place, weights, None, 1, 0, rows, y, OH * OW, F // groups, groups, size // groups)
    return y


@rung("conv2d_input", name="direct", device="cpu", accepts=vectors)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same kernel with channels in the lanes, summing over the taps of all filters, once for every phase of x."""
    N, C, H, W = shape
    F, _, KH, KW = w.shape
    OH, OW = g.shape[2:]
    along_h, along_w = phases(H, KH, stride[0], padding[0], dilation[0]), phases(W, KW, stride[1], padding[1], dilation[1])
    (top, height), (left, width) = margins(along_h, OH), margins(along_w, OW)
    planes = framed(g, top, height, left, width)
    weights = turned_panels(w, groups, w.size // groups, C // groups, KH * KW, F // groups, C // groups * KH * KW, KH * KW)
    dx = empty(shape, g.dtype)
    for row in along_h:
        for column in along_w:
            rows = Rows(
                (N, row.length, column.length), (F * height * width, width, 1), (C * H * W, stride[0] * W, stride[1]),
                (0, row.first * W + column.first))
            if row.taps.size * column.taps.size * F == 0:
                dx[:, :, row.first::stride[0], column.first::stride[1]] = 0       # pixels that no window sees
                continue
            place = ((row.shifts[:, None] + top) * width + column.shifts + left).ravel()
            taps = (row.taps[:, None] * KW + column.taps).ravel()
            _sum(planes, place, weights, taps, F // groups, height * width, rows, dx, H * W, C // groups, groups,
                 F // groups * height * width)
    return dx


@rung("conv2d_weight", name="direct", device="cpu", accepts=vectors)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same kernel with taps as rows, summing over the pixels of all images; g is what is turned over."""
    N, C = x.shape[:2]
    F, _, KH, KW = shape
    OH, OW = g.shape[2:]
    planes, height, width = padded(x, padding)
    place = places(1, OH, OW, 0, stride[0] * width, stride[1])
    size = C * height * width
    rows = Rows((C // groups, KH, KW), (height * width, dilation[0] * width, dilation[1]), (KH * KW, KW, 1))
    K, P = C // groups * KH * KW, OH * OW
    upstream = turned_panels(g, groups, F // groups * P, F // groups, P, N, F * P, P)
    dw = empty(shape, x.dtype)
    _sum(planes, place, upstream, None, N, size, rows, dw, K, F // groups, groups, size // groups)
    return dw


def padded(x: np.ndarray, padding: Pair) -> tuple[np.ndarray, int, int]:
    """The images with zeros around them as one row of numbers, and the height and width of a plane."""
    height, width = x.shape[2] + 2 * padding[0], x.shape[3] + 2 * padding[1]
    return framed(x, padding[0], height, padding[1], width), height, width


def framed(x: np.ndarray, top: int, height: int, left: int, width: int) -> np.ndarray:
    """The images in the middle of planes of zeros of this size."""
    zero = np.zeros(1, np.int64)
    return dealt(x, Deal(zero, zero, height, width, zero), (1, 1), (top, left)).reshape(-1)


@functools.lru_cache(maxsize=1024)
def places(planes: int, height: int, width: int, plane_step: int, row_step: int, column_step: int) -> np.ndarray:
    """Where the points of a grid lie."""
    steps = np.arange(planes)[:, None, None] * plane_step + np.arange(height)[:, None] * row_step
    place = (steps + np.arange(width) * column_step).ravel()
    place.flags.writeable = False
    return place


def turned_panels(
    w: np.ndarray, groups: int, group_step: int, rows: int, row_step: int, terms: int, term_step: int, length: int,
) -> np.ndarray:
    """Rows of numbers turned over into panels (groups, ceil(rows / lanes), terms, length, lanes), zeros where rows end.

    Number k of term s of row r of group g lies in w at g * group_step + r * row_step + s * term_step + k.
    """
    width = panel_width(w, rows)
    out = empty((groups * -(-rows // width) * terms * length * width,), w.dtype)
    _turn_over(contiguous(w).reshape(-1), groups, group_step, rows, width, row_step, terms, term_step, length, out,
               work=out.size)
    return out


def panel_width(array: np.ndarray, rows: int) -> int:
    """How many rows a panel takes: one vector of them if they fit, else `TALL_COLUMNS`."""
    L = lanes_of(array)
    return L if rows <= L else L * TALL_COLUMNS


@compiled(parallel=True)
def _turn_over(
    w: In1, groups: int, group_step: int, rows: int, width: int, row_step: int, terms: int, term_step: int, length: int,
    out: Out1,
):
    L = lanes(w)
    each = (rows + width - 1) // width
    for item in prange(groups * each * terms):
        panel, term = item // terms, item % terms
        group, first = panel // each, panel % each * width
        for lane in range(0, width, L):
            at = group * group_step + (first + lane) * row_step + term * term_step
            to = item * length * width + lane
            count = max(0, min(L, rows - first - lane))
            if count == L and row_step == 1:
                for i in range(L):
                    out[to + i] = w[at + i]
            elif count == L:
                for k in range(0, length, L):
                    turn(w, at + k, row_step, out, to + k * width, width, min(L, length - k))
            else:
                for k in range(length):
                    for i in range(count):
                        out[to + k * width + i] = w[at + i * row_step + k]
                    for i in range(count, L):
                        out[to + k * width + i] = 0


def _sum(
    source: np.ndarray, place: np.ndarray, panels: np.ndarray, taps: np.ndarray | None, terms: int, term_step: int,
    rows: Rows, out: np.ndarray, lane_step: int, lanes_: int, groups: int, group_step: int,
) -> None:
    """out[..] for all rows and lanes; ``taps`` are the rows of a panel's term that go with the places, all by default."""
    count = rows.counts[0] * rows.counts[1] * rows.counts[2]
    if not count * lanes_ * groups:
        return
    if not place.size * terms:
        out[...] = 0
        return
    width = panel_width(source, lanes_)
    narrow = width < lanes_of(source) * TALL_COLUMNS
    each = -(-lanes_ // width)
    length = panels.size // (groups * each * terms * width)
    if taps is None:
        taps = places(1, 1, length, 0, 0, 1)
    tiles = -(-count // (NARROW_ROWS if narrow else TALL_ROWS))
    chunk = max(1, min(16, tiles * each * groups // ITEMS))
    _sum_products(
        source, place, panels, taps, terms, term_step, length, *rows.counts, *rows.source, *rows.target, *rows.first,
        out.reshape(-1), lane_step, lanes_, groups, group_step, narrow, chunk, panels.nbytes <= NEAR,
        work=count * lanes_ * groups * place.size * terms)


@inlined
def tile_item(
    source, place, panels, taps, terms, term_step, length, N, H, W, n_step, h_step, w_step, n_target, h_target, w_target,
    target, out, lane_step, count, at, panel_at, first, end, rows, columns,
):
    """The sums of the tiles ``first`` to ``end`` for one panel."""
    L = lanes(source)
    width = columns * L
    total = N * H * W
    run = 1                                             # how many rows of results follow each other in memory
    if w_target == 1:
        run = W
        if h_target == W:
            run = H * W
            if n_target == H * W:
                run = total
    row = np.empty((end - first) * rows, np.int64)
    r = first * rows
    n, h, w = r // (H * W), r % (H * W) // W, r % W
    for i in range(row.shape[0]):
        row[i] = at + n * n_step + h * h_step + w * w_step
        if r + i + 1 < total:                           # a tile that is not full repeats the last row
            w += 1
            if w == W:
                w = 0
                h += 1
                if h == H:
                    h = 0
                    n += 1
    sums = np.empty((end - first) * rows * width, source.dtype)
    s_block, t_block = max(1, TERMS // place.shape[0]), min(TERMS, place.shape[0])
    for s_first in range(0, terms, s_block):
        s_end = min(terms, s_first + s_block)
        for t_first in range(0, place.shape[0], t_block):
            t_end = min(place.shape[0], t_first + t_block)
            last = s_end == terms and t_end == place.shape[0]
            for t in range(first, end):
                my_row = row[(t - first) * rows:]
                keep = (t - first) * rows * width
                tile = zeros(source, rows, columns)
                for s in range(s_first, s_end):
                    p, q = s * term_step, panel_at + s * length * width
                    for k in range(t_first, t_end):
                        tile = outer_at(tile, rows, columns, source, p + place[k], my_row, panels, q + taps[k] * width)
                if s_first > 0 or t_first > 0:
                    tile = plus(tile, rows, columns, sums, keep)
                if not last:
                    store(tile, rows, columns, sums, keep, width)
                else:
                    r = t * rows
                    height = min(rows, total - r)
                    to = target + r // (H * W) * n_target + r % (H * W) // W * h_target + r % W * w_target
                    if r % run + height <= run:
                        store_turned(tile, rows, columns, out, to, lane_step, height, count)
                    else:
                        store(tile, rows, columns, sums, keep, width)
                        for i in range(height):
                            r = t * rows + i
                            to = target + r // (H * W) * n_target + r % (H * W) // W * h_target + r % W * w_target
                            for f in range(min(count, width)):
                                out[to + f * lane_step] = sums[keep + i * width + f]


@compiled(parallel=True)
def _sum_products(
    source: In1, place: IntIn1, panels: In1, taps: IntIn1, terms: int, term_step: int, length: int,
    N: int, H: int, W: int, n_step: int, h_step: int, w_step: int, n_target: int, h_target: int, w_target: int,
    base: int, target: int, out: Out1, lane_step: int, count: int, groups: int, group_step: int, narrow: bool, chunk: int,
    near: bool,
):
    L = lanes(source)
    rows, width = (NARROW_ROWS, L) if narrow else (TALL_ROWS, TALL_COLUMNS * L)
    tiles = (N * H * W + rows - 1) // rows
    chunks, each = (tiles + chunk - 1) // chunk, (count + width - 1) // width
    for item in prange(groups * each * chunks):
        if near:                                        # all panels for a few rows, or all rows for one panel
            panel, first = item % (groups * each), item // (groups * each) * chunk
        else:
            panel, first = item // chunks, item % chunks * chunk
        group, lane = panel // each, panel % each * width
        end = min(tiles, first + chunk)
        at = base + group * group_step
        to = target + (group * count + lane) * lane_step
        panel_at = panel * terms * length * width
        if narrow:
            tile_item(source, place, panels, taps, terms, term_step, length, N, H, W, n_step, h_step, w_step, n_target,
                      h_target, w_target, to, out, lane_step, count - lane, at, panel_at, first, end, NARROW_ROWS, 1)
        else:
            tile_item(source, place, panels, taps, terms, term_step, length, N, H, W, n_step, h_step, w_step, n_target,
                      h_target, w_target, to, out, lane_step, count - lane, at, panel_at, first, end, TALL_ROWS,
                      TALL_COLUMNS)
