"""Convolution with a lane for each image: small layers of many images.

All rungs so far lay pixels or filters side by side in a vector. Lines of ten pixels leave lanes empty or have to be pieced
together, and six filters are no vector at all. But there are always 64 images in a batch of 64. With the same pixel of 16 of
them side by side,

    pixels (C, lines, W, L)         L images, as many as a vector has lanes

a tap is one vector, wherever it lies: no window has to ask for neighbours, lines have no ends, a stride is but another
address. This is the layout CHWN, which cuda-convnet used for the same reason (Krizhevsky 2012). Here it lives for a moment
only: a thread takes L images and some lines of outputs, turns over what their windows see, forms the sums, 8 filters x 3
pixels of L images in registers (or 6 x 4, for six filters), and turns the sums back. Turning takes about two steps for each
vector of pixels, so it pays where each pixel is used often enough, and all that a thread turns over fits in its second-level
cache.

Zeros around the image are never multiplied above and below it, since all lanes leave them out together, and at its sides only
where three pixels in a row need different taps.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu.bands import Taps, forward, input_phases, workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, helper, inlined, prange, rebuilt
from minivision_kernels.cpu.goal import Goal, aim, fill
from minivision_kernels.cpu.planes import Weights
from minivision_kernels.cpu.simd import entry, lanes, lanes_of, none, put, turn, turn_whole, vectors
from minivision_kernels.cpu.tile import MANY, finish_rows, outer_to, store, zeros
from minivision_kernels.finish import Finish
from minivision_kernels.ladder import rung
from minivision_kernels.memory import scratch
from minivision_kernels.shapes import Pair

TILES = ((8, 3), (6, 4)) if MANY else ((4, 3), (6, 2))      # filters and pixels
ROWS, COLUMNS = TILES[0]    # of the kernel below, until it is rebuilt for both
LEAST, MOST = 3, 32         # filters, or channels of a gradient, for which it is worth it,
VERY_FEW, VERY_FEW_APART = 8, 16        # filters, with which lines of whole vectors do no harm, at stride 1 and beyond,
TERMS = 1024                # and terms of their sums, at most
NEAR = 448 * 1024           # bytes of pixels and sums of a thread
SHARES = 2                  # pieces of work for each thread, at least, if there are so many lines


def fills_lanes(array: np.ndarray) -> bool:
    """Whether there are images for three quarters of the lanes, or more."""
    N, L = array.shape[0], lanes_of(array)
    return N > 0 and 4 * N >= 3 * -(-N // L) * L


def has_whole_lines(width: int, lanes: int) -> bool:
    """Whether lines of ``width`` pixels leave less than a tenth of their vectors empty, so that pixels can as well be lanes."""
    return width > 0.9 * -(-width // lanes) * lanes


def _forward_worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                   groups: int = 1) -> bool:
    """For few filters that see lines of a length that no vector has, or for very few. Sums are short, so that one after the
    other loses no accuracy, and longer than it takes to turn images over; two lines of outputs must stay near. All numbers are
    where layers of random shapes, 70 of each kind, began to win with AVX-512; with AVX2 it begins there, too."""
    filters, channels, KH, KW = w.shape[0] // groups, *w.shape[1:]
    if not fills_lanes(x) or not LEAST <= filters <= MOST or channels * KH * KW > TERMS:
        return False
    if KH * KW == 1:
        return filters <= 12 and channels <= 16
    shape, taps, _ = forward(x.shape, w.shape, stride, padding, dilation, groups)
    return (filters < (VERY_FEW if stride == (1, 1) else VERY_FEW_APART) or not has_whole_lines(shape[3], lanes_of(x))) and (
        _plan(x, groups, *shape[2:], stride, taps, TILES[0][0], threads=1).lines >= min(2, shape[2]))


def _input_worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                 dilation: Pair = (1, 1), groups: int = 1) -> bool:
    """The same for channels of the image; where they are very few, folding taps (``conv_fold.py``) is better for longer
    lines."""
    filters, channels, KH, KW = w.shape[0] // groups, *w.shape[1:]
    most = 128 if filters <= 16 and shape[3] < lanes_of(g) else MOST
    return fills_lanes(g) and LEAST <= channels <= most and KH * KW > 1 and filters * KH * KW <= TERMS and (
        shape[3] < lanes_of(g) or (channels >= 6 and not has_whole_lines(shape[3], lanes_of(g))))


def _input_accepts(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                   dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return stride == (1, 1) and vectors(g)


@rung("conv2d_forward", name="images", device="cpu", accepts=vectors, worth=_forward_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """A lane for each image: no lines that end, no stride that costs.

    The time of the rung that was chosen before / this one's, for batches of 64 on two cores with AVX-512: 1.4 for the first
    layer of LeNet-5, 1.6 for its second; 1.2 to 3 for 4 to 32 filters at stride 2, 1.1 to 2.5 at stride 1 for lines that fill
    no vector. With AVX2 1.2 to 2. For lines of whole vectors it is 0.7 to 1, for 64 filters 0.5 to 1.1.
    """
    shape, taps, weights = forward(x.shape, w.shape, stride, padding, dilation, groups)
    y, goal = aim(shape, x.dtype, finish, groups)
    sum_taps(x, taps, stride, contiguous(w).reshape(-1), weights, y, goal)
    return y


@rung("conv2d_input", name="images", device="cpu", accepts=_input_accepts, worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same at stride 1, with the filters turned round: 1.6 for the second layer of LeNet-5, 1.1 to 2.8 for 3 to 32 channels
    and short lines. At larger strides, phase by phase, it was tried and was 0.7 to 1.
    """
    if stride != (1, 1):
        raise ValueError(f"this rung takes filters at stride 1, got {stride}; call the rung 'implicit'")
    dx, goal = aim(shape, g.dtype)
    if not g.size or not dx.size:
        dx.fill(0)
        return dx
    part, = input_phases(w.shape, shape[2:], stride, padding, dilation, groups)
    assert part.taps                                    # at stride 1 every pixel is seen, if only through zeros
    sum_taps(g, part.taps, stride, contiguous(w).reshape(-1), part.weights, dx, goal)
    return dx


def sum_taps(
    x: np.ndarray, taps: Taps, stride: Pair, flat: np.ndarray, weights: Weights, y: np.ndarray, goal: Goal,
) -> None:
    """y[:, f] = the sum over channels and taps of the weights times what they see; ``goal`` leads to y."""
    (N, C, H, W), (F, OH, OW) = x.shape, y.shape[1:]
    if not y.size:
        return
    if not C:
        fill(y, goal)
        return
    rows = min((rows for rows, _ in TILES), key=lambda rows: -(-weights.rows // rows) * rows)      # few of which are empty
    threads, L, terms = workers(), lanes_of(x), weights.offset.size
    down, right, lines, high, width, room = _plan(x, weights.groups, OH, OW, stride, taps, rows, threads)
    room += -(-(weights.rows + rows) * terms // L)          # for the weights
    SUM_TAPS[rows](contiguous(x).reshape(-1), N, C, H, W, flat, *weights[:-1], down, right, taps.top, taps.left, *stride, lines,
                   high, width, *goal, F, OH, OW, scratch(threads * L * room, x.dtype), threads, work=y.size * terms // L)


class Plan(NamedTuple):
    """How a thread takes images."""

    down: np.ndarray        # the taps of a window,
    right: np.ndarray       # as kernels are told them
    lines: int              # of outputs, which are computed together
    high: int               # the lines that these see,
    width: int              # and pixels of a line
    room: int               # vectors of pixels and sums


def _plan(x: np.ndarray, groups: int, OH: int, OW: int, stride: Pair, taps: Taps, rows: int, threads: int) -> Plan:
    (N, C), L = x.shape[:2], lanes_of(x)
    return plan(-(-N // L) * groups, C // groups, OH, OW, stride, taps, L * x.itemsize, threads, rows)


@functools.lru_cache(maxsize=1024)
def plan(blocks: int, channels: int, OH: int, OW: int, stride: Pair, taps: Taps, vector: int, workers: int, rows: int) -> Plan:
    """As many lines as fit, and enough pieces of work for all threads; ``vector`` is the bytes of one."""
    down, right = np.array(taps.down, np.int64), np.array(taps.right, np.int64)
    width = int((OW - 1) * stride[1] + right.max() + 1)

    def of(lines: int) -> Plan:
        high = int((lines - 1) * stride[0] + down.max() + 1)
        return Plan(down, right, lines, high, width, channels * high * width + rows * lines * OW)

    lines = -(-OH // -(-SHARES * workers // blocks))
    while lines > 1 and of(lines).room * vector > NEAR:
        lines = -(-lines // 2)
    return of(lines)


@helper
def turn_in(x, at, channels, H, W, image_step, count, first, high, left, width, pixels):
    """pixels (channels, high, width, L): lines ``first`` to first + high of the images, with zeros at their sides. What lies
    above or below an image is not written."""
    L = lanes(x)
    last = min(W, width - left)
    for c in range(channels):
        for h in range(max(0, first), min(H, first + high)):
            line, to = at + (c * H + h) * W, (c * high + h - first) * width * L
            for j in range(min(left, width)):
                put(pixels, to + j * L, none(x))
            for j in range(max(0, -left), last, L):     # windows may begin behind the image's first pixels
                if count == L and j + L <= last:
                    turn_whole(x, line + j, image_step, pixels, to + (left + j) * L, L)
                else:
                    turn(x, line + j, image_step, 0, last - j, count, pixels, to + (left + j) * L, L, min(L, last - j), L)
            for j in range(max(0, left + last), width):
                put(pixels, to + j * L, none(x))


@helper
def turn_out(sums, at, count, y, to, y_step, images):
    """The sums (count, L) from ``at`` on as lines of ``count`` pixels of as many images."""
    L = lanes(sums)
    for p in range(0, count, L):
        if images == L and p + L <= count:
            turn_whole(sums, at + p * L, L, y, to + p, y_step)
        else:
            turn(sums, at + p * L, L, 0, images, min(L, count - p), y, to + p, y_step, images, min(L, count - p))


@helper
def reached(taps, begin, end, first, last, size):
    """The range of the taps ``begin`` to ``end`` through which any of the windows that begin at ``first`` to ``last`` sees one
    of ``size`` pixels."""
    while begin < end and not (last + taps[begin] >= 0 and first + taps[begin] < size):
        begin += 1
    while begin < end and not (last + taps[end - 1] >= 0 and first + taps[end - 1] < size):
        end -= 1
    return begin, end


@inlined
def sum_window(
    rows, columns, steps, weights, start, channels, down, right, lines, taps, pixels, seen, high, width, bias, row, relu, sums,
    to, sums_step,
):
    """A tile of so many filters and pixels of L images, which lie at these ``steps``: sums over channels, and over taps in the
    ranges ``lines`` and ``taps``. They are finished and go to ``sums``."""
    L, KH, KW = lanes(pixels), down.shape[0], right.shape[0]
    tile = zeros(pixels, rows, columns)
    for c in range(channels):
        for i in range(lines[0], lines[1]):
            at, line = start + ((c * KH + i) * KW + taps[0]) * rows, seen + (c * high + entry(down, i)) * width * L
            for j in range(taps[0], taps[1]):
                tile = outer_to(tile, rows, columns, weights, at, 1, pixels, line + entry(right, j) * L, steps)
                at += rows
    if bias.shape[0] > 0:
        tile = finish_rows(tile, rows, columns, bias, row, relu)
    store(tile, rows, columns, sums, to, sums_step)


@compiled
def _sum_taps(
    x: In1, N: int, C: int, H: int, W: int, flat: In1, filters: int, groups: int, row_step: int, group_step: int,
    offset: IntIn1, down: IntIn1, right: IntIn1, top: int, left: int, stride_h: int, stride_w: int, lines: int,
    high: int, width: int, y: Out1, y_step: int, bias: In1, relu: bool, F: int, OH: int, OW: int, memory: Out1, workers_: int,
    team: Team,
):
    L, K = lanes(x), offset.shape[0]
    channels, bands = C // groups, (filters + ROWS - 1) // ROWS
    step = stride_w * L
    apart, far = (0, step, 2 * step, 3 * step), lines * OW * L
    blocks, chunks = (N + L - 1) // L, (OH + lines - 1) // lines
    items = groups * blocks * chunks
    for worker in prange(workers_, team):
        mine = memory[memory.shape[0] // workers_ * worker:]
        pixels, mine = mine[:channels * high * width * L], mine[channels * high * width * L:]
        sums, weights, packed = mine[:ROWS * far], mine[ROWS * far:], -1
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            group, n, line = item // (blocks * chunks), item // chunks % blocks * L, item % chunks * lines
            if group != packed:
                packed = group
                for f in range(bands * ROWS):
                    to, at = f // ROWS * K * ROWS + f % ROWS, group * group_step + f * row_step
                    for k in range(K):
                        weights[to + k * ROWS] = flat[at + offset[k]] if f < filters else 0
            images, count, first = min(L, N - n), min(lines, OH - line), line * stride_h - top
            turn_in(x, (n * C + group * channels) * H * W, channels, H, W, C * H * W, images, first, high, left, width, pixels)
            for band in range(bands):
                start, row = band * K * ROWS, group * filters + band * ROWS
                for h in range(count):
                    above = first + h * stride_h
                    along = reached(down, 0, down.shape[0], above, above, H)
                    for w in range(0, OW, COLUMNS):
                        some, before = min(COLUMNS, OW - w), w * stride_w - left
                        across = reached(right, 0, right.shape[0], before, before + (some - 1) * stride_w, W)
                        seen, to = (h * stride_h * width + w * stride_w) * L, (h * OW + w) * L
                        if some == 4:               # how large a tile is must be known while it is compiled
                            sum_window(ROWS, 4, apart, weights, start, channels, down, right, along, across, pixels,
                                       seen, high, width, bias, row, relu, sums, to, far)
                        elif some == 3:
                            sum_window(ROWS, 3, apart[:3], weights, start, channels, down, right, along, across, pixels,
                                       seen, high, width, bias, row, relu, sums, to, far)
                        elif some == 2:
                            sum_window(ROWS, 2, apart[:2], weights, start, channels, down, right, along, across, pixels,
                                       seen, high, width, bias, row, relu, sums, to, far)
                        else:
                            sum_window(ROWS, 1, apart[:1], weights, start, channels, down, right, along, across, pixels,
                                       seen, high, width, bias, row, relu, sums, to, far)
                for i in range(min(ROWS, filters - band * ROWS)):
                    turn_out(sums, i * far, count * OW, y, n * y_step + ((row + i) * OH + line) * OW, y_step, images)


SUM_TAPS = {rows: rebuilt(_sum_taps, {"ROWS": rows, "COLUMNS": columns}, f"_{rows}_by_{columns}") for rows, columns in TILES}
