"""Checks that many functions share. Each error says what was got, what was expected, and which argument to change."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from minivision_kernels import beside

from ..device import device_of, is_capturing, move
from ..tensor import Tensor, go_together


def usual(*values: Any) -> bool:
    """Whether all are Tensors on the CPU of one float dtype, but for the last, which may be None: nothing is to be converted or
    moved, and all this is asked at once. Layers ask it when a kernel has just pushed Python out of the caches."""
    if values[-1] is None:
        values = values[:-1]
    return go_together(values, True) and type(values[0]._data) is np.ndarray


def whole(*values: Any) -> bool:
    """Whether all are Python's whole numbers, which can be looked up as they are: True is not 1 here, nor 1.0."""
    return set(map(type, values)) == {int}


def tensor(value: Any, name: str) -> Tensor:
    """``value`` as a Tensor; arrays and nested lists are wrapped."""
    if isinstance(value, Tensor):
        return value
    if hasattr(value, "dtype") or isinstance(value, (list, tuple, int, float)):
        return Tensor(value)
    raise TypeError(f"{name}: got a {type(value).__name__}, expected a Tensor")


def axis(dim: Any, ndim: int, name: str) -> int:
    """One axis in 0 .. ndim - 1, counted from the end where negative."""
    if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)):
        raise TypeError(f"{name}: got dim {dim!r}, expected a whole number")
    if not -ndim <= dim < ndim and not (ndim == 0 and dim in (0, -1)):
        raise IndexError(f"{name}: got dim {dim} for a tensor of {ndim} dimensions; expected {-ndim} .. {ndim - 1}")
    return int(dim) % ndim if ndim else 0


def axes(dim: Any, ndim: int, name: str) -> tuple[int, ...]:
    """The axes named by ``dim``: None means all, a number one, a tuple several, each once."""
    if dim is None:
        return tuple(range(ndim))
    chosen = tuple(axis(d, ndim, name) for d in (dim if isinstance(dim, (tuple, list)) else (dim,)))
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"{name}: dim {dim} names an axis more than once")
    return chosen if ndim else ()


def pair(value: Any, name: str, least: int) -> tuple[int, int]:
    """A (height, width) pair of whole numbers from one number or two, each at least ``least``."""
    if type(value) is int and value >= least:
        return value, value
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2 or any(isinstance(v, bool) or not isinstance(v, (int, np.integer)) for v in both):
        raise TypeError(f"{name}: got {value!r}, expected a whole number or a pair (height, width) of whole numbers")
    if min(both) < least:
        raise ValueError(f"{name}: got {value!r}, expected at least {least}")
    return int(both[0]), int(both[1])


def images(x: Tensor, name: str) -> Tensor:
    """Insist on a floating (N, C, H, W)."""
    four_axes(x.shape, name)
    return floating(x, name)


def four_axes(shape: tuple[int, ...], name: str) -> None:
    """Insist on the shape of images, (N, C, H, W)."""
    if len(shape) != 4:
        hint = "; add a batch axis with .unsqueeze(0)" if len(shape) == 3 else ""
        raise ValueError(f"{name}: input has shape {shape}, expected four dimensions (N, C, H, W){hint}")


def floating(x: Tensor, name: str, argument: str = "input") -> Tensor:
    if x.dtype.kind != "f":
        raise TypeError(f"{name}: {argument} is {x.dtype}, expected float32 or float64; convert with "
                        ".to(dtype='float32')")
    return x


def together(name: str, **tensors: Tensor | None) -> None:
    """Insist that floating Tensors share dtype and device, as kernels need."""
    present = {k: t for k, t in tensors.items() if t is not None}
    (first, x), *rest = present.items()
    kind, dtype = type(x._data), x._data.dtype
    for other, y in rest:
        if kind is np.ndarray is type(y._data) and y._data.dtype is dtype:
            continue                                             # the usual case, without asking which GPU
        if y.dtype != x.dtype:
            raise TypeError(f"{name}: {first} is {x.dtype} and {other} is {y.dtype}; convert the one, "
                            f"mv.tensor(x, dtype='{y.dtype}'), or the model that the other belongs to, "
                            f"model.to(dtype='{x.dtype}')")
        if type(y._data) is not kind or y.device != x.device:
            raise ValueError(f"{name}: {first} is on {x.device} and {other} on {y.device}; move one with .to(device)")


def labels(target: Any, name: str, classes: int, shape: Sequence[int], like: Tensor,
           ignore: int | None = None) -> tuple[Any, bool]:
    """Class labels as an int64 array of ``shape`` on the device of ``like``, every one in 0 .. classes - 1 (or ``ignore``).

    Labels are looked at where they are. On a GPU that means to wait until it has done all it was asked to do; labels on the
    CPU cost nothing there, and are moved afterwards. A graph of launches under capture (graph.py) cannot wait, so there they
    are not looked at; a wrong one then gives NaN.

    Returns:
        The labels, and whether any is ``ignore``.
    """
    array = target._data if isinstance(target, Tensor) else target if hasattr(target, "dtype") else np.asarray(target)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: target is {array.dtype}, expected whole-number class labels 0 .. {classes - 1}; convert "
                        "with .to(dtype='int64') (.astype for an array) if they are whole numbers")
    if array.shape != tuple(shape):
        raise ValueError(f"{name}: target has shape {array.shape}, expected {tuple(shape)}, one label for each row of scores")
    if device_of(array) not in ("cpu", like.device):
        raise ValueError(f"{name}: input is on {like.device} and target on {device_of(array)}; move one with .to(device)")
    with beside(array):
        ignored = False if is_capturing(array) else _looked_at(array, name, classes, ignore)
        array = array if array.dtype == np.int64 else array.astype(np.int64)
    return move(array, like.device), ignored


def _looked_at(array: Any, name: str, classes: int, ignore: int | None) -> bool:
    """Whether any label is ``ignore``; `IndexError` if any is neither that nor a class."""
    ignored = False
    if array.size and not (array.min() >= 0 and array.max() < classes):
        wrong = (array < 0) | (array >= classes)
        if ignore is not None:
            outside, wrong = wrong, wrong & (array != ignore)
            ignored = bool((outside & ~wrong).any())
        if wrong.any():
            bad = array[wrong].reshape(-1)[0]
            raise IndexError(f"{name}: target holds the label {int(bad)}, expected 0 .. {classes - 1} for {classes} "
                             "classes")
    if ignore is not None and 0 <= ignore < classes:
        ignored = bool((array == ignore).any())
    return ignored


def destination(device: Any, dtype: Any, name: str) -> tuple[str | None, np.dtype | None]:
    """The device and the dtype that ``to(device, dtype)`` means: a dtype may stand in the place of the device."""
    if device is None or (isinstance(device, str) and (device == "cpu" or device.startswith("cuda"))):
        return device, None if dtype is None else _dtype(dtype, name)
    try:
        first = np.dtype(device)                                 # to("float64"), to(np.float64)
    except TypeError:
        kind = ValueError if isinstance(device, str) else TypeError
        raise kind(f"{name}: {device!r} is neither a device ('cpu', 'cuda', 'cuda:<number>') nor a dtype") from None
    if dtype is not None:
        raise TypeError(f"{name}: got two dtypes, {device!r} and {dtype!r}; give one")
    return None, first


def _dtype(dtype: Any, name: str) -> np.dtype:
    try:
        return np.dtype(dtype)
    except TypeError:
        raise TypeError(f"{name}: got dtype {dtype!r}, expected float32, float64, an integer type or bool") from None


def share(value: Any, name: str, argument: str) -> None:
    """Insist on a number in 0 .. 1."""
    number(value, name, argument)
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: got {argument}={value}, expected a number in 0 .. 1")


def number(value: Any, name: str, argument: str) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: got {argument}={value!r}, expected a number")


def chosen(value: str, allowed: Sequence[str], name: str) -> str:
    if value not in allowed:
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(map(repr, allowed))}")
    return value
