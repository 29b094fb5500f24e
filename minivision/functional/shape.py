"""Functions that rearrange elements. All pass gradients back to where the elements came from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minivision_kernels import array_module, beside

from ..device import move
from ..ops import linear as linear_ops
from ..ops import shape as ops
from ..saved import HeldArray
from ..tensor import Tensor
from . import checks


def _numbers(first: Any, more: tuple, name: str) -> tuple[int, ...]:
    """The whole numbers of f(x, 2, 3), where 2 comes first and (3,) are more, or of f(x, (2, 3))."""
    values = tuple(first) if isinstance(first, (tuple, list)) and not more else (first, *more)
    for v in values:
        if isinstance(v, bool) or not isinstance(v, (int, np.integer)):
            raise TypeError(f"{name}: got {v!r}, expected whole numbers")
    return tuple(int(v) for v in values)


def reshape(input: Any, shape: Any = (), *more: int) -> Tensor:
    """The same elements in reading order in another shape; one length may be -1 and is then worked out."""
    x, sizes = checks.tensor(input, "reshape"), _numbers(shape, more, "reshape")
    try:
        return ops.Reshape.apply(x, shape=sizes)
    except ValueError:
        raise ValueError(f"reshape: {x.size} elements of shape {x.shape} do not fit into shape {sizes}") from None


view = reshape


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes ``start_dim`` to ``end_dim`` merged into one."""
    x = checks.tensor(input, "flatten")
    if x.ndim == 0:
        return x.reshape(1)
    first, last = checks.axis(start_dim, x.ndim, "flatten"), checks.axis(end_dim, x.ndim, "flatten")
    if first > last:
        raise ValueError(f"flatten: start_dim {start_dim} lies after end_dim {end_dim}; exchange them")
    merged = math.prod(x.shape[first:last + 1])
    return ops.Reshape.apply(x, shape=x.shape[:first] + (merged,) + x.shape[last + 1:])


def permute(input: Any, dims: Any = (), *more: int) -> Tensor:
    """Axis i of the result is axis ``dims[i]`` of ``input``."""
    x = checks.tensor(input, "permute")
    axes = tuple(checks.axis(d, x.ndim, "permute") for d in _numbers(dims, more, "permute"))
    if sorted(axes) != list(range(x.ndim)):
        raise ValueError(f"permute: got dims {axes} for a tensor of {x.ndim} dimensions; name each axis exactly once")
    return ops.Permute.apply(x, axes=axes)


def transpose(input: Any, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged."""
    x = checks.tensor(input, "transpose")
    axes = list(range(x.ndim))
    a, b = checks.axis(dim0, x.ndim, "transpose"), checks.axis(dim1, x.ndim, "transpose")
    if x.ndim:
        axes[a], axes[b] = axes[b], axes[a]
    return ops.Permute.apply(x, axes=tuple(axes))


def squeeze(input: Any, dim: Any = None) -> Tensor:
    """Axes of length 1 removed: all of them, or those in ``dim`` that have length 1."""
    x = checks.tensor(input, "squeeze")
    chosen = checks.axes(dim, x.ndim, "squeeze")
    return ops.Reshape.apply(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in chosen or n != 1))


def unsqueeze(input: Any, dim: int) -> Tensor:
    """A new axis of length 1 at position ``dim``."""
    x = checks.tensor(input, "unsqueeze")
    place = checks.axis(dim, x.ndim + 1, "unsqueeze")
    return ops.Reshape.apply(x, shape=x.shape[:place] + (1,) + x.shape[place:])


def broadcast_to(input: Any, size: Any = (), *more: int) -> Tensor:
    """``input`` repeated along axes of length 1 and new leading axes until it has shape ``size``."""
    x, sizes = checks.tensor(input, "broadcast_to"), _numbers(size, more, "broadcast_to")
    try:
        return ops.BroadcastTo.apply(x, shape=sizes)
    except ValueError:
        raise ValueError(f"broadcast_to: shape {x.shape} does not broadcast to {sizes}; compared from the right, each "
                         "length must be equal or 1") from None


def getitem(input: Tensor, index: Any) -> Tensor:
    """``input[index]`` with slices, whole numbers, None, Ellipsis, and arrays or Tensors of bools or whole numbers.

    An index array on a GPU is not looked at, since that would mean to wait for it: places beyond the end start again at the
    beginning.

    Raises:
        IndexError: there is no such place.
    """
    x, parts = input, index if isinstance(index, tuple) else (index,)
    with beside(x._data):
        if type(x._data) is not np.ndarray:
            _look_at(parts, x.shape)
        plain = tuple(_index_part(p, array_module(x._data)) for p in parts)
    try:
        return ops.GetItem.apply(x, index=plain if isinstance(index, tuple) else plain[0])
    except IndexError as problem:
        raise IndexError(f"indexing a tensor of shape {x.shape}: {problem}") from None


def _look_at(parts: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    """Raise NumPy's error, which CuPy does not, for whole numbers in lists and arrays of the CPU that are out of range."""
    parts = tuple(np.asarray(p) if isinstance(p, list) else p._data if isinstance(p, Tensor) else p for p in parts)
    axes = [0 if p is None or p is Ellipsis else p.ndim if getattr(p, "dtype", None) == "bool" else 1 for p in parts]
    axis = 0
    for part, taken in zip(parts, axes):
        if isinstance(part, np.ndarray) and part.dtype.kind in "iu" and part.size and axis < len(shape):
            n = shape[axis]
            if not -n <= (wrong := int(part.min())) or not (wrong := int(part.max())) < n:
                raise IndexError(f"indexing a tensor of shape {shape}: index {wrong} is out of bounds for axis {axis} with "
                                 f"size {n}")
        axis += len(shape) - sum(axes) if part is Ellipsis else taken


def _index_part(part: Any, module: Any) -> Any:
    if isinstance(part, Tensor):
        part = part._data
    if isinstance(part, np.generic):
        part = part.item()
    if isinstance(part, list):
        part = np.asarray(part, dtype=np.int64 if not part else None)
    if hasattr(part, "dtype") and hasattr(part, "copy"):
        if part.dtype.kind not in "biu":
            raise IndexError(f"an index array must hold bools or whole numbers, got {part.dtype}")
        part = np.array(part) if isinstance(part, HeldArray) else part.copy()      # backward needs it unchanged
        part = module.asarray(part)
    elif not (part is None or part is Ellipsis or isinstance(part, (slice, int))):
        raise IndexError(f"cannot index a tensor with {part!r} of type {type(part).__name__}")
    return part


def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors laid end to end along ``dim``; all other lengths must agree."""
    parts = [checks.tensor(t, "cat") for t in tensors]
    if not parts:
        raise ValueError("cat: got no tensors, expected at least one")
    axis = checks.axis(dim, parts[0].ndim, "cat")
    first = parts[0].shape
    for i, p in enumerate(parts):
        if p.ndim == 0 or p.shape[:axis] + p.shape[axis + 1:] != first[:axis] + first[axis + 1:] or p.ndim != len(first):
            raise ValueError(f"cat: tensor {i} has shape {p.shape}, expected {first} but for the length along dim {axis}")
    return ops.Cat.apply(*parts, axis=axis)


def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors of one shape laid side by side along a new axis ``dim``."""
    parts = [checks.tensor(t, "stack") for t in tensors]
    if not parts:
        raise ValueError("stack: got no tensors, expected at least one")
    for i, p in enumerate(parts):
        if p.shape != parts[0].shape:
            raise ValueError(f"stack: tensor {i} has shape {p.shape}, expected {parts[0].shape} like the first")
    return cat([p.unsqueeze(dim) for p in parts], checks.axis(dim, parts[0].ndim + 1, "stack"))


def flip(input: Any, dims: Any = (), *more: int) -> Tensor:
    """``input`` with the order of elements reversed along each of ``dims``."""
    x = checks.tensor(input, "flip")
    axes = checks.axes(_numbers(dims, more, "flip"), x.ndim, "flip")
    return ops.GetItem.apply(x, index=tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(x.ndim)))


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """A border around ``input``.

    Args:
        input: any Tensor.
        pad: widths in PyTorch's order, last axis first: (left, right), then (top, bottom), and so on; >= 0.
        mode: ``"constant"`` (filled with ``value``), ``"reflect"`` (without repeating the edge), ``"replicate"`` (the edge
            repeated) or ``"circular"`` (from the opposite side).
        value: for ``"constant"`` only; None means 0.
    """
    if not isinstance(pad, Iterable):
        raise TypeError(f"pad: got {pad!r}, expected widths (left, right, top, bottom, ...), two for each axis that is padded")
    x, widths = checks.tensor(input, "pad"), _numbers(tuple(pad), (), "pad")
    checks.chosen(mode, ("constant", "reflect", "replicate", "circular"), "pad: mode")
    if len(widths) % 2 or len(widths) > 2 * x.ndim:
        raise ValueError(f"pad: got {len(widths)} widths for a tensor of {x.ndim} dimensions; expected an even number, at "
                         f"most {2 * x.ndim}: (left, right, top, bottom, ...)")
    if any(w < 0 for w in widths):
        raise ValueError(f"pad: got {widths}, expected widths >= 0; crop with slices instead")
    before_after = [(0, 0)] * (x.ndim - len(widths) // 2) + [
        (widths[i], widths[i + 1]) for i in range(len(widths) - 2, -1, -2)]
    if mode == "constant":
        return ops.Pad.apply(x, widths=before_after, value=0.0 if value is None else value)
    for i, (before, after) in enumerate(before_after):
        if before or after:
            n = x.shape[i]
            limit = {"reflect": n - 1, "circular": n, "replicate": before + after if n else 0}[mode]
            if max(before, after) > limit:
                raise ValueError(f"pad: {mode} padding of {max(before, after)} along axis {i} needs more than its {n} elements")
            how: Any = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
            places = np.pad(np.arange(n), (before, after), how)
            index = (slice(None),) * i + (move(places, x.device),)
            x = ops.GetItem.apply(x, index=index)
    return x


def matmul(input: Any, other: Any) -> Tensor:
    """The matrix product over the last two axes, broadcasting over the others.

    A vector counts as a row on the left and as a column on the right.

    Shapes (..., n, k) @ (..., k, m) -> (..., n, m).
    """
    x, y = checks.tensor(input, "matmul"), checks.tensor(other, "matmul")
    if x.ndim == 0 or y.ndim == 0:
        raise ValueError(f"matmul: got shapes {x.shape} and {y.shape}, expected at least one dimension; use * for numbers")
    if x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        raise ValueError(f"matmul: got shapes {x.shape} and {y.shape}; the last length of the first must equal the "
                         f"{'second to last' if y.ndim > 1 else 'only'} length of the second")
    left, right = x.ndim == 1, y.ndim == 1
    x = x.unsqueeze(0) if left else x
    y = y.unsqueeze(1) if right else y
    out = linear_ops.Matmul.apply(x, y)
    out = out.squeeze(-1) if right else out
    return out.squeeze(-2 if not right else -1) if left else out
