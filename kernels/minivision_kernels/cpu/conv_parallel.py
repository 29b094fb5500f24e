"""Convolution as a sum of shifted planes, shared between threads.

Store an image plane with its zero padding as one long row, WQ numbers per image row. Then moving one pixel down is
moving WQ numbers along, every tap of the window is a *shift* of the whole plane, and convolution is

    y[n, f] = sum over channels c and taps t of  w[f, c, t] * (plane c of image n, from place[t] on)

The inner loop adds multiples of long contiguous rows, whatever the size of image and window: what a vectorising
compiler likes best. The price is WQ - OW junk columns in each row of sums, computed and not stored.

A stride s is dealt out beforehand like cards: pixels whose padded place is r modulo s go to plane r. Each tap sees only
one of these *phases*, and sees it contiguously. The gradient to the image is the same sum with the two channel axes of
w exchanged and the shifts turned round, once for every phase of the image.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu.compile import In2, In3, IntIn1, Out2, Out4, compiled, contiguous, floats, prange
from minivision_kernels.cpu.rows import add_four_products, add_product, add_weighted_rows, fold
from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair, conv_output_size

STRIP = 2048        # numbers summed at a time: 8 KB of float32, which stay in the first-level cache


@rung("conv2d_forward", name="parallel", device="cpu", accepts=floats)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """A sum of shifted planes: vectors in the inner loop, and eight taps in each pass over the sums.

    A thread computes whole strips of rows of one output plane, so that a single image keeps all threads busy. The taps
    are added in the order of the formula, without a matrix product: the bits depend on nothing but the arguments.
    """
    N, C, H, W = x.shape
    F, _, KH, KW = w.shape
    OH, OW = conv_output_size((H, W), (KH, KW), stride, padding, dilation)
    deal = _deal(C // groups, (KH, KW), (OH, OW), stride, dilation)
    weights = contiguous(w).reshape(F, C // groups * KH * KW)
    y = np.empty((N, F, OH, OW), x.dtype)
    _sum_planes(
        _planes(x, deal, stride, padding), weights, deal.place, groups, deal.width, OH, OW, y, 0, 0, 1, 1,
        work=y.size * weights.shape[1])
    return y


@rung("conv2d_input", name="parallel", device="cpu", accepts=floats)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """A sum of shifted planes of g for every phase of the image.

    Each pixel gathers what the windows over it hand back; no two threads ever add to the same pixel.
    """
    N, C, H, W = shape
    F, _, KH, KW = w.shape
    OH, OW = g.shape[2:]
    rows = _phases(H, KH, stride[0], padding[0], dilation[0])
    columns = _phases(W, KW, stride[1], padding[1], dilation[1])
    (top, height), (left, width) = _margins(rows, OH), _margins(columns, OW)
    if (height, width) == (OH, OW):
        padded = contiguous(g)
    else:
        padded = np.zeros((N, F, height, width), g.dtype)
        padded[:, :, top:top + OH, left:left + OW] = g
    # (group, C // groups, F // groups, KH, KW): a row of weights for each channel of x
    turned = w.reshape(groups, F // groups, C // groups, KH, KW).swapaxes(1, 2)
    plane = np.arange(F // groups)[:, None, None] * (height * width)
    dx = np.empty(shape, g.dtype)
    for row in rows:
        for column in columns:
            taps = F // groups * len(row.taps) * len(column.taps)
            weights = contiguous(turned[:, :, :, row.taps][..., column.taps].reshape(C, taps))
            shift = (row.shifts[:, None] + top) * width + column.shifts + left
            _sum_planes(
                padded.reshape(N, F * height * width), weights, (plane + shift).ravel(), groups, width,
                row.length, column.length, dx, row.first, column.first, stride[0], stride[1],
                work=N * row.length * column.length * weights.size)
    return dx


@rung("conv2d_weight", name="parallel", device="cpu", accepts=floats)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Each weight is one long inner product of g with a shifted plane, summed over the batch.

    A sum into one number does not vectorise; here it runs in a row of partial sums, folded together at the end. Two
    loads for each multiply-add are what limits it: the forward needs hardly more than one.
    """
    N, C = x.shape[:2]
    F, _, KH, KW = shape
    OH, OW = g.shape[2:]
    deal = _deal(C // groups, (KH, KW), (OH, OW), stride, dilation)
    if deal.width == OW:
        upstream = contiguous(g)
    else:                       # the junk columns: zeros here, so that they add nothing
        upstream = np.zeros((N, F, OH, deal.width), g.dtype)
        upstream[..., :OW] = g
    dw = np.empty((F, C // groups * KH * KW), x.dtype)
    _correlate(
        _planes(x, deal, stride, padding), upstream.reshape(N, F, OH * deal.width), deal.place, groups,
        max(0, (OH - 1) * deal.width + OW), dw, work=g.size * dw.shape[1])
    return dw.reshape(shape)


@compiled(parallel=True)
def _sum_planes(
    planes: In2, weights: In2, place: IntIn1, groups: int, width: int, OH: int, OW: int,
    y: Out4, first_h: int, first_w: int, step_h: int, step_w: int,
):
    """Sums of shifted planes: planes (N, groups * slab), weights (Q, K), place (K,) within the slab of the group of q.

    y[n, q, first_h + oh step_h, first_w + ow step_w] = sum over k of weights[q, k] planes[n, place[k] + oh width + ow]
    """
    N, Q = planes.shape[0], weights.shape[0]
    slab = planes.shape[1] // groups
    height = max(1, STRIP // max(1, width))             # rows of a strip
    strips = (OH + height - 1) // height
    for item in prange(N * Q * strips):
        n = item // (Q * strips)
        q = item // strips % Q
        top = item % strips * height
        count = min(height, OH - top)
        total = np.zeros((count - 1) * width + OW, planes.dtype)
        group = planes[n, q // (Q // groups) * slab:]
        add_weighted_rows(total, weights[q], group[top * width:], place)
        for oh in range(count):
            for ow in range(OW):
                y[n, q, first_h + (top + oh) * step_h, first_w + ow * step_w] = total[oh * width + ow]


@compiled(parallel=True)
def _correlate(planes: In2, g: In3, place: IntIn1, groups: int, length: int, dw: Out2):
    """Inner products with shifted planes: planes (N, groups * slab), g (N, F, at least length), dw (F, K).

    dw[f, k] = sum over n and j < length of g[n, f, j] planes[n, place[k] + j]
    """
    N, F = g.shape[0], g.shape[1]
    K = place.shape[0]
    slab = planes.shape[1] // groups
    for item in prange(F * K):
        f, k = item // K, item % K
        start = f // (F // groups) * slab + place[k]
        total = np.zeros(max(1, min(STRIP, length)), g.dtype)
        for left in range(0, length, STRIP):
            part = total[:min(STRIP, length - left)]
            at = start + left
            for n in range(0, N - 3, 4):
                add_four_products(
                    part, g[n, f, left:], g[n + 1, f, left:], g[n + 2, f, left:], g[n + 3, f, left:],
                    planes[n, at:], planes[n + 1, at:], planes[n + 2, at:], planes[n + 3, at:])
            for n in range(N // 4 * 4, N):
                add_product(part, g[n, f, left:], planes[n, at:])
        dw[f, k] = fold(total)


class Deal(NamedTuple):
    """How the pixels of an image are dealt out to planes, so that each tap sees one plane, contiguously."""

    rows: list[int]             # the vertical phases that some tap sees
    columns: list[int]          # the horizontal ones
    height: int                 # rows of one plane, HQ
    width: int                  # columns of one plane, WQ
    place: np.ndarray           # (channels * KH * KW,): where each tap of each channel starts in an image's planes


@functools.lru_cache(maxsize=1024)
def _deal(channels: int, window: Pair, output: Pair, stride: Pair, dilation: Pair) -> Deal:
    (row_of, down), (column_of, right) = (
        np.divmod(np.arange(k) * d, s)[::-1] for k, s, d in zip(window, stride, dilation))
    rows, columns = sorted(set(row_of.tolist())), sorted(set(column_of.tolist()))
    height, width = output[0] + int(down.max(initial=0)), output[1] + int(right.max(initial=0))
    plane = np.searchsorted(rows, row_of)[:, None] * len(columns) + np.searchsorted(columns, column_of)     # (KH, KW)
    channel = np.arange(channels)[:, None, None] * (len(rows) * len(columns))
    place = ((channel + plane) * height + down[:, None]) * width + right
    return Deal(rows, columns, height, width, place.ravel())


def _planes(x: np.ndarray, deal: Deal, stride: Pair, padding: Pair) -> np.ndarray:
    """The images x (N, C, H, W) with zero padding, dealt out: (N, C * phases * HQ * WQ)."""
    N, C, H, W = x.shape
    if stride == (1, 1) and padding == (0, 0) and (deal.height, deal.width) == (H, W):
        return contiguous(x).reshape(N, C * H * W)          # already one plane per channel, no copy
    planes = np.zeros((N, C, len(deal.rows), len(deal.columns), deal.height, deal.width), x.dtype)
    for i, row in enumerate(deal.rows):
        down, from_h, count_h = _overlap(row, H, deal.height, stride[0], padding[0])
        for j, column in enumerate(deal.columns):
            right, from_w, count_w = _overlap(column, W, deal.width, stride[1], padding[1])
            seen = x[:, :, from_h::stride[0], from_w::stride[1]][:, :, :count_h, :count_w]
            planes[:, :, i, j, down:down + count_h, right:right + count_w] = seen
    return planes.reshape(N, -1) if planes.size else np.zeros((N, 0), x.dtype)


def _overlap(phase: int, size: int, length: int, stride: int, padding: int) -> tuple[int, int, int]:
    """Where image and plane meet along one axis: the first place in the plane, its pixel, and the number of pixels.

    Place q of the plane holds pixel q * stride + phase - padding.
    """
    first = max(0, -((phase - padding) // stride))
    pixel = first * stride + phase - padding
    return first, pixel, max(0, min(length - first, -((pixel - size) // stride)))


class Phase(NamedTuple):
    """Every stride-th pixel along one axis of the image, and the taps through which windows see them."""

    first: int                  # the first of these pixels
    length: int                 # how many there are
    taps: np.ndarray            # which taps see them
    shifts: np.ndarray          # for each tap, the output that sees the first pixel; the next one sees the next, ...


@functools.lru_cache(maxsize=1024)
def _phases(size: int, window: int, stride: int, padding: int, dilation: int) -> list[Phase]:
    phases = []
    for first in range(min(stride, size)):
        # Output o sees pixel o * stride + tap * dilation - padding through a tap.
        shifts, rest = np.divmod(first + padding - np.arange(window) * dilation, stride)
        taps = np.flatnonzero(rest == 0)
        phases.append(Phase(first, len(range(first, size, stride)), taps, shifts[taps]))
    return phases


def _margins(phases: list[Phase], outputs: int) -> tuple[int, int]:
    """Zeros to put in front of g along one axis so that no shift leaves it, and its length with those on both ends."""
    lowest = min((int(p.shifts.min(initial=0)) for p in phases), default=0)
    end = max((int(p.shifts.max(initial=0)) + p.length for p in phases), default=0)
    return -lowest, max(outputs, end) - lowest
