"""Winograd's convolution: F(4x4, 3x3), a quarter of the multiplications, F(2x2, 3x3), four ninths of them, and F(2x2, 5x5).

Sixteen outputs of a 3 x 3 filter, a 4 x 4 patch, depend on a 6 x 6 patch of the image, and cost 144 multiplications one by
one. They can be had with 36 (Winograd 1980; Lavin and Gray 2016, section 4.3):

    patch of y = Aᵀ [ (G w Gᵀ) * (Bᵀ d B) ] A           * element by element, d the patch of the image

The transforms B, G and A are small fixed matrices, applied along columns and rows (``transforms.py``). Summed over channels,
each of the 36 places is a matrix product of its own, (patches x channels) times (channels x filters), for which the tile of
``conv_direct.py`` serves: rows are patches, lanes are filters. In the transforms the lanes are channels (``patches.py``).

What the products read and write should stay near, and there are three ways to see to it (``winograd.py`` has their kernels):

    by blocks       the transformed weights are few: they are made first, and then each thread takes a block of patches
                    through all three steps, in its own second-level cache
    by panels       the patches are few: they are transformed first, and then each thread takes 32 filters and a few
                    channels at a time, transforms their weights, and multiplies them with all patches at once
    by stages       both are many: all threads take many patches through one step after the other

Transformed weights are four times as many as there were (36 for 9), so one image of 14 x 14 with 512 channels would write
and read more of them than anything else, 38 MB. By panels they never leave the cache of one thread: 1.3 to 3.5 times as fast
for up to 64 patches, with the same bits. So it is with the sums of the gradient to the filters, which are as many. If there are
few sums, and many patches, each thread adds up its own for a part of the patches, 1.1 to 1.8 times as fast as all threads step
by step, which hand each other what they have transformed through the last cache.

The price is accuracy. The transforms add and subtract numbers of different size, and a float32 result is off by 2e-5 to
9e-5 of its spread (64 to 512 channels), where direct summation is off by 3e-6 to 7e-6. Four outputs from a 4 x 4 patch, with 16
multiplications instead of 36, need no factors but 1/2: with its shorter sums (over channels only, not over taps) that is off by
1e-6 to 5e-6 of the spread, less than direct summation (64 to 512 channels, measured), and so counts as exact. Filters of 5 x 5
have patches of 6 x 6 for 2 x 2 outputs: 36 multiplications instead of 100, from the same transform of the image, and errors of
1e-5 to 7e-5 (16 to 512 channels, all three directions). All need stride 1, no dilation and no groups.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import contiguous
from minivision_kernels.cpu.conv_direct import direct_cost, tile_cost
from minivision_kernels.cpu.goal import aim, fill
from minivision_kernels.cpu.patches import CROSS_ROWS, LOW
from minivision_kernels.cpu.planes import Filters, by_channels, by_filters
from minivision_kernels.cpu.simd import lanes_of, vectors
from minivision_kernels.cpu.tile import TALL_COLUMNS, TALL_ROWS
from minivision_kernels.cpu.winograd import (
    DOUBLED,
    F2_3,
    F2_5,
    F4_3,
    HALVED,
    PIECE,
    SKEW,
    Size,
    add_parts,
    convolve_blocks,
    convolve_panels,
    correlate_blocks,
    correlate_panels,
    correlate_places,
    fold_places,
    fold_sums,
    multiply_places,
    spread_places,
    turn_across,
    turn_places,
    turn_weights,
)
from minivision_kernels.cpu.writer import BYTES
from minivision_kernels.finish import Finish
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair, conv_output_size

GAIN = 1.1          # how much faster it must promise to be, to be chosen
NEAR = 704 * 1024   # bytes of transformed pixels that a thread keeps near
SMALL = (12 if BYTES == 64 else 4) * 2**20      # bytes of transformed weights that may be fetched for every block
STAGE = 3 * 2**20, 24 * 2**20       # at least and at most this many bytes go through a step together
FEW, FEW_THIRD = 384, 120   # patches, at most, to go by panels, and for the gradient to filters,
MORE = 1.5          # times as many numbers as usual, with large patches,
CHANNELS = 64       # and the channels whose weights are transformed at a time
# Bytes of sums, and of what is transformed for them, that a thread keeps near.
MINE, BESIDE = (640 * 1024, 540 * 1024) if BYTES == 64 else (320 * 1024, 270 * 1024)
ALL, MOST_PARTS = 8 * 2**20, 16     # bytes, at most, of the sums of all parts of the patches, and how many parts there are


class Price(NamedTuple):
    """In multiply-adds of vectors, about: what the transforms of a patch cost for a vector of channels or of filters, and
    those of the weights for a vector of filters and a channel: if they are used at once, by panels, or if all of them are
    transformed before, and stay near, or do not."""

    patch: int
    panel: int
    near: int
    far: int


# Fitted to measured layers of 16 to 512 channels, and for filters of 5 x 5 of 10 to 192. Transforms move lines from cache to
# cache, and a vector of AVX-512 is a whole line; its multiply-adds are no slower for that.
PRICES = {
    F4_3: Price(1050, 500, 2000, 5000), F2_3: Price(430, 300, 900, 1500), F2_5: Price(600, 1000, 3500, 6000),
    HALVED[3]: Price(2400, 500, 2000, 5000), DOUBLED[3]: Price(2400, 500, 2000, 5000),
    HALVED[4]: Price(3000, 1400, 5500, 14000), DOUBLED[4]: Price(3000, 1400, 5500, 14000),
    HALVED[5]: Price(3600, 1700, 6700, 17000), DOUBLED[5]: Price(3600, 1700, 6700, 17000),
} if BYTES == 64 else {
    F4_3: Price(700, 450, 900, 1600), F2_3: Price(300, 250, 400, 400), F2_5: Price(500, 700, 1500, 2000),
    HALVED[3]: Price(1600, 450, 900, 1600), DOUBLED[3]: Price(1600, 450, 900, 1600),
    HALVED[4]: Price(2000, 1200, 2500, 4400), DOUBLED[4]: Price(2000, 1200, 2500, 4400),
    HALVED[5]: Price(2400, 1500, 3000, 5400), DOUBLED[5]: Price(2400, 1500, 3000, 5400),
}
LARGE = (1 if BYTES == 64 else 16) * 2**20      # bytes of transformed weights that are not near
TURNED = 0 if BYTES == 64 else 5.5      # what direct summation pays for each weight, where `direct_cost` leaves it out
START = 120_000     # what three kernels for the gradient to filters cost more than one
LEAST, LEAST_THIRD = 16, 64         # patches of 5 x 5 filters; with fewer, the transforms of weights cost more than is saved
LOWER = 1.3         # how much longer the lower tiles of a panel take
SLIM = BYTES == 64  # whether products with a vector of filters are so much cheaper than with two that it counts


Sizes = Mapping[tuple[int, ...], Size]          # that a rung has, by the taps of the filters and the stride
SIZES: Sizes = {(3, 3, 1, 1): F4_3, (5, 5, 1, 1): F2_5}
SMALLER: Sizes = {(3, 3, 1, 1): F2_3}
FORWARD: Sizes = {**SIZES, **{(taps, taps, 2, 2): size for taps, size in HALVED.items()}}
INPUT: Sizes = {**SIZES, **{(taps, taps, 2, 2): size for taps, size in DOUBLED.items()}}


def _possible(sizes: Sizes, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> bool:
    size = sizes.get((*shape[2:], *stride))
    return size is not None and dilation == (1, 1) and groups == 1 and all(_fits(size, p) for p in padding)


def _fits(size: Size, padding: int) -> bool:
    """The gradient at stride 2 knows only paddings that differ from those of half a window by an even number."""
    return padding < size.taps and (size not in DOUBLED.values() or (padding - (size.taps - 1) // 2) % 2 == 0)


def size_of(sizes: Sizes, shape: tuple[int, ...], stride: Pair, *geometry: Any) -> Size:
    """The size of patches for filters of this shape."""
    if not _possible(sizes, shape, stride, *geometry):
        filters = ", ".join(f"{high} x {wide} at stride {down}" for high, wide, down, _ in sizes)
        alone = " (at stride 2, of half a window, or two more or less)" if sizes is INPUT else ""
        raise ValueError(f"this rung takes filters of {filters}, with dilation 1, one group, and less padding than a filter has "
                         f"taps{alone}; call another rung")
    return sizes[(*shape[2:], *stride)]


def _cost(array: np.ndarray, F: int, C: int, images: int, OH: int, OW: int, size: Size, third: bool) -> float:
    """About the multiply-adds of vectors, or what takes as long: products, for whole tiles of patches, and transforms. Tiles of
    a last panel are as wide as it is."""
    L = lanes_of(array)
    f, c = _whole(F, L if SLIM else TALL_COLUMNS * L) // L, _whole(C, L) // L
    patches, places = size.patches(images, OH, OW), size.places
    price, panels = PRICES[size], _by_panels(L, patches, F, C, size, third)
    rows = LOWER * _whole(patches, LOW) if panels else _whole(patches, TALL_ROWS)
    weights = price.panel if panels else price.near if size.kinds * F * C * array.itemsize <= LARGE else price.far
    return rows * places * f * C + patches * price.patch * (c + f) + weights * f * C


def _pays(array: np.ndarray, F: int, C: int, images: int, OH: int, OW: int, size: Size, third: bool = False) -> bool:
    """Whether it promises to be faster by `GAIN` than direct summation, and no slower than with the smallest patches; in the
    ``third`` direction, the gradient to the filters, if so said.

    For 8 to 12 filters or channels, too few for a vector, it is 1.1 to 1.9 times as fast where it promises that.
    """
    L = lanes_of(array)
    if min(F, C) < (L // 2 + (size != F4_3) if SLIM else L):
        return False
    if size == F2_5 and size.patches(images, OH, OW) < (LEAST_THIRD if third else LEAST):
        return False
    terms, cost = size.taps ** 2 * C, _cost(array, F, C, images, OH, OW, size, third)
    if size.points > 6:                                 # stride 2
        outputs = images * OH * OW // (4 if size.outputs == 8 else 1)
        return direct_cost(array, outputs, F, terms, loads=0.25, turning=10) + TURNED * F * terms > GAIN * cost
    direct = direct_cost(array, images * OH * OW, F, terms) + TURNED * F * terms
    if third:
        cost += START
    elif SLIM and F <= L and OH * OW:
        direct = min(direct, images * OH * OW * tile_cost(array, F, OW, terms))
    return direct > GAIN * cost and (size != F4_3 or cost <= _cost(array, F, C, images, OH, OW, F2_3, third) + third * START)


def forward_accepts(sizes: Sizes) -> Any:
    def accepts(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                groups: int = 1) -> bool:
        return vectors(x) and _possible(sizes, w.shape, stride, padding, dilation, groups)

    return accepts


def forward_worth(sizes: Sizes) -> Any:
    def worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), *_: Any, **__: Any) -> bool:
        OH, OW = conv_output_size(x.shape[2:], w.shape[2:], stride, padding, (1, 1))
        return _pays(x, w.shape[0], w.shape[1], x.shape[0], OH, OW, sizes[(*w.shape[2:], *stride)])

    return worth


def input_accepts(sizes: Sizes) -> Any:
    def accepts(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                dilation: Pair = (1, 1), groups: int = 1) -> bool:
        return vectors(g) and _possible(sizes, w.shape, stride, padding, dilation, groups)

    return accepts


def input_worth(sizes: Sizes) -> Any:
    def worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), *_: Any, **__: Any) -> bool:
        return _pays(g, w.shape[1], w.shape[0], shape[0], shape[2], shape[3], sizes[(*w.shape[2:], *stride)])

    return worth


@rung("conv2d_forward", name="winograd2", device="cpu", accepts=forward_accepts(SMALLER), worth=forward_worth(SMALLER))
def conv2d_forward_2(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """F(2x2, 3x3): 2.25 times fewer multiplications, with transforms that cost little accuracy and few weights to transform.

    1.7 to 2 times the rung below on layers of 64 to 128 channels (one thread, AVX2), where the larger patches reach 2.6 to 3
    times. It loses no accuracy against direct summation, so it is there with ``set_exact(True)`` too. Otherwise it is chosen
    where the larger patches would lie mostly beyond the edge, or transforming their weights would cost more than it saves.
    """
    return _forward(x, w, stride, padding, size_of(SMALLER, w.shape, stride, padding, dilation, groups), finish)


@rung("conv2d_forward", name="winograd", device="cpu", exact=False, accepts=forward_accepts(FORWARD),
      worth=forward_worth(FORWARD))
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """Four times fewer multiplications, for transforms before and after: 2 to 3 times the rung below with 32 channels or more.
    For filters of 5 x 5 2.8 times fewer: 1.4 to 2.2 times as fast as the best of the others with 16 channels or more.

    For 3 x 3 filters of stride 1, except where four patches are all that there is (a single image of 7 x 7): then transforming
    the weights costs more than the smaller patches need for everything. Its error, up to 1e-4 of the spread of the results in
    float32, is why ``set_exact(True)`` leaves it out.
    """
    return _forward(x, w, stride, padding, size_of(FORWARD, w.shape, stride, padding, dilation, groups), finish)


@rung("conv2d_input", name="winograd2", device="cpu", accepts=input_accepts(SMALLER), worth=input_worth(SMALLER))
def conv2d_input_2(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same from smaller patches."""
    return _input(g, w, shape, padding, size_of(SMALLER, w.shape, stride, padding, dilation, groups))


@rung("conv2d_input", name="winograd", device="cpu", exact=False, accepts=input_accepts(INPUT),
      worth=input_worth(INPUT))
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """At stride 1 the gradient to the image is a convolution with the filters turned round, and this is that."""
    return _input(g, w, shape, padding, size_of(INPUT, w.shape, stride, padding, dilation, groups))


def weight_accepts(sizes: Sizes) -> Any:
    def accepts(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                dilation: Pair = (1, 1), groups: int = 1) -> bool:
        return vectors(x) and _possible(sizes, shape, stride, padding, dilation, groups)

    return accepts


def weight_worth(sizes: Sizes) -> Any:
    def worth(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), *_: Any, **__: Any) -> bool:
        return _pays(x, shape[0], shape[1], g.shape[0], g.shape[2], g.shape[3], sizes[(*shape[2:], *stride)], third=True)

    return worth


@rung("conv2d_weight", name="winograd2", device="cpu", accepts=weight_accepts(SMALLER), worth=weight_worth(SMALLER))
def conv2d_weight_2(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same from smaller patches."""
    return _weight(x, g, shape, padding, size_of(SMALLER, shape, stride, padding, dilation, groups))


@rung("conv2d_weight", name="winograd", device="cpu", exact=False, accepts=weight_accepts(SIZES), worth=weight_worth(SIZES))
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The forward's formula differentiated: dw = Gᵀ [ sum over patches of (A g Aᵀ) * (Bᵀ d B) ] G."""
    return _weight(x, g, shape, padding, size_of(SIZES, shape, stride, padding, dilation, groups))


def _forward(x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, size: Size, finish: Finish | None) -> np.ndarray:
    output = conv_output_size(x.shape[2:], w.shape[2:], stride, padding, (1, 1))
    return _convolve(x, padding, output, size, w.shape[0], by_filters(w), finish)


def _input(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], padding: Pair, size: Size) -> np.ndarray:
    return _convolve(g, turned_padding(size, padding), shape[2:], size, w.shape[1], by_channels(w))


def turned_padding(size: Size, padding: Pair) -> Pair:
    """That of the gradient to the image: how far before g the first patch begins."""
    lead = tuple(size.taps - 1 - p for p in padding)
    return (lead[0] // 2, lead[1] // 2) if size.outputs == 8 else lead


def _weight(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], padding: Pair, size: Size) -> np.ndarray:
    (F, C), (OH, OW) = shape[:2], g.shape[2:]
    dw = empty(shape, x.dtype)
    if not g.size * C:
        dw[...] = 0
        return dw
    how = gradient_plan(len(x), C, F, OH, OW, size, lanes_of(x))
    patches, places, L = how.patches, size.places, lanes_of(x)
    image, gradient = (contiguous(x).reshape(-1), *x.shape, *padding), (contiguous(g).reshape(-1), F)
    direct = g.size * size.taps ** 2 * C // L
    if how.way == "blocks":
        sums = empty((how.parts * how.sums,), x.dtype)
        correlate_blocks[size](*image, *gradient, OH, OW, how.parts, how.together, sums, work=direct)
        if how.parts > 1:
            add_parts(sums, how.parts, how.sums, work=how.parts * how.sums // L)
        fold_sums[size](sums, dw.reshape(-1), F, C, work=dw.size)
        return dw
    stage = how.together
    turned = empty((places * (stage * how.row + SKEW),), x.dtype)
    upstream = empty((how.each * places * (stage * how.width + SKEW),), x.dtype)
    if how.way == "panels":                             # all patches are one stage
        work = patches * places * (how.row + how.each * how.width)
        turn_places[size](*image, OH, OW, 0, patches, stage, turned, work=work)
        spread_places[size](*gradient, OH, OW, 0, patches, stage, upstream, work=work)
        correlate_panels[size](C, F, patches, turned, upstream, CHANNELS, dw.reshape(-1), work=direct)
        return dw
    sums = empty((how.sums,), x.dtype)
    for first in range(0, patches, stage):
        end = min(patches, first + stage)
        work = (end - first) * places * (how.row + how.each * how.width)
        turn_places[size](*image, OH, OW, first, end, stage, turned, work=work)
        spread_places[size](*gradient, OH, OW, first, end, stage, upstream, work=work)
        correlate_places[size](C, F, first, end, stage, turned, upstream, sums,
                               work=work // L * min(how.row, how.each * how.width))
    fold_sums[size](sums, dw.reshape(-1), F, C, work=dw.size)
    return dw


class GradientPlan(NamedTuple):
    """How a gradient to filters is carried out; lengths in numbers."""

    way: str                # "panels", "blocks" or "stages", as told above
    patches: int
    together: int           # patches of a block or stage
    row: int                # channels, whole vectors of them
    width: int              # filters of a panel
    each: int               # panels
    sums: int               # of all places
    parts: int              # of the patches, each summed by itself


@functools.lru_cache(maxsize=1024)
def gradient_plan(N: int, C: int, F: int, OH: int, OW: int, size: Size, lanes: int) -> GradientPlan:
    width, itemsize = TALL_COLUMNS * lanes, BYTES // lanes
    patches, places = size.patches(N, OH, OW), size.places
    each, row = -(-F // width), _whole(C, lanes)
    sums, parts = each * places * (_whole(C, CROSS_ROWS) * width + SKEW), 1
    if _by_panels(lanes, patches, F, C, size, True):
        way, together, sums = "panels", patches, 0
    elif sums * itemsize <= MINE:
        way, together = "blocks", block_size(BESIDE, patches, row * itemsize, each, places, 1)
        parts = min(MOST_PARTS, -(-patches // PIECE), max(2, ALL // (sums * itemsize) // 2 * 2))
    else:
        way, together = "stages", stage_size(patches, places * (C + F) * itemsize, sums * itemsize)
    return GradientPlan(way, patches, together, row, width, each, sums, parts)


def _convolve(
    x: np.ndarray, padding: Pair, output: Pair, size: Size, F: int, filters: Filters, finish: Finish | None = None,
) -> np.ndarray:
    (N, C), (OH, OW) = x.shape[:2], output
    y, goal = aim((N, F, OH, OW), x.dtype, finish)
    if not y.size or not C:
        fill(y, goal)
        return y
    how, L = plan(N, C, F, OH, OW, size, lanes_of(x), workers()), lanes_of(x)
    patches, places = how.patches, size.places
    image, work = (contiguous(x).reshape(-1), *x.shape, *padding), y.size * size.taps ** 2 * C // L
    if how.way == "panels":
        turned = empty((places * (how.row * how.together + SKEW),), x.dtype)
        turn_across[size](*image, OH, OW, 0, patches, how.together, turned, work=patches * places * how.row)
        convolve_panels[size](turned, C, how.together, *filters, CHANNELS, *goal, F, OH, OW, patches, work=work)
        return y
    weights = empty((how.weights,), x.dtype)
    turn_weights[size](*filters, F, C, weights, work=weights.size)
    if how.way == "blocks":
        convolve_blocks[size](*image, weights, how.steps, *goal, F, OH, OW, how.together, work=work)
        return y
    stage, width = how.together, how.each * TALL_COLUMNS * L
    turned = empty((places * (stage * how.row + SKEW),), x.dtype)
    products = empty((places * (stage * width + how.each * SKEW),), x.dtype)
    for first in range(0, patches, stage):
        end = min(patches, first + stage)
        work = (end - first) * places * how.row
        turn_places[size](*image, OH, OW, first, end, stage, turned, work=work)
        multiply_places[size](turned, weights, how.steps, C, F, how.each, end - first, stage, products, work=work // L * F)
        fold_places[size](products, *goal, F, OH, OW, first, end, stage, work=(end - first) * places * F)
    return y


class Plan(NamedTuple):
    """How a convolution is carried out; lengths in numbers."""

    way: str                # "panels", "blocks" or "stages", as told above
    patches: int
    together: int           # patches of a block or stage; by panels all of them, and as many more as tiles need
    row: int                # channels, whole vectors of them
    steps: np.ndarray       # where the rows of a tile begin, in a matrix with such rows
    each: int               # panels of filters
    weights: int            # once they are transformed


@functools.lru_cache(maxsize=1024)
def plan(N: int, C: int, F: int, OH: int, OW: int, size: Size, lanes: int, workers: int) -> Plan:
    width, places, row, itemsize = TALL_COLUMNS * lanes, size.places, _whole(C, lanes), BYTES // lanes
    each, patches = -(-F // width), size.patches(N, OH, OW)
    weights = each * size.kinds * (C * width + SKEW)
    if _by_panels(lanes, patches, F, C, size, False):
        way, together = "panels", _whole(patches, max(lanes, LOW))
    elif weights * itemsize <= SMALL:
        way, together = "blocks", block_size(NEAR, patches, row * itemsize, 1, places, workers)
    else:
        way, together = "stages", stage_size(patches, places * (C + F) * itemsize, weights * itemsize)
    steps = np.arange(TALL_ROWS) * row
    steps.flags.writeable = False
    return Plan(way, patches, together, row, steps, each, weights)


def _by_panels(lanes: int, patches: int, F: int, C: int, size: Size, third: bool) -> bool:
    """Whether each thread should transform weights as it needs them: there are more of them than numbers of patches, all of
    which every panel reads, and the products of few patches with a panel stay near. Weights that are transformed before leave
    the caches and come back: 512 channels of 14 x 14, 8 images, took 1.3 times as long."""
    numbers = patches * (C + F) / (MORE if size.points > 6 else 1)
    return patches <= (FEW_THIRD if third else FEW) and numbers <= C * F and TALL_COLUMNS * lanes < F


def _whole(count: int, of: int) -> int:
    """The multiple of ``of`` with room for ``count``."""
    return -(-count // of) * of


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


def stage_size(patches: int, row: int, weights: int, limits: Pair = STAGE, high: int = TALL_ROWS) -> int:
    """Patches that go through the steps together: twice as many numbers as there are transformed weights, within ``limits``.

    ``row`` is the size in bytes of what a patch needs, ``weights`` that of the weights, and a tile is so many patches ``high``.
    """
    room = min(max(2 * weights, limits[0]), limits[1])
    most = max(1, room // (row * high))
    stages = max(1, -(-patches // (most * high)))
    return -(-patches // (stages * high)) * high
