"""Max and average pooling, and their gradients, tap by tap as in ``reference/conv.py``."""

from __future__ import annotations

import numpy as np

from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair, pool_output_size


@rung("max_pool2d_forward", name="numpy", device="cpu")
def max_pool2d_forward(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool, with_index: bool = True,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The largest pixel of each window of x (N, C, H, W), and where it was; without ``with_index`` None instead.

    Returns y (N, C, OH, OW) and index (N, C, OH, OW), int32: the place h * W + w of the maximum in its input plane.
    Padding counts as -inf and is never chosen. A tie goes to the first pixel in row-major order. NaN counts as larger
    than everything, and of several NaN the last is taken, as PyTorch does. A window that sees no pixel at all (dilated
    over a tiny image) gives -inf and index -1.
    """
    N, C, H, W = x.shape
    OH, OW = pool_output_size((H, W), kernel_size, stride, padding, dilation, ceil_mode)
    y = np.full((N, C, OH, OW), -np.inf, x.dtype)
    index = np.full((N, C, OH, OW), -1, np.int32)
    places = np.arange(H * W, dtype=np.int32).reshape(H, W)
    for i in range(kernel_size[0]):
        for j in range(kernel_size[1]):
            oh, h = _seen(OH, H, stride[0], i * dilation[0] - padding[0])
            ow, w = _seen(OW, W, stride[1], j * dilation[1] - padding[1])
            tap, best, chosen = x[:, :, h, w], y[:, :, oh, ow], index[:, :, oh, ow]
            better = (chosen < 0) | (tap > best) | np.isnan(tap)
            np.copyto(best, tap, where=better)
            np.copyto(chosen, places[h, w], where=better)
    return y, index if with_index else None


@rung("max_pool2d_backward", name="numpy", device="cpu")
def max_pool2d_backward(
    g: np.ndarray, index: np.ndarray, shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair,
    dilation: Pair,
) -> np.ndarray:
    """The gradient to x, of the given ``shape`` (N, C, H, W), from the upstream g and the index of the forward.

    Only the maximum of a window can move its output, by as much as it moves itself: it gets the whole gradient.
    """
    N, C, H, W = shape
    dx = np.zeros((N * C, H * W), g.dtype)
    plane = np.arange(N * C).repeat(g.shape[2] * g.shape[3])
    place, upstream = index.ravel(), g.ravel()
    chosen = place >= 0
    np.add.at(dx, (plane[chosen], place[chosen]), upstream[chosen])     # windows may share a maximum: add, not assign
    return dx.reshape(shape)


@rung("avg_pool2d_forward", name="numpy", device="cpu")
def avg_pool2d_forward(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool,
    divisor: int | None,
) -> np.ndarray:
    """The mean of each window of x (N, C, H, W); returns y (N, C, OH, OW).

    The sum over the pixels inside the image is divided by ``divisor`` if given; else by the number of those pixels, or
    with ``count_include_pad`` by the number of pixels and padding under the window. What ``ceil_mode`` lets hang over
    the padded image counts for neither. A window without pixels gives 0.
    """
    N, C, H, W = x.shape
    OH, OW = pool_output_size((H, W), kernel_size, stride, padding, (1, 1), ceil_mode)
    y = np.zeros((N, C, OH, OW), x.dtype)
    for i in range(kernel_size[0]):
        for j in range(kernel_size[1]):
            oh, h = _seen(OH, H, stride[0], i - padding[0])
            ow, w = _seen(OW, W, stride[1], j - padding[1])
            y[:, :, oh, ow] += x[:, :, h, w]
    y /= _divisors((H, W), (OH, OW), kernel_size, stride, padding, count_include_pad, divisor).astype(x.dtype)
    return y


@rung("avg_pool2d_backward", name="numpy", device="cpu")
def avg_pool2d_backward(
    g: np.ndarray, shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool,
    count_include_pad: bool, divisor: int | None,
) -> np.ndarray:
    """The gradient to x, of the given ``shape`` (N, C, H, W): each output spreads g / divisor over its window."""
    H, W = shape[2:]
    OH, OW = g.shape[2:]
    share = g / _divisors((H, W), (OH, OW), kernel_size, stride, padding, count_include_pad, divisor).astype(g.dtype)
    dx = np.zeros(shape, g.dtype)
    for i in range(kernel_size[0]):
        for j in range(kernel_size[1]):
            oh, h = _seen(OH, H, stride[0], i - padding[0])
            ow, w = _seen(OW, W, stride[1], j - padding[1])
            dx[:, :, h, w] += share[:, :, oh, ow]           # through one tap no pixel is seen twice
    return dx


def _seen(outputs: int, size: int, stride: int, offset: int) -> tuple[slice, slice]:
    """Through a tap, output o sees pixel o * stride + offset: the outputs whose pixel exists, and those pixels."""
    first = max(0, -(offset // stride))
    stop = max(first, min(outputs, -((offset - size) // stride)))
    return slice(first, stop), slice(first * stride + offset, stop * stride + offset, stride)


def _divisors(
    size: Pair, output: Pair, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool,
    divisor: int | None,
) -> np.ndarray:
    """What each window's sum is divided by, (OH, OW)."""
    if divisor is not None:
        return np.full(output, divisor)
    counts = []
    for n, o, k, s, p in zip(size, output, kernel_size, stride, padding):
        start = np.arange(o) * s - p
        stop = np.minimum(start + k, n + p)
        counts.append(stop - start if count_include_pad else np.minimum(stop, n) - np.maximum(start, 0))
    return np.maximum(np.outer(*counts), 1)         # at least 1: an empty window gives 0, not 0 / 0
