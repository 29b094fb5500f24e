"""Pooling and its gradients, one window at a time."""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import In4, Int32In4, Int32Out4, Out4, compiled, contiguous, floats
from minivision_kernels.cpu.windows import average_plane, max_plane, scatter_plane, spread_plane
from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair, pool_output_size


@rung("max_pool2d_forward", name="loops", device="cpu", accepts=floats)
def max_pool2d_forward(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool, with_index: bool = True,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Each window is searched once, its best value and place held in registers.

    NumPy passes over whole arrays for every tap, with a temporary for each comparison and each choice.
    """
    N, C, H, W = x.shape
    OH, OW = pool_output_size((H, W), kernel_size, stride, padding, dilation, ceil_mode)
    y, index = np.empty((N, C, OH, OW), x.dtype), np.empty((N, C, OH, OW), np.int32)
    _max_forward(contiguous(x), y, index, *kernel_size, *stride, *padding, *dilation)
    return y, index if with_index else None


@rung("max_pool2d_backward", name="loops", device="cpu", accepts=floats)
def max_pool2d_backward(
    g: np.ndarray, index: np.ndarray, shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair,
    dilation: Pair,
) -> np.ndarray:
    """One pass over the outputs, each adding its gradient to the pixel it came from."""
    dx = np.empty(shape, g.dtype)
    _max_backward(contiguous(g), contiguous(index), dx)
    return dx


@rung("avg_pool2d_forward", name="loops", device="cpu", accepts=floats)
def avg_pool2d_forward(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool,
    divisor: int | None,
) -> np.ndarray:
    """Each window is summed in one register, where NumPy passes over the array of sums once per tap.

    This wins where windows are large or arrays small; with 2 x 2 windows NumPy's few passes are vectorised and win.
    """
    N, C, H, W = x.shape
    y = np.empty((N, C, *pool_output_size((H, W), kernel_size, stride, padding, (1, 1), ceil_mode)), x.dtype)
    _avg_forward(contiguous(x), y, *kernel_size, *stride, *padding, count_include_pad, divisor or 0)
    return y


@rung("avg_pool2d_backward", name="loops", device="cpu", accepts=floats)
def avg_pool2d_backward(
    g: np.ndarray, shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool,
    count_include_pad: bool, divisor: int | None,
) -> np.ndarray:
    """Each output spreads its share over its window, in one pass over the outputs."""
    dx = np.empty(shape, g.dtype)
    _avg_backward(contiguous(g), dx, *kernel_size, *stride, *padding, count_include_pad, divisor or 0)
    return dx


@compiled
def _max_forward(
    x: In4, y: Out4, index: Int32Out4, KH: int, KW: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int,
    dilation_h: int, dilation_w: int,
):
    N, C = x.shape[:2]
    for n in range(N):
        for c in range(C):
            max_plane(
                x[n, c], y[n, c], index[n, c], KH, KW, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w)


@compiled
def _max_backward(g: In4, index: Int32In4, dx: Out4):
    N, C = g.shape[:2]
    for n in range(N):
        for c in range(C):
            scatter_plane(g[n, c], index[n, c], dx[n, c])


@compiled
def _avg_forward(
    x: In4, y: Out4, KH: int, KW: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int, count_include_pad: bool,
    divisor: int,
):
    N, C = x.shape[:2]
    for n in range(N):
        for c in range(C):
            average_plane(x[n, c], y[n, c], KH, KW, stride_h, stride_w, pad_h, pad_w, count_include_pad, divisor)


@compiled
def _avg_backward(
    g: In4, dx: Out4, KH: int, KW: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int, count_include_pad: bool,
    divisor: int,
):
    N, C = g.shape[:2]
    for n in range(N):
        for c in range(C):
            spread_plane(g[n, c], dx[n, c], KH, KW, stride_h, stride_w, pad_h, pad_w, count_include_pad, divisor)
