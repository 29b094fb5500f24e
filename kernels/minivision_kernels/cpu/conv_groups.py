"""Convolution with a lane for each group: depthwise layers of small images, and layers of many groups.

A group sees its own channels alone. With few of them there is no sum that is long, and no filters that share a pixel, which is
what the other rungs live on; and lines of seven pixels fill no vector. But there are many groups, and all do the same. With the
same pixel of as many of them as a vector has lanes side by side, and their weights likewise,

    pixels (channels, lines, W, L)      weights (filters, channels, KH, KW, L)      L groups

a multiply-add is one vector of weights times one of pixels, wherever they lie: there are no lines that end, and a stride is but
another address, for pixels that are read as for those that are written. The layout is the one that libraries ask of their
callers for such layers (channels last). Here it lives for a moment only: a thread takes L groups and some lines of results,
turns over what their windows see, forms the sums, up to 7 pixels for each of 2 filters in registers, and turns the sums back.

Turning costs about five steps for each vector of pixels. A window of 3 x 3 has nine multiply-adds, so there it pays for small
images, and the larger a window and the more channels in a group the larger an image may be.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu.bands import Part, Taps, forward, input_phases, workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, helper, inlined, prange, rebuilt
from minivision_kernels.cpu.conv_depthwise import words_fit
from minivision_kernels.cpu.conv_images import has_whole_lines, reached
from minivision_kernels.cpu.goal import Goal, aim, fill
from minivision_kernels.cpu.planes import Phase, Weights
from minivision_kernels.cpu.simd import entries, entry, lanes, lanes_of, load, none, put, turn, turn_whole, vectors
from minivision_kernels.cpu.stream import ask_lines
from minivision_kernels.cpu.tile import MANY, finish_lanes, inner_along, store_to, zeros
from minivision_kernels.cpu.writer import BYTES
from minivision_kernels.finish import Finish
from minivision_kernels.ladder import rung
from minivision_kernels.memory import scratch
from minivision_kernels.shapes import Pair, conv_output_size

NO_TAPS = np.zeros(0, np.int64)
NEAR = 384 * 1024           # bytes of pixels, weights and sums of a thread
SHARES = 2                  # pieces of work for each thread, at least, if there are so many lines
# By the side of a depthwise window and its stride: how many planes it takes, and the shortest and longest line of outputs; and
# the same for the gradient to the image.
ANY, NEVER = 1 << 30, (1, 1, 0)
ENOUGH = {(3, 1): (1536, 1, 8), (5, 1): (256, 1, 40), (7, 1): (96, 1, ANY),
          (3, 2): (1536, 5, 8), (5, 2): (256, 1, 8), (7, 2): (128, 1, ANY)}
if BYTES < 64:
    ENOUGH |= {(5, 1): (256, 1, 28), (5, 2): (256, 1, 28)}
ENOUGH_BACK = ENOUGH | ({(5, 2): (256, 5, 8), (7, 2): (128, 5, 28)} if BYTES == 64 else
                        dict.fromkeys([(3, 2), (5, 2), (7, 2)], NEVER))
FIELDS = 10                 # of a phase
COLUMNS = 7                 # pixels of a tile
ALONG = (1, 2, 3, 5, 7)     # taps of a line that slide at once
ROWS, STRIDE, TAPS = 1, 1, 1            # filters, steps of windows and taps of a tile, until the kernel is rebuilt for others


def _possible(array: np.ndarray, groups: int, stride: int) -> bool:
    return groups >= lanes_of(array) and stride <= 2


def _forward_accepts(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                     groups: int = 1) -> bool:
    return vectors(x) and _possible(x, groups, stride[1])


def _input_accepts(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                   dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return vectors(g) and _possible(g, groups, 1)


def few_enough(groups: int, channels: int, filters: int, size: int, width: int, stride: Pair, lanes: int) -> bool:
    """Whether groups have so few ``channels`` and ``filters``, under windows of this ``size``, that no other rung does well.

    The longer sums are, and the better lines of ``width`` pixels fill vectors, the less there is to gain. Lanes without a group
    count as if their groups had products, too.
    """
    products, whole = channels * filters * -(-groups // lanes) * lanes / groups, has_whole_lines(width, lanes)
    if size == 1:
        return products <= 64 and (stride != (1, 1) or width < lanes // 2 or (products <= 16 and not whole))
    return products <= ((32 if MANY else 8) if whole else 256) and (max(channels, filters) <= 16 or min(channels, filters) <= 6)


def _worth(
    array: np.ndarray, w: np.ndarray, size: tuple[int, ...], outputs: int, stride: Pair, dilation: Pair, groups: int,
    enough: dict[Pair, tuple[int, int, int]],
) -> bool:
    """For groups of few channels, and of one channel where the words of ``conv_depthwise.py`` do worse: they have none for such
    a window, or lines are so short that they leave lanes empty. The larger a window, the longer may lines be, and the fewer
    planes pay for what it takes to begin. All numbers are where layers of random shapes, 50 of each kind, began to win."""
    filters, channels, KH, KW = w.shape[0] // groups, *w.shape[1:]
    if not few_enough(groups, channels, filters, KH * KW, size[1], stride, lanes_of(array)):
        return False
    if channels > 1 or not words_fit(array, (KH, KW), stride, dilation):
        return True
    planes, shortest, longest = enough[KH, stride[1]]
    return len(array) * groups >= planes and shortest <= outputs <= longest


def _forward_worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                   groups: int = 1) -> bool:
    size = conv_output_size(x.shape[2:], w.shape[2:], stride, padding, dilation)
    return _worth(x, w, size, size[1], stride, dilation, groups, ENOUGH)


def _input_worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                 dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return _worth(g, w, shape[2:], g.shape[3], stride, dilation, groups, ENOUGH_BACK)


@rung("conv2d_forward", name="groups", device="cpu", accepts=_forward_accepts, worth=_forward_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """A lane for each group: no lines that end, no stride that costs.

    The time of the rung that was chosen before / this one's, on two cores with AVX-512, of 1 and 8 images: 32 groups of 4
    channels of 56 x 56 1.9 and 1.7, of 16 of 14 x 14 1.1 and 1.2; depthwise 7 x 7 1.4 to 4; 5 x 5 2 and 2.8 for lines of 7
    pixels, 1.2 and 1.4 for 14; 3 x 3 0.9 and 1.6 for 7, and 0.5 to 0.9 for all others, which have their own words.
    Steps that brought it there, for 3 x 3 on 8 images of 960 channels of 7 x 7: 148 us, 113 in memory that the caller provides
    (a kernel that makes arrays counts references to them), 84 with lines of taps that slide and with the next image asked for.
    """
    if not _possible(x, groups, stride[1]):
        raise ValueError(f"this rung takes {lanes_of(x)} groups or more and strides along lines up to 2, got {groups} and "
                         f"{stride[1]}; call the rung 'direct'")
    shape, plan = forward_plan(x.shape, w.shape, stride, padding, dilation, groups)
    y, goal = aim(shape, x.dtype, finish, groups)
    if y.size and x.size and w.size:
        _sum(x, plan, stride, contiguous(w).reshape(-1), goal, shape[2:])
    elif y.size:
        fill(y, goal)
    return y


@rung("conv2d_input", name="groups", device="cpu", accepts=_input_accepts, worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same with filters turned round, and all phases of the image at once: their pixels meet where they are turned back."""
    if not _possible(g, groups, 1):
        raise ValueError(f"this rung takes {lanes_of(g)} groups or more, got {groups}; call the rung 'direct'")
    dx, goal = aim(shape, g.dtype)
    if dx.size and g.size and w.size:
        plan = input_plan(g.shape, w.shape, shape[2:], stride, padding, dilation, groups)
        _sum(g, plan, (1, 1), contiguous(w).reshape(-1), goal, shape[2:])
    else:
        dx.fill(0)
    return dx


class Plan(NamedTuple):
    """The phases of a result, of which a forward has one, and what the windows of each see."""

    phases: np.ndarray      # of each its first line and column and its length, what its taps are called by, and where they
    down: np.ndarray        # begin here,
    right: np.ndarray       # here,
    offset: np.ndarray      # and here
    weights: Weights
    along: int              # taps of a line, neighbours, that all phases have
    steps: Pair             # between lines and pixels of a phase, in the result
    above: int              # lines that windows see before the line at which the first of them would begin without padding,
    below: int              # and behind it
    margin: int             # pixels before a line,
    width: int              # and of it, with those before and behind

    def high(self, lines: int, stride: int) -> int:
        """The lines that so many lines of the result see."""
        return -(-(lines - 1) // self.steps[0]) * stride + self.above + self.below + 1


def _plan(parts: list[Part], W: int, stride: Pair, steps: Pair) -> Plan:
    """The plan of parts that see lines of W pixels."""
    phases: list[int] = []
    down: list[int] = []
    right: list[int] = []
    offset: list[int] = []
    counts, above, below, margin, width = [1], 0, 0, 0, W
    for row, column, taps, weights, _ in parts:
        place = len(offset)
        under, beside, top, left = taps or Taps((), (), 0, 0)
        if taps:
            numbers = weights.offset.reshape(-1, len(under), len(beside))
            if beside[0] > beside[-1]:
                beside, numbers = beside[::-1], numbers[:, :, ::-1]
            offset += numbers.ravel().tolist()
            counts.append(len(beside) if len(beside) == beside[-1] - beside[0] + 1 else 1)
        phases += [row.first, column.first, column.length, top, left, len(down), len(under), len(right), len(beside), place]
        down += under
        right += beside
        above, below, margin = max(above, top), max(below, max(under, default=0) - top), max(margin, left)
        width = max(width, (column.length - 1) * stride[1] + max(beside, default=0) + 1 - left)
    along = max(count for count in ALONG if count <= max(counts))
    return Plan(np.array(phases, np.int64), np.array(down, np.int64), np.array(right, np.int64), np.array(offset, np.int64),
                parts[0].weights, along, steps, above, below, margin, margin + width)


@functools.lru_cache(maxsize=1024)
def forward_plan(x_shape: tuple[int, ...], w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair,
                 groups: int) -> tuple[tuple[int, int, int, int], Plan]:
    """The shape of the result and its plan."""
    shape, taps, weights = forward(x_shape, w_shape, stride, padding, dilation, groups)
    row, column = (Phase(0, length, NO_TAPS, NO_TAPS) for length in shape[2:])
    return shape, _plan([Part(row, column, taps, weights, NO_TAPS)], x_shape[3], stride, (1, 1))


@functools.lru_cache(maxsize=1024)
def input_plan(g_shape: tuple[int, ...], w_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair, dilation: Pair,
               groups: int) -> Plan:
    """The plan of the gradient to an image of this size."""
    return _plan(input_phases(w_shape, size, stride, padding, dilation, groups), g_shape[3], (1, 1), stride)


def _sum(x: np.ndarray, plan: Plan, stride: Pair, flat: np.ndarray, goal: Goal, size: tuple[int, ...]) -> None:
    """The sums of a plan, which are images of this ``size``."""
    (N, C, H, W), (OH, OW), L, weights = x.shape, size, lanes_of(x), plan.weights
    groups, channels, rows, lines = weights.groups, C // weights.groups, min(2, weights.rows), OH
    bands, K, threads = -(-weights.rows // rows), plan.offset.size, workers()

    def near() -> int:
        """Numbers that a thread has of pixels and sums."""
        return L * (channels * plan.high(lines, stride[0]) * plan.width + rows * lines * OW)

    while lines > 1 and (lines * SHARES * threads > -(-groups // L) * N * OH or near() * x.itemsize > NEAR):
        lines = -(-lines // 2)
    high = plan.high(lines, stride[0])
    room = threads * (near() + L * (bands * rows * (K + 1) + max(high * W, weights.group_step)))
    SUM_GROUPS[rows, stride[1], plan.along](
        contiguous(x).reshape(-1), N, groups, channels, H, W, flat, weights.rows, weights.row_step, weights.group_step,
        plan.offset, plan.phases, plan.down, plan.right, *plan.steps, stride[0], plan.above, plan.margin, lines, high,
        plan.width, *goal, OH, OW, scratch(room, x.dtype), threads,
        work=N * groups * weights.rows * OH * OW * K // (L * (plan.phases.size // FIELDS)))


@helper
def turn_over(a, at, step, count, b, bt):
    """b[bt + k * L + i] = a[at + i * step + k] for L lines i of ``count`` numbers k. The last square reaches back into the one
    before it."""
    L = lanes(a)
    if count < L:
        turn(a, at, step, 0, count, L, b, bt, L, count, L)
    else:
        for k in range(0, count, L):
            first = min(k, count - L)
            turn_whole(a, at + first, step, b, bt + first * L, L)


@helper
def turn_back(a, at, count, b, bt, step):
    """b[bt + i * step + k] = a[at + k * L + i]: the other way."""
    L = lanes(a)
    if count < L:
        turn(a, at, L, 0, L, count, b, bt, step, L, count)
    else:
        for k in range(0, count, L):
            first = min(k, count - L)
            turn_whole(a, at + first * L, L, b, bt + first, step)


@helper
def turn_lines(x, at, step, channels, H, W, first, high, margin, width, flat, pixels):
    """pixels (channels, high, width, L): lines ``first`` to first + high of L groups, which lie ``step`` apart, by way of
    ``flat``. What lies above or below an image is zero, what lies beside it is as it was."""
    L = lanes(x)
    begin, end = max(0, first), max(0, min(H, first + high))
    for c in range(channels):
        if begin < end:
            turn_over(x, at + (c * H + begin) * W, step, (end - begin) * W, flat, 0)
        for h in range(high):
            to, line = ((c * high + h) * width + margin) * L, (first + h - begin) * W * L
            if 0 <= first + h < H:
                for j in range(W):
                    put(pixels, to + j * L, load(flat, line + j * L))
            else:
                for j in range(W):
                    put(pixels, to + j * L, none(x))


@inlined
def sum_window(
    rows, columns, along, stride, weights, at, step, channels, down, right, lines, taps, pixels, seen, plane, line, bias, row,
    relu, sums, to, far, place,
):
    """A tile of so many filters and pixels of L groups, finished, to ``sums``: over channels and over the range ``taps``, so
    many ``along`` a line at a time, in the range ``lines``, whose third and fourth numbers are the first line of all and their
    count."""
    L = lanes(pixels)
    tile = zeros(pixels, rows, columns)
    for c in range(channels):
        for i in range(lines[0], lines[1]):
            k, from_ = at + (c * lines[3] + i - lines[2]) * (taps[1] - taps[0]) * L, seen + c * plane + entry(down, i) * line
            j = taps[0]
            while j + along <= taps[1]:
                tile = inner_along(tile, rows, columns, weights, k, step, pixels, from_ + entry(right, j) * L, along, stride)
                j += along
                k += along * L
            while j < taps[1]:
                tile = inner_along(tile, rows, columns, weights, k, step, pixels, from_ + entry(right, j) * L, 1, stride)
                j += 1
                k += L
    if bias.shape[0] > 0:
        tile = finish_lanes(tile, rows, columns, bias, row * L, relu)
    store_to(tile, rows, columns, sums, to, far, place)


@compiled
def _sum_groups(
    x: In1, N: int, groups: int, channels: int, H: int, W: int, flat: In1, rows: int, row_step: int, group_step: int,
    offset: IntIn1, phases: IntIn1, down: IntIn1, right: IntIn1, step_h: int, step_w: int, stride_h: int, above: int,
    margin: int, lines: int, high: int, width: int, y: Out1, y_step: int, bias: In1, relu: bool, OH: int, OW: int,
    memory: Out1, workers_: int, team: Team,
):
    L, K = lanes(x), offset.shape[0]
    blocks, chunks, bands = (groups + L - 1) // L, (OH + lines - 1) // lines, (rows + ROWS - 1) // ROWS
    items, far, line, plane = N * blocks * chunks, lines * OW * L, width * L, high * width * L
    one = step_w * L
    apart = (0, one, 2 * one, 3 * one, 4 * one, 5 * one, 6 * one)
    for worker in prange(workers_, team):
        mine = memory[memory.shape[0] // workers_ * worker:]
        pixels, mine = mine[:channels * plane], mine[channels * plane:]
        weights, mine = mine[:bands * ROWS * K * L], mine[bands * ROWS * K * L:]
        biases, mine = mine[:bands * ROWS * L if bias.shape[0] > 0 else 0], mine[bands * ROWS * L:]
        sums, flat_pixels = mine[:ROWS * far], mine[ROWS * far:]
        packed = -1
        weights[:] = 0                              # of filters that only fill a tile
        pixels[:] = 0
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            block, n = item // (N * chunks), item // chunks % N
            group, begin = min(block * L, groups - L), min(item % chunks * lines, OH - lines)
            if block != packed:
                packed = block
                turn_over(flat, group * group_step, group_step, group_step, flat_pixels, 0)
                for r in range(rows):
                    for k in range(K):
                        put(weights, (r * K + k) * L, load(flat_pixels, (r * row_step + entry(offset, k)) * L))
                if bias.shape[0] > 0:
                    for r in range(rows):
                        for i in range(L):
                            biases[r * L + i] = bias[(group + i) * rows + r]
            first = begin // step_h * stride_h - above
            turn_lines(x, (n * groups + group) * channels * H * W, channels * H * W, channels, H, W, first, high, margin, width,
                       flat_pixels, pixels)
            if item + 1 < items and chunks == 1:        # the next image's pixels, which lie in one piece
                ask_lines(x, ((item + 1) % N * groups + group) * channels * H * W, L * channels * H * W)
            for row in range(0, rows, ROWS):
                for phase in range(0, phases.shape[0], FIELDS):
                    top_line, column, length, top, left, d, KH, r, KW, k = entries(phases, phase, FIELDS)
                    skip = (top_line - begin) % step_h
                    from_, k = (begin + skip - top_line) // step_h * stride_h - top, (row * K + k) * L
                    to, across = (skip * OW + column) * L, (r, r + KW)
                    for _ in range(skip, lines, step_h):
                        seen, found = ((from_ - first) * width + margin - left) * L, reached(down, d, d + KH, from_, from_, H)
                        under = (found[0], found[1], d, KH)
                        if length >= COLUMNS:           # how large a tile is must be known while it is compiled
                            for v in range(0, length, COLUMNS):
                                w = min(v, length - COLUMNS)
                                sum_window(ROWS, COLUMNS, TAPS, STRIDE, weights, k, K * L, channels, down, right, under, across,
                                           pixels, seen + w * STRIDE * L, plane, line, biases, row, relu, sums, to + w * one,
                                           far, apart)
                        elif length >= 4:
                            for w in (0, length - 4):
                                sum_window(ROWS, 4, TAPS, STRIDE, weights, k, K * L, channels, down, right, under, across,
                                           pixels, seen + w * STRIDE * L, plane, line, biases, row, relu, sums, to + w * one,
                                           far, apart[:4])
                        else:
                            for w in range(length):
                                sum_window(ROWS, 1, TAPS, STRIDE, weights, k, K * L, channels, down, right, under, across,
                                           pixels, seen + w * STRIDE * L, plane, line, biases, row, relu, sums, to + w * one,
                                           far, apart[:1])
                        from_ += stride_h
                        to += step_h * OW * L
                for i in range(min(ROWS, rows - row)):
                    to = n * y_step + ((group * rows + row + i) * OH + begin) * OW
                    turn_back(sums, i * far, lines * OW, y, to, rows * OH * OW)


SUM_GROUPS = {(rows, stride, taps): rebuilt(_sum_groups, {"ROWS": rows, "STRIDE": stride, "TAPS": taps},
                                            f"_{rows}_by_{stride}_{taps}")
              for rows in (1, 2) for stride in (1, 2) for taps in ALONG}
