"""Winograd's convolution F(4x4, 3x3): a quarter of the multiplications.

Sixteen outputs of a 3 x 3 filter, a 4 x 4 patch, depend on a 6 x 6 patch of the image, and cost 144 multiplications one by
one. They can be had with 36 (Winograd 1980; Lavin and Gray 2016, section 4.3):

    patch of y = Aᵀ [ (G w Gᵀ) * (Bᵀ d B) ] A           * element by element, d the patch of the image

The transforms B, G and A are small fixed matrices, applied along rows and columns. Summed over channels, each of the 36
places is a matrix product of its own, (F x C) times (C x patches), which a tile computes as in ``conv_tiles.py``.

Patches overlap and start every 4 pixels, so the image is dealt out with stride 4 (``planes.py``): then pixel (i, j) of
consecutive patches lies consecutively in memory, and a vector holds that pixel of many patches. Nothing is gathered.

The price is accuracy. The transforms add and subtract numbers of different size, and a float32 result is off by about
1e-5 to 1e-4 of its spread, where direct summation is off by 1e-6 to 1e-5. It needs 3 x 3 filters, stride 1, no dilation
and no groups.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivision_kernels.cpu.compile import In1, In2, IntIn1, Out1, Out4, compiled, contiguous, helper, prange
from minivision_kernels.cpu.conv_tiles import panels
from minivision_kernels.cpu.planes import Weights, deal, dealt, forward_weights
from minivision_kernels.cpu.simd import (
    BYTES,
    OUTER_COLUMNS,
    OUTER_ROWS,
    add,
    add_times,
    lanes,
    load,
    outer,
    put,
    store,
    sub,
    vectors,
    zeros,
)
from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair

GAIN = 1.1          # how much faster it must promise to be, to be chosen


def _possible(w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> bool:
    return w.shape[2:] == (3, 3) and stride == (1, 1) and dilation == (1, 1) and groups == 1 and max(padding) <= 2


def _insist(possible: bool) -> None:
    if not possible:
        raise ValueError("Winograd's convolution takes 3 x 3 filters with stride 1, dilation 1, one group and padding up to 2; "
                         "call another rung")


def _pays(array: np.ndarray, w: np.ndarray, images: int, OH: int, OW: int) -> bool:
    """Whether it promises to be faster by `GAIN` than direct summation.

    The products take 36 of 144 multiplications for each patch that counts; the patches beyond the edges, the empty lanes of
    the last vector of each image, and the transforms take their share of that gain away. The constants were fitted to
    measured layers with 64 to 512 channels.
    """
    F, C = w.shape[:2]
    down, across = -(-OH // 4), -(-OW // 4)
    per_vector = BYTES // array.dtype.itemsize
    count = images * -(-((down - 1) * (across + 1) + across) // per_vector)      # vectors of patches
    if min(F, C) < 1 or count < OUTER_COLUMNS:
        return False
    gain = 9 * images * OH * OW / (36 * count * per_vector)
    return gain / (1.7 + 52 / F + 52 / C + 6 / count) > GAIN


def _forward_accepts(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                     groups: int = 1) -> bool:
    return vectors(x) and _possible(w, stride, padding, dilation, groups)


def _forward_worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                   groups: int = 1) -> bool:
    return _pays(x, w, x.shape[0], x.shape[2] + 2 * padding[0] - 2, x.shape[3] + 2 * padding[1] - 2)


def _input_accepts(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                   dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return vectors(g) and _possible(w, stride, padding, dilation, groups)


def _input_worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], *_: Any, **__: Any) -> bool:
    return _pays(g, w, shape[0], shape[2], shape[3])


@rung("conv2d_forward", name="winograd", device="cpu", exact=False, accepts=_forward_accepts, worth=_forward_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Four times fewer multiplications, for transforms before and after; up to twice the rung below.

    For 3 x 3 filters of stride 1 where patches and channels are many enough. Its error, up to 1e-4 of the spread of the
    results in float32, is why it is chosen only after ``set_exact(False)``.
    """
    _insist(_possible(w, stride, padding, dilation, groups))
    return _convolve(x, forward_weights(w, 1), padding)


@rung("conv2d_input", name="winograd", device="cpu", exact=False, accepts=_input_accepts, worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """At stride 1 the gradient to the image is a convolution with the filters turned round, and this is that."""
    _insist(_possible(w, stride, padding, dilation, groups))
    F, C = w.shape[:2]
    offset = (np.arange(F)[:, None] * (9 * C) + np.arange(8, -1, -1)).ravel()      # of every filter, its nine taps backward
    return _convolve(g, Weights(contiguous(w).ravel(), C, 1, 9, 0, offset), (2 - padding[0], 2 - padding[1]))


def _convolve(x: np.ndarray, w: Weights, padding: Pair) -> np.ndarray:
    N, C, H, W = x.shape
    y = np.empty((N, w.rows, H + 2 * padding[0] - 2, W + 2 * padding[1] - 2), x.dtype)
    down, across = -(-y.shape[2] // 4), -(-y.shape[3] // 4)
    how = deal(C, (6, 6), (down, across), (4, 4), (1, 1))
    packed = panels(w)
    weights = np.empty(packed.size * 4, x.dtype)
    _turn_weights(packed, weights, work=weights.size)
    _convolve_patches(dealt(x, how, (4, 4), padding), weights, how.place, how.width, down, across, y,
                      work=y.size * 9 * C)
    return y


@helper
def turned_weights(a, b, c, out, at, step):
    """G times a column of the filter."""
    sixth, twelfth, rest = (a + c) / 6, b / 12, a / 24 + c / 6
    out[at] = a / 4
    out[at + step] = -sixth - b / 6
    out[at + 2 * step] = b / 6 - sixth
    out[at + 3 * step] = rest + twelfth
    out[at + 4 * step] = rest - twelfth
    out[at + 5 * step] = c


@compiled(parallel=True)
def _turn_weights(packed: In1, weights: Out1):
    """packed (panels * C, 9, 8) -> weights (36, panels * C, 8): G w Gᵀ"""
    count = packed.shape[0] // (9 * OUTER_ROWS)
    step = count * OUTER_ROWS
    for item in prange(count):
        p = packed[item * 9 * OUTER_ROWS:]
        t = np.empty(18 * OUTER_ROWS, packed.dtype)
        for j in range(3):
            for i in range(OUTER_ROWS):
                turned_weights(p[j * OUTER_ROWS + i], p[(3 + j) * OUTER_ROWS + i], p[(6 + j) * OUTER_ROWS + i],
                               t, j * OUTER_ROWS + i, 3 * OUTER_ROWS)
        for r in range(6):
            for i in range(OUTER_ROWS):
                k = r * 3 * OUTER_ROWS + i
                turned_weights(t[k], t[k + OUTER_ROWS], t[k + 2 * OUTER_ROWS],
                               weights, r * 6 * step + item * OUTER_ROWS + i, step)


@helper
def turned(d0, d1, d2, d3, d4, d5):
    """Bᵀ times a column of six vectors."""
    even, odd = add_times(d4, -4, d2), add_times(d3, -4, d1)
    left, right = sub(d4, d2), sub(d3, d1)
    return (add_times(add_times(d4, 4, d0), -5, d2), add(even, odd), sub(even, odd),
            add_times(left, 2, right), add_times(left, -2, right), add_times(add_times(d5, 4, d1), -5, d3))


@helper
def folded(m0, m1, m2, m3, m4, m5):
    """Aᵀ times a column of six vectors."""
    even, odd, far, wide = add(m1, m2), sub(m1, m2), add(m3, m4), sub(m3, m4)
    return add(m0, add(even, far)), add_times(odd, 2, wide), add_times(even, 4, far), add(add_times(odd, 8, wide), m5)


@helper
def turn_patches(source, base, place, c, turn, out, at, step):
    """Bᵀ d B for a vector of patches of channel c, whose first lies at base; place (i, j) of 36 goes to at + 36 places."""
    L = lanes(source)
    for j in range(6):
        p = 36 * c + j
        r = turned(load(source, base + place[p]), load(source, base + place[p + 6]), load(source, base + place[p + 12]),
                   load(source, base + place[p + 18]), load(source, base + place[p + 24]), load(source, base + place[p + 30]))
        put(turn, j * L, r[0])
        put(turn, (6 + j) * L, r[1])
        put(turn, (12 + j) * L, r[2])
        put(turn, (18 + j) * L, r[3])
        put(turn, (24 + j) * L, r[4])
        put(turn, (30 + j) * L, r[5])
    for i in range(6):
        t, u = i * 6 * L, at + i * 6 * step
        r = turned(load(turn, t), load(turn, t + L), load(turn, t + 2 * L), load(turn, t + 3 * L), load(turn, t + 4 * L),
                   load(turn, t + 5 * L))
        put(out, u, r[0])
        put(out, u + step, r[1])
        put(out, u + 2 * step, r[2])
        put(out, u + 3 * step, r[3])
        put(out, u + 4 * step, r[4])
        put(out, u + 5 * step, r[5])


@helper
def fold_patches(products, at, step, turn, out):
    """Aᵀ m A for a vector of patches: 36 vectors, ``step`` apart, to the 16 of a 4 x 4 patch."""
    L = lanes(products)
    for j in range(6):
        m = at + j * step
        r = folded(load(products, m), load(products, m + 6 * step), load(products, m + 12 * step),
                   load(products, m + 18 * step), load(products, m + 24 * step), load(products, m + 30 * step))
        put(turn, j * L, r[0])
        put(turn, (6 + j) * L, r[1])
        put(turn, (12 + j) * L, r[2])
        put(turn, (18 + j) * L, r[3])
    for i in range(4):
        t = i * 6 * L
        r = folded(load(turn, t), load(turn, t + L), load(turn, t + 2 * L), load(turn, t + 3 * L), load(turn, t + 4 * L),
                   load(turn, t + 5 * L))
        put(out, (4 * i) * L, r[0])
        put(out, (4 * i + 1) * L, r[1])
        put(out, (4 * i + 2) * L, r[2])
        put(out, (4 * i + 3) * L, r[3])


@compiled(parallel=True)
def _convolve_patches(planes: In2, weights: In1, place: IntIn1, width: int, down: int, across: int, y: Out4):
    """The patches of all images, three vectors of them at a time: turned, multiplied, folded."""
    N, F, OH, OW = y.shape
    size = planes.shape[1]
    C = place.shape[0] // 36
    source = planes.reshape(N * size)
    L = lanes(source)
    length = (down - 1) * width + across                # patches of an image, with a junk one after each row
    each = (length + L - 1) // L                        # vectors of them
    block = OUTER_COLUMNS * L
    rows = (F + OUTER_ROWS - 1) // OUTER_ROWS * OUTER_ROWS
    for item in prange((N * each + OUTER_COLUMNS - 1) // OUTER_COLUMNS):
        patches = np.empty(36 * C * block, source.dtype)                # (36, C, block)
        products = np.empty(36 * rows * block, source.dtype)            # (36, F, block)
        turn, out = np.empty(36 * L, source.dtype), np.empty(16 * L, source.dtype)
        for v in range(OUTER_COLUMNS):
            vector = min(item * OUTER_COLUMNS + v, N * each - 1)        # the last block may repeat the last vector
            base = vector // each * size + vector % each * L
            for c in range(C):
                turn_patches(source, base, place, c, turn, patches, c * block + v * L, C * block)
        for k in range(36):
            for f in range(0, rows, OUTER_ROWS):
                tile = zeros(source, OUTER_ROWS, OUTER_COLUMNS)
                for c in range(C):
                    tile = outer(tile, OUTER_ROWS, OUTER_COLUMNS, weights, (k * rows + f) * C + c * OUTER_ROWS, 1,
                                 patches, (k * C + c) * block)
                store(tile, OUTER_ROWS, OUTER_COLUMNS, products, (k * rows + f) * block, block)
        for v in range(min(OUTER_COLUMNS, N * each - item * OUTER_COLUMNS)):
            vector = item * OUTER_COLUMNS + v
            n, first = vector // each, vector % each * L
            for f in range(F):
                fold_patches(products, f * block + v * L, rows * block, turn, out)
                for t in range(min(L, length - first)):
                    top, left = (first + t) // width * 4, (first + t) % width * 4
                    if left + 4 <= OW and top + 4 <= OH:
                        for i in range(4):
                            for j in range(4):
                                y[n, f, top + i, left + j] = out[(4 * i + j) * L + t]
                    else:
                        for i in range(min(4, OH - top)):
                            for j in range(min(4, OW - left)):
                                y[n, f, top + i, left + j] = out[(4 * i + j) * L + t]
