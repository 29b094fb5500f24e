"""Winograd's convolution: F(4x4, 3x3), a quarter of the multiplications, F(2x2, 3x3), four ninths, F(2x2, 5x5), and stride 2.

Sixteen outputs of a 3 x 3 filter, a 4 x 4 patch, depend on a 6 x 6 patch of the image, and cost 144 multiplications one by
one. They can be had with 36 (Winograd 1980; Lavin and Gray 2016, section 4.3):

    patch of y = Aᵀ [ (G w Gᵀ) * (Bᵀ d B) ] A           * element by element, d the patch of the image

The transforms B, G and A are small fixed matrices, applied along columns and rows (``formulas.py``). Summed over channels,
each of the 36 places is a matrix product of its own, (patches x channels) times (channels x filters), for which the tile of
``conv_direct.py`` serves: rows are patches, lanes are filters. In the transforms the lanes are channels (``patches.py``).

What the products read and write should stay near, and there are three ways to see to it (``winograd.py`` has their kernels,
``winograd_plan.py`` says which is taken):

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
1e-5 to 7e-5 (16 to 512 channels, all three directions). All need one group and no dilation.

At stride 2 a filter is two, of the taps at even places and at odd ones, each at stride 1 on every second pixel. 4 x 4 outputs
of a filter of 3 x 3 need 81 multiplications instead of 144, of 4 x 4 100 instead of 256, of 5 x 5 121 instead of 400, and so do
the 8 x 8 pixels of a gradient to the image; a transform costs as much for each of them as at stride 1. Errors are 1e-5 to 5e-5.
The gradient to the filters has too many sums that are too short: it took 0.8 to 1.6 times as long as ``conv_direct_weight.py``
and is left to it.
"""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import contiguous
from minivision_kernels.cpu.goal import aim, fill
from minivision_kernels.cpu.planes import Filters, by_channels, by_filters
from minivision_kernels.cpu.simd import lanes_of
from minivision_kernels.cpu.tile import TALL_COLUMNS
from minivision_kernels.cpu.winograd import (
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
from minivision_kernels.cpu.winograd_plan import CHANNELS, gradient_plan, plan
from minivision_kernels.cpu.winograd_rule import (
    FORWARD,
    INPUT,
    SIZES,
    SMALLER,
    forward_accepts,
    forward_worth,
    input_accepts,
    input_worth,
    size_of,
    turned_padding,
    weight_accepts,
    weight_worth,
)
from minivision_kernels.finish import Finish
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair, conv_output_size


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
    For filters of 5 x 5 2.8 times fewer: 1.4 to 2.2 times as fast as the best of the others with 16 channels or more. At stride
    2 1.1 to 1.4 times as fast for filters of 3 x 3 (outputs of 28 x 28, but of 14 x 14 no more than 1.2), 1.3 to 1.9 for 4 x 4
    and 5 x 5 up to 2.3 times.

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
    """At stride 1 the gradient to the image is a convolution with the filters turned round, and this is that. At stride 2 the
    taps at even places make every second pixel, and the others those between: 1.2 to 1.6 times as fast as the rungs below for
    filters of 3 x 3, up to 2.3 times for 5 x 5."""
    return _input(g, w, shape, padding, size_of(INPUT, w.shape, stride, padding, dilation, groups))


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
    return _convolve(g, turned_padding(size, padding), (shape[2], shape[3]), size, w.shape[1], by_channels(w))


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
