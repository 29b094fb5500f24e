"""Normalisation and dropout: what makes deep networks train."""

from __future__ import annotations

from typing import Any

from minivision_kernels import array_module, beside

from .. import random
from ..autograd import Function
from ..device import move
from ..ops import norm as ops
from ..saved import check_free
from ..tensor import Tensor
from . import checks


def batch_norm(input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
               training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel (Ioffe and Szegedy 2015).

    Args:
        input: (N, C, ...).
        running_mean, running_var: (C,), averages over batches. Used when ``training`` is False; moved towards this
            batch's mean and unbiased variance by ``momentum`` when it is True (and they are given).
        weight, bias: (C,) or None.
        training: normalise by this batch's own mean and biased variance, over all axes but the channels.
    """
    return _batch_norm(ops.BatchNormEval, input, running_mean, running_var, weight, bias, training, momentum, eps)


def batch_norm_relu(input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
                    eps: float = 1e-5) -> Tensor:
    """``relu(batch_norm(...))`` by running averages as one operation, which needs no memory for what lies between."""
    return _batch_norm(ops.BatchNormEvalRelu, input, running_mean, running_var, weight, bias, False, 0.1, eps)


def _batch_norm(op: type[Function], input: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, training: bool,
                momentum: float, eps: float) -> Tensor:
    name = "batch_norm"
    x = checks.floating(checks.tensor(input, name), name)
    if x.ndim < 2:
        raise ValueError(f"batch_norm: input has shape {x.shape}, expected at least (N, C)")
    weight, bias = (None if p is None else checks.tensor(p, name) for p in (weight, bias))
    running_mean, running_var = _running(name, running_mean=running_mean, running_var=running_var)
    checks.together(name, input=x, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    _per_channel(name, x.shape[1], weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    scale = _filled(1, x) if weight is None else weight
    shift = _filled(0, x) if bias is None else bias
    if training:
        n = x.size // max(x.shape[1], 1)
        if n < 2:
            raise ValueError(f"batch_norm: input of shape {x.shape} has {n} value(s) per channel; training needs at least 2 to "
                             "have a variance. Use a larger batch, or eval mode")
        statistics: list[Any] = []
        y = ops.BatchNorm.apply(x, scale, shift, eps=eps, statistics=statistics)
        mean, var = statistics
        if running_mean is not None and running_var is not None:
            _move(running_mean, mean, momentum)
            with beside(var):
                var = var * (n / (n - 1))
            _move(running_var, var, momentum)
        return y
    if running_mean is None or running_var is None:
        raise ValueError("batch_norm: running_mean and running_var are needed when training is False")
    return op.apply(x, scale, shift, mean=running_mean._data, var=running_var._data, eps=eps)


def instance_norm(input: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None,
                  bias: Any = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """As `batch_norm`, but each image by its own statistics over its pixels (Ulyanov et al. 2016).

    Args:
        input: (N, C, ...) with at least one axis of pixels.
        running_mean, running_var: (C,) or None; averages over images, used when ``use_input_stats`` is False.
        weight, bias: (C,) or None.
    """
    name = "instance_norm"
    x = checks.floating(checks.tensor(input, name), name)
    if x.ndim < 3:
        raise ValueError(f"instance_norm: input has shape {x.shape}, expected at least (N, C, L)")
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    weight, bias = (None if p is None else checks.tensor(p, name) for p in (weight, bias))
    running_mean, running_var = _running(name, running_mean=running_mean, running_var=running_var)
    checks.together(name, input=x, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    _per_channel(name, x.shape[1], weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    pixels = tuple(range(2, x.ndim))
    n = x.size // max(x.shape[0] * x.shape[1], 1)
    if n < 2 and x.size:
        raise ValueError(f"instance_norm: input of shape {x.shape} has {n} pixel(s) per channel, expected at least 2")
    if running_mean is not None and running_var is not None:
        _move(running_mean, x._data.mean(axis=pixels).mean(axis=0), momentum)
        _move(running_var, x._data.var(axis=pixels, ddof=1).mean(axis=0), momentum)
    z = ops.Standardize.apply(x, axes=pixels, eps=eps)
    if weight is None and bias is None:
        return z
    weight = _filled(1, x) if weight is None else weight
    return ops.ChannelAffine.apply(z, weight, *(() if bias is None else (bias,)))


def _running(name: str, **averages: Any) -> list[Tensor | None]:
    """The running averages as Tensors on the same memory, which training changes in place."""
    for argument, value in averages.items():
        if value is not None and not hasattr(value, "dtype"):
            raise TypeError(f"{name}: {argument} is a {type(value).__name__}, expected a Tensor or an array, which training "
                            "changes in place")
    return [value if value is None or isinstance(value, Tensor) else Tensor(value) for value in averages.values()]


def _per_channel(name: str, channels: int, **tensors: Tensor | None) -> None:
    for argument, t in tensors.items():
        if t is not None and t.shape != (channels,):
            raise ValueError(f"{name}: {argument} has shape {t.shape}, expected ({channels},), one number for each channel")


def _filled(number: int, x: Tensor) -> Tensor:
    """The number for each channel of x."""
    with beside(x._data):
        return Tensor(array_module(x._data).full(x.shape[1], number, x.dtype))


def _move(running: Tensor, value: Any, momentum: float) -> None:
    check_free(running._data, "a running average")
    with beside(running._data):
        running._data *= 1 - momentum
        running._data += momentum * value


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Set each element to 0 with probability ``p``, and divide the others by 1 - p so that the mean stays.

    (Srivastava et al. 2014.) The mask comes from minivision's random numbers (`minivision.manual_seed`). Nothing happens when
    ``training`` is False. ``inplace`` is PyTorch's; nothing is changed in place here.
    """
    x = checks.floating(checks.tensor(input, "dropout"), "dropout")
    checks.share(p, "dropout", "p")
    if not training or p == 0:
        return x
    kept = random.generator().random(x.shape, dtype="float32") >= p
    mask = kept.astype(x.dtype) * x.dtype.type(1 / (1 - p) if p < 1 else 0)
    return x * Tensor(move(mask, x.device))
