"""Pooling: one number for each window of an image."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from minivision_kernels.shapes import pool_output_size

from ..device import move
from ..ops import pool as ops
from ..tensor import Tensor
from . import checks

Pair = int | tuple[int, int]


def max_pool2d(input: Any, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """The largest value of each window. Padding counts as -inf; at a tie the gradient goes to the first in reading order.

    Args:
        input: (N, C, H, W).
        kernel_size, stride, dilation: numbers or (height, width) pairs; ``stride`` defaults to ``kernel_size``.
        padding: at most half of ``kernel_size``.
        ceil_mode: keep a last window that reaches beyond the edge.
        return_indices: also return where each maximum was, as h * W + w (int64).

    Returns:
        (N, C, OH, OW), or a pair of such with ``return_indices``.
    """
    x = checks.images(checks.tensor(input, "max_pool2d"), "max_pool2d")
    window = pool_window(x.shape[2:], "max_pool2d", kernel_size, stride, padding, dilation, ceil_mode)
    winners: list[Any] = []
    y = ops.MaxPool2d.apply(x, winners=winners if return_indices else None, **window)
    return (y, Tensor(winners[0].astype(np.int64))) if return_indices else y


def avg_pool2d(input: Any, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Tensor:
    """The mean of each window.

    The divisor is the number of pixels in the window, zeros of the padding included unless ``count_include_pad`` is
    False; a part that ``ceil_mode`` lets reach beyond the padding never counts. ``divisor_override`` replaces it.

    Args:
        input: (N, C, H, W).
        kernel_size, stride, padding, ceil_mode: as in `max_pool2d`.
    """
    x = checks.images(checks.tensor(input, "avg_pool2d"), "avg_pool2d")
    if divisor_override is not None and (not isinstance(divisor_override, int) or divisor_override == 0):
        raise ValueError(f"avg_pool2d: got divisor_override={divisor_override!r}, expected a whole number other than 0")
    window = pool_window(x.shape[2:], "avg_pool2d", kernel_size, stride, padding, 1, ceil_mode)
    window = {name: value for name, value in window.items() if name != "dilation"}
    return ops.AvgPool2d.apply(x, count_include_pad=bool(count_include_pad), divisor=divisor_override, **window)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Tensor:
    """The mean over as many windows as the output has pixels: window i covers rows floor(i H / OH) to ceil((i + 1) H / OH).

    Args:
        input: (N, C, H, W).
        output_size: a number or an (OH, OW) pair; None keeps that length.
    """
    x = checks.images(checks.tensor(input, "adaptive_avg_pool2d"), "adaptive_avg_pool2d")
    wanted = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    if len(wanted) == 2:
        wanted = tuple(n if want is None else want for want, n in zip(wanted, x.shape[2:]))
    oh, ow = checks.pair(wanted, "adaptive_avg_pool2d: output_size", 1)
    h, w = x.shape[2:]
    if h < 1 or w < 1:
        raise ValueError(f"adaptive_avg_pool2d: input has shape {x.shape}, expected at least one pixel")
    if h % oh == 0 and w % ow == 0:                              # equal windows that do not overlap: an ordinary pool
        return avg_pool2d(x, (h // oh, w // ow))
    return Tensor(_averages(h, oh, x)) @ x @ Tensor(_averages(w, ow, x).T)


def _averages(n: int, out: int, like: Tensor) -> Any:
    """The (out, n) matrix whose row i averages window i."""
    matrix = np.zeros((out, n), like.dtype)
    for i in range(out):
        first, last = i * n // out, -(-(i + 1) * n // out)
        matrix[i, first:last] = 1 / (last - first)
    return move(matrix, like.device)


def pool_window(pixels: tuple[int, ...], name: str, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0,
                dilation: Pair = 1, ceil_mode: bool = False) -> Mapping[str, Any]:
    """The options in the form that operations take, for an input of so many pixels."""
    stride = kernel_size if stride is None else stride
    look_up = checks.whole(kernel_size, stride, padding, dilation)
    return (_pool_window if look_up else _pool_window.__wrapped__)(
        pixels, name, kernel_size, stride, padding, dilation, bool(ceil_mode))


@functools.lru_cache(maxsize=1024)
def _pool_window(pixels: tuple[int, ...], name: str, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair,
                 ceil_mode: bool) -> Mapping[str, Any]:
    kernel = checks.pair(kernel_size, f"{name}: kernel_size", 1)
    step = checks.pair(stride, f"{name}: stride", 1)
    border, spread = checks.pair(padding, f"{name}: padding", 0), checks.pair(dilation, f"{name}: dilation", 1)
    if any(2 * p > k for p, k in zip(border, kernel)):
        raise ValueError(f"{name}: padding {border} is more than half of kernel_size {kernel}; a window would see nothing else")
    h, w = pixels
    if min(pool_output_size((h, w), kernel, step, border, spread, ceil_mode)) < 1:
        raise ValueError(f"{name}: the window {kernel} is larger than the input's {pixels} pixels with padding {border}; "
                         "use a smaller kernel_size")
    return MappingProxyType(dict(kernel_size=kernel, stride=step, padding=border, dilation=spread, ceil_mode=ceil_mode))
