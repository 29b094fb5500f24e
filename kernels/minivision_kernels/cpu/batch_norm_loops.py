"""Batch normalisation, channel by channel."""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels.cpu.compile import In1, In3, Out1, Out3, compiled, contiguous, floats
from minivision_kernels.ladder import rung


@rung("batch_norm_forward", name="loops", device="cpu", accepts=floats)
def batch_norm_forward(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three passes over a channel: the mean, the variance around it, the result. NumPy makes twice as many over the batch."""
    y = np.empty(x.shape, x.dtype)
    mean, var = np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    if x.size:
        shape = *x.shape[:2], x.size // (x.shape[0] * x.shape[1])
        _forward(contiguous(x).reshape(shape), contiguous(weight), contiguous(bias), eps, y.reshape(shape), mean, var)
    return y, mean, var


@rung("batch_norm_backward", name="loops", device="cpu", accepts=floats)
def batch_norm_backward(
    g: np.ndarray, x: np.ndarray, weight: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two passes over a channel: both sums, then the gradient to its pixels."""
    dx = np.empty(x.shape, x.dtype)
    dweight, dbias = np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    if x.size:
        shape = *x.shape[:2], x.size // (x.shape[0] * x.shape[1])
        _backward(contiguous(g).reshape(shape), contiguous(x).reshape(shape), contiguous(weight), contiguous(mean),
                  contiguous(var), eps, dx.reshape(shape), dweight, dbias)
    return dx, dweight, dbias


@compiled
def _forward(x: In3, weight: In1, bias: In1, eps: float, y: Out3, mean: Out1, var: Out1):
    N, C, S = x.shape
    for c in range(C):
        sum_, squares = 0.0, 0.0
        for n in range(N):
            for s in range(S):
                sum_ += x[n, c, s]
        middle = sum_ / (N * S)
        for n in range(N):
            for s in range(S):
                squares += (x[n, c, s] - middle) ** 2
        scale = weight[c] / math.sqrt(squares / (N * S) + eps)
        for n in range(N):
            for s in range(S):
                y[n, c, s] = (x[n, c, s] - middle) * scale + bias[c]
        mean[c], var[c] = middle, squares / (N * S)


@compiled
def _backward(
    g: In3, x: In3, weight: In1, mean: In1, var: In1, eps: float, dx: Out3, dweight: Out1, dbias: Out1,
):
    N, C, S = x.shape
    for c in range(C):
        shrink = 1 / math.sqrt(var[c] + eps)
        sum_, dot = 0.0, 0.0
        for n in range(N):
            for s in range(S):
                sum_ += g[n, c, s]
                dot += g[n, c, s] * (x[n, c, s] - mean[c])
        for n in range(N):
            for s in range(S):
                stretch = (x[n, c, s] - mean[c]) * shrink * shrink * dot
                dx[n, c, s] = weight[c] * shrink * (g[n, c, s] - (sum_ + stretch) / (N * S))
        dweight[c], dbias[c] = dot * shrink, sum_
