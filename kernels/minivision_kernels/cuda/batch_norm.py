"""Batch normalisation on the GPU (``batch_norm.cu``): a thread for each channel, then blocks whose warps exchange registers."""

from __future__ import annotations

from typing import Any

from minivision_kernels.cuda.channels import THREADS, countable, layout, planes, shares
from minivision_kernels.cuda.launch import Kernel, array_module, blocks, empty, floats, ready
from minivision_kernels.ladder import rung

_FORWARD_THREADS, _BACKWARD_THREADS, _MOMENTS, _NORMALISE, _SUMS, _GRADIENT = (
    Kernel("batch_norm.cu", name) for name in
    ("forward_threads", "backward_threads", "moments", "normalise", "gradient_sums", "gradient"))


@rung("batch_norm_forward", name="threads", device="cuda", accepts=floats)
def forward_threads(x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """One kernel instead of one for each step of the formula. A thread goes through its channel three times, alone; that is
    good for matrices (N, C), where neighbouring threads read neighbouring numbers, and for nothing else."""
    x, (N, C, P) = ready(x), layout(x)
    y, mean, var = _results(x)
    if x.size:
        _FORWARD_THREADS.launch(blocks(C, 64), 64, x, ready(weight), ready(bias), y, mean, var, N, C, P, eps)
    return y, mean, var


@rung("batch_norm_backward", name="threads", device="cuda", accepts=floats)
def backward_threads(g: Any, x: Any, weight: Any, mean: Any, var: Any, eps: float) -> tuple[Any, Any, Any]:
    """As the forward: one kernel, and one thread that goes through its channel twice."""
    g, x, (N, C, P) = ready(g), ready(x), layout(x)
    dx, dweight, dbias = _results(x)
    if x.size:
        _BACKWARD_THREADS.launch(blocks(C, 64), 64, g, x, ready(weight), ready(mean), ready(var), dx, dweight, dbias,
                                 N, C, P, eps)
    return dx, dweight, dbias


@rung("batch_norm_forward", name="blocks", device="cuda", accepts=countable, worth=planes)
def forward_blocks(x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """256 threads read a channel in vectors of four, and shuffles bring their means and variances together; few channels are
    split between blocks. x is read twice and y written once, and all of the memory's width is used."""
    x = ready(x)
    y, mean, var = _results(x)
    if x.size:
        of = shares(x)
        grid, partial = of[1] * of[3], empty(x, (2 * of[1] * of[3],))
        _MOMENTS.launch(grid, THREADS, x, partial, of)
        _NORMALISE.launch(grid, THREADS, x, partial, ready(weight), ready(bias), y, mean, var, of, eps)
    return y, mean, var


@rung("batch_norm_backward", name="blocks", device="cuda", accepts=countable, worth=planes)
def backward_blocks(g: Any, x: Any, weight: Any, mean: Any, var: Any, eps: float) -> tuple[Any, Any, Any]:
    """As the forward: both sums in one kernel, the gradient in a second."""
    g, x, weight, mean, var = (ready(array) for array in (g, x, weight, mean, var))
    dx, dweight, dbias = _results(x)
    if x.size:
        of = shares(x)
        grid, partial = of[1] * of[3], empty(x, (2 * of[1] * of[3],))
        _SUMS.launch(grid, THREADS, g, x, mean, var, partial, of, eps)
        _GRADIENT.launch(grid, THREADS, g, x, weight, mean, var, partial, dx, dweight, dbias, of, eps)
    return dx, dweight, dbias


def _results(x: Any) -> tuple[Any, Any, Any]:
    """An array like x, and two with a number for each channel; these are 0 if x is empty."""
    make = empty if x.size else lambda like, shape: array_module(like).zeros(shape, like.dtype)
    return empty(x, x.shape), make(x, x.shape[1:2]), make(x, x.shape[1:2])
