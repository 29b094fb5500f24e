"""Functions that reduce an array along one, several or all of its axes.

``dim`` is an axis, a tuple of axes where the function allows it, or None for all; ``keepdim=True`` leaves the reduced
axes in place with length 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..ops import reduce as ops
from ..tensor import Tensor
from . import checks
from .elementwise import mul


class Extreme(NamedTuple):
    """What ``max`` and ``min`` along an axis return."""

    values: Tensor
    indices: Tensor


def sum(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The sum. Bools and integers are added as int64."""
    x = checks.tensor(input, "sum")
    return ops.Sum.apply(x, axes=checks.axes(dim, x.ndim, "sum"), keepdim=keepdim)


def mean(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The arithmetic mean of a floating tensor; nan over an empty axis."""
    x = checks.floating(checks.tensor(input, "mean"), "mean")
    return ops.Mean.apply(x, axes=checks.axes(dim, x.ndim, "mean"), keepdim=keepdim)


def var(input: Any, dim: Any = None, keepdim: bool = False, correction: int = 1) -> Tensor:
    """The variance, sum((x - mean)^2) / (n - correction): unbiased by default, biased with ``correction=0``."""
    x = checks.floating(checks.tensor(input, "var"), "var")
    axes = checks.axes(dim, x.ndim, "var")
    count = ops.count(x.shape, axes) - correction
    centred = x - mean(x, axes, keepdim=True)
    return mul(ops.Sum.apply(centred * centred, axes=axes, keepdim=keepdim), 1.0 / count if count > 0 else float("nan"))


def max(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The largest element; with ``dim`` a pair ``(values, indices)`` along that axis. A tie goes to the first."""
    return _extreme(input, dim, keepdim, "max")


def min(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest element; with ``dim`` a pair ``(values, indices)`` along that axis. A tie goes to the first."""
    return _extreme(input, dim, keepdim, "min")


def _extreme(x: Any, dim: int | None, keepdim: bool, name: str) -> Any:
    x = checks.tensor(x, name)
    _not_empty(x, dim, name)
    if dim is None:
        flat = x.reshape(-1)
        place = getattr(flat._data, f"arg{name}")(axis=0, keepdims=True)
        return ops.TakeAlong.apply(flat, index=place, axis=0).reshape((1,) * x.ndim if keepdim else ())
    axis = checks.axis(dim, x.ndim, name)
    if x.ndim == 0:
        return Extreme(x, Tensor(x._data.argmax()))
    place = getattr(x._data, f"arg{name}")(axis=axis, keepdims=True)
    values, indices = ops.TakeAlong.apply(x, index=place, axis=axis), Tensor(place)
    return Extreme(values, indices) if keepdim else Extreme(values.squeeze(axis), indices.squeeze(axis))


def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The place of the largest element (in the flattened tensor where ``dim`` is None), int64; the first of a tie."""
    return _place(input, dim, keepdim, "argmax")


def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The place of the smallest element (in the flattened tensor where ``dim`` is None), int64; the first of a tie."""
    return _place(input, dim, keepdim, "argmin")


def _place(x: Any, dim: int | None, keepdim: bool, name: str) -> Tensor:
    x = checks.tensor(x, name)
    _not_empty(x, dim, name)
    axis = None if dim is None else checks.axis(dim, x.ndim, name)
    return Tensor(getattr(x._data, name)(axis=axis if x.ndim else None, keepdims=keepdim))


def _not_empty(x: Tensor, dim: int | None, name: str) -> None:
    if x.size == 0 and (dim is None or x.shape[checks.axis(dim, x.ndim, name)] == 0):
        raise ValueError(f"{name}: the tensor of shape {x.shape} has no elements to choose from")


def logsumexp(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """log(sum(exp(input))), a smooth maximum, without overflow for any input."""
    x = checks.tensor(input, "logsumexp")
    return ops.LogSumExp.apply(x, axes=checks.axes(dim, x.ndim, "logsumexp"), keepdim=keepdim)
