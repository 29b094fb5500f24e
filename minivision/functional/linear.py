"""The fully connected layer."""

from __future__ import annotations

from typing import Any

from ..autograd import Function
from ..ops import linear as ops
from ..tensor import Tensor
from . import checks


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """y = x Wᵀ + b.

    Args:
        input: (..., I).
        weight: (O, I).
        bias: (O,) or None.

    Returns:
        (..., O).
    """
    return _linear(ops.Linear, input, weight, bias)


def linear_relu(input: Any, weight: Any, bias: Any) -> Tensor:
    """``relu(linear(...))`` as one operation, which needs no memory for what lies between. There must be a bias."""
    if bias is None:
        raise TypeError("linear_relu: bias is None, expected (O,); without one, call relu(linear(...))")
    return _linear(ops.LinearRelu, input, weight, bias)


def _linear(op: type[Function], input: Any, weight: Any, bias: Any) -> Tensor:
    x, w, b = input, weight, bias
    if not checks.usual(x, w, b):
        x, w = checks.tensor(x, "linear"), checks.tensor(w, "linear")
        b = None if b is None else checks.tensor(b, "linear")
        checks.floating(x, "linear")
        checks.together("linear", input=x, weight=w, bias=b)
    if w.ndim != 2:
        raise ValueError(f"linear: weight has shape {w.shape}, expected two dimensions (out_features, in_features)")
    if x.ndim == 0 or x.shape[-1] != w.shape[1]:
        raise ValueError(f"linear: input has shape {x.shape}, expected its last length to be {w.shape[1]} as weight "
                         f"{w.shape} says; flatten the input, or change in_features")
    if b is not None and b.shape != (w.shape[0],):
        raise ValueError(f"linear: bias has shape {b.shape}, expected ({w.shape[0]},) for weight {w.shape}")
    rows = x if x.ndim == 2 else x.reshape(_product(x.shape[:-1]), x.shape[-1])
    out = op.apply(rows, w, *(() if b is None else (b,)))
    return out if x.ndim == 2 else out.reshape(x.shape[:-1] + (w.shape[0],))


def _product(lengths: tuple[int, ...]) -> int:
    n = 1
    for length in lengths:
        n *= length
    return n
