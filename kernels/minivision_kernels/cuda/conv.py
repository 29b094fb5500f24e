"""Convolutions on the GPU, up to 8 x 8 results for each thread (``conv.cu``)."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

from minivision_kernels.cuda.launch import Kernel, blocks, empty, floats, ready
from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair, conv_output_size

THREADS = 256
MOST = 2**31 - 2**20                    # what an int counts, and some room for tiles that reach beyond the end
SIDE, LARGE = 16, 128                   # of the tiles of two kernels
_NAIVE, _NAIVE_WEIGHT = Kernel("conv.cu", "naive"), Kernel("conv.cu", "naive_weight")
_SHARED, _SHARED_WEIGHT = Kernel("conv.cu", "shared"), Kernel("conv.cu", "shared_weight")
_REGISTERS, _REGISTERS_WEIGHT = Kernel("conv.cu", "registers"), Kernel("conv.cu", "registers_weight")


# ----------------------------------------------------------------------------------------------- the sums (conv.cuh)

class Sum(NamedTuple):
    """The struct of that name; rows and columns are its axes."""

    rows_in: int
    rows_out: int
    rows_taps: int
    rows_scale: int
    rows_reach: int
    rows_offset: int
    rows_share: int
    rows_period: int
    columns_in: int
    columns_out: int
    columns_taps: int
    columns_scale: int
    columns_reach: int
    columns_offset: int
    columns_share: int
    columns_period: int
    images: int
    groups: int
    terms: int
    results: int
    term_step: int
    result_step: int

    @property
    def phases(self) -> int:
        return self.rows_share * self.columns_share

    @property
    def pixels(self) -> int:
        """Of all images, in the largest phase."""
        return self.images * blocks(self.rows_out, self.rows_share) * blocks(self.columns_out, self.columns_share)


@functools.lru_cache(1024)
def forward_sum(
    x: tuple[int, ...], w: tuple[int, ...], output: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> Sum:
    """A convolution of images of shape ``x``; ``output`` is (OH, OW)."""
    rows, columns = ((x[2 + a], output[a], w[2 + a], stride[a], dilation[a], -padding[a], 1, 1) for a in (0, 1))
    taps = w[2] * w[3]
    return _counted(Sum(*rows, *columns, x[0], groups, w[1], w[0] // groups, taps, w[1] * taps))


@functools.lru_cache(1024)
def input_sum(
    x: tuple[int, ...], w: tuple[int, ...], output: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> Sum:
    """The gradient to images of shape ``x``: it sees g, and takes the weights the other way round."""
    rows, columns = ((output[a], x[2 + a], w[2 + a], 1, -dilation[a], padding[a], stride[a],
                      stride[a] // math.gcd(stride[a], dilation[a])) for a in (0, 1))
    taps = w[2] * w[3]
    return _counted(Sum(*rows, *columns, x[0], groups, w[0] // groups, w[1], w[1] * taps, taps))


def _counted(s: Sum) -> Sum:
    """``s``, if its kernels can count what there is.

    Raises:
        ValueError: they cannot.
    """
    inputs, outputs = s.rows_in * s.columns_in, s.rows_out * s.columns_out
    for what, count in (("numbers in an image", s.groups * max(s.terms * inputs, s.results * outputs)),
                        ("pixels in all images", s.images * max(inputs, outputs)),
                        ("weights", s.groups * s.terms * s.results * s.rows_taps * s.columns_taps)):
        if count > MOST:
            raise ValueError(f"there are {count} {what}; a convolution on the GPU counts to {MOST}: "
                             "use smaller batches or images")
    return s


def in_grid(*arguments: Any, stride: Pair | None = None, groups: int | None = None, **others: Any) -> bool:
    """Whether groups and phases can be counted along y and z of a grid; ``accepts`` of most rungs."""
    stride, groups = stride or arguments[-4], groups or arguments[-1]
    return floats(*arguments) and groups < 1 << 16 and stride[0] * stride[1] < 1 << 16


def tiles(rows: int, columns: int, side: int) -> int:
    return blocks(rows, side) * blocks(columns, side)


# ------------------------------------------------------------------------------------------------------------- rungs

@rung("conv2d_forward", name="naive", device="cuda", accepts=floats)
def forward_naive(x: Any, w: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """A thread for each output, which loads every pixel and every weight it needs. What it does is the formula; a number
    comes from the caches once for each multiply-add, and those deliver a tenth of what the processor could use.
    """
    return _forward(_NAIVE, None, x, w, stride, padding, dilation, groups)


@rung("conv2d_input", name="naive", device="cuda", accepts=floats)
def input_naive(g: Any, w: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """A thread for each pixel of x, which asks of every tap whether a window that lies right sees the pixel through it."""
    return _input(_NAIVE, None, g, w, shape, stride, padding, dilation, groups)


@rung("conv2d_weight", name="naive", device="cuda", accepts=floats)
def weight_naive(x: Any, g: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """A thread for each weight, which sums over all outputs of all images."""
    return _weight(_NAIVE_WEIGHT, None, x, g, shape, stride, padding, dilation, groups)


@rung("conv2d_forward", name="shared", device="cuda", accepts=in_grid)
def forward_shared(x: Any, w: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """Tiles of 16 x 16 in shared memory: a number is fetched once for 16 uses. For the matrix product that step takes a
    kernel from 8 to 13 % of cuBLAS (Boehm 2022, "How to Optimize a CUDA Matmul Kernel", on an A6000; not measured here).
    """
    return _forward(_SHARED, SIDE, x, w, stride, padding, dilation, groups)


@rung("conv2d_input", name="shared", device="cuda", accepts=in_grid)
def input_shared(g: Any, w: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """A matrix product for every phase of the image, so that with stride 2 a quarter of the products is left: a pixel's
    taps are those that meet it. (The phases are those of oneDNN's strided backward, and of a transposed convolution.)
    """
    return _input(_SHARED, SIDE, g, w, shape, stride, padding, dilation, groups)


@rung("conv2d_weight", name="shared", device="cuda", accepts=in_grid)
def weight_shared(x: Any, g: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """Tiles of 16 x 16 in shared memory, pixels as terms: threads side by side fetch pixels that lie side by side."""
    return _weight(_SHARED_WEIGHT, SIDE, x, g, shape, stride, padding, dilation, groups)


@rung("conv2d_forward", name="registers", device="cuda", accepts=in_grid)
def forward_registers(x: Any, w: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """8 x 8 outputs for each thread: 16 loads from shared memory give 64 products, where 2 gave one (13 to 69 % of cuBLAS
    for the matrix product, same source). Here every fetched pixel also costs four divisions, which is the next rung's matter.
    """
    return _forward(_REGISTERS, LARGE, x, w, stride, padding, dilation, groups)


@rung("conv2d_input", name="registers", device="cuda", accepts=in_grid)
def input_registers(g: Any, w: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """8 x 8 pixels of x for each thread, as the forward."""
    return _input(_REGISTERS, LARGE, g, w, shape, stride, padding, dilation, groups)


@rung("conv2d_weight", name="registers", device="cuda", accepts=in_grid)
def weight_registers(x: Any, g: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """8 x 8 weights for each thread. 64 filters of 64 channels and 3 x 3 taps are 5 tiles: most of a GPU has nothing to do."""
    return _weight(_REGISTERS_WEIGHT, LARGE, x, g, shape, stride, padding, dilation, groups)


# ``side`` is that of a kernel's tiles, None for a thread of each result.

def _forward(kernel: Kernel, side: int | None, x: Any, w: Any, *geometry: Any) -> Any:
    output = conv_output_size(x.shape[2:], w.shape[2:], *geometry[:3])
    s = forward_sum(x.shape, w.shape, output, *geometry)
    y = empty(x, (len(x), len(w), *output))
    _sum_up(kernel, side, ready(x), ready(w), y, s)
    return y


def _input(kernel: Kernel, side: int | None, g: Any, w: Any, shape: tuple[int, ...], *geometry: Any) -> Any:
    s = input_sum(shape, w.shape, g.shape[2:], *geometry)
    dx = empty(g, shape)
    _sum_up(kernel, side, ready(g), ready(w), dx, s)
    return dx


def _sum_up(kernel: Kernel, side: int | None, x: Any, w: Any, y: Any, s: Sum) -> None:
    if side is None:
        kernel.launch(blocks(y.size, THREADS), THREADS, x, w, y, s, y.size)
    else:
        kernel.launch((tiles(s.results, s.pixels, side), s.groups, s.phases), THREADS, x, w, y, s)


def _weight(kernel: Kernel, side: int | None, x: Any, g: Any, shape: tuple[int, ...], *geometry: Any) -> Any:
    s = forward_sum(x.shape, shape, g.shape[2:], *geometry)
    dw = empty(x, shape)
    if side is None:
        kernel.launch(blocks(dw.size, THREADS), THREADS, ready(x), ready(g), dw, s, dw.size)
    else:
        kernel.launch((tiles(s.results, math.prod(shape[1:]), side), s.groups), THREADS, ready(x), ready(g), dw, s)
    return dw
