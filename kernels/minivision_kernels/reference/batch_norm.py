"""Batch normalisation in training, and its gradients; the same formulas for the arrays of NumPy and of CuPy."""

from __future__ import annotations

import numpy as np

from minivision_kernels.ladder import array_module, rung


@rung("batch_norm_forward", name="cupy", device="cuda")
@rung("batch_norm_forward", name="numpy", device="cpu")
def batch_norm_forward(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel of x (N, C, ...); weight and bias are (C,).

    Returns y, and the mean and the biased variance (C,) of the channels over all other axes.
    """
    xp, (axes, column) = array_module(x), _layout(x)
    mean = x.mean(axis=axes, keepdims=True)
    centred = x - mean
    var = xp.square(centred).mean(axis=axes, keepdims=True)
    y = centred * (weight.reshape(column) / xp.sqrt(var + x.dtype.type(eps))) + bias.reshape(column)
    return y, mean.reshape(-1), var.reshape(-1)


@rung("batch_norm_backward", name="cupy", device="cuda")
@rung("batch_norm_backward", name="numpy", device="cpu")
def batch_norm_backward(
    g: np.ndarray, x: np.ndarray, weight: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients to x, weight and bias, from the upstream g and the statistics that the forward returned.

    With z = (x - mean) / sqrt(var + eps), and means over a channel (Ioffe and Szegedy 2015, section 3):

        dbias = sum(g)      dweight = sum(g z)      dx = weight * (g - mean(g) - z * mean(g z)) / sqrt(var + eps)
    """
    xp, (axes, column) = array_module(x), _layout(x)
    shrink = 1 / xp.sqrt(var + x.dtype.type(eps)).reshape(column)
    z = (x - mean.reshape(column)) * shrink
    dbias, dweight = g.sum(axis=axes), (g * z).sum(axis=axes)
    count = x.dtype.type(max(x.size // max(x.shape[1], 1), 1))
    dx = weight.reshape(column) * shrink * (g - dbias.reshape(column) / count - z * (dweight.reshape(column) / count))
    return dx, dweight, dbias


def _layout(x: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """All axes but the channels, and the shape of a number for each channel beside x."""
    return (0, *range(2, x.ndim)), (-1, *(1,) * (x.ndim - 2))
