"""Max and average pooling on the GPU (``pool.cu``): one thread for each number, then with the window known to the compiler."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivision_kernels.cuda.launch import Kernel, blocks, empty, floats, grouped, ready
from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair, pool_output_size

THREADS = 256
_MAX_FORWARD, _MAX_BACKWARD, _AVG_FORWARD, _AVG_BACKWARD = (
    Kernel("pool.cu", name) for name in ("max_forward", "max_backward", "avg_forward", "avg_backward"))

# Kernel and stride of the windows that are compiled for themselves; the first entry takes all others.
ANY = (0, 0, 0, 0)
WINDOWS = {"max": (ANY, (2, 2, 2, 2), (3, 3, 2, 2)), "avg": (ANY, (2, 2, 2, 2))}
_FIXED = {(kind, way, window): Kernel("pool.cu", f"{kind}_{way}_window", *window)
          for kind, windows in WINDOWS.items() for way in ("forward", "backward") for window in windows}


@rung("max_pool2d_forward", name="threads", device="cuda", accepts=floats)
def max_forward_threads(
    x: Any, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool, with_index: bool = True,
) -> tuple[Any, Any]:
    """One thread for each output. Neighbouring threads look at neighbouring windows, which the first cache makes cheap;
    finding out which window is one's own takes longer than looking at it."""
    x, y, index, window = _max_arrays(x, kernel_size, stride, padding, dilation, ceil_mode)
    _MAX_FORWARD.launch(blocks(y.size, THREADS), THREADS, x, y, index, window, y.size)
    return y, index if with_index else None


@rung("max_pool2d_backward", name="threads", device="cuda", accepts=floats)
def max_backward_threads(
    g: Any, index: Any, shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair,
) -> Any:
    """One thread for each pixel, which asks the windows that may see it whether it was their largest."""
    g, index, dx = ready(g), ready(index), empty(g, shape)
    window = (*shape[2:], *g.shape[2:], *kernel_size, *stride, *padding, *dilation)
    _MAX_BACKWARD.launch(blocks(dx.size, THREADS), THREADS, g, index, dx, window, dx.size)
    return dx


@rung("avg_pool2d_forward", name="threads", device="cuda", accepts=floats)
def avg_forward_threads(
    x: Any, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool, divisor: int | None,
) -> Any:
    """One thread for each output, as in max pooling."""
    x = ready(x)
    y = empty(x, (*x.shape[:2], *pool_output_size(x.shape[2:], kernel_size, stride, padding, (1, 1), ceil_mode)))
    window = (*x.shape[2:], *y.shape[2:], *kernel_size, *stride, *padding, 1, 1)
    _AVG_FORWARD.launch(blocks(y.size, THREADS), THREADS, x, y, window, (int(count_include_pad), divisor or 0), y.size)
    return y


@rung("avg_pool2d_backward", name="threads", device="cuda", accepts=floats)
def avg_backward_threads(
    g: Any, shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool,
    count_include_pad: bool, divisor: int | None,
) -> Any:
    """One thread for each pixel, which adds up its shares."""
    g, dx = ready(g), empty(g, shape)
    window = (*shape[2:], *g.shape[2:], *kernel_size, *stride, *padding, 1, 1)
    _AVG_BACKWARD.launch(blocks(dx.size, THREADS), THREADS, g, dx, window, (int(count_include_pad), divisor or 0), dx.size)
    return dx


@rung("max_pool2d_forward", name="windows", device="cuda", accepts=floats)
def max_forward_windows(
    x: Any, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool, with_index: bool = True,
) -> tuple[Any, Any]:
    """Planes are counted so that 32 bits suffice, and the usual windows (2 x 2 and 3 x 3 in steps of 2) are constants of the
    compiler, which makes straight lines of the loops. What is left is the memory's time."""
    x, y, index, window = _max_arrays(x, kernel_size, stride, padding, dilation, ceil_mode)
    grid, together, planes = _planes(y.shape)
    _fixed("max", "forward", kernel_size, stride, dilation).launch(grid, THREADS, x, y, index, window, together, planes)
    return y, index if with_index else None


@rung("max_pool2d_backward", name="windows", device="cuda", accepts=floats)
def max_backward_windows(
    g: Any, index: Any, shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair,
) -> Any:
    """As the forward. Divisions by the stride, which tell the windows over a pixel, are by a constant as well."""
    g, index, dx = ready(g), ready(index), empty(g, shape)
    window = (*shape[2:], *g.shape[2:], *kernel_size, *stride, *padding, *dilation)
    grid, together, planes = _planes(shape)
    _fixed("max", "backward", kernel_size, stride, dilation).launch(grid, THREADS, g, index, dx, window, together, planes)
    return dx


@rung("avg_pool2d_forward", name="windows", device="cuda", accepts=floats)
def avg_forward_windows(
    x: Any, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool, divisor: int | None,
) -> Any:
    """As in max pooling; 2 x 2 in steps of 2 is the constant window."""
    x = ready(x)
    y = empty(x, (*x.shape[:2], *pool_output_size(x.shape[2:], kernel_size, stride, padding, (1, 1), ceil_mode)))
    window = (*x.shape[2:], *y.shape[2:], *kernel_size, *stride, *padding, 1, 1)
    grid, together, planes = _planes(y.shape)
    _fixed("avg", "forward", kernel_size, stride).launch(
        grid, THREADS, x, y, window, (int(count_include_pad), divisor or 0), together, planes)
    return y


@rung("avg_pool2d_backward", name="windows", device="cuda", accepts=floats)
def avg_backward_windows(
    g: Any, shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool,
    count_include_pad: bool, divisor: int | None,
) -> Any:
    """As in max pooling: 32 bits, and divisions by the constants of the usual window."""
    g, dx = ready(g), empty(g, shape)
    window = (*shape[2:], *g.shape[2:], *kernel_size, *stride, *padding, 1, 1)
    grid, together, planes = _planes(shape)
    _fixed("avg", "backward", kernel_size, stride).launch(
        grid, THREADS, g, dx, window, (int(count_include_pad), divisor or 0), together, planes)
    return dx


def _max_arrays(
    x: Any, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool,
) -> tuple[Any, Any, Any, tuple[int, ...]]:
    """x as kernels want it, arrays for the largest pixels and their places, and the window."""
    x = ready(x)
    shape = (*x.shape[:2], *pool_output_size(x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode))
    window = (*x.shape[2:], *shape[2:], *kernel_size, *stride, *padding, *dilation)
    return x, empty(x, shape), empty(x, shape, np.int32), window


def _fixed(kind: str, way: str, kernel_size: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Kernel:
    """The kernel for this window, or the one for any."""
    window = (*kernel_size, *stride) if dilation == (1, 1) else ANY
    return _FIXED.get((kind, way, window)) or _FIXED[kind, way, ANY]


def _planes(shape: tuple[int, ...]) -> tuple[tuple[int, int], int, int]:
    """The grid for a result of this shape, how many planes are counted together, and how many there are."""
    planes, size = shape[0] * shape[1], math.prod(shape[2:])
    together, groups = grouped(planes, size)
    return (blocks(together * size, THREADS), groups), together, planes
