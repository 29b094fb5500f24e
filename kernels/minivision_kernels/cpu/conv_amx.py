"""Convolution in a matrix unit, with numbers split into three (``amx.py``).

1 x 1 filters (``conv_amx_pixels.py``), larger ones (``conv_amx_taps.py``) and the gradient to images at stride 2
(``conv_amx_fold.py``) have kernels of their own. For the rest, and where there are many weights for few pixels, those of
``conv_implicit.py`` and ``conv_phases.py`` are built with the words of ``amx_panels.py``.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from minivision_kernels.cpu import amx_panels, conv_amx_fold, conv_amx_pixels, conv_amx_taps, conv_implicit, conv_phases
from minivision_kernels.cpu.amx import SIDE, again, takes
from minivision_kernels.cpu.bands import Taps, forward, phase_by_phase, workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, prange, rebuilt
from minivision_kernels.cpu.conv_implicit import Call
from minivision_kernels.cpu.goal import NOTHING, Goal, aim, fill
from minivision_kernels.cpu.linear_amx import OFTEN, turned_over
from minivision_kernels.cpu.planes import Weights, by_channels, by_filters
from minivision_kernels.cpu.simd import lanes, load, room, turn
from minivision_kernels.cpu.stream import put_first
from minivision_kernels.finish import Finish
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair, conv_output_size

WEIGHT, MOVED = 2, 12      # multiply-adds that take as long as it takes to split a weight, and to put it in order before
PHASES = 1.3               # how much longer the four phases of a gradient take than one product would

NUMBERS = NOTHING[np.dtype(np.float32)]        # of the only type that the unit takes, for rules that ask for one

_multiply = rebuilt(conv_implicit.multiply, amx_panels.WORDS, "_amx")
_multiply_phases = rebuilt(conv_phases.multiply, amx_panels.WORDS, "_phases_amx")


def _pays(call: Call, weight: float, more: float = 1, taps: float = math.inf) -> bool:
    """Whether the unit does sooner what packed vectors do, and what vectors do that are not packed; by ``taps``, at what they
    cost, if that is less."""
    cost = min(more * _panels(call, weight), taps)
    return cost < call.terms * min(conv_implicit.prices(NUMBERS, *call)[1:])


@functools.lru_cache(maxsize=1024)
def _panels(call: Call, weight: float) -> float:
    """What panels cost in the unit."""
    packing, vectors = conv_implicit.prices(NUMBERS, *call)[0], -(-call.outputs // SIDE)
    return call.terms * (amx_panels.price(call.rows, vectors, call.terms, weight) + packing * vectors)


def _forward_taps(x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> float:
    """What a convolution costs by taps."""
    output = conv_output_size(x.shape[2:], w.shape[2:], stride, padding, dilation)
    return conv_amx_taps.price(x.shape[:2], len(w), output, w.shape[2:], stride, dilation, groups)


def _input_taps(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, dilation: Pair, groups: int) -> float:
    """What the gradient to an image costs by taps: infinitely much but at stride 1."""
    _, C, H, W = shape
    return conv_amx_taps.price(g.shape[:2], C, (H, W), w.shape[2:], stride, dilation, groups) if max(stride) == 1 else math.inf


def _forward_worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                   groups: int = 1) -> bool:
    if conv_amx_pixels.fits(x.shape, len(w), w.shape[2:], stride, padding, groups):
        return conv_amx_pixels.pays(*w.shape[:2])
    call = conv_implicit.forward_call(x.shape, w.shape, stride, padding, dilation, groups)
    return _pays(call, WEIGHT, taps=_forward_taps(x, w, stride, padding, dilation, groups))


def _input_worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                 dilation: Pair = (1, 1), groups: int = 1) -> bool:
    if conv_amx_pixels.fits(g.shape, w.shape[1], w.shape[2:], stride, padding, groups):
        return conv_amx_pixels.pays(w.shape[1], len(w))
    if conv_amx_fold.fits(g.shape, w.shape, stride, groups):
        return True
    call = conv_implicit.input_call(len(g), w.shape, shape, stride, groups)
    weight = WEIGHT if w.shape[2:] == (1, 1) else MOVED
    if conv_implicit.in_phases(shape, stride):
        return (len(g) == 1 or shape[3] > conv_implicit.WOVEN) and _pays(call, weight, PHASES)
    return max(stride) == 1 and _pays(call, weight, taps=_input_taps(g, w, shape, stride, dilation, groups))


@rung("conv2d_forward", name="amx", device="cpu", accepts=takes, worth=_forward_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """Implicit GEMM with six products of bfloat16 for one of float32, in a unit that makes them sixteen times as fast.

    Layers of ResNet-50, the time of the best of the rungs below / this one's: 1 x 1 filters 1.4 to 2.1 where pixels stream by
    (``conv_amx_pixels.py``), and else 1.1 to 1.5; 3 x 3 at stride 2 1.1 to 1.7, most where there are several images. Filters
    of 2 x 2 to 7 x 7 that see pixels split once for all taps (``conv_amx_taps.py``): 1.1 to 2. Winograd's convolution is up
    to twice as fast. Without a unit, and for float64, this is ``implicit``.
    """
    if not takes(x):
        return conv_implicit.conv2d_forward(x, w, stride, padding, dilation, groups, finish)
    shape, taps, weights = forward(x.shape, w.shape, stride, padding, dilation, groups)
    y, goal = aim(shape, x.dtype, finish, groups)
    if conv_amx_pixels.fits(x.shape, len(w), w.shape[2:], stride, padding, groups):
        if conv_amx_pixels.multiply(x, w, (w.shape[1], 1), len(w), goal):
            return conv_implicit.conv2d_forward(x, w, stride, padding, dilation, groups, finish)
        return y
    call = conv_implicit.forward_call(x.shape, w.shape, stride, padding, dilation, groups)
    if _forward_taps(x, w, stride, padding, dilation, groups) < _panels(call, WEIGHT):
        if conv_amx_taps.convolve(x, by_filters(w), len(w), shape[2:], w.shape[2:], stride, padding, dilation, goal):
            return conv_implicit.conv2d_forward(x, w, stride, padding, dilation, groups, finish)
        return y
    sum_taps(x, taps, stride, contiguous(w).reshape(-1), weights, y, goal, (0, 0), (1, 1), *shape[2:])
    return y


@rung("conv2d_input", name="amx", device="cpu", accepts=takes, worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same with channels of x as rows: 1.4 to 2.1 for 1 x 1 filters, and at stride 2, with taps as rows that are folded
    into the image (``conv_amx_fold.py``), 1.3 to 1.8.

    Else one phase of the image after the other, or all of them together at stride 2. Weights are put in order first, a
    filter's taps in squares that are turned over.
    """
    if not takes(g):
        return conv_implicit.conv2d_input(g, w, shape, stride, padding, dilation, groups)
    if conv_amx_pixels.fits(g.shape, w.shape[1], w.shape[2:], stride, padding, groups):
        dx, goal = aim(shape, g.dtype)
        if conv_amx_pixels.multiply(g, w, (1, w.shape[1]), w.shape[1], goal):
            return conv_implicit.conv2d_input(g, w, shape, stride, padding, dilation, groups)
        return dx
    if conv_amx_fold.fits(g.shape, w.shape, stride, groups):
        folded = conv_amx_fold.conv2d_input(g, w, shape, padding, dilation)
        return conv_implicit.conv2d_input(g, w, shape, stride, padding, dilation, groups) if folded is None else folded
    if conv_implicit.in_phases(shape, stride):
        return _in_phases(g, w, shape, padding, dilation, groups)
    call = conv_implicit.input_call(len(g), w.shape, shape, stride, groups)
    if _input_taps(g, w, shape, stride, dilation, groups) < _panels(call, MOVED):
        dx, goal = aim(shape, g.dtype)
        turned = (w.shape[2] - 1) * dilation[0] - padding[0], (w.shape[3] - 1) * dilation[1] - padding[1]
        if conv_amx_taps.convolve(g, by_channels(w), shape[1], dx.shape[2:], w.shape[2:], stride, turned, dilation, goal):
            return conv_implicit.conv2d_input(g, w, shape, stride, padding, dilation, groups)
        return dx
    return phase_by_phase(sum_taps, g, w, shape, stride, padding, dilation, groups)


def sum_taps(
    x: np.ndarray, taps: Taps, stride: Pair, flat: np.ndarray, weights: Weights, y: np.ndarray, goal: Goal, first: Pair,
    step: Pair, OH: int, OW: int,
) -> None:
    """What ``conv_implicit.sum_taps`` does."""
    N, C, H, W = x.shape
    F, out_h, out_w = y.shape[1:]
    if not N * F * OH * OW:
        return
    if not C:
        fill(y, goal)
        return
    groups, K, threads = weights.groups, weights.offset.size, workers()
    left, by_rows = flat, weights.step == 1
    if not by_rows:
        left = _by_terms(flat, weights.rows, groups, weights.row_step, weights.offset, np.array([0, K]))
    how = conv_implicit.plan(
        N, (H, W), C // groups, OH, OW, stride, taps, weights.rows, groups, SIDE, threads, amx_panels.TILES)
    if not by_rows and how.blocks > OFTEN:
        left, by_rows = turned_over(left, groups, K), True
    wrong = np.zeros(threads, x.dtype)
    _multiply(
        contiguous(x).reshape(-1), N, C, H, W, taps.top, taps.left, *how, *stride, left, by_rows, K, OH, OW, *goal, F, out_h,
        out_w, *first, *step, groups, threads, wrong, work=N * F * OH * OW * K // SIDE)
    if again(wrong):
        conv_implicit.sum_taps(x, taps, stride, flat, weights, y, goal, first, step, OH, OW)


def _in_phases(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The gradient to images of ``shape`` at stride 2, all four phases of a block together."""
    N, C, H, W = shape
    F, channels, KH, KW = w.shape
    dx, threads = empty(shape, g.dtype), workers()
    if not g.size * w.size:
        dx.fill(0)
        return dx
    call = N, w.shape, (H, W), g.shape[2:], padding, dilation, groups, SIDE, threads, amx_panels.TILES
    (how, _), offset = conv_phases.plan(*call), _offset(*call)
    left = _by_terms(contiguous(w).reshape(-1), channels, groups, KH * KW, offset, how.begins)
    by_rows = how.blocks > OFTEN
    if by_rows:
        left = turned_over(left, groups, offset.size)
    wrong = np.zeros(threads, g.dtype)
    _multiply_phases(contiguous(g).reshape(-1), N, F, *g.shape[2:], *how, left, by_rows, dx.reshape(-1), C, H, W, groups,
                     threads, wrong, work=g.size * channels * KH * KW // SIDE)
    if again(wrong):
        return conv_phases.conv2d_input(g, w, shape, padding, dilation, groups)
    return dx


@functools.lru_cache(maxsize=1024)
def _offset(*call: Any) -> np.ndarray:
    """Where the weights of a group's first channel lie, in the order of such a plan: phase after phase."""
    (_, number), (_, channels, KH, KW) = conv_phases.plan(*call), call[1]
    filters, taps = np.divmod(number, KH * KW)
    offset = filters * (channels * KH * KW) + taps
    offset.flags.writeable = False
    return offset


def _by_terms(w: np.ndarray, rows: int, groups: int, taps: int, offset: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """The weights of a group term after term, those of all rows side by side. A part of the terms, from one of ``begins``
    to the next, has some taps of each filter; of row r, term k is w[group][offset[k] + r * taps]."""
    K = offset.size
    if taps == 1:
        return w                                        # they lie so
    left = empty((groups * K * rows,), w.dtype)
    _put_in_order(w, rows, groups, taps, offset, begins, left, work=w.size)
    return left


@compiled
def _put_in_order(
    w: In1, rows: int, groups: int, taps: int, offset: IntIn1, begins: IntIn1, left: Out1, team: Team,
):
    """left[(group * K + k) * rows + r] = w[group][offset[k] + r * taps], in squares of rows and taps that are turned over."""
    L = lanes(w)
    K, filters = offset.shape[0], w.shape[0] // (groups * rows * taps)
    for item in prange(groups * filters, team):
        group, filter_ = item // filters, item % filters
        squares = room(w, (taps + L - 1) // L * L * L)
        for row in range(0, rows, L):
            here = min(L, rows - row)
            for tap in range(0, taps, L):
                count = min(L, taps - tap)
                turn(w, (item * rows + row) * taps + tap, taps, 0, count, here, squares, tap * L, L, count, L)
            for part in range(begins.shape[0] - 1):
                each = (begins[part + 1] - begins[part]) // filters
                first = begins[part] + filter_ * each
                for k in range(first, first + each):
                    tap = offset[k] - filter_ * rows * taps
                    put_first(left, (group * K + k) * rows + row, load(squares, tap * L), here)
