"""What the kernels should compute, written independently of them: plain loops over outputs, in float64."""

from __future__ import annotations

import itertools
import math

import numpy as np

from minivision_kernels import Rung, ladder, ops

FLOATS = [np.float32, np.float64]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}       # relative to the sum of the absolute values of all terms


def rungs(*names: str) -> list[Rung]:
    return [rung for op in names or ops() for rung in ladder(op) if rung.device == "cpu"]


def assert_close(got, expected, scale, dtype):
    assert got.dtype == dtype
    assert got.shape == expected.shape
    assert got.flags.c_contiguous
    excess = np.abs(got - expected) - TOLERANCE[dtype] * (np.abs(scale) + 1e-30)
    assert not got.size or excess.max() <= 0, f"off by {np.abs(got - expected).max()}"


def guarded(array: np.ndarray, readonly: bool = False) -> np.ndarray:
    """The array between two walls of NaN (of absurd numbers for integers): reading past its ends shows."""
    wall = np.full(64, np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).max, array.dtype)
    inside = np.concatenate([wall, array.ravel(), wall])[64:64 + array.size].reshape(array.shape)
    inside.flags.writeable = not readonly
    return inside


def window_pixels(size, start, kernel_size, dilation):
    """(i, j, h, w) for every pixel inside the image that the window starting at ``start`` sees."""
    for i, j in itertools.product(range(kernel_size[0]), range(kernel_size[1])):
        h, w = start[0] + i * dilation[0], start[1] + j * dilation[1]
        if 0 <= h < size[0] and 0 <= w < size[1]:
            yield i, j, h, w


def conv_size(size, kernel_size, stride, padding, dilation):
    return tuple(
        len(range(0, n + 2 * p - d * (k - 1), s))       # window starts that keep the window inside
        for n, k, s, p, d in zip(size, kernel_size, stride, padding, dilation))


def conv_meetings(x_shape, w_shape, output, stride, padding, dilation, groups):
    """Every place where a weight meets a pixel: (oh, ow, i, j, h, w), and the channels of each filter."""
    for oh, ow in itertools.product(*map(range, output)):
        start = oh * stride[0] - padding[0], ow * stride[1] - padding[1]
        for i, j, h, w in window_pixels(x_shape[2:], start, w_shape[2:], dilation):
            for group in range(groups):
                C, F = w_shape[1], w_shape[0] // groups
                yield oh, ow, i, j, h, w, slice(group * C, (group + 1) * C), slice(group * F, (group + 1) * F)


def conv2d_forward(x, w, *geometry):
    x, w = x.astype(np.float64), w.astype(np.float64)
    y = np.zeros((len(x), len(w), *conv_size(x.shape[2:], w.shape[2:], *geometry[:3])))
    for oh, ow, i, j, h, c, C, F in conv_meetings(x.shape, w.shape, y.shape[2:], *geometry):
        y[:, F, oh, ow] += (x[:, None, C, h, c] * w[None, F, :, i, j]).sum(-1)
    return y


def conv2d_input(g, w, shape, *geometry):
    g, w = g.astype(np.float64), w.astype(np.float64)
    dx = np.zeros(shape)
    for oh, ow, i, j, h, c, C, F in conv_meetings(shape, w.shape, g.shape[2:], *geometry):
        dx[:, C, h, c] += (g[:, F, None, oh, ow] * w[None, F, :, i, j]).sum(1)
    return dx


def conv2d_weight(x, g, shape, *geometry):
    x, g = x.astype(np.float64), g.astype(np.float64)
    dw = np.zeros(shape)
    for oh, ow, i, j, h, c, C, F in conv_meetings(x.shape, shape, g.shape[2:], *geometry):
        dw[F, :, i, j] += (g[:, F, None, oh, ow] * x[:, None, C, h, c]).sum(0)
    return dw


def pool_size(size, kernel_size, stride, padding, dilation, ceil_mode):
    """Count the windows: in ceil mode every start inside the image or its left padding, else those that fit."""
    sizes = []
    for n, k, s, p, d in zip(size, kernel_size, stride, padding, dilation):
        reach = d * (k - 1) + 1
        start, count = -p, 0
        while start + reach <= n + p or (ceil_mode and start < n and start - s + reach < n + p):
            start, count = start + s, count + 1
        sizes.append(count)
    return tuple(sizes)


def max_pool2d_forward(x, kernel_size, stride, padding, dilation, ceil_mode):
    size = x.shape[2:]
    y = np.full((*x.shape[:2], *pool_size(size, kernel_size, stride, padding, dilation, ceil_mode)), -np.inf, x.dtype)
    index = np.full(y.shape, -1, np.int32)
    for n, c, oh, ow in np.ndindex(y.shape):
        start = oh * stride[0] - padding[0], ow * stride[1] - padding[1]
        for _, _, h, w in window_pixels(size, start, kernel_size, dilation):
            value = x[n, c, h, w]
            if index[n, c, oh, ow] < 0 or value > y[n, c, oh, ow] or math.isnan(value):
                y[n, c, oh, ow], index[n, c, oh, ow] = value, h * size[1] + w
    return y, index


def max_pool2d_backward(g, index, shape):
    dx = np.zeros(shape)
    for n, c, oh, ow in np.ndindex(g.shape):
        if index[n, c, oh, ow] >= 0:
            dx[n, c, index[n, c, oh, ow] // shape[3], index[n, c, oh, ow] % shape[3]] += g[n, c, oh, ow]
    return dx


def avg_pool2d_weights(shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor):
    """((oh, ow), (h, w), weight) of every pixel in every window: forward and backward are both sums over these."""
    size = shape[2:]
    for oh, ow in np.ndindex(pool_size(size, kernel_size, stride, padding, (1, 1), ceil_mode)):
        start = oh * stride[0] - padding[0], ow * stride[1] - padding[1]
        seen = [(h, w) for _, _, h, w in window_pixels(size, start, kernel_size, (1, 1))]
        padded = [
            at for at in itertools.product(*(range(s, s + k) for s, k in zip(start, kernel_size)))
            if all(a < n + p for a, n, p in zip(at, size, padding))
        ]
        count = divisor if divisor is not None else len(padded) if count_include_pad else len(seen)
        for pixel in seen:
            yield (oh, ow), pixel, 1 / count


def avg_pool2d_forward(x, *options):
    kernel_size, stride, padding, ceil_mode = options[:4]
    y = np.zeros((*x.shape[:2], *pool_size(x.shape[2:], kernel_size, stride, padding, (1, 1), ceil_mode)))
    for (oh, ow), (h, w), weight in avg_pool2d_weights(x.shape, *options):
        y[:, :, oh, ow] += weight * x[:, :, h, w]
    return y


def avg_pool2d_backward(g, shape, *options):
    dx = np.zeros(shape)
    for (oh, ow), (h, w), weight in avg_pool2d_weights(shape, *options):
        dx[:, :, h, w] += weight * g[:, :, oh, ow]
    return dx
