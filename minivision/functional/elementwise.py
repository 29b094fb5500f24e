"""Functions of each element by itself, with NumPy's broadcasting where there are two.

All take Tensors, arrays or numbers and return a Tensor of the broadcast shape. Unless said otherwise integers are
carried to float32 where the result is not whole.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from ..device import move
from ..ops import elementwise as ops
from ..tensor import Tensor
from . import checks


def add(x: Any, y: Any) -> Tensor:
    """x + y."""
    return ops.Add.apply(x, y)


def sub(x: Any, y: Any) -> Tensor:
    """x - y."""
    return ops.Sub.apply(x, y)


def mul(x: Any, y: Any) -> Tensor:
    """x * y, element by element; ``matmul`` is the matrix product."""
    return ops.Mul.apply(x, y)


def div(x: Any, y: Any) -> Tensor:
    """x / y, always a float; division by zero gives inf or nan as IEEE 754 says."""
    return ops.Div.apply(x, y)


def neg(x: Any) -> Tensor:
    """-x."""
    return ops.Neg.apply(x)


def pow(x: Any, y: Any) -> Tensor:
    """x ** y. A Python number as exponent takes a faster way; a negative x needs a whole exponent, or gives nan."""
    if isinstance(x, Tensor) and isinstance(y, numbers.Real) and not isinstance(y, bool):
        y = y.item() if isinstance(y, np.generic) else y         # a NumPy scalar would widen float32
        if x.dtype.kind != "f" and (isinstance(y, float) or y < 0):
            x = x.to(dtype="float32")
        return ops.PowNumber.apply(x, exponent=y)
    return ops.Pow.apply(x, y)


def exp(x: Any) -> Tensor:
    """e ** x."""
    return ops.Exp.apply(x)


def log(x: Any) -> Tensor:
    """The natural logarithm; -inf at 0, nan below."""
    return ops.Log.apply(x)


def sqrt(x: Any) -> Tensor:
    """The square root; nan below 0. Its slope at 0 is inf."""
    return ops.Sqrt.apply(x)


def abs(x: Any) -> Tensor:
    """|x|, with slope 0 at 0."""
    return ops.Abs.apply(x)


def sin(x: Any) -> Tensor:
    """sin x, x in radians."""
    return ops.Sin.apply(x)


def cos(x: Any) -> Tensor:
    """cos x, x in radians."""
    return ops.Cos.apply(x)


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent, in (-1, 1)."""
    return ops.Tanh.apply(x)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x)), in (0, 1), without overflow for any x."""
    return ops.Sigmoid.apply(x)


def softplus(x: Any) -> Tensor:
    """log(1 + exp(x)), without overflow for any x."""
    return ops.Softplus.apply(x)


def relu(x: Any) -> Tensor:
    """max(x, 0), with slope 0 at 0. NaN stays NaN."""
    x = checks.tensor(x, "relu")
    if x.dtype.kind != "f":
        return maximum(x, 0)
    return ops.Relu.apply(x)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else ``negative_slope * x``."""
    return ops.LeakyRelu.apply(checks.floating(checks.tensor(x, "leaky_relu"), "leaky_relu"), slope=negative_slope)


def clip(x: Any, min: float | None = None, max: float | None = None) -> Tensor:
    """x limited to [min, max]; either may be None. The slope is 1 at the limits themselves and 0 beyond.

    Raises:
        ValueError: both limits are None, or min > max.
    """
    if min is None and max is None:
        raise ValueError("clip: min and max are both None; give at least one limit")
    if min is not None and max is not None and min > max:
        raise ValueError(f"clip: min {min} is larger than max {max}; exchange them")
    x = checks.tensor(x, "clip")
    low, high = (v.item() if isinstance(v, np.generic) else v for v in (min, max))
    if x.dtype.kind != "f" and (isinstance(low, float) or isinstance(high, float)):
        x = x.to(dtype="float32")
    return ops.Clip.apply(x, low=low, high=high)


def maximum(x: Any, y: Any) -> Tensor:
    """The larger of two, element by element; at a tie the gradient goes to ``x``."""
    return ops.Maximum.apply(x, y)


def minimum(x: Any, y: Any) -> Tensor:
    """The smaller of two, element by element; at a tie the gradient goes to ``x``."""
    return ops.Minimum.apply(x, y)


def where(condition: Any, x: Any, y: Any) -> Tensor:
    """``x`` where ``condition`` (bools, broadcast with the others) holds, else ``y``."""
    condition = checks.tensor(condition, "where")
    if condition.dtype.kind != "b":
        raise TypeError(f"where: condition is {condition.dtype}, expected bool; compare it first, for example x > 0")
    return ops.Where.apply(x, y, condition=condition._data)


def compare(ufunc: str, x: Any, y: Any) -> Tensor:
    """A comparison by NumPy's name (``"less"``, ...): a Tensor of bools, without gradient."""
    arrays = [v._data if isinstance(v, Tensor) else v for v in (x, y)]
    try:
        return Tensor(getattr(np, ufunc)(*arrays))
    except (TypeError, ValueError) as problem:
        shapes = " and ".join(str(getattr(a, "shape", type(a).__name__)) for a in arrays)
        raise type(problem)(f"{ufunc}: cannot compare {shapes}: {problem}") from None


def clone(x: Tensor) -> Tensor:
    """A copy; the gradient passes through."""
    return ops.Clone.apply(x)


def to(x: Tensor, device: str | None = None, dtype: Any = None) -> Tensor:
    """``x`` on another device or in another dtype (float32, float64, an integer type or bool); gradients find back."""
    if device is not None and not isinstance(device, str):
        device, dtype = None, device                             # to(np.float64)
    elif isinstance(device, str) and device != "cpu" and not device.startswith("cuda"):
        try:
            device, dtype = None, np.dtype(device)               # to("float64")
        except TypeError:
            raise ValueError(f"to: {device!r} is neither a device ('cpu', 'cuda', 'cuda:<number>') nor a dtype") from None
    if dtype is not None and x.dtype != np.dtype(dtype):
        dtype = np.dtype(dtype)
        if dtype.kind == "f" and x.requires_grad:
            x = ops.Cast.apply(x, dtype=dtype)
        else:
            x = Tensor(x._data.astype(dtype))
    if device is not None and device not in (x.device, x.device.split(":")[0]):
        x = ops.Move.apply(x, device=device) if x.requires_grad else Tensor(move(x._data, device))
    return x


