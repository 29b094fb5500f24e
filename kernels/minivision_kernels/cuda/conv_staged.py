"""Convolutions on the GPU as matrix products whose right operand is gathered on the way (``conv_staged.cu``).

Nothing here was measured yet: the figures are those of the literature for kernels of the same kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivision_kernels.cuda.conv import Sum, forward_sum, in_grid, input_sum
from minivision_kernels.cuda.launch import Kernel, blocks, empty, facts, ready
from minivision_kernels.cuda.tile import Tile, add_slices, plan, slices_of
from minivision_kernels.ladder import rung, tf32
from minivision_kernels.shapes import Pair, conv_output_size

THREADS = 256
SUM, WEIGHT = "sum", "weight"
ALONG_K = {SUM: (1, 0), WEIGHT: (1, 1)}         # whether terms are side by side in a panel: of weights or g, and of pixels
_ARRANGE = Kernel("conv_staged.cu", "arrange_weights")


def _ordinary(down: int, across: int, rows: int, columns: int, depth: int, stages: int, speed: float, resident: int,
              *reals: str) -> Tile:
    """``down`` x ``across`` warps with ``rows`` x ``columns`` sums for each thread."""
    kernels = {way: Kernel("conv_staged.cu", name, down, across, rows, columns, depth, stages, reals=reals)
               for way, name in ((SUM, "staged"), (WEIGHT, "staged_weight"))}
    return Tile(down * 4 * rows, across * 8 * columns, depth, stages, 32 * down * across, speed, resident, kernels)


def _tensor(down: int, across: int, rows: int, columns: int, depth: int, stages: int, products: int, speed: float,
            resident: int) -> Tile:
    """``down`` x ``across`` warps with ``rows`` x ``columns`` products of 16 x 8 for each."""
    kernels = {way: Kernel("conv_staged.cu", name, down, across, rows, columns, depth, stages, products,
                           needs=(8, 0), reals=("float32",)) for way, name in ((SUM, "tensor"), (WEIGHT, "tensor_weight"))}
    return Tile(down * 16 * rows, across * 8 * columns, depth, stages, 32 * down * across, speed, resident, kernels)


SINGLE, DOUBLE = "float32", "float64"
SMALL = _ordinary(2, 2, 8, 4, 8, 4, 0.8, 2, SINGLE, DOUBLE)             # 64 x 64
LARGE = _ordinary(4, 1, 8, 8, 8, 4, 1.0, 2, SINGLE)                     # 128 x 64; loaders leave no registers for more
ORDINARY = {SINGLE: (LARGE, SMALL), DOUBLE: (SMALL,)}
# 128 x 128; 64 x 64; 32 x 128 for few rows: the gradient to an image has 3, and the layers of small networks 32 filters
SPLIT = _tensor(2, 4, 4, 4, 16, 4, 3, 1.0, 1), _tensor(2, 2, 2, 4, 16, 3, 3, 0.7, 3), _tensor(1, 4, 2, 4, 16, 3, 3, 0.6, 3)
ROUNDED = _tensor(2, 4, 4, 4, 16, 4, 1, 1.0, 1), _tensor(2, 2, 2, 4, 16, 3, 1, 0.6, 3), _tensor(1, 4, 2, 4, 16, 3, 1, 0.5, 3)


def _on_tensor_cores(*arguments: Any, **options: Any) -> bool:
    """Whether the numbers are float32 and the device has tensor cores for TF32."""
    return arguments[0].dtype == np.float32 and facts(arguments[0]).capability >= (8, 0) and in_grid(*arguments, **options)


# ------------------------------------------------------------------------------------------------------------- rungs

@rung("conv2d_forward", name="stages", device="cuda", accepts=in_grid)
def forward_stages(x: Any, w: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """Copies to shared memory three steps ahead (``cp.async``), and no division in the loop: a thread stays with its pixel,
    and where a tap of a channel lies is read from a table that is written as the sum goes on.

    NVIDIA's CUTLASS calls the table "optimized" and the divisions "analytic" iterators. For the matrix product, 94 % of
    cuBLAS with warps arranged like this, 98 % with the copies as well; not measured here.
    """
    return _forward(ORDINARY[x.dtype.name], x, w, stride, padding, dilation, groups)


@rung("conv2d_input", name="stages", device="cuda", accepts=in_grid)
def input_stages(g: Any, w: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """As the forward, all phases in one launch. The weights of each phase are first written out as a matrix of their own, so
    that they come in copies of 16 bytes; they are few beside the pixels.
    """
    return _input(ORDINARY[g.dtype.name], g, w, shape, stride, padding, dilation, groups)


@rung("conv2d_weight", name="stages", device="cuda", accepts=in_grid)
def weight_stages(x: Any, g: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """As the forward, and the pixels cut in slices, so that there is a block for every multiprocessor: each slice has a sum of
    its own, and they are added in order ("split-K"; cuDNN does the same, in no order unless asked for).
    """
    return _weight(ORDINARY[x.dtype.name], x, g, shape, stride, padding, dilation, groups)


@rung("conv2d_forward", name="tf32x3", device="cuda", accepts=_on_tensor_cores)
def forward_tf32x3(x: Any, w: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """Tensor cores: three products of TF32 parts for one of float32, as accurate as float32's own.

    CUTLASS's example 28, a convolution by the same three products, is written for "FP32 accuracy with 2x performance" on an
    A100; not measured here. An infinite operand gives NaN, as in the matrix product.
    """
    return _forward(SPLIT, x, w, stride, padding, dilation, groups)


@rung("conv2d_input", name="tf32x3", device="cuda", accepts=_on_tensor_cores)
def input_tf32x3(g: Any, w: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """Tensor cores by three products, for each phase."""
    return _input(SPLIT, g, w, shape, stride, padding, dilation, groups)


@rung("conv2d_weight", name="tf32x3", device="cuda", accepts=_on_tensor_cores)
def weight_tf32x3(x: Any, g: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """Tensor cores by three products, in slices."""
    return _weight(SPLIT, x, g, shape, stride, padding, dilation, groups)


@rung("conv2d_forward", name="tf32", device="cuda", accepts=_on_tensor_cores, worth=tf32, exact=False)
def forward_tf32(x: Any, w: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """One product of operands rounded to TF32, 10 bits: off by about 1e-3 of the result's size, and asked for by ``set_tf32``.
    PyTorch does this in convolutions unless told otherwise. A third of the products of the rung below.
    """
    return _forward(ROUNDED, x, w, stride, padding, dilation, groups)


@rung("conv2d_input", name="tf32", device="cuda", accepts=_on_tensor_cores, worth=tf32, exact=False)
def input_tf32(g: Any, w: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """One product of operands rounded to TF32, as the forward."""
    return _input(ROUNDED, g, w, shape, stride, padding, dilation, groups)


@rung("conv2d_weight", name="tf32", device="cuda", accepts=_on_tensor_cores, worth=tf32, exact=False)
def weight_tf32(x: Any, g: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """One product of operands rounded to TF32, as the forward."""
    return _weight(ROUNDED, x, g, shape, stride, padding, dilation, groups)


def _forward(choice: tuple[Tile, ...], x: Any, w: Any, *geometry: Any) -> Any:
    output = conv_output_size(x.shape[2:], w.shape[2:], *geometry[:3])
    s = forward_sum(x.shape, w.shape, output, *geometry)
    y = empty(x, (len(x), len(w), *output))
    _sum(choice, x, ready(w), y, s, s.terms * s.term_step)              # the weights are such a matrix as they are
    return y


def _input(choice: tuple[Tile, ...], g: Any, w: Any, shape: tuple[int, ...], *geometry: Any) -> Any:
    s = input_sum(shape, w.shape, g.shape[2:], *geometry)
    dx = empty(g, shape)
    wide = 16 // g.itemsize
    pitch = blocks(s.terms * blocks(s.rows_taps, s.rows_period) * blocks(s.columns_taps, s.columns_period), wide) * wide
    a = empty(g, (s.groups, s.phases, s.results, pitch))
    if dx.size and a.size:
        _ARRANGE.launch((blocks(s.results * pitch, THREADS), s.groups, s.phases), THREADS, ready(w), a, s, pitch)
    _sum(choice, g, a, dx, s, pitch)
    return dx


def _sum(choice: tuple[Tile, ...], x: Any, a: Any, y: Any, s: Sum, pitch: int) -> None:
    tile, slices = plan(choice, SUM, s.results, s.pixels, pitch, facts(x), products=s.groups * s.phases)
    length, slices = slices_of(pitch, slices, tile.depth)
    parts = y if slices == 1 else empty(y, (slices, *y.shape))
    grid = blocks(s.results, tile.rows) * blocks(s.pixels, tile.columns), s.groups, s.phases * slices
    tile.kernels[SUM].launch(grid, tile.threads, ready(x), a, parts, s, pitch, length,
                             shared=tile.shared(ALONG_K[SUM], x.itemsize))
    if slices > 1:
        add_slices(parts, y)


def _weight(choice: tuple[Tile, ...], x: Any, g: Any, shape: tuple[int, ...], *geometry: Any) -> Any:
    s = forward_sum(x.shape, shape, g.shape[2:], *geometry)
    columns = s.terms * s.term_step
    tile, slices = plan(choice, WEIGHT, s.results, columns, s.pixels, facts(x), products=s.groups)
    length, slices = slices_of(s.pixels, slices, tile.depth)
    dw = empty(x, shape)
    parts = dw if slices == 1 else empty(x, (slices, *shape))
    grid = blocks(s.results, tile.rows) * blocks(columns, tile.columns), s.groups, slices
    tile.kernels[WEIGHT].launch(grid, tile.threads, ready(x), ready(g), parts, s, length,
                                shared=tile.shared(ALONG_K[WEIGHT], x.itemsize))
    if slices > 1:
        add_slices(parts, dw)
    return dw
