"""Pooling and its gradients, the planes of (image, channel) shared between threads."""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import In4, Int32In4, Int32Out4, Out4, Team, compiled, contiguous, floats, prange
from minivision_kernels.cpu.windows import average_plane, max_plane, scatter_plane, spread_plane
from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair, pool_output_size


@rung("max_pool2d_forward", name="parallel", device="cpu", accepts=floats)
def max_pool2d_forward(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool, with_index: bool = True,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The planes are shared between the threads; each is searched as in the rung below."""
    N, C, H, W = x.shape
    OH, OW = pool_output_size((H, W), kernel_size, stride, padding, dilation, ceil_mode)
    y, index = np.empty((N, C, OH, OW), x.dtype), np.empty((N, C, OH, OW), np.int32)
    _max_forward(contiguous(x), y, index, *kernel_size, *stride, *padding, *dilation,
                 work=y.size * kernel_size[0] * kernel_size[1])
    return y, index if with_index else None


@rung("max_pool2d_backward", name="parallel", device="cpu", accepts=floats)
def max_pool2d_backward(
    g: np.ndarray, index: np.ndarray, shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair,
    dilation: Pair,
) -> np.ndarray:
    """The planes are shared between the threads. A maximum lies in the plane of its output, so no two threads meet."""
    dx = np.empty(shape, g.dtype)
    _max_backward(contiguous(g), contiguous(index), dx, work=g.size + dx.size)
    return dx


@rung("avg_pool2d_forward", name="parallel", device="cpu", accepts=floats)
def avg_pool2d_forward(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool,
    divisor: int | None,
) -> np.ndarray:
    """The planes are shared between the threads."""
    N, C, H, W = x.shape
    y = np.empty((N, C, *pool_output_size((H, W), kernel_size, stride, padding, (1, 1), ceil_mode)), x.dtype)
    _avg_forward(contiguous(x), y, *kernel_size, *stride, *padding, count_include_pad, divisor or 0,
                 work=y.size * kernel_size[0] * kernel_size[1])
    return y


@rung("avg_pool2d_backward", name="parallel", device="cpu", accepts=floats)
def avg_pool2d_backward(
    g: np.ndarray, shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool,
    count_include_pad: bool, divisor: int | None,
) -> np.ndarray:
    """The planes are shared between the threads; overlapping windows lie in one plane, so no two threads meet."""
    dx = np.empty(shape, g.dtype)
    _avg_backward(contiguous(g), dx, *kernel_size, *stride, *padding, count_include_pad, divisor or 0,
                  work=g.size * kernel_size[0] * kernel_size[1])
    return dx


@compiled
def _max_forward(
    x: In4, y: Out4, index: Int32Out4, KH: int, KW: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int,
    dilation_h: int, dilation_w: int, team: Team,
):
    N, C = x.shape[:2]
    for plane in prange(N * C, team):
        n, c = plane // C, plane % C
        max_plane(
            x[n, c], y[n, c], index[n, c], KH, KW, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w)


@compiled
def _max_backward(g: In4, index: Int32In4, dx: Out4, team: Team):
    N, C = g.shape[:2]
    for plane in prange(N * C, team):
        n, c = plane // C, plane % C
        scatter_plane(g[n, c], index[n, c], dx[n, c])


@compiled
def _avg_forward(
    x: In4, y: Out4, KH: int, KW: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int, count_include_pad: bool,
    divisor: int, team: Team,
):
    N, C = x.shape[:2]
    for plane in prange(N * C, team):
        n, c = plane // C, plane % C
        average_plane(x[n, c], y[n, c], KH, KW, stride_h, stride_w, pad_h, pad_w, count_include_pad, divisor)


@compiled
def _avg_backward(
    g: In4, dx: Out4, KH: int, KW: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int, count_include_pad: bool,
    divisor: int, team: Team,
):
    N, C = g.shape[:2]
    for plane in prange(N * C, team):
        n, c = plane // C, plane % C
        spread_plane(g[n, c], dx[n, c], KH, KW, stride_h, stride_w, pad_h, pad_w, count_include_pad, divisor)
