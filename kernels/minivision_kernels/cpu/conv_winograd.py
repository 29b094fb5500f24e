"""Winograd's convolution: F(4x4, 3x3), a quarter of the multiplications, and F(2x2, 3x3), four ninths of them.

Sixteen outputs of a 3 x 3 filter, a 4 x 4 patch, depend on a 6 x 6 patch of the image, and cost 144 multiplications one by
one. They can be had with 36 (Winograd 1980; Lavin and Gray 2016, section 4.3):

    patch of y = Aᵀ [ (G w Gᵀ) * (Bᵀ d B) ] A           * element by element, d the patch of the image

The transforms B, G and A are small fixed matrices, applied along columns and rows (``transforms.py``). Summed over channels,
each of the 36 places is a matrix product of its own, (patches x channels) times (channels x filters), for which the tile of
``conv_direct.py`` serves: rows are patches, lanes are filters. In the transforms the lanes are channels (``patches.py``).

What the products read and write should stay near. If the transformed weights are small, a thread takes a block of
patches through all three steps, in its own second-level cache. If they are large (36 C F numbers), fetching them for every
block would cost more than the products, so all threads take many patches through one step after the other. It is the same
with the sums of the gradient to the filters: where they are few, each thread adds up its own, 1.1 to 1.8 times as fast as all
threads step by step, which hand each other what they have transformed through the last cache.

The price is accuracy. The transforms add and subtract numbers of different size, and a float32 result is off by 2e-5 to
9e-5 of its spread (64 to 512 channels), where direct summation is off by 3e-6 to 7e-6. Four outputs from a 4 x 4 patch, with 16
multiplications instead of 36, need no factors but 1/2: with its shorter sums (over channels only, not over taps) that is off by
1e-6 to 5e-6 of the spread, less than direct summation (64 to 512 channels, measured), and so counts as exact. Both need 3 x 3
filters, stride 1, no dilation and no groups.
"""

from __future__ import annotations

import functools
import types
from typing import Any, NamedTuple

import numpy as np

from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, prange
from minivision_kernels.cpu.conv_direct import direct_cost, turned_panels
from minivision_kernels.cpu.patches import (
    CROSS_ROWS,
    correlate,
    fold_filter,
    fold_patches,
    multiply,
    spread_patches,
    turn_filter,
    turn_patches,
)
from minivision_kernels.cpu.simd import TALL_COLUMNS, TALL_ROWS, add, lanes, lanes_of, load, put, room, vectors
from minivision_kernels.cpu.writer import BYTES
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

GAIN = 1.1          # how much faster it must promise to be, to be chosen
NEAR = 704 * 1024   # bytes of transformed pixels that a thread keeps near
SMALL = 4 * 2**20   # bytes of transformed weights that may be fetched for every block
STAGE = 3 * 2**20, 24 * 2**20       # at least and at most this many bytes go through a step together
PIECE = 4 * TALL_ROWS               # patches of a stage that one thread transforms at a time
# Bytes of sums, and of what is transformed for them, that a thread keeps near.
MINE, BESIDE = (640 * 1024, 540 * 1024) if BYTES == 64 else (320 * 1024, 270 * 1024)
ALL, MOST_PARTS = 8 * 2**20, 16     # bytes, at most, of the sums of all parts of the patches, and how many parts there are
SKEW = 16           # numbers between the matrices of places, so that they do not all meet in one set of the cache


class Price(NamedTuple):
    """In multiply-adds of vectors, about: what the transforms of a patch cost for a vector of channels or of filters, and
    those of the weights for a vector of filters and a channel, if all of them stay near until they are used, and if not."""

    patch: int
    near: int
    far: int


# Fitted to measured layers of 16 to 512 channels. Transforms move lines from cache to cache, and a vector of AVX-512 is a whole
# line; its multiply-adds are no slower for that.
PRICES = {4: Price(1050, 2000, 5000), 2: Price(430, 900, 1500)} if BYTES == 64 else {
    4: Price(700, 900, 1600), 2: Price(300, 400, 400)}
LARGE = (1 if BYTES == 64 else 16) * 2**20      # bytes of transformed weights that are not near


def _possible(shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> bool:
    return tuple(shape[2:]) == (3, 3) and stride == (1, 1) and dilation == (1, 1) and groups == 1 and max(padding) <= 2


def _insist(possible: bool) -> None:
    if not possible:
        raise ValueError("Winograd's convolution takes 3 x 3 filters with stride 1, dilation 1, one group and padding up to 2; "
                         "call another rung")


def _cost(array: np.ndarray, shape: tuple[int, ...], images: int, OH: int, OW: int, size: int) -> float:
    """About the multiply-adds of vectors, or what takes as long: products, for whole tiles of patches, and transforms."""
    F, C = shape[:2]
    f, c = _vectors(array, F, C)
    patches, places = images * -(-OH // size) * -(-OW // size), (size + 2) ** 2
    price = PRICES[size]
    weights = price.near if places * F * C * array.itemsize <= LARGE else price.far
    return -(-patches // TALL_ROWS) * TALL_ROWS * places * f * C + patches * price.patch * (c + f) + weights * f * C


def _vectors(array: np.ndarray, F: int, C: int) -> Pair:
    L = lanes_of(array)
    return -(-F // (TALL_COLUMNS * L)) * TALL_COLUMNS, -(-C // L)


def _pays(array: np.ndarray, shape: tuple[int, ...], images: int, OH: int, OW: int, size: int, dear: float = 1) -> bool:
    """Whether it promises to be faster by `GAIN` than direct summation, and, if larger, no slower than the smaller size, which
    is ``dear`` times as costly as it looks."""
    F, C = shape[:2]
    if min(F, C) < lanes_of(array):
        return False
    costs = {4: _cost(array, shape, images, OH, OW, 4), 2: dear * _cost(array, shape, images, OH, OW, 2)}
    return direct_cost(array, images * OH * OW, F, 9 * C) > GAIN * costs[size] and costs[size] <= costs[2]


def _forward_accepts(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                     groups: int = 1) -> bool:
    return vectors(x) and _possible(w.shape, stride, padding, dilation, groups)


def _forward_worth(size: int) -> Any:
    def worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
              groups: int = 1) -> bool:
        return _pays(x, w.shape, x.shape[0], x.shape[2] + 2 * padding[0] - 2, x.shape[3] + 2 * padding[1] - 2, size)

    return worth


def _input_accepts(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                   dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return vectors(g) and _possible(w.shape, stride, padding, dilation, groups)


def _input_worth(size: int) -> Any:
    def worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], *_: Any, **__: Any) -> bool:
        return _pays(g, w.shape, shape[0], shape[2], shape[3], size)

    return worth


@rung("conv2d_forward", name="winograd2", device="cpu", accepts=_forward_accepts, worth=_forward_worth(2))
def conv2d_forward_2(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """F(2x2, 3x3): 2.25 times fewer multiplications, with transforms that cost little accuracy and few weights to transform.

    1.7 to 2 times the rung below on layers of 64 to 128 channels (one thread, AVX2), where the larger patches reach 2.6 to 3
    times. It loses no accuracy against direct summation, so it is there with ``set_exact(True)`` too. Otherwise it is chosen
    where the larger patches would lie mostly beyond the edge, or transforming their weights would cost more than it saves.
    """
    _insist(_possible(w.shape, stride, padding, dilation, groups))
    return _forward(x, w, padding, 2)


@rung("conv2d_forward", name="winograd", device="cpu", exact=False, accepts=_forward_accepts, worth=_forward_worth(4))
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Four times fewer multiplications, for transforms before and after: 2 to 3 times the rung below with 32 channels or more.

    For 3 x 3 filters of stride 1, where there are patches enough to pay for transforming the weights (not for a single
    image of 14 x 14 with 256 channels). Its error, up to 1e-4 of the spread of the results in float32, is why
    ``set_exact(True)`` leaves it out.
    """
    _insist(_possible(w.shape, stride, padding, dilation, groups))
    return _forward(x, w, padding, 4)


@rung("conv2d_input", name="winograd2", device="cpu", accepts=_input_accepts, worth=_input_worth(2))
def conv2d_input_2(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same from smaller patches."""
    _insist(_possible(w.shape, stride, padding, dilation, groups))
    return _input(g, w, padding, 2)


@rung("conv2d_input", name="winograd", device="cpu", exact=False, accepts=_input_accepts, worth=_input_worth(4))
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """At stride 1 the gradient to the image is a convolution with the filters turned round, and this is that."""
    _insist(_possible(w.shape, stride, padding, dilation, groups))
    return _input(g, w, padding, 4)


def _weight_accepts(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                    dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return vectors(x) and _possible(shape, stride, padding, dilation, groups)


def _weight_worth(size: int) -> Any:
    def worth(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], *_: Any, **__: Any) -> bool:
        return _pays(x, shape, g.shape[0], g.shape[2], g.shape[3], size, dear=1.5 if BYTES == 64 else 1)

    return worth


@rung("conv2d_weight", name="winograd2", device="cpu", accepts=_weight_accepts, worth=_weight_worth(2))
def conv2d_weight_2(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same from smaller patches."""
    _insist(_possible(shape, stride, padding, dilation, groups))
    return _weight(x, g, shape, padding, 2)


@rung("conv2d_weight", name="winograd", device="cpu", exact=False, accepts=_weight_accepts, worth=_weight_worth(4))
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The forward's formula differentiated: dw = Gᵀ [ sum over patches of (A g Aᵀ) * (Bᵀ d B) ] G."""
    _insist(_possible(shape, stride, padding, dilation, groups))
    return _weight(x, g, shape, padding, 4)


def _forward(x: np.ndarray, w: np.ndarray, padding: Pair, size: int) -> np.ndarray:
    F, K = len(w), w[:1].size
    return _convolve(x, F, turned_panels(w, 1, 0, F, K, 1, 0, K), False, padding, size)


def _input(g: np.ndarray, w: np.ndarray, padding: Pair, size: int) -> np.ndarray:
    F, C = w.shape[:2]
    return _convolve(g, C, turned_panels(w, 1, 0, C, 9, F, 9 * C, 9), True, (2 - padding[0], 2 - padding[1]), size)


def _weight(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], padding: Pair, size: int) -> np.ndarray:
    N, C, H, W = x.shape
    F, (OH, OW) = shape[0], g.shape[2:]
    dw = empty(shape, x.dtype)
    patches, places = N * -(-OH // size) * -(-OW // size), (size + 2) ** 2
    if not patches * F * C:
        dw[...] = 0
        return dw
    L, size_of = lanes_of(x), x.itemsize
    width = TALL_COLUMNS * L
    each, row, rows = -(-F // width), _whole(C, L), _whole(C, CROSS_ROWS)
    arguments = contiguous(x).reshape(-1), N, C, H, W, *padding, contiguous(g).reshape(-1), F, OH, OW
    sums_size = each * places * (rows * width + SKEW)
    if sums_size * size_of <= MINE:
        parts = min(MOST_PARTS, -(-patches // PIECE), max(2, ALL // (sums_size * size_of) // 2 * 2))
        block = block_size(BESIDE, patches, row * size_of, each, places, 1)
        sums = empty((parts * sums_size,), x.dtype)
        _correlate_blocks[size](*arguments, parts, block, sums, work=g.size * 9 * C // L)
        if parts > 1:
            _add_parts(sums, parts, sums_size, work=parts * sums_size // L)
    else:
        sums = empty((sums_size,), x.dtype)
        stage = stage_size(patches, places * (C + F) * size_of, sums.nbytes)
        turned = empty((places * (stage * row + SKEW),), x.dtype)
        upstream = empty((each * places * (stage * width + SKEW),), x.dtype)
        for first in range(0, patches, stage):
            end = min(patches, first + stage)
            work = (end - first) * places * (row + each * width)
            _turn_both[size](*arguments, first, end, stage, turned, upstream, work=work)
            _correlate[size](C, F, first, end, stage, turned, upstream, sums, work=work // L * min(row, each * width))
    _fold_filters[size](sums, dw.reshape(-1), F, C, work=dw.size)
    return dw


def _convolve(x: np.ndarray, rows: int, panels: np.ndarray, backward: bool, padding: Pair, size: int) -> np.ndarray:
    N, C, H, W = x.shape
    OH, OW = H + 2 * padding[0] - 2, W + 2 * padding[1] - 2
    y = empty((N, rows, OH, OW), x.dtype)
    if not y.size or not C:
        y[...] = 0
        return y
    width, places = TALL_COLUMNS * lanes_of(x), (size + 2) ** 2
    each = -(-rows // width)
    weights = empty((each * places * (C * width + SKEW),), x.dtype)
    _turn_weights[size](panels, weights, each, C, backward, work=weights.size)
    patches, row = N * -(-OH // size) * -(-OW // size), _whole(C, lanes_of(x))
    image = contiguous(x).reshape(-1), N, C, H, W, *padding
    if weights.nbytes <= SMALL:
        block = block_size(NEAR, patches, row * x.itemsize, 1, places, workers())
        _convolve_blocks[size](*image, weights, _steps(row), y.reshape(-1), rows, OH, OW, block,
                               work=y.size * 9 * C // lanes_of(x))
        return y
    stage = stage_size(patches, places * (C + rows) * x.itemsize, weights.nbytes)
    turned = empty((places * (stage * row + SKEW),), x.dtype)
    products = empty((each * places * (stage * width + SKEW),), x.dtype)
    for first in range(0, patches, stage):
        end = min(patches, first + stage)
        work = (end - first) * places * row
        _turn[size](*image, OH, OW, first, end, stage, turned, work=work)
        _multiply[size](turned, weights, _steps(row), C, each, end - first, stage, products, work=work // lanes_of(x) * rows)
        _fold[size](products, y.reshape(-1), rows, OH, OW, first, end, stage, work=(end - first) * places * rows)
    return y


@functools.lru_cache(maxsize=64)
def _steps(row: int) -> np.ndarray:
    """Where the rows of a tile begin, in a matrix with rows of this length."""
    return np.arange(TALL_ROWS) * row


def _whole(count: int, of: int) -> int:
    """The multiple of ``of`` with room for ``count``."""
    return -(-count // of) * of


@functools.lru_cache(maxsize=1024)
def block_size(near: int, patches: int, row: int, panels: int, places: int, workers: int) -> int:
    """Patches of a block, a whole number of tiles: as large as fits in ``near`` bytes, and all threads busy to the end.

    A patch takes ``row`` bytes for each place, and those of so many panels of filters.
    """
    tiles = -(-patches // TALL_ROWS)
    most = max(1, min(near // (places * (row + panels * TALL_COLUMNS * BYTES) * TALL_ROWS), tiles))

    def time(size: int) -> float:
        blocks = -(-tiles // size)
        return -(-blocks // workers) * (size + 0.2)             # until the last thread is done with its last block

    return TALL_ROWS * min(range(max(1, most // 2), most + 1), key=lambda size: (time(size), -size))


def stage_size(patches: int, row: int, weights: int) -> int:
    """Patches that go through the steps together: twice as many numbers as there are transformed weights, within limits.

    ``row`` is the size in bytes of what a patch needs, and ``weights`` that of the weights.
    """
    room = min(max(2 * weights, STAGE[0]), STAGE[1])
    most = max(1, room // (row * TALL_ROWS))
    stages = -(-patches // (most * TALL_ROWS))
    return -(-patches // (stages * TALL_ROWS)) * TALL_ROWS


# ---------------------------------------------------------------------------------------------------------------- kernels

POINTS, OUTPUTS = (0,) * 6, (0,) * 4        # as long as a line of a patch; `_sized` puts in those of each size


def _sized(function: Any) -> dict[int, Any]:
    """A kernel for each size of patches: the same function with other constants, for which columns of vectors are laid out."""
    kernels = {}
    for size in (4, 2):
        constants = {**function.__globals__, "POINTS": (0,) * (size + 2), "OUTPUTS": (0,) * size}
        name = f"{function.__name__}_{size}"            # Numba's cache knows functions by name
        copy = types.FunctionType(function.__code__, constants, name)
        copy.__qualname__, copy.__annotations__ = name, function.__annotations__
        kernels[size] = compiled(copy)
    return kernels


@_sized
def _turn_weights(panels: In1, out: Out1, each: int, C: int, backward: bool, team: Team):
    """panels (each, C, 9, width) -> out (each, places, C, width): G w Gᵀ"""
    L, P = lanes(panels), len(POINTS)
    width = TALL_COLUMNS * L
    step = C * width + SKEW
    for item in prange(each * TALL_COLUMNS, team):
        panel, lane = item // TALL_COLUMNS, item % TALL_COLUMNS * L
        half = room(panels, 3 * P * L)
        for c in range(C):
            at, tap = (panel * C + c) * 9 * width + lane, width
            if backward:                                # the nine taps, from the last to the first
                at, tap = at + 8 * width, -width
            turn_filter(panels, at, tap, half, out, panel * P * P * step + c * width + lane, step, POINTS)


@_sized
def _convolve_blocks(
    x: In1, N: int, C: int, H: int, W: int, pad_h: int, pad_w: int, weights: In1, place: IntIn1, y: Out1, F: int, OH: int,
    OW: int, block: int, team: Team,
):
    """A thread takes a block of patches through all three steps."""
    L, P, M = lanes(x), len(POINTS), len(OUTPUTS)
    width, places = TALL_COLUMNS * L, P * P
    patches, each = N * ((OH + M - 1) // M) * ((OW + M - 1) // M), (F + width - 1) // width
    for item in prange((patches + block - 1) // block, team):
        first, end = item * block, min(patches, item * block + block)
        step, out_step = block * ((C + L - 1) // L * L) + SKEW, block * width + SKEW
        turned, products = room(x, places * step), room(x, places * out_step)
        rows = (end - first + TALL_ROWS - 1) // TALL_ROWS * TALL_ROWS
        for c in range(0, C, L):
            turn_patches(x, C, H, W, pad_h, pad_w, OH, OW, c, first, end, turned, 0, step, POINTS, OUTPUTS)
        for panel in range(each):
            for k in range(places):
                multiply(turned, k, step, rows, C, weights, (panel * places + k) * (C * width + SKEW), place, products,
                         k * out_step)
            for f in range(panel * width, min(F, panel * width + width), L):
                fold_patches(products, f - panel * width, out_step, first, end, y, F, f, OH, OW, POINTS, OUTPUTS)


# All threads take many patches, those from ``first`` to ``end``, through one step after the other:

@_sized
def _turn(
    x: In1, N: int, C: int, H: int, W: int, pad_h: int, pad_w: int, OH: int, OW: int, first: int, end: int, stage: int,
    turned: Out1, team: Team,
):
    """turned (places, stage, C), each place ``SKEW`` numbers apart: Bᵀ d B"""
    L = lanes(x)
    row = (C + L - 1) // L * L
    pieces = (end - first + PIECE - 1) // PIECE
    for item in prange(row // L * pieces, team):
        c, begin = item // pieces * L, item % pieces * PIECE
        turn_patches(x, C, H, W, pad_h, pad_w, OH, OW, c, first + begin, min(end, first + begin + PIECE), turned,
                     begin * row, stage * row + SKEW, POINTS, OUTPUTS)


@_sized
def _multiply(
    turned: In1, weights: In1, place: IntIn1, C: int, each: int, patches: int, stage: int, products: Out1, team: Team,
):
    """products (panels, places, stage, width): a matrix product for each place and panel of filters"""
    L, P = lanes(turned), len(POINTS)
    width, places, row = TALL_COLUMNS * L, P * P, (C + L - 1) // L * L
    rows = (patches + TALL_ROWS - 1) // TALL_ROWS * TALL_ROWS
    for item in prange(places * each, team):
        k, panel = item // each, item % each
        multiply(turned, k, stage * row + SKEW, rows, C, weights, (panel * places + k) * (C * width + SKEW), place, products,
                 (panel * places + k) * (stage * width + SKEW))


@_sized
def _fold(products: In1, y: Out1, F: int, OH: int, OW: int, first: int, end: int, stage: int, team: Team):
    """Patches of y: Aᵀ products A"""
    L, P = lanes(products), len(POINTS)
    width, places = TALL_COLUMNS * L, P * P
    step = stage * width + SKEW
    pieces = (end - first + PIECE - 1) // PIECE
    for item in prange((F + L - 1) // L * pieces, team):
        f, begin = item // pieces * L, item % pieces * PIECE
        fold_patches(products, f // width * places * step + begin * width + f % width, step, first + begin,
                     min(end, first + begin + PIECE), y, F, f, OH, OW, POINTS, OUTPUTS)


@_sized
def _turn_both(
    x: In1, N: int, C: int, H: int, W: int, pad_h: int, pad_w: int, g: In1, F: int, OH: int, OW: int, first: int, end: int,
    stage: int, turned: Out1, upstream: Out1, team: Team,
):
    """turned as above, and upstream (panels, places, stage, width): A g Aᵀ"""
    L, P = lanes(x), len(POINTS)
    width, row, places = TALL_COLUMNS * L, (C + L - 1) // L * L, P * P
    step, g_step = stage * row + SKEW, stage * width + SKEW
    x_chunks, g_chunks = row // L, (F + L - 1) // L
    pieces = (end - first + PIECE - 1) // PIECE
    for item in prange((x_chunks + g_chunks) * pieces, team):
        chunk, begin = item // pieces, item % pieces * PIECE
        last = min(end, first + begin + PIECE)
        if chunk < x_chunks:
            turn_patches(x, C, H, W, pad_h, pad_w, OH, OW, chunk * L, first + begin, last, turned, begin * row, step,
                         POINTS, OUTPUTS)
        else:
            f = (chunk - x_chunks) * L
            to = f // width * places * g_step + begin * width + f % width
            spread_patches(g, F, OH, OW, f, first + begin, last, upstream, to, g_step, POINTS, OUTPUTS)


@_sized
def _correlate(C: int, F: int, first: int, end: int, stage: int, turned: In1, upstream: In1, sums: Out1, team: Team):
    """sums (panels, places, C, width) += the products of both transforms; they begin with the first stage"""
    L, P = lanes(sums), len(POINTS)
    width, row, places, each = TALL_COLUMNS * L, (C + L - 1) // L * L, P * P, (F + TALL_COLUMNS * L - 1) // (TALL_COLUMNS * L)
    matrix = (C + CROSS_ROWS - 1) // CROSS_ROWS * CROSS_ROWS * width + SKEW
    for item in prange(places * each, team):
        k, panel = item // each, item % each
        correlate(turned, k, stage * row + SKEW, end - first, C, upstream, (panel * places + k) * (stage * width + SKEW), sums,
                  (panel * places + k) * matrix, first > 0)


@_sized
def _correlate_blocks(
    x: In1, N: int, C: int, H: int, W: int, pad_h: int, pad_w: int, g: In1, F: int, OH: int, OW: int, parts: int, block: int,
    sums: Out1, team: Team,
):
    """The same for few sums: each part of the patches has its own, so that all a thread works on stays near. There are as many
    parts for any number of threads."""
    L, P, M = lanes(x), len(POINTS), len(OUTPUTS)
    width, places = TALL_COLUMNS * L, P * P
    patches, each = N * ((OH + M - 1) // M) * ((OW + M - 1) // M), (F + width - 1) // width
    step, g_step = block * ((C + L - 1) // L * L) + SKEW, block * width + SKEW
    matrix = (C + CROSS_ROWS - 1) // CROSS_ROWS * CROSS_ROWS * width + SKEW
    total = each * places * matrix
    for part in prange(parts, team):
        begin, stop = patches * part // parts, patches * (part + 1) // parts
        turned, upstream = room(x, places * step), room(x, each * places * g_step)
        for first in range(begin, stop, block):
            end = min(stop, first + block)
            for c in range(0, C, L):
                turn_patches(x, C, H, W, pad_h, pad_w, OH, OW, c, first, end, turned, 0, step, POINTS, OUTPUTS)
            for f in range(0, F, L):
                to = f // width * places * g_step + f % width
                spread_patches(g, F, OH, OW, f, first, end, upstream, to, g_step, POINTS, OUTPUTS)
            for k in range(each * places):
                correlate(turned, k % places, step, end - first, C, upstream, k * g_step, sums, part * total + k * matrix,
                          first > begin)


@compiled
def _add_parts(sums: Out1, parts: int, total: int, team: Team):
    """The sums of all parts, in the place of the first's."""
    for item in prange(total // lanes(sums), team):
        at = item * lanes(sums)
        sum_ = load(sums, at)
        for part in range(1, parts):
            sum_ = add(sum_, load(sums, part * total + at))
        put(sums, at, sum_)


@_sized
def _fold_filters(sums: In1, dw: Out1, F: int, C: int, team: Team):
    """dw = Gᵀ sums G"""
    L, P = lanes(sums), len(POINTS)
    width, places = TALL_COLUMNS * L, P * P
    matrix = (C + CROSS_ROWS - 1) // CROSS_ROWS * CROSS_ROWS * width + SKEW
    for item in prange((F + L - 1) // L * C, team):
        f, c = item // C * L, item % C
        fold_filter(sums, f // width * places * matrix + c * width + f % width, matrix, dw, C, F, f, c, POINTS)
