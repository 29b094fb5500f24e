"""Pooling of one image plane: what is done for each (image, channel), whoever hands the planes out.

A gradient is added up plane by plane, in the order of the outputs. Windows overlap within a plane, never across two, so
planes can be shared between threads: no pixel is ever written by two of them, and the order of its sum is fixed.
"""

from __future__ import annotations

import math

from minivision_kernels.cpu.compile import helper


@helper
def max_plane(x, y, index, KH, KW, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w):
    """y (OH, OW) = the maximum of each window of x (H, W), and index = its place h * W + w."""
    H, W = x.shape
    OH, OW = y.shape
    for oh in range(OH):
        for ow in range(OW):
            best, place = x.dtype.type(-math.inf), -1
            for i in range(KH):
                h = oh * stride_h + i * dilation_h - pad_h
                if 0 <= h < H:
                    for j in range(KW):
                        w = ow * stride_w + j * dilation_w - pad_w
                        if 0 <= w < W:
                            value = x[h, w]
                            # Only NaN differs from itself; and any pixel is better than none, even one of -inf.
                            if value > best or value != value or place < 0:
                                best, place = value, h * W + w
            y[oh, ow] = best
            index[oh, ow] = place


@helper
def scatter_plane(g, index, dx):
    """dx (H, W) = the sum of the gradients g of those outputs whose maximum each pixel was."""
    H, W = dx.shape
    OH, OW = g.shape
    dx[:] = 0
    for oh in range(OH):
        for ow in range(OW):
            place = index[oh, ow]
            if 0 <= place < H * W:
                dx[place // W, place % W] += g[oh, ow]


@helper
def window_divisor(h0, w0, KH, KW, pad_h, pad_w, H, W, count_include_pad, divisor):
    """What the sum of the window at (h0, w0) is divided by; ``divisor`` 0 means: count."""
    if divisor != 0:
        return divisor
    h1, w1 = min(h0 + KH, H + pad_h), min(w0 + KW, W + pad_w)      # what lies beyond the padding never counts
    if count_include_pad:
        return max(1, (h1 - h0) * (w1 - w0))
    return max(1, (min(h1, H) - max(h0, 0)) * (min(w1, W) - max(w0, 0)))


@helper
def average_plane(x, y, KH, KW, stride_h, stride_w, pad_h, pad_w, count_include_pad, divisor):
    """y (OH, OW) = the mean of each window of x (H, W)."""
    H, W = x.shape
    OH, OW = y.shape
    for oh in range(OH):
        for ow in range(OW):
            h0, w0 = oh * stride_h - pad_h, ow * stride_w - pad_w
            total = x.dtype.type(0)
            for h in range(max(h0, 0), min(h0 + KH, H)):
                for w in range(max(w0, 0), min(w0 + KW, W)):
                    total += x[h, w]
            count = window_divisor(h0, w0, KH, KW, pad_h, pad_w, H, W, count_include_pad, divisor)
            y[oh, ow] = total / x.dtype.type(count)


@helper
def spread_plane(g, dx, KH, KW, stride_h, stride_w, pad_h, pad_w, count_include_pad, divisor):
    """dx (H, W) = the sum of the shares g / divisor of all windows over each pixel."""
    H, W = dx.shape
    OH, OW = g.shape
    dx[:] = 0
    for oh in range(OH):
        for ow in range(OW):
            h0, w0 = oh * stride_h - pad_h, ow * stride_w - pad_w
            count = window_divisor(h0, w0, KH, KW, pad_h, pad_w, H, W, count_include_pad, divisor)
            share = g[oh, ow] / g.dtype.type(count)
            for h in range(max(h0, 0), min(h0 + KH, H)):
                for w in range(max(w0, 0), min(w0 + KW, W)):
                    dx[h, w] += share
