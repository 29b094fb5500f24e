"""Convolution and its two gradients, as a sum over the taps of the window.

A *tap* is one position (i, j) of the KH x KW window. Seen through one tap, the padded image is a strided view as large
as the output, and convolution is a matrix product over the channels; the taps add up:

    y        = sum over taps   w[tap]   @ x[tap]        (F, C) @ (C, OH OW)
    dx[tap] += for each tap    w[tap].T @ g             (C, F) @ (F, OH OW)
    dw[tap]  = sum over images g @ x[tap].T             (F, OH OW) @ (OH OW, C)

Groups are independent convolutions side by side: an axis G in front of the channels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair, conv_output_size


@rung("conv2d_forward", name="numpy", device="cpu", repeatable=False)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Cross-correlate images x (N, C, H, W) with filters w (F, C // groups, KH, KW); returns y (N, F, OH, OW).

    y[n, f, oh, ow] = sum over c, i, j of w[f, c, i, j] * x[n, c, oh * stride + i * dilation - padding, ...]

    where pixels outside the image count as 0 and c runs over the channels of the group of f. One matrix product per
    tap: the sums over channels run inside NumPy's BLAS.
    """
    N, C, H, W = x.shape
    F, _, KH, KW = w.shape
    OH, OW = conv_output_size((H, W), (KH, KW), stride, padding, dilation)
    padded = _pad(x, padding)
    filters = w.reshape(groups, F // groups, C // groups, KH, KW)
    y = np.zeros((N, groups, F // groups, OH * OW), x.dtype)
    for i, j, tap in _taps(padded, (KH, KW), (OH, OW), stride, dilation):
        columns = tap.reshape(N, groups, C // groups, OH * OW)
        y += filters[..., i, j] @ columns
    return y.reshape(N, F, OH, OW)


@rung("conv2d_input", name="numpy", device="cpu", repeatable=False)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The gradient to x, of the given ``shape`` (N, C, H, W), from the upstream gradient g (N, F, OH, OW).

    Each output hands g * w back to every pixel its window saw; windows overlap, so contributions add up. Pixels that
    no window saw get 0.
    """
    N, C, H, W = shape
    F, _, KH, KW = w.shape
    OH, OW = g.shape[2:]
    padded = np.zeros((N, C, H + 2 * padding[0], W + 2 * padding[1]), g.dtype)
    filters = w.reshape(groups, F // groups, C // groups, KH, KW)
    upstream = g.reshape(N, groups, F // groups, OH * OW)
    for i, j, tap in _taps(padded, (KH, KW), (OH, OW), stride, dilation):
        tap += (filters[..., i, j].swapaxes(1, 2) @ upstream).reshape(N, C, OH, OW)
    return np.ascontiguousarray(padded[:, :, padding[0]:padding[0] + H, padding[1]:padding[1] + W])


@rung("conv2d_weight", name="numpy", device="cpu", repeatable=False)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The gradient to w, of the given ``shape`` (F, C // groups, KH, KW), from x and the upstream g (N, F, OH, OW).

    A weight took part in every output, each time multiplied by the pixel under its tap: correlate the two. BLAS keeps
    a tile of the result in registers, which saves most loads; but how it splits the sums is its own affair.
    """
    N, C = x.shape[:2]
    F, _, KH, KW = shape
    OH, OW = g.shape[2:]
    dw = np.zeros((groups, F // groups, C // groups, KH, KW), x.dtype)
    upstream = g.reshape(N, groups, F // groups, OH * OW)
    for i, j, tap in _taps(_pad(x, padding), (KH, KW), (OH, OW), stride, dilation):
        columns = tap.reshape(N, groups, C // groups, OH * OW)
        dw[..., i, j] = (upstream @ columns.swapaxes(2, 3)).sum(axis=0)
    return dw.reshape(shape)


def _pad(x: np.ndarray, padding: Pair) -> np.ndarray:
    vertical, horizontal = padding
    return np.pad(x, ((0, 0), (0, 0), (vertical, vertical), (horizontal, horizontal)))


def _taps(
    padded: np.ndarray, window: Pair, output: Pair, stride: Pair, dilation: Pair,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """(i, j, view) for each tap; the view (N, C, OH, OW) holds the pixel that each output sees through that tap."""
    for i in range(window[0]):
        for j in range(window[1]):
            seen = padded[:, :, i * dilation[0]::stride[0], j * dilation[1]::stride[1]]
            yield i, j, seen[:, :, :output[0], :output[1]]
