"""Convolution as a sum of shifted planes, shared between threads.

``planes.py`` lays the images out so that every tap of the window is a shift of a flat plane. The inner loop then adds
multiples of long contiguous rows, whatever the size of image and window: what a vectorising compiler likes best.
"""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import In2, In3, IntIn1, Out2, Out4, Team, compiled, contiguous, floats, prange
from minivision_kernels.cpu.planes import deal, dealt, gradient_parts, widened
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
    how = deal(C // groups, (KH, KW), (OH, OW), stride, dilation)
    weights = contiguous(w).reshape(F, C // groups * KH * KW)
    y = np.empty((N, F, OH, OW), x.dtype)
    _sum_planes(
        dealt(x, how, stride, padding), weights, how.place, groups, how.width, OH, OW, y, 0, 0, 1, 1,
        work=y.size * weights.shape[1])
    return y


@rung("conv2d_input", name="parallel", device="cpu", accepts=floats)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """A sum of shifted planes of g for every phase of the image.

    Each pixel gathers what the windows over it hand back; no two threads ever add to the same pixel.
    """
    C = shape[1]
    planes, width, parts = gradient_parts(g, w, shape, stride, padding, dilation, groups)
    dx, flat = np.empty(shape, g.dtype), contiguous(w).reshape(-1)
    for weights, place, row, column in parts:
        _sum_planes(
            planes, weights.matrix(flat), place, groups, width, row.length, column.length, dx, row.first, column.first, *stride,
            work=len(dx) * row.length * column.length * C * place.size)
    return dx


@rung("conv2d_weight", name="parallel", device="cpu", accepts=floats)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Each weight is one long inner product of g with a shifted plane, summed over the batch.

    A sum into one number does not vectorise; here it runs in a row of partial sums, folded together at the end. Two
    loads for each multiply-add are what limits it: the forward needs hardly more than one.
    """
    C = x.shape[1]
    F, _, KH, KW = shape
    OH, OW = g.shape[2:]
    how = deal(C // groups, (KH, KW), (OH, OW), stride, dilation)
    dw = np.empty((F, C // groups * KH * KW), x.dtype)
    _correlate(
        dealt(x, how, stride, padding), widened(g, how.width), how.place, groups,
        max(0, (OH - 1) * how.width + OW), dw, work=g.size * dw.shape[1])
    return dw.reshape(shape)


@compiled
def _sum_planes(
    planes: In2, weights: In2, place: IntIn1, groups: int, width: int, OH: int, OW: int,
    y: Out4, first_h: int, first_w: int, step_h: int, step_w: int, team: Team,
):
    """Sums of shifted planes: planes (N, groups * slab), weights (Q, K), place (K,) within the slab of the group of q.

    y[n, q, first_h + oh step_h, first_w + ow step_w] = sum over k of weights[q, k] planes[n, place[k] + oh width + ow]
    """
    N, Q = planes.shape[0], weights.shape[0]
    slab = planes.shape[1] // groups
    height = max(1, STRIP // max(1, width))             # rows of a strip
    strips = (OH + height - 1) // height
    for item in prange(N * Q * strips, team):
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


@compiled
def _correlate(planes: In2, g: In3, place: IntIn1, groups: int, length: int, dw: Out2, team: Team):
    """Inner products with shifted planes: planes (N, groups * slab), g (N, F, at least length), dw (F, K).

    dw[f, k] = sum over n and j < length of g[n, f, j] planes[n, place[k] + j]
    """
    N, F = g.shape[0], g.shape[1]
    K = place.shape[0]
    slab = planes.shape[1] // groups
    for item in prange(F * K, team):
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
