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

The price is accuracy. The transforms add and subtract numbers of different size, and a float32 result is off by 2e-5 to
9e-5 of its spread (64 to 512 channels), where direct summation is off by 3e-6 to 7e-6. It needs 3 x 3
filters, stride 1, no dilation and no groups.
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
    entries,
    lanes,
    lanes_of,
    load,
    none,
    outer_at,
    plus,
    put,
    store,
    sub,
    times,
    turn,
    vectors,
    zeros,
)
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

GAIN = 1.1          # how much faster it must promise to be, to be chosen
NEAR = 704 * 1024   # bytes of transformed pixels that a thread keeps near
SMALL = 4 * 2**20   # bytes of transformed weights that may be fetched for every block
LARGE = 16 * 2**20  # bytes of transformed weights that do not stay in the last cache until they are used
SEGMENT = 8         # patches of a line that are transformed together: 34 pixels of 16 channels stay in the first-level cache
STAGE = 3 * 2**20, 24 * 2**20       # at least and at most this many bytes go through a step together
PIECE = 56          # patches of a stage that one thread transforms at a time
SKEW = 16           # numbers between the 36 places' matrices, so that they do not all meet in one set of the cache


def _possible(shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> bool:
    return tuple(shape[2:]) == (3, 3) and stride == (1, 1) and dilation == (1, 1) and groups == 1 and max(padding) <= 2


def _insist(possible: bool) -> None:
    if not possible:
        raise ValueError("Winograd's convolution takes 3 x 3 filters with stride 1, dilation 1, one group and padding up to 2; "
                         "call another rung")


def _pays(array: np.ndarray, shape: tuple[int, ...], images: int, OH: int, OW: int) -> bool:
    """Whether it promises to be faster by `GAIN` than direct summation.

    All in about the cycles of one core, for vectors of filters f and of channels c: the products, the transforms of the
    patches, and that of the weights. The constants were fitted to measured layers of 16 to 512 channels.
    """
    F, C = shape[:2]
    L = lanes_of(array)
    if min(F, C) < L:
        return False
    f, c = -(-F // (TALL_COLUMNS * L)) * TALL_COLUMNS, -(-C // L)
    patches = images * -(-OH // 4) * -(-OW // 4)
    weights = 900 if 36 * F * C * array.itemsize <= LARGE else 1600
    cost = patches * (36 * f * C + 700 * c + 700 * f) + weights * f * C
    return images * OH * OW * f * (9 * C + 20) > GAIN * cost


def _forward_accepts(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                     groups: int = 1) -> bool:
    return vectors(x) and _possible(w.shape, stride, padding, dilation, groups)


def _forward_worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                   groups: int = 1) -> bool:
    return _pays(x, w.shape, x.shape[0], x.shape[2] + 2 * padding[0] - 2, x.shape[3] + 2 * padding[1] - 2)


def _input_accepts(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                   dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return vectors(g) and _possible(w.shape, stride, padding, dilation, groups)


def _input_worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], *_: Any, **__: Any) -> bool:
    return _pays(g, w.shape, shape[0], shape[2], shape[3])


@rung("conv2d_forward", name="winograd", device="cpu", exact=False, accepts=_forward_accepts, worth=_forward_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Four times fewer multiplications, for transforms before and after: 2 to 3 times the rung below with 32 channels or more.

    For 3 x 3 filters of stride 1, where there are patches enough to pay for transforming the weights (not for a single
    image of 14 x 14 with 256 channels). Its error, up to 1e-4 of the spread of the results in float32, is why
    ``set_exact(True)`` leaves it out.
    """
    _insist(_possible(w.shape, stride, padding, dilation, groups))
    F, K = len(w), w[:1].size
    return _convolve(x, F, turned_panels(w, 1, 0, F, K, 1, 0, K), False, padding)


@rung("conv2d_input", name="winograd", device="cpu", exact=False, accepts=_input_accepts, worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """At stride 1 the gradient to the image is a convolution with the filters turned round, and this is that."""
    _insist(_possible(w.shape, stride, padding, dilation, groups))
    F, C = w.shape[:2]
    panels = turned_panels(w, 1, 0, C, 9, F, 9 * C, 9)
    return _convolve(g, C, panels, True, (2 - padding[0], 2 - padding[1]))


def _weight_accepts(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                    dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return vectors(x) and _possible(shape, stride, padding, dilation, groups)


def _weight_worth(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], *_: Any, **__: Any) -> bool:
    return _pays(x, shape, g.shape[0], g.shape[2], g.shape[3])


@rung("conv2d_weight", name="winograd", device="cpu", exact=False, accepts=_weight_accepts, worth=_weight_worth)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The forward's formula differentiated: dw = Gᵀ [ sum over patches of (A g Aᵀ) * (Bᵀ d B) ] G."""
    _insist(_possible(shape, stride, padding, dilation, groups))
    N, C, H, W = x.shape
    F, (OH, OW) = shape[0], g.shape[2:]
    dw = empty(shape, x.dtype)
    patches = N * -(-OH // 4) * -(-OW // 4)
    if not patches * F * C:
        dw[...] = 0
        return dw
    L = lanes_of(x)
    width = TALL_COLUMNS * L
    each, row = -(-F // width), -(-C // L) * L
    sums = empty((each * 36 * (C * width + SKEW),), x.dtype)
    stage = stage_size(patches, (C + F) * x.itemsize, sums.nbytes)
    _correlate_steps(
        contiguous(x).reshape(-1), N, C, H, W, *padding, contiguous(g).reshape(-1), F, OH, OW, _steps(1), stage,
        empty((36 * (stage * row + SKEW) + TALL_ROWS,), x.dtype), empty((each * 36 * (stage * width + SKEW),), x.dtype),
        sums, dw.reshape(-1), work=g.size * 9 * C // L)
    return dw


def _convolve(x: np.ndarray, rows: int, panels: np.ndarray, backward: bool, padding: Pair) -> np.ndarray:
    N, C, H, W = x.shape
    OH, OW = H + 2 * padding[0] - 2, W + 2 * padding[1] - 2
    y = empty((N, rows, OH, OW), x.dtype)
    if not y.size or not C:
        y[...] = 0
        return y
    width = TALL_COLUMNS * lanes_of(x)
    each = -(-rows // width)
    weights = empty((each * 36 * (C * width + SKEW),), x.dtype)
    _turn_weights(panels, weights, each, C, backward, work=weights.size)
    patches = N * -(-OH // 4) * -(-OW // 4)
    place = _steps(-(-C // lanes_of(x)) * lanes_of(x))
    arguments = (contiguous(x).reshape(-1), N, C, H, W, *padding, weights, place, y.reshape(-1), rows, OH, OW)
    if weights.nbytes <= SMALL:
        _convolve_blocks(*arguments, block_size(patches, C * x.itemsize, workers()), work=y.size * 9 * C // lanes_of(x))
    else:
        stage = stage_size(patches, (C + rows) * x.itemsize, weights.nbytes)
        row = -(-C // lanes_of(x)) * lanes_of(x)
        _convolve_steps(
            *arguments, stage, empty((36 * (stage * row + SKEW),), x.dtype),
            empty((each * 36 * (stage * width + SKEW),), x.dtype), work=y.size * 9 * C // lanes_of(x))
    return y


@functools.lru_cache(maxsize=64)
def _steps(row: int) -> np.ndarray:
    """Where the rows of a tile begin, in a matrix with rows of this length."""
    return np.arange(TALL_ROWS) * row


@functools.lru_cache(maxsize=1024)
def block_size(patches: int, row: int, workers: int) -> int:
    """Patches of a block, a whole number of tiles: as large as the cache allows, and all threads busy to the end."""
    tiles = -(-patches // TALL_ROWS)
    most = max(1, min(NEAR // (36 * (row + 128) * TALL_ROWS), tiles))

    def time(size: int) -> float:
        blocks = -(-tiles // size)
        return -(-blocks // workers) * (size + 0.2)             # until the last thread is done with its last block

    return TALL_ROWS * min(range(max(1, most // 2), most + 1), key=lambda size: (time(size), -size))


def stage_size(patches: int, row: int, weights: int) -> int:
    """Patches that go through the steps together: twice as many numbers as there are transformed weights, within limits.

    ``row`` is the size in bytes of what a patch needs, times 36, and ``weights`` that of the weights.
    """
    room = min(max(2 * weights, STAGE[0]), STAGE[1])
    most = max(1, room // (36 * row * TALL_ROWS))
    stages = -(-patches // (most * TALL_ROWS))
    return -(-patches // (stages * TALL_ROWS)) * TALL_ROWS


@compiled(parallel=True)
def _turn_weights(panels: In1, out: Out1, each: int, C: int, backward: bool):
    """panels (each, C, 9, width) -> out (each, 36, C, width): G w Gᵀ"""
    L = lanes(panels)
    width = TALL_COLUMNS * L
    step = C * width + SKEW
    for item in prange(each * TALL_COLUMNS):
        panel, lane = item // TALL_COLUMNS, item % TALL_COLUMNS * L
        half = np.empty(18 * L, panels.dtype)
        for c in range(C):
            at = (panel * C + c) * 9 * width + lane
            tap = width
            if backward:                                # the nine taps, from the last to the first
                at, tap = at + 8 * width, -width
            for j in range(3):
                r = turned_weights(load(panels, at + j * tap), load(panels, at + (3 + j) * tap),
                                   load(panels, at + (6 + j) * tap))
                put(half, j * L, r[0])
                put(half, (3 + j) * L, r[1])
                put(half, (6 + j) * L, r[2])
                put(half, (9 + j) * L, r[3])
                put(half, (12 + j) * L, r[4])
                put(half, (15 + j) * L, r[5])
            for i in range(6):
                r = turned_weights(load(half, 3 * i * L), load(half, (3 * i + 1) * L), load(half, (3 * i + 2) * L))
                to = (panel * 36 + 6 * i) * step + c * width + lane
                put(out, to, r[0])
                put(out, to + step, r[1])
                put(out, to + 2 * step, r[2])
                put(out, to + 3 * step, r[3])
                put(out, to + 4 * step, r[4])
                put(out, to + 5 * step, r[5])


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
def turn_patches(x, N, C, H, W, pad_h, pad_w, OH, OW, c, first, end, out, at, step):
    """Bᵀ d B of the patches ``first`` ... ``end`` - 1, for a vector of channels from c on: place k of 36 of patch t goes to
    out[at + k * step + (t - first) * row + c], a row being a whole number of vectors."""
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
                from_ = ((n * C + c) * H + h) * W + left
                for j in range(0, 4 * count + 2, L):
                    turn(x, from_ + j, H * W, -left - j, W - left - j, channels, lines, i * room + j * L, L, L, L)
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
            to = at + (t - first + j) * row + c
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
    steps = entries(place, 0, TALL_ROWS)
    for t in range(0, count, TALL_ROWS):
        tile = zeros(turned_, TALL_ROWS, TALL_COLUMNS)
        for c in range(C):
            tile = outer_at(tile, TALL_ROWS, TALL_COLUMNS, turned_, k * step + t * row + c, steps, weights, at + c * width)
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
            turn_patches(x, N, C, H, W, pad_h, pad_w, OH, OW, c, first, end, turned_, 0, step)
        for panel in range(each):
            for k in range(36):
                multiply(turned_, k, step, rows, C, weights, (panel * 36 + k) * (C * width + SKEW), place, products,
                         k * out_step)
            for f in range(panel * width, min(F, panel * width + width), L):
                fold_patches(products, f - panel * width, out_step, first, end, y, F, f, OH, OW)


@compiled(parallel=True)
def _convolve_steps(
    x: In1, N: int, C: int, H: int, W: int, pad_h: int, pad_w: int, weights: In1, place: IntIn1, y: Out1, F: int, OH: int,
    OW: int, stage: int, turned_: Out1, products: Out1,
):
    """All threads take many patches through one step after the other."""
    L = lanes(x)
    width, row = TALL_COLUMNS * L, (C + L - 1) // L * L
    patches, each = N * ((OH + 3) // 4) * ((OW + 3) // 4), (F + width - 1) // width
    step, out_step = stage * row + SKEW, stage * width + SKEW
    for first in range(0, patches, stage):
        end = min(patches, first + stage)
        rows = (end - first + TALL_ROWS - 1) // TALL_ROWS * TALL_ROWS
        pieces = (end - first + PIECE - 1) // PIECE
        for item in prange(row // L * pieces):
            c, begin = item // pieces * L, item % pieces * PIECE
            turn_patches(x, N, C, H, W, pad_h, pad_w, OH, OW, c, first + begin, min(end, first + begin + PIECE), turned_,
                         begin * row, step)
        for item in prange(36 * each):
            k, panel = item // each, item % each
            multiply(turned_, k, step, rows, C, weights, (panel * 36 + k) * (C * width + SKEW), place, products,
                     (panel * 36 + k) * out_step)
        for item in prange((F + L - 1) // L * pieces):
            f, begin = item // pieces * L, item % pieces * PIECE
            fold_patches(products, f // width * 36 * out_step + begin * width + f % width, out_step, first + begin,
                         min(end, first + begin + PIECE), y, F, f, OH, OW)


@helper
def spread(a, b, c, d):
    """A times a column of four vectors of g."""
    even, odd, far, wide = add(a, c), add(b, d), add_times(a, 4, c), add_times(times(b, 2, 1), 8, d)
    return a, add(even, odd), sub(even, odd), add(far, wide), sub(far, wide), d


@helper
def spread_patches(g, F, OH, OW, f, first, end, out, at, step):
    """A g Aᵀ of the patches ``first`` ... ``end`` - 1, for a vector of filters from f on: place k of 36 of patch t goes to
    out[at + k * step + (t - first) * width]."""
    L = lanes(g)
    width = TALL_COLUMNS * L
    down, across = (OH + 3) // 4, (OW + 3) // 4
    room = (4 * SEGMENT + L) * L
    lines, half = np.empty(4 * room, g.dtype), np.empty(24 * L, g.dtype)
    filters = min(L, F - f)
    t = first
    while t < end:
        n, top, left = t // (down * across), t // across % down * 4, t % across * 4
        count = min(SEGMENT, min(across - t % across, end - t))
        for i in range(4):
            if top + i < OH:
                from_ = ((n * F + f) * OH + top + i) * OW + left
                for j in range(0, 4 * count, L):
                    turn(g, from_ + j, OH * OW, 0, OW - left - j, filters, lines, i * room + j * L, L, L, L)
            else:
                for j in range(4 * count):
                    put(lines, i * room + j * L, none(g))
        for p in range(count):
            for j in range(4):
                q = (4 * p + j) * L
                r = spread(load(lines, q), load(lines, room + q), load(lines, 2 * room + q), load(lines, 3 * room + q))
                put(half, j * L, r[0])
                put(half, (4 + j) * L, r[1])
                put(half, (8 + j) * L, r[2])
                put(half, (12 + j) * L, r[3])
                put(half, (16 + j) * L, r[4])
                put(half, (20 + j) * L, r[5])
            to = at + (t - first + p) * width
            for i in range(6):
                q, m = to + 6 * i * step, 4 * i * L
                r = spread(load(half, m), load(half, m + L), load(half, m + 2 * L), load(half, m + 3 * L))
                put(out, q, r[0])
                put(out, q + step, r[1])
                put(out, q + 2 * step, r[2])
                put(out, q + 3 * step, r[3])
                put(out, q + 4 * step, r[4])
                put(out, q + 5 * step, r[5])
        t += count


@helper
def folded_weights(m0, m1, m2, m3, m4, m5):
    """Gᵀ times a column of six vectors."""
    even, odd = add(m1, m2), sub(m2, m1)
    far, wide = add(m3, m4), sub(m3, m4)
    return (sub(add(times(m0, 1, 4), times(far, 1, 24)), times(even, 1, 6)), add(times(odd, 1, 6), times(wide, 1, 12)),
            add(sub(times(far, 1, 6), times(even, 1, 6)), m5))


@compiled(parallel=True)
def _correlate_steps(
    x: In1, N: int, C: int, H: int, W: int, pad_h: int, pad_w: int, g: In1, F: int, OH: int, OW: int, place: IntIn1,
    stage: int, turned_: Out1, upstream: Out1, sums: Out1, dw: Out1,
):
    """sums (panels, 36, C, width) += the products of both transforms, stage by stage, and dw = Gᵀ sums G."""
    L = lanes(x)
    width, row = TALL_COLUMNS * L, (C + L - 1) // L * L
    patches, each = N * ((OH + 3) // 4) * ((OW + 3) // 4), (F + width - 1) // width
    step, g_step = stage * row + SKEW, stage * width + SKEW
    x_chunks, g_chunks = row // L, (F + L - 1) // L
    for first in range(0, patches, stage):
        end = min(patches, first + stage)
        pieces = (end - first + PIECE - 1) // PIECE
        for item in prange((x_chunks + g_chunks) * pieces):
            chunk, begin = item // pieces, item % pieces * PIECE
            last = min(end, first + begin + PIECE)
            if chunk < x_chunks:
                turn_patches(x, N, C, H, W, pad_h, pad_w, OH, OW, chunk * L, first + begin, last, turned_, begin * row, step)
            else:
                f = (chunk - x_chunks) * L
                to = f // width * 36 * g_step + begin * width + f % width
                spread_patches(g, F, OH, OW, f, first + begin, last, upstream, to, g_step)
        for item in prange(36 * each):
            k, panel = item // each, item % each
            at, to = (panel * 36 + k) * g_step, (panel * 36 + k) * (C * width + SKEW)
            edge, steps = np.empty(TALL_ROWS * width, x.dtype), entries(place, 0, TALL_ROWS)
            for c in range(0, C, TALL_ROWS):
                tile = zeros(x, TALL_ROWS, TALL_COLUMNS)
                for t in range(end - first):
                    tile = outer_at(tile, TALL_ROWS, TALL_COLUMNS, turned_, k * step + t * row + c, steps, upstream,
                                    at + t * width)
                if c + TALL_ROWS <= C:
                    if first > 0:
                        tile = plus(tile, TALL_ROWS, TALL_COLUMNS, sums, to + c * width)
                    store(tile, TALL_ROWS, TALL_COLUMNS, sums, to + c * width, width)
                else:                                   # rows beyond the last channel
                    store(tile, TALL_ROWS, TALL_COLUMNS, edge, 0, width)
                    for i in range((C - c) * width):
                        sums[to + c * width + i] = edge[i] + (sums[to + c * width + i] if first > 0 else 0)
    for item in prange(g_chunks * C):
        f, c = item // C * L, item % C
        half, out = np.empty(18 * L, x.dtype), np.empty(9 * L, x.dtype)
        s = C * width + SKEW
        m = f // width * 36 * s + c * width + f % width
        for j in range(6):
            r = folded_weights(load(sums, m + j * s), load(sums, m + (6 + j) * s), load(sums, m + (12 + j) * s),
                               load(sums, m + (18 + j) * s), load(sums, m + (24 + j) * s), load(sums, m + (30 + j) * s))
            put(half, j * L, r[0])
            put(half, (6 + j) * L, r[1])
            put(half, (12 + j) * L, r[2])
        for i in range(3):
            h = 6 * i * L
            r = folded_weights(load(half, h), load(half, h + L), load(half, h + 2 * L), load(half, h + 3 * L),
                               load(half, h + 4 * L), load(half, h + 5 * L))
            put(out, 3 * i * L, r[0])
            put(out, (3 * i + 1) * L, r[1])
            put(out, (3 * i + 2) * L, r[2])
        filters = min(L, F - f)
        for k in range(0, 9, L):                        # 9 taps of each filter; a vector may hold fewer
            taps = min(L, 9 - k)
            turn(out, k * L, L, 0, filters, taps, dw, (f * C + c) * 9 + k, 9 * C, filters, taps)
