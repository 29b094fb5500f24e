"""Convolution and its two gradients as the formula says: one output, one weight, one pixel at a time.

Every result is a sum over three axes, collected in one number. A pixel outside the image counts as 0, so it is skipped.
"""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import In4, Out4, compiled, contiguous, floats
from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair, conv_output_size


@rung("conv2d_forward", name="loops", device="cpu", accepts=floats)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Seven nested loops, compiled: the formula and nothing else, which is where a ladder starts.

    Slow because each multiply-add waits for the one before it (they add to the same number) and every pixel is first
    asked whether it lies inside the image.
    """
    N, _, H, W = x.shape
    F, _, KH, KW = w.shape
    OH, OW = conv_output_size((H, W), (KH, KW), stride, padding, dilation)
    y = np.empty((N, F, OH, OW), x.dtype)
    _forward(contiguous(x), contiguous(w), y, *stride, *padding, *dilation, groups)
    return y


@rung("conv2d_input", name="loops", device="cpu", accepts=floats)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The formula turned round: each pixel asks every tap whether a window saw it through there, and sums."""
    dx = np.empty(shape, g.dtype)
    _input(contiguous(g), contiguous(w), dx, *stride, *padding, *dilation, groups)
    return dx


@rung("conv2d_weight", name="loops", device="cpu", accepts=floats)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Each weight sums g times the pixel it met, over all images and all outputs."""
    dw = np.empty(shape, x.dtype)
    _weight(contiguous(x), contiguous(g), dw, *stride, *padding, *dilation, groups)
    return dw


@compiled
def _forward(
    x: In4, w: In4, y: Out4, stride_h: int, stride_w: int, pad_h: int, pad_w: int, dilation_h: int, dilation_w: int,
    groups: int,
):
    N, F, OH, OW = y.shape
    channels, KH, KW = w.shape[1:]
    H, W = x.shape[2:]
    for n in range(N):
        for f in range(F):
            first = f // (F // groups) * channels           # the first channel of the group of f
            for oh in range(OH):
                for ow in range(OW):
                    total = x.dtype.type(0)
                    for c in range(channels):
                        for i in range(KH):
                            for j in range(KW):
                                row = oh * stride_h + i * dilation_h - pad_h
                                column = ow * stride_w + j * dilation_w - pad_w
                                if 0 <= row < H and 0 <= column < W:
                                    total += w[f, c, i, j] * x[n, first + c, row, column]
                    y[n, f, oh, ow] = total


@compiled
def _input(
    g: In4, w: In4, dx: Out4, stride_h: int, stride_w: int, pad_h: int, pad_w: int, dilation_h: int, dilation_w: int,
    groups: int,
):
    N, C, H, W = dx.shape
    F, channels, KH, KW = w.shape
    OH, OW = g.shape[2:]
    filters = F // groups
    for n in range(N):
        for c in range(C):
            first = c // channels * filters                 # the first filter of the group of c
            for row in range(H):
                for column in range(W):
                    total = g.dtype.type(0)
                    for f in range(first, first + filters):
                        for i in range(KH):
                            for j in range(KW):
                                # row = oh * stride + i * dilation - pad, solved for oh
                                oh, rest_h = divmod(row + pad_h - i * dilation_h, stride_h)
                                ow, rest_w = divmod(column + pad_w - j * dilation_w, stride_w)
                                if rest_h == 0 and rest_w == 0 and 0 <= oh < OH and 0 <= ow < OW:
                                    total += w[f, c % channels, i, j] * g[n, f, oh, ow]
                    dx[n, c, row, column] = total


@compiled
def _weight(
    x: In4, g: In4, dw: Out4, stride_h: int, stride_w: int, pad_h: int, pad_w: int, dilation_h: int, dilation_w: int,
    groups: int,
):
    N, F, OH, OW = g.shape
    channels, KH, KW = dw.shape[1:]
    H, W = x.shape[2:]
    for f in range(F):
        first = f // (F // groups) * channels
        for c in range(channels):
            for i in range(KH):
                for j in range(KW):
                    total = x.dtype.type(0)
                    for n in range(N):
                        for oh in range(OH):
                            for ow in range(OW):
                                row = oh * stride_h + i * dilation_h - pad_h
                                column = ow * stride_w + j * dilation_w - pad_w
                                if 0 <= row < H and 0 <= column < W:
                                    total += g[n, f, oh, ow] * x[n, first + c, row, column]
                    dw[f, c, i, j] = total
