"""Winograd's convolution F(4x4, 3x3): a quarter of the multiplications.

Sixteen outputs of a 3 x 3 filter, a 4 x 4 patch, depend on a 6 x 6 patch of the image, and cost 144 multiplications one by
one. They can be had with 36 (Winograd 1980; Lavin and Gray 2016, section 4.3):

    patch of y = Aᵀ [ (G w Gᵀ) * (Bᵀ d B) ] A           * element by element, d the patch of the image

The transforms B, G and A are small fixed matrices, applied along columns and rows. Summed over channels, each of the 36
places is a matrix product of its own, (patches x channels) times (channels x filters), for which the tile of
``conv_direct.py`` serves: rows are patches, lanes are filters.

In the transforms the lanes are channels, 16 at a time: a few lines of 16 channels are turned over as they are read, so
that a pixel is a vector, and turned back as results are written. Patches need not fill vectors then, and an image of 14 x
14 costs no more per patch than one of 224 x 224.

What the 36 products read and write should stay near. If the transformed weights are small, a thread takes a block of
patches through all three steps, in its own second-level cache. If they are large (36 C F numbers), fetching them for every
block would cost more than the products, so all threads take many patches through one step after the other.

The price is accuracy. The transforms add and subtract numbers of different size, and a float32 result is off by about
1e-5 to 1e-4 of its spread, where direct summation is off by 1e-6 to 1e-5. It needs 3 x 3 filters, stride 1, no dilation
and no groups.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, compiled, contiguous, helper, prange
from minivision_kernels.cpu.conv_direct import turned_panels
from minivision_kernels.cpu.simd import (
    TALL_COLUMNS,
    TALL_ROWS,
    add,
    add_times,
    lanes,
    lanes_of,
    load,
    none,
    outer_at,
    put,
    store,
    sub,
    times,
    turn,
    vectors,
    zeros,
)
from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair

GAIN = 1.1          # how much faster it must promise to be, to be chosen
NEAR = 704 * 1024   # bytes of transformed pixels that a thread keeps near
SMALL = 4 * 2**20   # bytes of transformed weights that may be fetched for every block
SEGMENT = 8         # patches of a line that are transformed together: 34 pixels of 16 channels stay in the first-level cache
SKEW = 16           # numbers between the 36 places' matrices, so that they do not all meet in one set of the cache


def _possible(w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> bool:
    return w.shape[2:] == (3, 3) and stride == (1, 1) and dilation == (1, 1) and groups == 1 and max(padding) <= 2


def _insist(possible: bool) -> None:
    if not possible:
        raise ValueError("Winograd's convolution takes 3 x 3 filters with stride 1, dilation 1, one group and padding up to 2; "
                         "call another rung")


def _pays(array: np.ndarray, w: np.ndarray, images: int, OH: int, OW: int) -> bool:
    """Whether it promises to be faster by `GAIN` than direct summation.

    All in about the cycles of one core, per vector of 16 numbers: the products, the two transforms of the patches, and the
    transform of the weights. The constants were fitted to measured layers.
    """
    F, C = w.shape[:2]
    if min(F, C) < lanes_of(array):
        return False
    L = lanes_of(array)
    patches, f, c = images * -(-OH // 4) * -(-OW // 4), -(-F // (2 * L)) * 2, -(-C // L)
    cost = patches * (36 * f * C + 330 * c + 300 * f) + 60 * f * C
    return images * OH * OW * f * (9 * C + 20) > GAIN * cost


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
    F, K = len(w), w[:1].size
    return _convolve(x, F, turned_panels(w, 1, 0, F, K, 1, 0, K, TALL_COLUMNS * lanes_of(w)), False, padding)


@rung("conv2d_input", name="winograd", device="cpu", exact=False, accepts=_input_accepts, worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """At stride 1 the gradient to the image is a convolution with the filters turned round, and this is that."""
    _insist(_possible(w, stride, padding, dilation, groups))
    F, C = w.shape[:2]
    panels = turned_panels(w, 1, 0, C, 9, F, 9 * C, 9, TALL_COLUMNS * lanes_of(w))
    return _convolve(g, C, panels, True, (2 - padding[0], 2 - padding[1]))


def _convolve(x: np.ndarray, rows: int, panels: np.ndarray, backward: bool, padding: Pair) -> np.ndarray:
    N, C, H, W = x.shape
    OH, OW = H + 2 * padding[0] - 2, W + 2 * padding[1] - 2
    y = np.empty((N, rows, OH, OW), x.dtype)
    if not y.size or not C:
        y[...] = 0
        return y
    width = TALL_COLUMNS * lanes_of(x)
    each = -(-rows // width)
    weights = np.empty(each * 36 * C * width, x.dtype)
    _turn_weights(panels, weights, each, C, backward, work=weights.size)
    patches = N * -(-OH // 4) * -(-OW // 4)
    place = _steps(-(-C // lanes_of(x)) * lanes_of(x))
    arguments = (contiguous(x).reshape(-1), N, C, H, W, *padding, weights, place, y.reshape(-1), rows, OH, OW)
    if weights.nbytes <= SMALL:
        _convolve_blocks(*arguments, block_size(patches, C * x.itemsize, workers()), work=y.size * 9 * C)
    else:
        _convolve_steps(*arguments, stage_size(patches, (C + rows) * x.itemsize), work=y.size * 9 * C)
    return y


@functools.lru_cache(maxsize=64)
def _steps(row: int) -> np.ndarray:
    """Where the rows of a tile begin, in a matrix with rows of this length."""
    return np.arange(TALL_ROWS) * row


@functools.lru_cache(maxsize=1024)
def block_size(patches: int, row: int, workers: int) -> int:
    """Patches of a block, a whole number of tiles: as large as the cache allows, and all threads busy to the end."""
    most = max(1, min(NEAR // (36 * (row + 128) * TALL_ROWS), -(-patches // TALL_ROWS)))
    return TALL_ROWS * min(range(max(1, most // 2), most + 1), key=lambda n: (
        -(--(-patches // (n * TALL_ROWS)) // workers) * n * (1 + 0.2 / n), -n))


def stage_size(patches: int, row: int) -> int:
    """Patches that go through the steps together: up to 24 MB of transformed numbers."""
    most = max(1, 24 * 2**20 // (36 * row * TALL_ROWS))
    stages = -(-patches // (most * TALL_ROWS))
    return -(-patches // (stages * TALL_ROWS)) * TALL_ROWS


@compiled(parallel=True)
def _turn_weights(panels: In1, out: Out1, each: int, C: int, backward: bool):
    """panels (each, C, 9, width) -> out (each, 36, C, width): G w Gᵀ"""
    L = lanes(panels)
    width = TALL_COLUMNS * L
    for item in prange(each * C):
        panel, c = item // C, item % C
        half = np.empty(18 * L, panels.dtype)
        for lane in range(0, width, L):
            at = item * 9 * width + lane
            step = width
            if backward:                                # the nine taps, from the last to the first
                at, step = at + 8 * width, -width
            for j in range(3):
                r = turned_weights(load(panels, at + j * step), load(panels, at + (3 + j) * step),
                                   load(panels, at + (6 + j) * step))
                put(half, j * L, r[0])
                put(half, (3 + j) * L, r[1])
                put(half, (6 + j) * L, r[2])
                put(half, (9 + j) * L, r[3])
                put(half, (12 + j) * L, r[4])
                put(half, (15 + j) * L, r[5])
            for i in range(6):
                r = turned_weights(load(half, 3 * i * L), load(half, (3 * i + 1) * L), load(half, (3 * i + 2) * L))
                to = ((panel * 36 + 6 * i) * C + c) * width + lane
                put(out, to, r[0])
                put(out, to + C * width, r[1])
                put(out, to + 2 * C * width, r[2])
                put(out, to + 3 * C * width, r[3])
                put(out, to + 4 * C * width, r[4])
                put(out, to + 5 * C * width, r[5])


@helper
def turned_weights(a, b, c):
    """G times a column of three vectors of weights."""
    sum_, twelfth, rest = times(add(a, c), 1, 6), times(b, 1, 12), add(times(a, 1, 24), times(c, 1, 6))
    sixth = times(b, 1, 6)
    minus = times(sum_, -1, 1)
    return times(a, 1, 4), sub(minus, sixth), add(minus, sixth), add(rest, twelfth), sub(rest, twelfth), c


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
def turn_patches(x, N, C, H, W, pad_h, pad_w, OH, OW, c, first, end, out, step):
    """Bᵀ d B of the patches ``first`` ... ``end`` - 1, for a vector of channels from c on: place k of 36 of patch t goes to
    out[k * step + (t - first) * row + c], a row being a whole number of vectors."""
    L = lanes(x)
    row = (C + L - 1) // L * L
    down, across = (OH + 3) // 4, (OW + 3) // 4
    room = (4 * SEGMENT + 2 + L) * L
    lines, half = np.empty(6 * room, x.dtype), np.empty(6 * room, x.dtype)
    channels = min(L, C - c)
    t = first
    while t < end:
        n, top, left = t // (down * across), t // across % down * 4 - pad_h, t % across * 4 - pad_w
        count = min(SEGMENT, min(across - t % across, end - t))
        for i in range(6):
            h = top + i
            if 0 <= h < H:
                at = ((n * C + c) * H + h) * W + left
                for j in range(0, 4 * count + 2, L):
                    turn(x, at + j, H * W, -left - j, W - left - j, channels, lines, i * room + j * L, L, L, L)
            else:
                for j in range(4 * count + 2):
                    put(lines, i * room + j * L, none(x))
        for j in range(4 * count + 2):
            p = j * L
            r = turned(load(lines, p), load(lines, room + p), load(lines, 2 * room + p), load(lines, 3 * room + p),
                       load(lines, 4 * room + p), load(lines, 5 * room + p))
            put(half, p, r[0])
            put(half, room + p, r[1])
            put(half, 2 * room + p, r[2])
            put(half, 3 * room + p, r[3])
            put(half, 4 * room + p, r[4])
            put(half, 5 * room + p, r[5])
        for j in range(count):
            to = (t - first + j) * row + c
            for i in range(6):
                p = i * room + 4 * j * L
                r = turned(load(half, p), load(half, p + L), load(half, p + 2 * L), load(half, p + 3 * L),
                           load(half, p + 4 * L), load(half, p + 5 * L))
                q = to + 6 * i * step
                put(out, q, r[0])
                put(out, q + step, r[1])
                put(out, q + 2 * step, r[2])
                put(out, q + 3 * step, r[3])
                put(out, q + 4 * step, r[4])
                put(out, q + 5 * step, r[5])
        t += count


@helper
def multiply(turned_, k, step, count, C, weights, at, place, out, to):
    """out (count, width) = the matrix of place k, (count, C), times the weights (C, width) from ``at`` on."""
    L = lanes(turned_)
    width, row = TALL_COLUMNS * L, (C + L - 1) // L * L
    for t in range(0, count, TALL_ROWS):
        tile = zeros(turned_, TALL_ROWS, TALL_COLUMNS)
        for c in range(C):
            tile = outer_at(tile, TALL_ROWS, TALL_COLUMNS, turned_, k * step + t * row + c, place, weights, at + c * width)
        store(tile, TALL_ROWS, TALL_COLUMNS, out, to + t * width, width)


@helper
def fold_patches(products, at, step, first, end, y, F, f, OH, OW):
    """y of the patches ``first`` ... ``end`` - 1, for a vector of filters from f on: Aᵀ m A of their 36 products, of which
    place k of patch t is at + k * step + (t - first) * width."""
    L = lanes(products)
    width = TALL_COLUMNS * L
    down, across = (OH + 3) // 4, (OW + 3) // 4
    room = (4 * SEGMENT + L) * L
    half, out = np.empty(24 * L, products.dtype), np.empty(4 * room, products.dtype)
    filters = min(L, F - f)
    t = first
    while t < end:
        n, top, left = t // (down * across), t // across % down * 4, t % across * 4
        count = min(SEGMENT, min(across - t % across, end - t))
        for p in range(count):
            for j in range(6):
                m = at + j * step + (t - first + p) * width
                r = folded(load(products, m), load(products, m + 6 * step), load(products, m + 12 * step),
                           load(products, m + 18 * step), load(products, m + 24 * step), load(products, m + 30 * step))
                put(half, j * L, r[0])
                put(half, (6 + j) * L, r[1])
                put(half, (12 + j) * L, r[2])
                put(half, (18 + j) * L, r[3])
            for i in range(4):
                m, q = 6 * i * L, i * room + 4 * p * L
                r = folded(load(half, m), load(half, m + L), load(half, m + 2 * L), load(half, m + 3 * L),
                           load(half, m + 4 * L), load(half, m + 5 * L))
                put(out, q, r[0])
                put(out, q + L, r[1])
                put(out, q + 2 * L, r[2])
                put(out, q + 3 * L, r[3])
        right = min(4 * count, OW - left)
        for i in range(min(4, OH - top)):
            to = ((n * F + f) * OH + top + i) * OW + left
            for j in range(0, right, L):
                turn(out, i * room + j * L, L, 0, filters, L, y, to + j, OH * OW, filters, min(L, right - j))
        t += count


@compiled(parallel=True)
def _convolve_blocks(
    x: In1, N: int, C: int, H: int, W: int, pad_h: int, pad_w: int, weights: In1, place: IntIn1, y: Out1, F: int, OH: int,
    OW: int, block: int,
):
    """A thread takes a block of patches through all three steps."""
    L = lanes(x)
    width = TALL_COLUMNS * L
    patches, each = N * ((OH + 3) // 4) * ((OW + 3) // 4), (F + width - 1) // width
    for item in prange((patches + block - 1) // block):
        first, end = item * block, min(patches, item * block + block)
        step, out_step = block * ((C + L - 1) // L * L) + SKEW, block * width + SKEW
        turned_, products = np.empty(36 * step, x.dtype), np.empty(36 * out_step, x.dtype)
        rows = (end - first + TALL_ROWS - 1) // TALL_ROWS * TALL_ROWS
        for c in range(0, C, L):
            turn_patches(x, N, C, H, W, pad_h, pad_w, OH, OW, c, first, end, turned_, step)
        for panel in range(each):
            for k in range(36):
                multiply(turned_, k, step, rows, C, weights, (panel * 36 + k) * C * width, place, products, k * out_step)
            for f in range(panel * width, min(F, panel * width + width), L):
                fold_patches(products, f - panel * width, out_step, first, end, y, F, f, OH, OW)


@compiled(parallel=True)
def _convolve_steps(
    x: In1, N: int, C: int, H: int, W: int, pad_h: int, pad_w: int, weights: In1, place: IntIn1, y: Out1, F: int, OH: int,
    OW: int, stage: int,
):
    """All threads take many patches through one step after the other."""
    L = lanes(x)
    width = TALL_COLUMNS * L
    patches, each = N * ((OH + 3) // 4) * ((OW + 3) // 4), (F + width - 1) // width
    step, out_step = stage * ((C + L - 1) // L * L) + SKEW, stage * width + SKEW
    turned_, products = np.empty(36 * step, x.dtype), np.empty(each * 36 * out_step, x.dtype)
    for first in range(0, patches, stage):
        end = min(patches, first + stage)
        rows = (end - first + TALL_ROWS - 1) // TALL_ROWS * TALL_ROWS
        for chunk in prange((C + L - 1) // L):
            turn_patches(x, N, C, H, W, pad_h, pad_w, OH, OW, chunk * L, first, end, turned_, step)
        for item in prange(36 * each):
            k, panel = item // each, item % each
            multiply(turned_, k, step, rows, C, weights, (panel * 36 + k) * C * width, place, products,
                     (panel * 36 + k) * out_step)
        for chunk in prange((F + L - 1) // L):
            panel, lane = chunk // TALL_COLUMNS, chunk % TALL_COLUMNS * L
            fold_patches(products, panel * 36 * out_step + lane, out_step, first, end, y, F, chunk * L, OH, OW)
