"""Winograd's convolution with its products in a matrix unit (``amx.py``): a quarter of the multiplications, at twice the speed.

It goes by stages (``conv_winograd.py``), with the same transforms. Between them every place is a matrix product whose two sides
and whose sums lie as the unit wants them, so that little is left to do here:

    forward         patches x channels, split row by row while other rows are multiplied, times weights that are split as they
                    are transformed
    the gradient    channels x patches, for which the image is transformed with its patches side by side, times the transformed
    to the filters  gradient, split for each place before it is used

What limits it is not the unit but memory. For every sum 4 bytes are written to the last cache, which has to fetch the line
first, and read again; with 256 channels the unit makes sums as fast as they can be carried off. Lines are therefore asked for
before their sums are formed, which is worth a tenth. It is also why this pays from about 128 channels and filters on, and
why blocks of patches that stay near, with vectors, are 1.2 times as fast where all transformed weights do, too.

What was tried: stretches of 64 or 128 channels, so that the left side stays in the first-level cache, with sums put away and
taken up by the unit itself, 1.4 and 1.15 times as slow; sums stored by the unit where they belong, rather than copied, which
is no faster; stages of 6 to 96 MiB, of which 16 to 48 are best.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from minivision_kernels.cpu import amx_panels, conv_winograd
from minivision_kernels.cpu.amx import SIDE, again, takes
from minivision_kernels.cpu.amx_panels import DEEP, PANEL, ROWS
from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import contiguous
from minivision_kernels.cpu.goal import aim, fill
from minivision_kernels.cpu.patches import CROSS_ROWS
from minivision_kernels.cpu.planes import Filters, by_channels, by_filters
from minivision_kernels.cpu.winograd import F4_3, SKEW, Size, fold_places, fold_sums, spread_places, turn_across, turn_places
from minivision_kernels.cpu.winograd_amx import WIDTH, correlate_places, multiply_places, split_weights
from minivision_kernels.cpu.winograd_plan import plan as vector_plan
from minivision_kernels.cpu.winograd_plan import stage_size
from minivision_kernels.cpu.winograd_rule import (
    SIZES,
    SMALLER,
    forward_accepts,
    forward_worth,
    input_accepts,
    input_worth,
    key,
    size_of,
    turned_padding,
    weight_accepts,
    weight_worth,
)
from minivision_kernels.cpu.writer import BYTES
from minivision_kernels.finish import Finish
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair, conv_output_size

STAGE = 16 * 2**20, 48 * 2**20      # at least and at most this many bytes go through a step together


class Saved(NamedTuple):
    """The share of the time of Winograd's rung with vectors that is saved, about: so much of all, and less that by the number
    of channels, of filters and of patches. Fitted to 390 random layers, most of 16 to 2,000 patches."""

    all: float
    channels: float
    filters: float
    patches: float

    def of(self, N: int, C: int, F: int, OH: int, OW: int, size: Size) -> float:
        patches = size.patches(N, OH, OW)
        return self.all - self.channels / C - self.filters / F - self.patches / patches if patches * C * F else 0


FORWARD, GRADIENT = Saved(0.21, 16, 6, 11), Saved(0.34, 18, 9, 15)
LEAST = 0.04        # what it must promise to save, to be chosen
SMALL, FEW = 4 * 2**20, 200         # bytes of transformed weights with which blocks of vectors are faster, and patches, panels


def _convolution_worth(x: np.ndarray, F: int, output: Pair, size: Size) -> bool:
    """Whether it is sooner by stages than with vectors, which go by panels or blocks where patches or weights are few."""
    call = *x.shape[:2], F, *output, size
    how = vector_plan(*call, SIDE, workers())
    few = how.way == "panels" and how.patches <= FEW
    return not few and how.weights * x.itemsize > SMALL and FORWARD.of(*call) > LEAST


def _forward_worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), *_: Any, **__: Any) -> bool:
    size, output = SIZES[key(w.shape, stride)], conv_output_size(x.shape[2:], w.shape[2:], stride, padding, (1, 1))
    return forward_worth(SIZES)(x, w, stride, padding) and _convolution_worth(x, w.shape[0], output, size)


def _input_worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), *_: Any, **__: Any) -> bool:
    size = SIZES[key(w.shape, stride)]
    return input_worth(SIZES)(g, w, shape, stride) and _convolution_worth(g, w.shape[1], (shape[2], shape[3]), size)


def _weight_worth(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), *_: Any, **__: Any) -> bool:
    """Also in place of the smallest patches, whose products with vectors are no faster."""
    size, (F, C), (N, _, OH, OW) = SIZES[key(shape, stride)], shape[:2], g.shape
    sizes = (SIZES, SMALLER) if size == F4_3 else (SIZES,)
    return (GRADIENT.of(N, C, F, OH, OW, size) > LEAST
            and any(weight_worth(each)(x, g, shape, stride) for each in sizes))


def _accepts(of_filters: Any) -> Any:
    """Whether Winograd's rung does, and there is a unit."""
    def accepts(array: np.ndarray, *args: Any, **options: Any) -> bool:
        return takes(array) and of_filters(array, *args, **options)

    return accepts


@rung("conv2d_forward", name="winograd_amx", device="cpu", exact=False, accepts=_accepts(forward_accepts(SIZES)),
      worth=_forward_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """Matrix products of Winograd's convolution in a unit that takes bfloat16, six for one of float32.

    1.2 to 1.6 times the speed of ``winograd`` with 256 channels or more and some hundred patches, with the same error: that
    of the transforms. Without a unit, and for float64, this is ``winograd``.
    """
    if not takes(x):
        return conv_winograd.conv2d_forward(x, w, stride, padding, dilation, groups, finish)
    size = size_of(SIZES, w.shape, stride, padding, dilation, groups)
    output = conv_output_size(x.shape[2:], w.shape[2:], stride, padding, dilation)
    y = _convolve(x, padding, output, size, w.shape[0], by_filters(w), finish)
    return conv_winograd.conv2d_forward(x, w, stride, padding, dilation, groups, finish) if y is None else y


@rung("conv2d_input", name="winograd_amx", device="cpu", exact=False, accepts=_accepts(input_accepts(SIZES)),
      worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same with the filters turned round: 1.2 to 1.6 times the speed of ``winograd``."""
    if not takes(g):
        return conv_winograd.conv2d_input(g, w, shape, stride, padding, dilation, groups)
    size = size_of(SIZES, w.shape, stride, padding, dilation, groups)
    dx = _convolve(g, turned_padding(size, padding), (shape[2], shape[3]), size, w.shape[1], by_channels(w))
    return conv_winograd.conv2d_input(g, w, shape, stride, padding, dilation, groups) if dx is None else dx


@rung("conv2d_weight", name="winograd_amx", device="cpu", exact=False, accepts=_accepts(weight_accepts(SIZES)),
      worth=_weight_worth)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same for the products of both transforms: 1.1 to 1.7 times the speed of ``winograd``."""
    if not takes(x):
        return conv_winograd.conv2d_weight(x, g, shape, stride, padding, dilation, groups)
    size = size_of(SIZES, shape, stride, padding, dilation, groups)
    (F, C), (OH, OW), dw = shape[:2], g.shape[2:], empty(shape, x.dtype)
    if not g.size * C:
        dw[...] = 0
        return dw
    how, threads = plan(len(x), C, F, OH, OW, size), workers()
    image, gradient = (contiguous(x).reshape(-1), *x.shape, *padding), (contiguous(g).reshape(-1), F)
    turned, upstream = (empty((size.places * length,), x.dtype) for length in (how.turned, how.each * how.step))
    sums, wrong = empty((how.each * size.places * how.matrix,), x.dtype), np.zeros(threads, x.dtype)
    for first in range(0, how.patches, how.stage):
        end = min(how.patches, first + how.stage)
        work = (end - first) * size.places * (how.row + how.each * WIDTH)
        turn_across[size](*image, OH, OW, first, end, how.stage, turned, work=work)
        spread_places[size](*gradient, OH, OW, first, end, how.stage, upstream, work=work)
        correlate_places(turned, upstream, size.places, C, F, how.correlating, first, end, how.stage, how.matrix, threads,
                         sums, wrong, work=work // SIDE * min(how.row, F))
    if again(wrong):
        return conv_winograd.conv2d_weight(x, g, shape, stride, padding, dilation, groups)
    fold_sums[size](sums, dw.reshape(-1), F, C, work=dw.size)
    return dw


def _convolve(
    x: np.ndarray, padding: Pair, output: Pair, size: Size, F: int, filters: Filters, finish: Finish | None = None,
) -> np.ndarray | None:
    """What `_convolve` of ``conv_winograd.py`` does, or nothing if the products have to be computed with vectors."""
    (N, C), (OH, OW) = x.shape[:2], output
    y, goal = aim((N, F, OH, OW), x.dtype, finish)
    if not y.size or not C:
        fill(y, goal)
        return y
    how, threads = plan(N, C, F, OH, OW, size), workers()
    weights, image = empty((size.places * how.each * how.blocks * PANEL,), x.dtype), (contiguous(x).reshape(-1), *x.shape)
    turned, products = (empty((size.places * length,), x.dtype) for length in (how.turned, how.each * how.step))
    wrong = np.zeros(threads, x.dtype)
    split_weights[size](*filters, F, C, weights, work=weights.size)
    for first in range(0, how.patches, how.stage):
        end = min(how.patches, first + how.stage)
        work = (end - first) * size.places * how.row
        turn_places[size](*image, *padding, OH, OW, first, end, how.stage, turned, work=work)
        multiply_places(turned, weights, size.places, C, F, how.multiplying, end - first, how.stage, threads, products, wrong,
                        work=work // SIDE * F)
        fold_places[size](products, *goal, F, OH, OW, first, end, how.stage, work=(end - first) * size.places * F)
    return None if again(wrong) else y


class Plan(NamedTuple):
    """How a convolution or a gradient is carried out; lengths in numbers."""

    patches: int
    stage: int                  # patches of a stage
    row: int                    # channels, whole vectors of them
    each: int                   # panels of filters
    blocks: int                 # of a panel of weights
    turned: int                 # of a place: the transformed image
    step: int                   # of a place and panel: products or the transformed gradient
    matrix: int                 # of a place and panel: sums of the gradient to the filters
    multiplying: int            # into so many parts are the panels of weights divided
    correlating: int            # and those of the transformed gradient


@functools.lru_cache(maxsize=1024)
def plan(N: int, C: int, F: int, OH: int, OW: int, size: Size) -> Plan:
    patches, row, each = size.patches(N, OH, OW), -(-C // SIDE) * SIDE, -(-F // WIDTH)
    number = BYTES // SIDE
    stage = stage_size(patches, size.places * (C + F) * number, size.places * C * F * number, STAGE, ROWS)
    blocks, parts = -(-C // DEEP), lambda blocks: min(each, -(-each * blocks * PANEL * number // amx_panels.BLOCK))
    return Plan(patches, stage, row, each, blocks, stage * row + SKEW, stage * WIDTH + SKEW,
                -(-C // CROSS_ROWS) * CROSS_ROWS * WIDTH + SKEW, parts(blocks), parts(-(-stage // DEEP)))
