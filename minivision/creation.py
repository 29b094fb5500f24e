"""Making Tensors from nothing: ``tensor``, ``zeros``, ``randn`` and their relatives. float32 unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import random
from .device import move
from .tensor import Tensor, as_array


def tensor(data: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """A Tensor with a copy of ``data``.

    Args:
        data: numbers, nested lists, an array or a Tensor. Python floats become float32, arrays keep their dtype.
        dtype: float32, float64, an integer type or bool; None to keep.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:<number>"``.
        requires_grad: whether backward fills ``grad``.
    """
    return _finish(as_array(data, dtype).copy(), device, requires_grad)


def _finish(array: Any, device: str, requires_grad: bool) -> Tensor:
    return Tensor(move(array, device), requires_grad)


def _shape(shape: tuple) -> tuple[int, ...]:
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    if any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0 for n in sizes):
        raise ValueError(f"got shape {sizes}, expected whole numbers >= 0")
    return sizes


def _filled(name: str, make: Callable[[Any, Any], Any], doc: str) -> Callable[..., Tensor]:
    def create(*shape: Any, dtype: Any = "float32", device: str = "cpu", requires_grad: bool = False) -> Tensor:
        return _finish(make(_shape(shape), np.dtype(dtype)), device, requires_grad)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = doc + " Call it with lengths, ``f(2, 3)``, or with a shape, ``f((2, 3))``."
    return create


zeros = _filled("zeros", np.zeros, "Zeros.")
ones = _filled("ones", np.ones, "Ones.")
rand = _filled("rand", lambda shape, dtype: random.generator().random(shape, dtype), "Uniform random numbers in [0, 1).")
randn = _filled("randn", lambda shape, dtype: random.generator().standard_normal(shape, dtype),
                "Normal random numbers of mean 0 and variance 1.")


def full(shape: Any, fill_value: float, dtype: Any = None, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """One number everywhere. Its dtype follows the number: float32, int64 or bool."""
    sizes = _shape((shape,) if isinstance(shape, (int, np.integer)) else (tuple(shape),))
    return _finish(np.full(sizes, fill_value, as_array(fill_value).dtype if dtype is None else dtype), device, requires_grad)


def arange(start: float, end: float | None = None, step: float = 1, dtype: Any = None, device: str = "cpu",
           requires_grad: bool = False) -> Tensor:
    """start, start + step, ... up to but not including end; ``arange(n)`` counts 0 .. n - 1. int64 for whole numbers."""
    first, last = (0, start) if end is None else (start, end)
    if step == 0:
        raise ValueError("arange: step is 0, expected any other number")
    values = np.arange(first, last, step)
    return _finish(values.astype(dtype or ("float32" if values.dtype.kind == "f" else "int64")), device, requires_grad)


def zeros_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros in the shape, dtype and device of ``x``."""
    return zeros(x.shape, dtype=dtype or x.dtype, device=x.device, requires_grad=requires_grad)


def ones_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones in the shape, dtype and device of ``x``."""
    return ones(x.shape, dtype=dtype or x.dtype, device=x.device, requires_grad=requires_grad)
