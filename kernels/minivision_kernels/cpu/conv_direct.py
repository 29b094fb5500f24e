"""Direct convolution with the filters in the lanes: one arrangement for all three directions.

``conv_pixels.py`` puts neighbouring pixels into the lanes of a vector, so narrow images leave lanes empty, and so does the
end of every line. Here the lanes are filters, and a pixel is a single number that is multiplied with a vector of weights.
Then pixels may lie anywhere. A *tile* of sums is 14 pixels x 2 vectors of filters, all in registers, and

    tile[i, f] += source[row[i] + place[k]] * panel[k, f]                    for every k

where ``row[i]`` says where the window of pixel i begins and ``place[k]`` how far tap k lies from there. The rows of a
tile may come from different lines and different images: 7 x 7 images fill tiles as well as large ones do. A *panel*
holds the weights turned over, so that the filters lie side by side.

The same sum, with other rows and places, is each of the gradients:

    direction      rows i                      sum over k                      lanes f
    forward        output pixels               taps of all channels of x       filters
    input          pixels of one phase of x    taps of all filters             channels of x
    weight         taps of all channels of x   output pixels of all images     filters

oneDNN's convolutions are arranged like this (Georganas et al. 2018, section II), on images that keep their channels
innermost, which makes the writing of a tile simple. Here images stay (N, C, H, W), and a tile is turned over in registers
before it is stored. That costs as much as 20 more taps: nothing for 64 channels, too much for 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivision_kernels.cpu.bands import Taps, band, copy_band, input_phases, window, workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, compiled, contiguous, helper, inlined, prange
from minivision_kernels.cpu.planes import Deal, dealt
from minivision_kernels.cpu.simd import (
    OUTER_ROWS,
    TALL_COLUMNS,
    TALL_ROWS,
    lanes,
    lanes_of,
    load,
    outer_at,
    plus,
    put,
    store,
    store_turned,
    turn,
    vectors,
    zeros,
)
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair, conv_output_size

NARROW_ROWS = TALL_ROWS * TALL_COLUMNS      # a tile of one vector of filters has room for twice as many rows
TERMS = 1024                                # products added up in registers before they are added to the rest of the sum


def _better_than_tile(array: np.ndarray, filters: int, channels: int, taps: int, across: int, stride: Pair) -> bool:
    """Whether filters in the lanes promise to be faster than pixels in the lanes (``conv_tiles.py``).

    Both in cycles for each pixel of a line: vectors, empty lanes included, times the products of a sum, plus what it costs
    to store it, a tile that is turned over or one that is not.
    """
    if not filters * across:
        return True
    L, K = lanes_of(array), channels * taps
    width = panel_width(array, filters)
    mine = -(-filters // width) * width / L * (K + 21)
    other = -(-filters // OUTER_ROWS) * OUTER_ROWS * -(-across // L) / across * (1.06 * K + 8)
    return stride != (1, 1) or mine < other


def _forward_worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                   groups: int = 1) -> bool:
    across = conv_output_size(x.shape[2:], w.shape[2:], stride, padding, dilation)[1]
    return _better_than_tile(x, len(w) // groups, w.shape[1], w.shape[2] * w.shape[3], across, stride)


def _input_worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                 dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return _better_than_tile(g, w.shape[1], len(w) // groups, w.shape[2] * w.shape[3], shape[3], stride)


@rung("conv2d_forward", name="direct", device="cpu", accepts=vectors, worth=_forward_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Filters in the lanes, pixels from anywhere: full tiles for every size of image."""
    F, _, KH, KW = w.shape
    OH, OW = conv_output_size(x.shape[2:], (KH, KW), stride, padding, dilation)
    y = empty((len(x), F, OH, OW), x.dtype)
    size = w.size // F if F else 0
    panels = turned_panels(w, groups, w.size // groups, F // groups, size, 1, 0, size)
    sum_taps(x, window((KH, KW), padding, dilation), stride, panels, None, y, (0, 0), (1, 1), OH, OW, groups)
    return y


@rung("conv2d_input", name="direct", device="cpu", accepts=vectors, worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same with channels in the lanes, summing over the taps of all filters, once for every phase of x."""
    C, (F, _, KH, KW) = shape[1], w.shape
    panels = turned_panels(w, groups, w.size // groups, C // groups, KH * KW, F // groups, C // groups * KH * KW, KH * KW)
    dx = empty(shape, g.dtype)
    for phase in input_phases(w, shape, stride, padding, dilation, groups):
        row, column = phase.row, phase.column
        if phase.taps is None:
            dx[:, :, row.first::stride[0], column.first::stride[1]] = 0           # no window sees these pixels
        else:
            sum_taps(g, phase.taps, (1, 1), panels, phase.number, dx, (row.first, column.first), stride, row.length,
                     column.length, groups)
    return dx


@rung("conv2d_weight", name="direct", device="cpu", accepts=vectors)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same with taps as rows, summing over the pixels of all images; g is what is turned over."""
    N, C, H, W = x.shape
    F, _, KH, KW = shape
    OH, OW = g.shape[2:]
    height, width = H + 2 * padding[0], W + 2 * padding[1]
    zero = np.zeros(1, np.int64)
    planes = dealt(x, Deal(zero, zero, height, width, zero), (1, 1), padding).reshape(-1)
    place = ((np.arange(OH) * (stride[0] * width))[:, None] + np.arange(OW) * stride[1]).ravel()
    K, P, lanes_ = C // groups * KH * KW, OH * OW, F // groups
    if not N * P * K * F:
        return np.zeros(shape, x.dtype)
    upstream = turned_panels(g, groups, lanes_ * P, lanes_, P, N, F * P, P)
    panel = panel_width(x, lanes_)
    narrow = panel < TALL_COLUMNS * lanes_of(x)
    tiles = -(-K // (NARROW_ROWS if narrow else TALL_ROWS)) * groups * -(-lanes_ // panel)
    parts = min(N, -(-16 // tiles))                     # of the images, summed by themselves if there are few tiles
    dw = empty((parts, *shape), x.dtype)
    _sum_pixels(
        planes, N, C * height * width, place, upstream, groups, C // groups, height * width, KH, dilation[0] * width,
        KW, dilation[1], dw.reshape(-1), lanes_, narrow, parts, max(1, min(16, tiles * parts // 32)),
        work=K * F * N * P)
    return dw[0] if parts == 1 else dw.sum(axis=0)


def panel_width(array: np.ndarray, rows: int) -> int:
    """How many rows a panel takes: one vector of them if they fit, else `TALL_COLUMNS`."""
    L = lanes_of(array)
    return L if rows <= L else L * TALL_COLUMNS


def turned_panels(
    w: np.ndarray, groups: int, group_step: int, rows: int, row_step: int, terms: int, term_step: int, length: int,
    width: int = 0,
) -> np.ndarray:
    """Rows of numbers turned over into panels (groups, ceil(rows / lanes), terms, length, lanes), zeros where rows end.

    Number k of term s of row r of group g lies in w at g * group_step + r * row_step + s * term_step + k.
    """
    width = width or panel_width(w, rows)
    out = empty((groups * -(-rows // width) * terms * length * width,), w.dtype)
    _turn_over(contiguous(w).reshape(-1), groups, group_step, rows, width, row_step, terms, term_step, length, out,
               work=out.size)
    return out


@compiled(parallel=True)
def _turn_over(
    w: In1, groups: int, group_step: int, rows: int, width: int, row_step: int, terms: int, term_step: int, length: int,
    out: Out1,
):
    L = lanes(w)
    each = (rows + width - 1) // width
    stretch = 1 + 256 // max(1, length)                 # terms that are turned over together
    stretches = (terms + stretch - 1) // stretch
    for item in prange(groups * each * stretches):
        panel, begin = item // stretches, item % stretches * stretch
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
    x: np.ndarray, taps: Taps, stride: Pair, panels: np.ndarray, number: np.ndarray | None, y: np.ndarray, first: Pair,
    step: Pair, OH: int, OW: int, groups: int,
) -> None:
    """y[:, f, first + step * (oh, ow)] = the sum over channels and taps of the weights times what they see.

    Weight k is number k of its panel, or number ``number[k]``.
    """
    N, C, H, W = x.shape
    F, out_h, out_w = y.shape[1:]
    if not N * F * OH * OW:
        return
    if not C:
        y[...] = 0
        return
    width = panel_width(x, F // groups)
    narrow = width < TALL_COLUMNS * lanes_of(x)
    each = -(-F // groups // width)
    how, place = band(N, C // groups, OH, OW, stride, taps, x.itemsize, NARROW_ROWS if narrow else TALL_ROWS,
                      each, panels.nbytes // groups, workers())
    if number is None:
        number = _in_order(place.size)
    _sum_taps(
        contiguous(x).reshape(-1), N, C, H, W, taps.top, taps.left, *how, *stride, place, panels, number,
        panels.size // (groups * each), OH, OW, y.reshape(-1), F, out_h, out_w, *first, *step, groups, narrow,
        work=N * F * OH * OW * place.size)


def _in_order(count: int, _kept: dict[int, np.ndarray] = {}) -> np.ndarray:
    """0, 1, 2, ...: kept, since every call needs it."""
    if count not in _kept:
        _kept[count] = np.arange(count)
    return _kept[count]


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


@compiled(parallel=True)
def _sum_taps(
    x: In1, N: int, C: int, H: int, W: int, top: int, left: int,
    images: int, lines: int, height: int, width: int, splits: int, by_filters: bool, stride_h: int, stride_w: int,
    place: IntIn1, panels: In1, number: IntIn1, panel_size: int, OH: int, OW: int,
    y: Out1, F: int, out_h: int, out_w: int, first_h: int, first_w: int, step_h: int, step_w: int, groups: int, narrow: bool,
):
    L = lanes(x)
    bands = (OH + lines - 1) // lines
    channels, filters = C // groups, F // groups
    plane = out_h * out_w
    all_bands = (N + images - 1) // images * bands
    for item in prange(all_bands * groups * splits):
        if by_filters:
            b, part = item % all_bands, item // all_bands
        else:
            b, part = item // (groups * splits), item % (groups * splits)
        split, group = part % splits, part // splits
        top_line, n = b % bands * lines, b // bands * images
        count, high = min(images, N - n), min(lines, OH - top_line)
        size = channels * height * width
        buffer = np.empty(count * size + L, x.dtype)
        for m in range(count):
            copy_band(x, ((n + m) * C + group * channels) * H * W, channels, H, W, top_line * stride_h - top, height,
                      left, width, 1, buffer, m * size)
        target = (n * F + group * filters) * plane + (first_h + top_line * step_h) * out_w + first_w
        if narrow:
            sum_band(buffer, count, high, OW, size, stride_h * width, stride_w, place, panels, number, panel_size, group,
                     split, splits, filters, y, target, F * plane, step_h * out_w, step_w, plane, NARROW_ROWS, 1)
        else:
            sum_band(buffer, count, high, OW, size, stride_h * width, stride_w, place, panels, number, panel_size, group,
                     split, splits, filters, y, target, F * plane, step_h * out_w, step_w, plane, TALL_ROWS, TALL_COLUMNS)


@inlined
def sum_band(
    buffer, images, OH, OW, image_step, line_step, column_step, place, panels, number, panel_size, group, split, splits,
    filters, y, target, n_target, h_target, w_target, plane, rows, columns,
):
    """All outputs of a band for the panels of one split."""
    width = columns * lanes(buffer)
    K, total = place.shape[0], images * OH * OW
    each = (filters + width - 1) // width
    run = 1                                             # how many outputs follow each other in memory
    if w_target == 1:
        run = OH * OW if h_target == OW else OW
    tiles = (total + rows - 1) // rows
    row = np.empty(tiles * rows, np.int64)
    find_rows(row, 0, images, OH, OW, image_step, line_step, column_step)
    sums = np.empty(tiles * rows * width, buffer.dtype)
    for panel in range(each * split // splits, each * (split + 1) // splits):
        weights = panels[(group * each + panel) * panel_size:]
        to, count = target + panel * width * plane, min(width, filters - panel * width)
        for begin in range(0, K, TERMS):
            end = min(K, begin + TERMS)
            n, h, w = 0, 0, 0                           # the output in the first row of the tile
            for t in range(tiles):
                mine, keep = row[t * rows:], t * rows * width
                tile = zeros(buffer, rows, columns)
                for k in range(begin, end):
                    tile = outer_at(tile, rows, columns, buffer, place[k], mine, weights, number[k] * width)
                if begin > 0:
                    tile = plus(tile, rows, columns, sums, keep)
                if end < K:
                    store(tile, rows, columns, sums, keep, width)
                    continue
                high = min(rows, total - t * rows)
                if (h * OW + w) % run + high <= run:
                    at = to + n * n_target + h * h_target + w * w_target
                    store_turned(tile, rows, columns, y, at, plane, high, count)
                    w += high
                    while w >= OW:
                        w -= OW
                        h += 1
                    if h >= OH:
                        h = 0
                        n += 1
                else:                                   # the rows of this tile do not follow each other in y
                    store(tile, rows, columns, sums, keep, width)
                    for i in range(high):
                        at = to + n * n_target + h * h_target + w * w_target
                        for f in range(count):
                            y[at + f * plane] = sums[keep + i * width + f]
                        w += 1
                        if w == OW:
                            w = 0
                            h += 1
                            if h == OH:
                                h = 0
                                n += 1


@compiled(parallel=True)
def _sum_pixels(
    planes: In1, N: int, image_step: int, place: IntIn1, upstream: In1, groups: int, channels: int, plane: int,
    KH: int, down: int, KW: int, right: int, dw: Out1, filters: int, narrow: bool, parts: int, chunk: int,
):
    """dw[part, f, c, i, j] = the sum over the part's images and pixels of g times what tap (i, j) of channel c sees there."""
    L = lanes(planes)
    rows, width = (NARROW_ROWS, L) if narrow else (TALL_ROWS, TALL_COLUMNS * L)
    tiles, each = (channels * KH * KW + rows - 1) // rows, (filters + width - 1) // width
    chunks = (tiles + chunk - 1) // chunk
    for item in prange(parts * groups * each * chunks):
        first, panel = item % chunks * chunk, item // chunks % (groups * each)
        part = item // (chunks * groups * each)
        group, lane = panel // each, panel % each * width
        at = group * channels * plane
        to = ((part * groups + group) * filters + lane) * channels * KH * KW
        end = min(tiles, first + chunk)
        if narrow:
            sum_part(planes, at, N * part // parts, N * (part + 1) // parts, image_step, place, upstream, panel * N * place.shape[0],
                     first, end, channels, plane, KH, down, KW, right, dw, to, filters - lane, NARROW_ROWS, 1)
        else:
            sum_part(planes, at, N * part // parts, N * (part + 1) // parts, image_step, place, upstream, panel * N * place.shape[0],
                     first, end, channels, plane, KH, down, KW, right, dw, to, filters - lane, TALL_ROWS, TALL_COLUMNS)


@inlined
def sum_part(
    planes, at, n_first, n_end, image_step, place, upstream, panel, first, end, channels, plane, KH, down, KW, right, dw, to,
    count, rows, columns,
):
    """The tiles ``first`` to ``end`` of taps for one panel of filters, summed over the images ``n_first`` to ``n_end``."""
    width = columns * lanes(planes)
    P, total = place.shape[0], channels * KH * KW
    row = np.empty((end - first) * rows, np.int64)
    find_rows(row, first * rows, channels, KH, KW, plane, down, right)
    sums = np.empty((end - first) * rows * width, planes.dtype)
    n_block, p_block = max(1, TERMS // P), min(TERMS, P)        # near: this much of upstream, while all tiles are summed
    for n_begin in range(n_first, n_end, n_block):
        for p_begin in range(0, P, p_block):
            begun = n_begin > n_first or p_begin > 0
            done = n_begin + n_block >= n_end and p_begin + p_block >= P
            for t in range(first, end):
                mine, keep = row[(t - first) * rows:], (t - first) * rows * width
                tile = zeros(planes, rows, columns)
                for n in range(n_begin, min(n_end, n_begin + n_block)):
                    image, weights = at + n * image_step, (panel + n * P) * width
                    for p in range(p_begin, min(P, p_begin + p_block)):
                        tile = outer_at(tile, rows, columns, planes, image + place[p], mine, upstream, weights + p * width)
                if begun:
                    tile = plus(tile, rows, columns, sums, keep)
                if done:
                    store_turned(tile, rows, columns, dw, to + t * rows, total, min(rows, total - t * rows), count)
                else:
                    store(tile, rows, columns, sums, keep, width)
