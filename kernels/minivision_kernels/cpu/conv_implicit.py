"""Convolution as a matrix product whose right-hand matrix is never written down: implicit GEMM.

Laid out as im2col does, the pixels that all windows see form a matrix, a row for each tap of each channel and a column for
each output, and a convolution is the product of the filters with it. For 3 x 3 filters that matrix is nine times as large
as the image. But the product needs it only as panels (``panels.py``), a block at a time, and a block can be made from the
image when its turn comes: it is read from the second-level cache and forgotten. (Chellapilla et al. 2006 write the matrix
down; Chetlur et al. 2014, section 3.1, make it up on the way.)

Columns are all outputs of all images, one behind the other, so that small images fill panels as well as large ones. What a
vector of a panel holds depends on where its outputs lie:

    neighbours in a line, stride 1      a vector of the image from one place on
    neighbours in a line, stride 2      every second number of two vectors
    anything else                       number by number

If there is padding, the lines that a block sees are first copied with zeros around them (`copy_band`). Every phase of the
gradient to the image is such a product too.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu.bands import Taps, copy_band, input_phases, window, workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, compiled, contiguous, helper, prange
from minivision_kernels.cpu.panels import COLUMNS, ROWS, division, multiply_panels, pack_left, stretches
from minivision_kernels.cpu.planes import Weights, forward_weights
from minivision_kernels.cpu.simd import entry, every_second, lanes, lanes_of, load, put, vectors
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair, conv_output_size


@rung("conv2d_forward", name="implicit", device="cpu", accepts=vectors)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Filters times packed pixels: every load of the inner loop is of the next number in memory."""
    F, _, KH, KW = w.shape
    OH, OW = conv_output_size(x.shape[2:], (KH, KW), stride, padding, dilation)
    y = empty((len(x), F, OH, OW), x.dtype)
    sum_taps(x, window((KH, KW), padding, dilation), stride, forward_weights(w, groups), y, (0, 0), (1, 1), OH, OW)
    return y


@rung("conv2d_input", name="implicit", device="cpu", accepts=vectors)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Channels of x as rows, packed numbers of g as columns, once for every phase of the image."""
    parts = input_phases(w, shape, stride, padding, dilation, groups)
    dx = empty(shape, g.dtype)
    if any(part.taps is None for part in parts):
        dx.fill(0)                                      # no window sees these pixels
    for phase in parts:
        row, column = phase.row, phase.column
        if phase.taps:
            sum_taps(g, phase.taps, (1, 1), phase.weights, dx, (row.first, column.first), stride, row.length, column.length)
    return dx


class Plan(NamedTuple):
    """How one product is carried out."""

    stretch: int                # terms of the sum that are packed together, those of whole channels
    in_place: bool              # whether every window lies inside the image, so that nothing is copied
    height: int                 # of what a block sees of an image, zeros included; of the image if it is read in place
    width: int
    reach: int                  # from the first pixel of a window to its last
    blocks: int                 # of panels, and
    parts: int                  # of rows of panels, that are shared between threads
    place: np.ndarray           # of each term of a stretch, from the first pixel of the window


@functools.lru_cache(maxsize=4096)
def plan(
    images: int, size: Pair, channels: int, OH: int, OW: int, stride: Pair, taps: Taps, rows: int, groups: int, itemsize: int,
    lanes: int, workers: int,
) -> Plan:
    each = len(taps.down) * len(taps.right)
    stretch, panels = stretches(channels * each, each), -(-images * OH * OW // (COLUMNS * lanes))
    blocks, parts = division(panels, stretch, COLUMNS * lanes, itemsize, rows, groups, workers)
    reach_h, reach_w = max(taps.down), max(taps.right)
    in_place = taps.top <= 0 and taps.left <= 0 and (OH - 1) * stride[0] + reach_h - taps.top < size[0] and (
        (OW - 1) * stride[1] + reach_w - taps.left < size[1])
    height, width = size
    if not in_place:
        outputs = -(-panels // blocks) * COLUMNS * lanes
        lines = min(OH, (outputs + OW - 2) // OW + 1)   # a block may begin and end within a line
        height, width = (lines - 1) * stride[0] + reach_h + 1, (OW - 1) * stride[1] + reach_w + 1
    down, right = np.array(taps.down, np.int64)[:, None], np.array(taps.right, np.int64)
    place = (np.arange(stretch // each)[:, None, None] * (height * width) + down * width + right).ravel()
    place.flags.writeable = False
    return Plan(stretch, in_place, height, width, reach_h * width + reach_w, blocks, parts, place)


def sum_taps(
    x: np.ndarray, taps: Taps, stride: Pair, weights: Weights, y: np.ndarray, first: Pair, step: Pair, OH: int, OW: int,
) -> None:
    """y[:, f, first + step * (oh, ow)] = the sum over channels and taps of the weights times what they see."""
    N, C, H, W = x.shape
    F, out_h, out_w = y.shape[1:]
    if not N * F * OH * OW:
        return
    if not C:
        y[...] = 0
        return
    how = plan(N, (H, W), C // weights.groups, OH, OW, stride, taps, weights.rows, weights.groups, x.itemsize, lanes_of(x),
               workers())
    K = weights.offset.size
    work = N * F * OH * OW * K
    left = empty((weights.groups * -(-weights.rows // ROWS) * ROWS * K,), x.dtype)
    _pack(*weights, how.stretch, left, work=left.size)
    _multiply(
        contiguous(x).reshape(-1), N, C, H, W, taps.top, taps.left, *how, *stride, left, K, OH, OW, y.reshape(-1), F, out_h,
        out_w, *first, *step, weights.groups, workers(), work=work)


@compiled(parallel=True)
def _pack(
    flat: In1, rows: int, groups: int, row_step: int, group_step: int, offset: IntIn1, term_step: int, stretch: int, left: Out1,
):
    """Weights as left panels: those of all rows of a group for a stretch of terms, then for the next stretch."""
    K, bands = offset.shape[0], (rows + ROWS - 1) // ROWS
    for item in prange(groups * bands):
        group, band = item // bands, item % bands
        at = group * group_step + band * ROWS * row_step
        here = min(ROWS, rows - band * ROWS)
        for begin in range(0, K, stretch):
            terms = min(stretch, K - begin)
            to = (group * K * bands + begin * bands + terms * band) * ROWS
            if term_step > 0:
                pack_left(flat, at + entry(offset, begin), row_step, term_step, here, terms, left, to)
            else:
                for k in range(terms):
                    from_ = at + entry(offset, begin + k)
                    for i in range(ROWS):
                        left[to + k * ROWS + i] = entry(flat, from_ + i * row_step) if i < here else 0


@compiled(parallel=True)
def _multiply(
    x: In1, N: int, C: int, H: int, W: int, top: int, left_: int,
    stretch: int, in_place: bool, height: int, width: int, reach: int, blocks: int, parts: int, place: IntIn1,
    stride_h: int, stride_w: int, left: In1, K: int, OH: int, OW: int,
    y: Out1, F: int, out_h: int, out_w: int, first_h: int, first_w: int, step_h: int, step_w: int, groups: int, workers_: int,
):
    L = lanes(x)
    wide = COLUMNS * L
    channels, filters, plane = C // groups, F // groups, out_h * out_w
    outputs, bands = N * OH * OW, (filters + ROWS - 1) // ROWS
    all_panels, taps = (outputs + wide - 1) // wide, K // channels
    image_step = C * H * W if in_place else stretch // taps * height * width
    items = groups * blocks * parts
    most = (all_panels + blocks - 1) // blocks          # panels of a block, and
    images = min(N, (most * wide + OH * OW - 2) // (OH * OW) + 1)       # of how many images they may be
    for worker in prange(workers_):
        buffer = np.empty(0 if in_place else images * image_step + 2 * L, x.dtype)
        right = np.empty(most * stretch * wide, x.dtype)
        sums = np.empty(((bands + parts - 1) // parts * most * (stretch < K) + 1) * ROWS * wide, x.dtype)
        # Where the window of each output begins, and where its result goes.
        seen, target = np.empty(most * wide, np.int64), np.empty(most * wide, np.int64)
        start, count, kind = np.empty(most * COLUMNS, np.int64), np.empty(most * COLUMNS, np.int64), np.empty(most * COLUMNS, np.int64)
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            group, block, part = item // (blocks * parts), item // parts % blocks, item % parts
            first = all_panels * block // blocks
            panels = all_panels * (block + 1) // blocks - first
            top_band, bottom_band = bands * part // parts, bands * (part + 1) // parts
            rows = min(filters, bottom_band * ROWS) - top_band * ROWS
            begin, end = first * wide, min(outputs, (first + panels) * wide)
            n_first, n_end = begin // (OH * OW), (end - 1) // (OH * OW) + 1
            begin_line = begin % (OH * OW) // OW
            origin = ((n_first * C + group * channels) * H - top) * W - left_ if in_place else 0
            find_outputs(begin, end, OH, OW, 0 if in_place else begin_line, image_step, stride_h * width, stride_w,
                         n_first * F * plane, F * plane, step_h * out_w, step_w, panels * wide, seen, target)
            loose = sort_vectors(seen, target, start, count, kind, panels * COLUMNS, L,
                                 x.shape[0] - origin - (channels - 1) * H * W - reach if in_place else buffer.shape[0])
            to = (group * filters + top_band * ROWS) * plane + first_h * out_w + first_w
            for term in range(0, K, stretch):
                terms = min(stretch, K - term)
                if in_place:
                    pack_seen(x, origin + term // taps * H * W, place, terms, seen, kind, panels, right)
                else:
                    for n in range(n_first, n_end):
                        line = begin_line if n == n_first else 0
                        copy_band(x, ((n * C + group * channels) + term // taps) * H * W, terms // taps, H, W,
                                  line * stride_h - top, height, left_, width, 1, buffer, (n - n_first) * image_step)
                    pack_seen(buffer, 0, place, terms, seen, kind, panels, right)
                multiply_panels(left, (group * K * bands + term * bands + terms * top_band) * ROWS, terms * ROWS, rows, terms,
                                right, panels, sums, term > 0, term + terms == K, y, to, plane, start, count, target, loose)


@helper
def find_outputs(begin, end, OH, OW, skip, image_step, line_step, column_step, to, n_target, h_target, w_target, total, seen, target):
    """seen[i] = where the window of output begin + i begins, target[i] = where the output goes, for i below ``total``.

    What is seen begins with line ``skip`` of the first image; the other images are there from line 0 on. From ``end`` on there
    are no outputs: their target is -1.
    """
    n, h, w = 0, begin % (OH * OW) // OW, begin % OW
    for i in range(total):
        if begin + i < end:
            seen[i] = n * image_step + (h - skip) * line_step + w * column_step
            target[i] = to + n * n_target + h * h_target + w * w_target
            w += 1
            if w == OW:
                w = 0
                h += 1
                if h == OH:
                    h = 0
                    n += 1
                    skip = 0
        else:
            seen[i], target[i] = seen[i - 1], -1


@helper
def sort_vectors(seen, target, start, count, kind, vectors_, L, size):
    """For each vector of outputs, where its results start, how many of them follow each other (0 if not all do), and the step
    between what its windows see (0 if there is none, or a vector read there would end beyond ``size``). Returns whether any
    count is 0."""
    loose = False
    for v in range(vectors_):
        at = v * L
        step, number = seen[at + 1] - seen[at], 0
        for i in range(L):
            if target[at + i] >= 0:
                number += 1
                if target[at + i] != target[at] + i:
                    number = -2 * L
            if seen[at + i] != seen[at] + i * step:
                step = 0
        loose = loose or number < 0
        start[v], count[v] = max(0, target[at]), max(0, number)
        kind[v] = step if step == 1 or (step == 2 and seen[at] + 2 * L <= size) else 0
    return loose


@helper
def pack_seen(source, at, place, terms, seen, kind, panels, right):
    """Right panels: right[(p * terms + k) * wide + j] = source[at + place[k] + seen[p * wide + j]]."""
    L = lanes(source)
    wide = COLUMNS * L
    for p in range(panels):
        for j in range(COLUMNS):
            v = p * COLUMNS + j
            to, from_ = p * terms * wide + j * L, at + seen[v * L]
            if kind[v] == 1:
                for k in range(terms):
                    put(right, to + k * wide, load(source, from_ + entry(place, k)))
            elif kind[v] == 2:
                for k in range(terms):
                    put(right, to + k * wide, every_second(source, from_ + entry(place, k)))
            else:
                for k in range(terms):
                    for i in range(L):
                        right[to + k * wide + i] = entry(source, at + entry(place, k) + entry(seen, v * L + i))
