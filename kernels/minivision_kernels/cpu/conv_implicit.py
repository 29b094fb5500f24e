"""Convolution as a matrix product whose right-hand matrix is never written down: implicit GEMM.

Laid out as im2col does, the pixels that all windows see form a matrix, a row for each tap of each channel and a column for
each output, and a convolution is the product of the filters with it. For 3 x 3 filters that matrix is nine times as large
as the image. But the product needs it only as panels (``panels.py``), a block at a time, and a block can be made from the
image when its turn comes: it is read from the second-level cache and forgotten. (Chellapilla et al. 2006 write the matrix
down; Chetlur et al. 2014, section 3.1, make it up on the way.)

How pixels get into the lanes of a panel is told in ``columns.py``.

The gradient to the filters is the product of that matrix with g, a sum over all outputs: with 1 x 1 filters in
``conv_packed.py``, with larger ones in ``conv_direct_weight.py``, which packs g alone.

If there is padding, the lines that a block sees are first copied with zeros around them (`copy_band`). If filters are single
pixels that see all of an image, the image is one line; most of those are better off in ``conv_pixels.py``. Every phase of the
gradient to the image is such a product too.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu import conv_folded, conv_phases
from minivision_kernels.cpu.bands import Taps, copy_band, forward, phase_by_phase, workers
from minivision_kernels.cpu.columns import LINES, READ, find_columns, pack_seen
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, prange
from minivision_kernels.cpu.conv_direct import by_lines, direct_cost, tile_cost
from minivision_kernels.cpu.goal import Goal, aim, fill
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
from minivision_kernels.cpu.planes import Weights
from minivision_kernels.cpu.simd import entry, lanes, lanes_of, room, vectors
from minivision_kernels.cpu.writer import BYTES
from minivision_kernels.finish import Finish
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair, conv_output_size

GROUPED = 1.22              # times as long a product takes that is one of several small ones
START = 36_000              # multiply-adds that take as long as it takes to call a kernel that packs a few weights
WOVEN = 10                  # pixels of a line
LONG = 128                  # terms for which it counts that tiles of `direct` lie in one line
A_PIXEL = Taps((0,), (0,), 0, 0)
FEW = 64                    # terms of weights that lie anywhere, for one panel after the other


class Call(NamedTuple):
    """What `prices` asks, of a convolution or a gradient."""

    rows: int
    outputs: int
    across: int             # outputs in a line
    terms: int
    stride: Pair
    in_a_row: bool          # all pixels of an image are seen so
    weight: float
    grouped: bool = False   # one of several, each with its own channels


def _worth(array: np.ndarray, call: Call) -> bool:
    """Whether packing promises to pay."""
    _, packed, others = prices(array, *call)
    return packed <= others


def prices(
    array: np.ndarray, rows: int, outputs: int, across: int, terms: int, stride: Pair, in_a_row: bool, weight: float,
    grouped: bool = False,
) -> tuple[float, float, float]:
    """What it costs to pack a vector, what a packed product costs, and what the better of the rungs that pack nothing does. All
    in multiply-adds of vectors, for each term.

    A vector costs about ten to be packed and four for each other line in which its outputs lie, half as much again at stride 2,
    and forty if they lie in too many, or see pixels further apart, and it is packed number by number; if all pixels of an image
    are seen ``in_a_row``, they are one line. Pixels read where they lie (``conv_tiles.py``) cost nothing but empty lanes and
    loads off the grid of cache lines, with AVX-512 more for many rows, each tile of which comes back to them, and for short
    lines, stored number by number; nor do those of ``conv_direct.py``, which has to turn its tiles over. What a ``weight``
    costs, see `_packed`.
    """
    if not rows * outputs * terms:
        return 0, 0, 0
    L = lanes_of(array)
    filled, panels = -(-rows // ROWS) * ROWS, outputs / (COLUMNS * L)
    off_grid = 1.15 if BYTES < 64 else 1.6 if rows > 4 * ROWS else 1.5 if across < L else 1.15
    unpacked = (off_grid * panels * COLUMNS * filled * -(-across // L) * L / across if stride[1] == 1 else
                outputs / terms * tile_cost(array, rows, across, terms, stride[1]))
    if BYTES == 64:
        breaks = 0 if in_a_row else (L - 1) / across if L % across else L // across - 1
        packing = (10 + 4 * breaks) * (1 if stride[1] == 1 else 1.5) if breaks <= LINES - 1 and stride[1] <= 2 else 40
        unpacked += START / terms if weight == 1 else 0
        direct = direct_cost(array, outputs, rows, terms, weight=2 if grouped else 5.5) / terms
        if stride[1] > 1:                   # fitted to the times of 190 random layers
            loads = 0.25 if terms >= LONG and by_lines(across) else 0.75
            direct = direct_cost(array, outputs, rows, terms, loads, turning=10, weight=1) / terms
        packed = _packed(outputs / L, rows, weight, packing) * (GROUPED if grouped else 1)
        return packing, packed, min(unpacked, direct)
    turned = 1.2 * outputs * (2 * -(-rows // (2 * L)) if rows > L else 1.5) * (1 + 21 / terms)
    return 6, panels * COLUMNS * (filled + 6), min(unpacked, turned)


def _packed(vectors_: float, rows: int, weight: float, packing: float = 10) -> float:
    """For each term. To read a ``weight`` where it lies takes as long as one multiply-add, to pack it 5 if those beside it lie
    beside it in w, 7 if they are turned over (``conv_phases.py``), 8 if filters of 1 x 3 have them not far apart, and 14 if
    they lie anywhere."""
    return math.ceil(vectors_) * (-(-rows // ROWS) * ROWS + packing) + weight * rows


def _forward_worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                   groups: int = 1) -> bool:
    return _worth(x, forward_call(x.shape, w.shape, stride, padding, dilation, groups))


@functools.lru_cache(maxsize=1024)
def forward_call(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> Call:
    (N, _, H, W), (F, channels, KH, KW) = x_shape, w_shape
    (down, across), rows = conv_output_size((H, W), (KH, KW), stride, padding, dilation), F // groups
    return Call(rows, N * down * across, across, channels * KH * KW, stride, (KH, KW) == stride == (1, 1),
                5 if rows % ROWS else 1, groups > 1)


def in_phases(shape: tuple[int, ...], stride: Pair) -> bool:
    """Whether ``conv_phases.py`` takes the gradient to the image."""
    return stride == (2, 2) and min(shape[2:]) >= 2


def _input_worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                 dilation: Pair = (1, 1), groups: int = 1) -> bool:
    """All four phases at once are the faster way for as few as 8 channels: 1.2 to 1.7 times the next, measured for 8 to 64;
    with AVX-512 only if there are pixels enough for the weights that are packed, and lines that are not so short that little
    else is done than to weave them: for up to 10 pixels ``conv_direct.py`` takes 0.5 to 0.9 of the time, but for one image."""
    if stride == (2, 2) and conv_folded.fits(g.shape, w.shape, shape[2:], padding, dilation, groups, g.itemsize):
        return True
    call = rows, outputs, _, terms, *_ = input_call(len(g), w.shape, shape, stride, groups)
    if in_phases(shape, stride) and rows >= 8:
        if BYTES < 64 or not terms:
            return True
        packed = _packed(outputs / lanes_of(g), rows, 5 if w.shape[2:] == (1, 1) else 7)
        return (len(g) == 1 or shape[3] > WOVEN) and packed < direct_cost(g, outputs, rows, terms, loads=3.5) / terms
    return _worth(g, call)


@functools.lru_cache(maxsize=1024)
def input_call(N: int, w_shape: tuple[int, ...], shape: tuple[int, ...], stride: Pair, groups: int) -> Call:
    rows, outputs, one = w_shape[1], N * -(-shape[2] // stride[0]) * (shape[3] // stride[1]), w_shape[2:] == (1, 1)
    terms = math.prod(w_shape) // (groups * max(1, rows))
    return Call(rows, outputs, shape[3] // stride[1], terms, (1, 1), one and stride == (1, 1),
                5 if one else 8 if w_shape[2] * w_shape[3] <= 3 else 14)


@rung("conv2d_forward", name="implicit", device="cpu", accepts=vectors, worth=_forward_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """Filters times packed pixels: every load of the inner loop is of the next number in memory."""
    shape, taps, weights = forward(x.shape, w.shape, stride, padding, dilation, groups)
    y, goal = aim(shape, x.dtype, finish, groups)
    sum_taps(x, taps, stride, contiguous(w).reshape(-1), weights, y, goal, (0, 0), (1, 1), *shape[2:])
    return y


@rung("conv2d_input", name="implicit", device="cpu", accepts=vectors, worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Channels of x as rows, packed numbers of g as columns, for every phase of the image. At stride 2 all taps are rows of one
    product (``conv_folded.py``), or all phases go together (``conv_phases.py``)."""
    if stride == (2, 2) and conv_folded.fits(g.shape, w.shape, shape[2:], padding, dilation, groups, g.itemsize):
        return conv_folded.conv2d_input(g, w, shape, padding, dilation)
    if in_phases(shape, stride):
        return conv_phases.conv2d_input(g, w, shape, padding, dilation, groups)
    return phase_by_phase(sum_taps, g, w, shape, stride, padding, dilation, groups)


class Plan(NamedTuple):
    """How one product is carried out."""

    stretch: int                # terms of the sum that are packed together, those of whole channels
    in_place: bool              # whether every window lies inside the image, so that nothing is copied
    height: int                 # of what a block sees of an image, zeros included; of the image if it is read in place
    width: int
    reach: int                  # from the first pixel of a window to its last
    blocks: int                 # of panels, and
    parts: int                  # of rows of panels, that are shared between threads
    place: np.ndarray           # of each term of a stretch, from the first pixel of the window; SOON more are 0


@functools.lru_cache(maxsize=4096)
def plan(
    images: int, size: Pair, channels: int, OH: int, OW: int, stride: Pair, taps: Taps, rows: int, groups: int, lanes: int,
    workers: int, unit: Unit,
) -> Plan:
    """For sums over taps: the columns of the product are outputs."""
    each, vectors_ = len(taps.down) * len(taps.right), -(-images * OH * OW // lanes)
    stretch, panels = unit.stretches(channels * each, each), -(-vectors_ // unit.columns)
    in_place = _seen(size, OH, OW, stride, taps, 0)[0]
    blocks, parts = unit.division(vectors_, stretch, rows, groups, workers)
    _, height, width = _seen(size, OH, OW, stride, taps, -(-panels // blocks) * unit.columns * lanes)
    return Plan(stretch, in_place, height, width, max(taps.down) * width + max(taps.right), blocks, parts,
                _place(taps, stretch // each, height, width))


def _seen(size: Pair, OH: int, OW: int, stride: Pair, taps: Taps, outputs: int) -> tuple[bool, int, int]:
    """Whether all windows lie inside the image; the height and width of it, or else of what so many outputs see of one."""
    reach_h, reach_w = max(taps.down), max(taps.right)
    if taps.top <= 0 and taps.left <= 0 and (OH - 1) * stride[0] + reach_h - taps.top < size[0] and (
            (OW - 1) * stride[1] + reach_w - taps.left < size[1]):
        return True, *size
    lines = min(OH, (outputs + OW - 2) // OW + 1)       # the outputs may begin and end within a line
    return False, (lines - 1) * stride[0] + reach_h + 1, (OW - 1) * stride[1] + reach_w + 1


def _place(taps: Taps, channels: int, height: int, width: int) -> np.ndarray:
    """Where the taps of some channels lie, from the first pixel of the window."""
    down, right = np.array(taps.down, np.int64)[:, None], np.array(taps.right, np.int64)
    place = np.pad((np.arange(channels)[:, None, None] * (height * width) + down * width + right).ravel(), (0, SOON))
    place.flags.writeable = False
    return place


def sum_taps(
    x: np.ndarray, taps: Taps, stride: Pair, flat: np.ndarray, weights: Weights, y: np.ndarray, goal: Goal, first: Pair,
    step: Pair, OH: int, OW: int,
) -> None:
    """y[:, f, first + step * (oh, ow)] = the sum over channels and taps of the weights times what they see; ``goal`` leads to
    y."""
    N, C, H, W = x.shape
    F, out_h, out_w = y.shape[1:]
    if not N * F * OH * OW:
        return
    if not C:
        fill(y, goal)
        return
    groups = weights.groups
    if taps == A_PIXEL and stride == step == (1, 1) and (H, W) == (OH, OW) == (out_h, out_w):
        H, W, OH, OW, out_h, out_w = 1, H * W, 1, OH * OW, 1, OH * OW       # an image is one line
    how = plan(N, (H, W), C // groups, OH, OW, stride, taps, weights.rows, groups, lanes_of(x), workers(), VECTORS)
    K = weights.offset.size
    multiply(
        contiguous(x).reshape(-1), N, C, H, W, taps.top, taps.left, *how, *stride, *left_matrix(flat, weights, how.stretch), K,
        OH, OW, *goal, F, out_h, out_w, *first, *step, groups, workers(), np.zeros(workers(), x.dtype),
        work=N * F * OH * OW * K // lanes_of(x))


def left_matrix(flat: np.ndarray, weights: Weights, stretch: int) -> tuple[np.ndarray, bool]:
    """The weights in the order in which tiles read them, and whether that is how they lie in memory (`find_left`)."""
    if weights.step == 1 and weights.rows % ROWS == 0:
        return flat, True
    left = empty((weights.groups * -(-weights.rows // ROWS) * ROWS * weights.offset.size,), flat.dtype)
    _pack(flat, *weights, stretch, left, work=left.size)
    return left, False


@compiled
def _pack(
    flat: In1, rows: int, groups: int, row_step: int, group_step: int, offset: IntIn1, term_step: int, stretch: int, left: Out1,
    team: Team,
):
    """Weights as left panels: those of all rows of a group for a stretch of terms, then for the next stretch.

    Some bands are packed together, of weights that lie anywhere a few terms of each in turn: they may share lines of the cache.
    """
    K, bands = offset.shape[0], (rows + ROWS - 1) // ROWS
    chunks = (bands + TOGETHER - 1) // TOGETHER
    for item in prange(groups * chunks, team):
        group, first = item // chunks, item % chunks * TOGETHER
        end = min(bands, first + TOGETHER)
        for begin in range(0, K, stretch):
            terms = min(stretch, K - begin)
            at, to = group * group_step + entry(offset, begin), (group * K * bands + begin * bands) * ROWS
            if term_step > 0:
                pack_bands(flat, at, row_step, term_step, rows, first, end, terms, left, to)
                continue
            for few in range(0, terms, FEW):
                for band in range(first, end):
                    here = min(ROWS, rows - band * ROWS)
                    for k in range(few, min(terms, few + FEW)):
                        from_ = group * group_step + band * ROWS * row_step + entry(offset, begin + k)
                        goal = to + (band * terms + k) * ROWS
                        if here == ROWS:
                            for i in range(ROWS):
                                left[goal + i] = entry(flat, from_ + i * row_step)
                        else:
                            for i in range(ROWS):
                                left[goal + i] = entry(flat, from_ + i * row_step) if i < here else 0


@compiled
def multiply(
    x: In1, N: int, C: int, H: int, W: int, top: int, left_: int,
    stretch: int, in_place: bool, height: int, width: int, reach: int, blocks: int, parts: int, place: IntIn1,
    stride_h: int, stride_w: int, left: In1, as_it_lies: bool, K: int, OH: int, OW: int,
    y: Out1, y_step: int, bias: In1, relu: bool, F: int, out_h: int, out_w: int, first_h: int, first_w: int, step_h: int,
    step_w: int, groups: int, workers_: int, wrong: Out1, team: Team,
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
    for worker in prange(workers_, team):
        buffer = room(x, 0 if in_place else images * image_step + 2 * L)
        right = room(x, panel_at(most, stretch, L))
        sums = room(x, ((bands + parts - 1) // parts * most * (stretch < K) + 1) * ROWS * wide)
        # Where the window of each output begins, and where its result goes.
        seen, target = np.empty(most * wide, np.int64), np.empty(most * wide, np.int64)
        start, count = np.empty(most * COLUMNS, np.int64), np.empty(most * COLUMNS, np.int64)
        read = np.empty(most * COLUMNS * READ, np.int64)
        source = x if in_place else buffer
        begin_products()
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            group, part, block = item // (blocks * parts), item // blocks % parts, item % blocks
            first = all_panels * block // blocks
            panels = all_panels * (block + 1) // blocks - first
            top_band, bottom_band = bands * part // parts, bands * (part + 1) // parts
            rows = min(filters, bottom_band * ROWS) - top_band * ROWS
            begin, end = first * wide, min(outputs, (first + panels) * wide)
            n_first, n_end = begin // (OH * OW), (end - 1) // (OH * OW) + 1
            begin_line = begin % (OH * OW) // OW
            origin = ((n_first * C + group * channels) * H - top) * W - left_ if in_place else 0
            loose = find_columns(
                begin, end, OH, OW, 0 if in_place else begin_line, image_step, stride_h * width, stride_w, n_first * y_step,
                y_step, step_h * out_w, step_w, panels * COLUMNS, L,
                x.shape[0] - origin - (channels - 1) * H * W - reach if in_place else buffer.shape[0],
                seen, target, start, count, read)
            to = (group * filters + top_band * ROWS) * plane + first_h * out_w + first_w
            for term in range(0, K, stretch):
                terms = min(stretch, K - term)
                if not in_place:
                    for n in range(n_first, n_end):
                        line = begin_line if n == n_first else 0
                        copy_band(x, ((n * C + group * channels) + term // taps) * H * W, terms // taps, H, W,
                                  line * stride_h - top, height, left_, width, 1, buffer, (n - n_first) * image_step)
                pack_seen(source, origin + term // taps * H * W if in_place else 0, place, terms, seen, read, stride_w, panels,
                          right)
                where = find_left(as_it_lies, group, filters, K, top_band, term, terms)
                wrong[worker] += multiply_panels(
                    left, where, rows, terms, right, (end - begin + L - 1) // L, sums, term > 0, term + terms == K, y, to,
                    plane, start, count, target, loose, bias, group * filters + top_band * ROWS, relu)
        end_products()
