"""Convolutions of single channels on the GPU (``depthwise.cu``)."""

from __future__ import annotations

from typing import Any

from minivision_kernels.cuda.conv import Sum, forward_sum, in_grid, input_sum
from minivision_kernels.cuda.launch import Kernel, blocks, empty, facts, ready
from minivision_kernels.cuda.tile import add_slices
from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair, conv_output_size

THREADS = 128
MOST_PLANES = 1 << 15                   # along y of a grid; blocks take the ones behind them as well
NINE, ROWS = 9, 4                       # as in the kernels
_ANY, _WEIGHT = Kernel("depthwise.cu", "depthwise"), Kernel("depthwise.cu", "depthwise_weight")
_ROWS = {side: Kernel("depthwise.cu", "depthwise_rows", side, ROWS) for side in (3, 5)}


def _forward_accepts(x: Any, w: Any, *geometry: Any, **options: Any) -> bool:
    return x.shape[1] > 1 == w.shape[1] and in_grid(x, w, *geometry, **options)


def _input_accepts(g: Any, w: Any, shape: tuple[int, ...], *geometry: Any, **options: Any) -> bool:
    return shape[1] > 1 == w.shape[1] and in_grid(g, w, shape, *geometry, **options)


def _weight_accepts(x: Any, g: Any, shape: tuple[int, ...], *geometry: Any, **options: Any) -> bool:
    return x.shape[1] > 1 == shape[1] and in_grid(x, g, shape, *geometry, **options)


@rung("conv2d_forward", name="depthwise", device="cuda", accepts=_forward_accepts)
def conv2d_forward(x: Any, w: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """No tile, which would have one row: each thread reads the window of its outputs, and the cache has it for the neighbours.
    With windows of 3 x 3 and 5 x 5 and stride 1 a thread has four outputs, one below the other, that share lines. The limit
    should be the memory, an image in and an image out; not measured here.
    """
    _demand_single(w.shape, groups)
    output = conv_output_size(x.shape[2:], w.shape[2:], stride, padding, dilation)
    y = empty(x, (len(x), len(w), *output))
    _sum(ready(x), ready(w), y, forward_sum(x.shape, w.shape, output, stride, padding, dilation, groups))
    return y


@rung("conv2d_input", name="depthwise", device="cuda", accepts=_input_accepts)
def conv2d_input(g: Any, w: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """The same kernels, phase by phase."""
    _demand_single(w.shape, groups)
    dx = empty(g, shape)
    _sum(ready(g), ready(w), dx, input_sum(shape, w.shape, g.shape[2:], stride, padding, dilation, groups))
    return dx


@rung("conv2d_weight", name="depthwise", device="cuda", accepts=_weight_accepts)
def conv2d_weight(x: Any, g: Any, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """A block for each filter, whose threads keep nine sums each while they go over its pixels once; where there are fewer
    filters than the device has room for blocks, the images are dealt out to slices, added in order.
    """
    _demand_single(shape, groups)
    s = forward_sum(x.shape, shape, g.shape[2:], stride, padding, dilation, groups)
    dw = empty(x, shape)
    nines = blocks(shape[2] * shape[3], NINE)
    wanted = blocks(8 * facts(x).multiprocessors, max(1, shape[0] * nines))         # eight blocks for each multiprocessor
    length = max(1, blocks(len(x), wanted))
    slices = max(1, blocks(len(x), length))
    parts = dw if slices == 1 else empty(x, (slices, *shape))
    _WEIGHT.launch((shape[0], nines, slices), THREADS, ready(x), ready(g), parts, s, length,
                   shared=THREADS // 32 * x.itemsize)
    if slices > 1:
        add_slices(parts, dw)
    return dw


def _sum(x: Any, w: Any, y: Any, s: Sum) -> None:
    planes = min(s.images * s.groups * s.results, MOST_PLANES)
    side = s.rows_taps
    simple = (s.rows_taps == s.columns_taps and s.rows_scale == s.columns_scale == s.phases == 1
              and s.rows_reach == s.columns_reach in (1, -1))
    if simple and side in _ROWS:
        _ROWS[side].launch((blocks(blocks(s.rows_out, ROWS) * s.columns_out, THREADS), planes), THREADS, x, w, y, s)
    else:
        pixels = blocks(s.rows_out, s.rows_share) * blocks(s.columns_out, s.columns_share)
        _ANY.launch((blocks(pixels, THREADS), planes, s.phases), THREADS, x, w, y, s)


def _demand_single(w: tuple[int, ...], groups: int) -> None:
    if w[1] != 1:
        raise ValueError(f"filters of shape {w} in {groups} groups see {w[1]} channels each; a depthwise convolution has as "
                         "many groups as channels; call another rung")
