"""Direct convolution with the filters in the lanes: one arrangement for all three directions.

``conv_tiles.py`` puts neighbouring pixels into the lanes of a vector, so narrow images leave lanes empty, and so does the
end of every line. Here the lanes are filters, and a pixel is a single number that is multiplied with a vector of weights.
Then pixels may lie anywhere. A *tile* of sums is 14 pixels x 2 vectors of filters, all in registers, and

    tile[i, f] += source[row[i] + place[k]] * panel[k, f]                    for every k

where ``row[i]`` says where the window of pixel i begins and ``place[k]`` how far tap k lies from there. The rows of a tile may
come from different lines and different images: 7 x 7 images fill tiles as well as large ones do. Where they lie in one line,
one, two or four pixels apart as strides have it, one address serves them all; with 14 of their own, half of which no register
has room for, AVX-512 takes 1.1 to 1.2 times as long. A *panel* holds the weights turned over, so that the filters lie side by
side.

The same sum, with other rows and places, is each of the gradients:

    direction      rows i                      sum over k                      lanes f
    forward        output pixels               taps of all channels of x       filters
    input          pixels of one phase of x    taps of all filters             channels of x
    weight         taps of all channels of x   output pixels of all images     filters (``conv_direct_weight.py``)

oneDNN's convolutions are arranged like this (Georganas et al. 2018, section II), on images that keep their channels
innermost, which makes the writing of a tile simple. Here images stay (N, C, H, W), and a tile is turned over in registers
before it is stored. That costs as much as 20 more taps: nothing for 64 channels, too much for 3.
"""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.bands import Taps, band, copy_band, forward, input_phases, workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, helper, prange
from minivision_kernels.cpu.goal import Goal, aim, fill
from minivision_kernels.cpu.simd import entries, entry, lanes, lanes_of, load, prefetch, put, room, turn, vectors
from minivision_kernels.cpu.tile import (
    OUTER_ROWS,
    TALL_COLUMNS,
    TALL_ROWS,
    finish_columns,
    outer_along,
    outer_at,
    plus,
    store,
    store_turned,
    zeros,
)
from minivision_kernels.cpu.writer import BYTES
from minivision_kernels.finish import Finish
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair, conv_output_size

SMALL, NARROW = 1 << 20, 16     # products of a convolution, and outputs in a line
TERMS = 256                 # products added up in registers before they are added to the rest of the sum
SOON = 8                    # terms ahead of the sum for which pixels are asked
ALONE = 1.5 if BYTES == 64 else 2           # what a vector of filters alone in a panel costs
WHOLE, SLIM = (0,) * TALL_COLUMNS, (0,)         # as long as a row of a tile is, of a whole panel or of a single vector
UNALIGNED = 1.25 if BYTES == 64 else 1.06       # the price of a product in `tile`, with vectors off the grid of lines,
DEALT = (1.1, 1.25) if BYTES == 64 else (1.0, 1.0)      # and where lines are dealt out, of short sums and of longer ones
SHORT = 150                 # terms
MANY_OUTPUTS = 1000 * TALL_ROWS         # so many that the last tile does not count


def direct_cost(
    array: np.ndarray, outputs: int, filters: int, terms: int, loads: float = 1.0, turning: int = 20, weight: float = 5.5,
) -> float:
    """About the multiply-adds of vectors, or what takes as long, of so many sums of ``terms`` products for each filter.

    ``turning`` a tile over costs about twenty terms. With AVX-512 loads and their addresses cost as much again as a fifth of
    the sums, and ``loads`` times that where they cost more; a ``weight`` is turned over for the price of five multiply-adds.
    """
    sums = _vectors(array, filters) * (terms + turning)
    if BYTES < 64:
        return outputs * sums
    return (1 + 0.2 * loads) * -(-outputs // TALL_ROWS) * TALL_ROWS * sums + weight * filters * terms


def _vectors(array: np.ndarray, filters: int) -> float:
    """Of filters, for each pixel. One that has a panel for itself takes more than half the time of two, which share loads; if
    it is not half full, rungs with pixels in the lanes are so much better that it counts as two."""
    L = lanes_of(array)
    whole, rest = divmod(filters, TALL_COLUMNS * L)
    return TALL_COLUMNS * whole + (0 if not rest else ALONE if L // 2 < rest <= L else TALL_COLUMNS)


def tile_cost(array: np.ndarray, filters: int, across: int, terms: int, stride: int = 1) -> float:
    """About the same for each output, with pixels in the lanes (``conv_tiles.py``), for lines of ``across`` of them. At stride
    2 lines are dealt out first, which takes about three multiply-adds for each term, and at larger ones number by number."""
    L = lanes_of(array)
    rows, padded = -(-filters // OUTER_ROWS) * OUTER_ROWS, -(-across // L) * L / across
    if stride == 1:
        return rows * padded / L * (UNALIGNED * terms + 8)
    return padded / L * (rows * DEALT[terms > SHORT] + 3) * terms if stride == 2 else np.inf


def _better_than_tile(array: np.ndarray, filters: int, channels: int, taps: int, across: int, stride: Pair) -> bool:
    """Whether filters in the lanes promise to be faster than pixels in the lanes (``conv_tiles.py``).

    Both in cycles for each pixel of a line: vectors, empty lanes included, times the products of a sum, plus what it costs
    to store it, a tile that is turned over or one that is not.
    """
    if not filters * across:
        return True
    terms = channels * taps
    mine = _vectors(array, filters) * (terms + 21)
    if stride[1] > 1:
        mine = direct_cost(array, MANY_OUTPUTS, filters, terms, loads=0.75, turning=10, weight=0) / MANY_OUTPUTS
    return mine < tile_cost(array, filters, across, terms, stride[1])


def _forward_worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                   groups: int = 1) -> bool:
    """One small and narrow image is over before `tile` has made its tables: 1.05 to 1.25 times as fast for lines of 8 to 14.
    Not with fewer filters than a vector holds: there `tile` takes 0.4 to 0.9 of the time."""
    down, across = conv_output_size(x.shape[2:], w.shape[2:], stride, padding, dilation)
    if len(x) == 1 and across <= NARROW and len(w) // groups >= lanes_of(x) and w.size * down * across <= SMALL:
        return True
    return _better_than_tile(x, len(w) // groups, w.shape[1], w.shape[2] * w.shape[3], across, stride)


def _input_worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                 dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return _better_than_tile(g, w.shape[1], len(w) // groups, w.shape[2] * w.shape[3], shape[3] // stride[1], (1, 1))


@rung("conv2d_forward", name="direct", device="cpu", accepts=vectors, worth=_forward_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """Filters in the lanes, pixels from anywhere: full tiles for every size of image."""
    shape, taps, weights = forward(x.shape, w.shape, stride, padding, dilation, groups)
    (y, goal), size = aim(shape, x.dtype, finish, groups), weights.row_step
    panels = turned_panels(w, groups, weights.group_step, weights.rows, size, 1, 0, size)
    sum_taps(x, taps, stride, panels, weights.offset, y, goal, (0, 0), (1, 1), *shape[2:], groups)
    return y


@rung("conv2d_input", name="direct", device="cpu", accepts=vectors, worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same with channels in the lanes, summing over the taps of all filters, once for every phase of x."""
    C, (F, _, KH, KW) = shape[1], w.shape
    panels = turned_panels(w, groups, w.size // groups, C // groups, KH * KW, F // groups, C // groups * KH * KW, KH * KW)
    parts = input_phases(w.shape, shape[2:], stride, padding, dilation, groups)
    dx, goal = aim(shape, g.dtype)
    if any(part.taps is None for part in parts):
        dx.fill(0)                                      # no window sees these pixels
    for phase in parts:
        row, column = phase.row, phase.column
        if phase.taps:
            sum_taps(g, phase.taps, (1, 1), panels, phase.number, dx, goal, (row.first, column.first), stride, row.length,
                     column.length, groups)
    return dx


def turned_panels(
    w: np.ndarray, groups: int, group_step: int, rows: int, row_step: int, terms: int, term_step: int, length: int,
) -> np.ndarray:
    """Rows of numbers turned over into panels (groups, ceil(rows / lanes), terms, length, lanes), zeros where rows end.

    Number k of term s of row r of group g lies in w at g * group_step + r * row_step + s * term_step + k.
    """
    width = TALL_COLUMNS * lanes_of(w)
    out = empty((groups * -(-rows // width) * terms * length * width,), w.dtype)
    _turn_over(contiguous(w).reshape(-1), groups, group_step, rows, width, row_step, terms, term_step, length, out,
               work=out.size)
    return out


@compiled
def _turn_over(
    w: In1, groups: int, group_step: int, rows: int, width: int, row_step: int, terms: int, term_step: int, length: int,
    out: Out1, team: Team,
):
    L = lanes(w)
    each = (rows + width - 1) // width
    stretch = 1 + 16 // max(1, length)                  # terms that are turned over for one panel after the other
    stretches = (terms + stretch - 1) // stretch
    for item in prange(groups * each * stretches, team):
        panel, begin = item // (each * stretches) * each + item % each, item // each % stretches * stretch
        group, first = panel // each, panel % each * width
        for term in range(begin, min(terms, begin + stretch)):
            for lane in range(0, width, L):
                at = group * group_step + (first + lane) * row_step + term * term_step
                to = (panel * terms + term) * length * width + lane
                count = max(0, min(L, rows - first - lane))
                if count == L and row_step == 1:
                    put(out, to, load(w, at))
                else:
                    for k in range(0, length, L):
                        here = min(L, length - k)
                        turn(w, at + k, row_step, 0, here, count, out, to + k * width, width, here, L)


def sum_taps(
    x: np.ndarray, taps: Taps, stride: Pair, panels: np.ndarray, number: np.ndarray, y: np.ndarray, goal: Goal,
    first: Pair, step: Pair, OH: int, OW: int, groups: int,
) -> None:
    """y[:, f, first + step * (oh, ow)] = the sum over channels and taps of the weights times what they see; ``goal`` leads to
    y.

    Weight k is number ``number[k]`` of its panel.
    """
    N, C, H, W = x.shape
    F, out_h, out_w = y.shape[1:]
    if not N * F * OH * OW:
        return
    if not C:
        fill(y, goal)
        return
    width = TALL_COLUMNS * lanes_of(x)
    each = -(-F // groups // width)
    how, place = band(N, C // groups, OH, OW, stride, taps, x.itemsize, TALL_ROWS,
                      each, panels.nbytes // groups, workers(), 1, (H, W))
    _sum_taps(
        contiguous(x).reshape(-1), N, C, H, W, taps.top, taps.left, *how, *stride, place, panels, number,
        panels.size // (groups * each), OH, OW, *goal, F, out_h, out_w, *first, *step, groups,
        work=N * OH * OW * each * groups * TALL_COLUMNS * (place.size + 20))


@helper
def find_rows(row, first, images, OH, OW, image_step, line_step, column_step):
    """row[i] = where row ``first`` + i of (images, OH, OW) lies; the last one is repeated to the end."""
    n, h, w = first // (OH * OW), first % (OH * OW) // OW, first % OW
    for i in range(row.shape[0]):
        row[i] = n * image_step + h * line_step + w * column_step
        if w + 1 < OW:
            w += 1
        elif h + 1 < OH:
            w, h = 0, h + 1
        elif n + 1 < images:
            w, h, n = 0, 0, n + 1


@compiled
def _sum_taps(
    x: In1, N: int, C: int, H: int, W: int, top: int, left: int,
    images: int, lines: int, height: int, width: int, in_place: bool, splits: int, by_filters: bool,
    stride_h: int, stride_w: int, place: IntIn1, panels: In1, number: IntIn1, panel_size: int, OH: int, OW: int,
    y: Out1, y_step: int, bias: In1, relu: bool, F: int, out_h: int, out_w: int, first_h: int, first_w: int, step_h: int,
    step_w: int, groups: int, team: Team,
):
    L = lanes(x)
    bands = (OH + lines - 1) // lines
    channels, filters = C // groups, F // groups
    plane = out_h * out_w
    all_bands = (N + images - 1) // images * bands
    for item in prange(all_bands * groups * splits, team):
        if by_filters:
            b, part = item % all_bands, item // all_bands
        else:
            b, part = item // (groups * splits), item % (groups * splits)
        split, group = part % splits, part // splits
        top_line, n = b % bands * lines, b // bands * images
        count, high = min(images, N - n), min(lines, OH - top_line)
        size, at = channels * height * width, 0
        buffer = np.empty(0 if in_place else count * size + L, x.dtype)
        if in_place:
            size, at = C * H * W, (n * C + group * channels) * H * W + top_line * stride_h * W
        else:
            for m in range(count):
                copy_band(x, ((n + m) * C + group * channels) * H * W, channels, H, W, top_line * stride_h - top, height,
                          left, width, 1, buffer, m * size)
        source = x if in_place else buffer
        target = n * y_step + group * filters * plane + (first_h + top_line * step_h) * out_w + first_w
        sum_band(source, at, count, high, OW, size, stride_h * width, stride_w, place, panels, number, panel_size, group, split,
                 splits, filters, y, target, y_step, step_h * out_w, step_w, plane, bias, relu)


@helper
def by_lines(across):
    """Whether lines of so many outputs are divided into tiles so well that none has to lie in two of them. The last tile of a
    line may begin within the one before: few outputs are computed twice."""
    return across >= TALL_ROWS and (across + TALL_ROWS - 1) // TALL_ROWS * TALL_ROWS <= across + across // 16


@helper
def sum_band(
    source, at, images, OH, OW, image_step, line_step, column_step, place, panels, number, panel_size, group, split, splits,
    filters, y, target, n_target, h_target, w_target, plane, bias, relu,
):
    """All outputs of a band for the panels of one split."""
    rows, width = TALL_ROWS, TALL_COLUMNS * lanes(source)
    each, total = (filters + width - 1) // width, images * OH * OW
    whole, across = by_lines(OW), (OW + rows - 1) // rows
    tiles = images * OH * across if whole else (total + rows - 1) // rows
    # Where the pixels of each tile begin, and where its sums go.
    row, goal = np.empty(tiles * rows, np.int64), np.empty(tiles * rows, np.int64)
    if whole:
        for t in range(tiles):
            line, w = t // across, min(t % across * rows, OW - rows)
            n, h = line // OH, line % OH
            for i in range(rows):
                row[t * rows + i] = n * image_step + h * line_step + (w + i) * column_step
                goal[t * rows + i] = n * n_target + h * h_target + (w + i) * w_target
    else:
        find_rows(row, 0, images, OH, OW, image_step, line_step, column_step)
        find_rows(goal, 0, images, OH, OW, n_target, h_target, w_target)
    # How far the pixels of a tile lie from each other, or 0 if it differs; and how many sums it has, or -1 times that if they
    # do not lie side by side.
    apart, high = np.empty(tiles, np.int64), np.empty(tiles, np.int64)
    for t in range(tiles):
        apart[t], high[t] = row[t * rows + 1] - row[t * rows], rows if whole else min(rows, total - t * rows)
        for i in range(t * rows + 2, t * rows + rows):
            apart[t] = apart[t] if row[i] - row[i - 1] == apart[t] else 0
        if goal[t * rows + high[t] - 1] - goal[t * rows] != high[t] - 1:
            high[t] = -high[t]
    sums = room(source, tiles * rows * width)
    for panel in range(each * split // splits, each * (split + 1) // splits):
        weights = panels[(group * each + panel) * panel_size:]
        done, count = panel * width, min(width, filters - panel * width)
        to, here = target + done * plane, group * filters + done
        if count > lanes(source):
            sum_panel(source, at, row, apart, place, weights, number, sums, y, to, goal, high, plane, count, bias, here, relu,
                      WHOLE)
        else:
            sum_panel(source, at, row, apart, place, weights, number, sums, y, to, goal, high, plane, count, bias, here, relu,
                      SLIM)


@helper
def sum_panel(
    source, at, row, apart, place, weights, number, sums, y, to, goal, high, plane, count, bias, first, relu, columns,
):
    """The same for one panel. As many vectors of it are computed as the tuple ``columns`` is long."""
    rows, width, M = TALL_ROWS, TALL_COLUMNS * lanes(source), len(columns)
    K, line = place.shape[0], M * lanes(source)
    for begin in range(0, K, TERMS):
        end = min(K, begin + TERMS)
        for t in range(apart.shape[0]):
            mine, keep = entries(row, t * rows, TALL_ROWS), t * rows * line
            tile = zeros(source, TALL_ROWS, M)
            start = at + mine[0]
            if apart[t] == 1:                           # only a constant distance is part of an instruction
                for k in range(begin, end):
                    prefetch(source, start + entry(place, min(K - 1, k + SOON)))
                    seen, weight = start + entry(place, k), entry(number, k) * width
                    tile = outer_along(tile, TALL_ROWS, M, source, seen, 1, weights, weight)
            elif apart[t] == 2:
                for k in range(begin, end):
                    prefetch(source, start + entry(place, min(K - 1, k + SOON)))
                    seen, weight = start + entry(place, k), entry(number, k) * width
                    tile = outer_along(tile, TALL_ROWS, M, source, seen, 2, weights, weight)
            elif apart[t] == 4:
                for k in range(begin, end):
                    prefetch(source, start + entry(place, min(K - 1, k + SOON)))
                    seen, weight = start + entry(place, k), entry(number, k) * width
                    tile = outer_along(tile, TALL_ROWS, M, source, seen, 4, weights, weight)
            else:
                for k in range(begin, end):
                    prefetch(source, start + entry(place, min(K - 1, k + SOON)))
                    seen, weight = at + entry(place, k), entry(number, k) * width
                    tile = outer_at(tile, TALL_ROWS, M, source, seen, mine, weights, weight)
            if begin > 0:
                tile = plus(tile, TALL_ROWS, M, sums, keep, line)
            if end < K:
                store(tile, TALL_ROWS, M, sums, keep, line)
                continue
            if bias.shape[0] > 0:
                tile = finish_columns(tile, TALL_ROWS, M, bias, first, relu)
            if high[t] > 0:
                store_turned(tile, TALL_ROWS, M, y, to + goal[t * rows], plane, high[t], count)
                continue
            store(tile, TALL_ROWS, M, sums, keep, line)
            for i in range(-high[t]):
                for f in range(count):
                    y[to + goal[t * rows + i] + f * plane] = sums[keep + i * line + f]
