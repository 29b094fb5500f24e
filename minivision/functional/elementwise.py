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


def add(input: Any, other: Any) -> Tensor:
    """input + other."""
    return ops.Add.apply(input, other)


def add_relu(input: Any, other: Any) -> Tensor:
    """``relu(input + other)`` as one operation, which needs no memory for what lies between."""
    x, y = (checks.floating(checks.tensor(each, "add_relu"), "add_relu") for each in (input, other))
    checks.together("add_relu", input=x, other=y)
    return ops.AddRelu.apply(x, y)


def sub(input: Any, other: Any) -> Tensor:
    """input - other."""
    return ops.Sub.apply(input, other)


def mul(input: Any, other: Any) -> Tensor:
    """input * other, element by element; ``matmul`` is the matrix product."""
    return ops.Mul.apply(input, other)


def div(input: Any, other: Any) -> Tensor:
    """input / other, always a float; division by zero gives inf or nan as IEEE 754 says."""
    return ops.Div.apply(input, other)


def neg(input: Any) -> Tensor:
    """-input."""
    return ops.Neg.apply(input)


def pow(input: Any, exponent: Any) -> Tensor:
    """input ** exponent. A number as exponent takes a faster way; a negative input needs a whole one, or gives nan."""
    x, y = input, exponent
    if isinstance(x, Tensor) and isinstance(y, numbers.Real) and not isinstance(y, bool):
        y = y.item() if isinstance(y, np.generic) else y         # a NumPy scalar would widen float32
        if x.dtype.kind != "f" and (isinstance(y, float) or y < 0):
            x = x.to(dtype="float32")
        return ops.PowNumber.apply(x, exponent=y)
    return ops.Pow.apply(x, y)


def exp(input: Any) -> Tensor:
    """e ** input."""
    return ops.Exp.apply(input)


def log(input: Any) -> Tensor:
    """The natural logarithm; -inf at 0, nan below."""
    return ops.Log.apply(input)


def sqrt(input: Any) -> Tensor:
    """The square root; nan below 0. Its slope at 0 is inf."""
    return ops.Sqrt.apply(input)


def abs(input: Any) -> Tensor:
    """|input|, with slope 0 at 0."""
    return ops.Abs.apply(input)


def sin(input: Any) -> Tensor:
    """The sine of an angle in radians."""
    return ops.Sin.apply(input)


def cos(input: Any) -> Tensor:
    """The cosine of an angle in radians."""
    return ops.Cos.apply(input)


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent, in (-1, 1)."""
    return ops.Tanh.apply(input)


def sigmoid(input: Any) -> Tensor:
    """1 / (1 + exp(-x)), in (0, 1), without overflow for any x."""
    return ops.Sigmoid.apply(input)


def softplus(input: Any) -> Tensor:
    """log(1 + exp(x)), without overflow for any x."""
    return ops.Softplus.apply(input)


def relu(input: Any, inplace: bool = False) -> Tensor:
    """max(x, 0), with slope 0 at 0. NaN stays NaN. ``inplace`` is PyTorch's; nothing is changed in place here."""
    x = checks.tensor(input, "relu")
    if x.dtype.kind != "f":
        return maximum(x, 0)
    return ops.Relu.apply(x)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else ``negative_slope * x``. ``inplace`` is PyTorch's; nothing is changed in place here."""
    return ops.LeakyRelu.apply(checks.floating(checks.tensor(input, "leaky_relu"), "leaky_relu"), slope=negative_slope)


def clip(input: Any, min: float | None = None, max: float | None = None) -> Tensor:
    """Each element limited to [min, max]; either may be None. The slope is 1 at the limits themselves and 0 beyond.

    Raises:
        ValueError: both limits are None, or min > max.
    """
    if min is None and max is None:
        raise ValueError("clip: min and max are both None; give at least one limit")
    if min is not None and max is not None and min > max:
        raise ValueError(f"clip: min {min} is larger than max {max}; exchange them")
    x = checks.tensor(input, "clip")
    low, high = (v.item() if isinstance(v, np.generic) else v for v in (min, max))
    if x.dtype.kind != "f" and (isinstance(low, float) or isinstance(high, float)):
        x = x.to(dtype="float32")
    return ops.Clip.apply(x, low=low, high=high)


def maximum(input: Any, other: Any) -> Tensor:
    """The larger of two, element by element; at a tie the gradient goes to ``input``."""
    return ops.Maximum.apply(input, other)


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of two, element by element; at a tie the gradient goes to ``input``."""
    return ops.Minimum.apply(input, other)


def where(condition: Any, input: Any, other: Any) -> Tensor:
    """``input`` where ``condition`` (bools, broadcast with the others) holds, else ``other``."""
    condition = checks.tensor(condition, "where")
    if condition.dtype.kind != "b":
        raise TypeError(f"where: condition is {condition.dtype}, expected bool; compare it first, for example x > 0")
    return ops.Where.apply(input, other, condition=condition._data)


def compare(ufunc: str, x: Any, y: Any) -> Tensor:
    """A comparison by NumPy's name (``"less"``, ...): a Tensor of bools, without gradient."""
    arrays = [v._data if isinstance(v, Tensor) else v for v in (x, y)]
    try:
        return Tensor(getattr(np, ufunc)(*arrays))
    except (TypeError, ValueError) as problem:
        shapes = " and ".join(str(getattr(a, "shape", type(a).__name__)) for a in arrays)
        if isinstance(problem, TypeError):
            raise TypeError(f"{ufunc}: cannot compare {shapes}; expected Tensors, arrays or numbers") from None
        raise ValueError(f"{ufunc}: cannot compare {shapes}: {problem}") from None


def clone(input: Tensor) -> Tensor:
    """A copy; the gradient passes through."""
    return ops.Clone.apply(input)


def to(input: Tensor, device: Any = None, dtype: Any = None) -> Tensor:
    """``input`` on another device or in another dtype (float32, float64, an integer type or bool); gradients find back."""
    x = input
    device, dtype = checks.destination(device, dtype, "to")
    if dtype is not None and x.dtype != dtype:
        if dtype.kind == "f" and x.requires_grad:
            x = ops.Cast.apply(x, dtype=dtype)
        else:
            x = Tensor(x._data.astype(dtype))
    if device is not None and device not in (x.device, x.device.split(":")[0]):
        x = ops.Move.apply(x, device=device) if x.requires_grad else Tensor(move(x._data, device))
    return x
