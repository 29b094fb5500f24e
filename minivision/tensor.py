"""Tensor: an array that remembers how it was made.

A Tensor adds three things to a NumPy (or CuPy) array: ``requires_grad``, ``grad``, and ``maker``, the `Function` that
produced it. The arithmetic lives in ``ops/``, what the functions accept and mean in ``functional/``, and the chain rule
in ``autograd.py``; the methods here only forward.

dtypes: float32 is the default (Python floats become float32), float64 works everywhere, and integers and bools are
carried along without gradients. Numbers adapt to the Tensor they meet, and an integer Tensor that meets a float Tensor
takes its dtype. Where float32 meets float64, elementwise operations give float64; layers refuse the mixture.

A *held* array, below, is one whose values a backward still to come will read; ``saved.py`` has the story.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minivision_kernels import array_module, beside

from .device import constant, device_of, move
from .saved import InPlaceError, as_user_sees, check_free

if TYPE_CHECKING:
    from .autograd import Function

Number = (bool, int, float, np.generic)          # NumPy's scalars too: 0.5 and np.float64(0.5) mean the same
Dim = int | tuple[int, ...] | None


class Tensor:
    """An array with a gradient. Wraps ``data`` without copying; see `minivision.tensor` for a copy.

    Args:
        data: a NumPy or CuPy array of float32, float64, an integer type or bool; or nested lists of Python numbers.
        requires_grad: whether ``backward`` should fill ``grad``; floating dtypes only.
    """

    __slots__ = ("__weakref__", "_data", "_requires_grad", "grad", "maker")
    __hash__ = object.__hash__               # == compares elements, so identity has to be said explicitly

    def __init__(self, data: Any, requires_grad: bool = False):
        usual = type(data) is np.ndarray and (dtype := data.dtype).char in _CHARS and dtype.isnative
        self._data = data if usual else as_array(data)          # usually it is what an operation has just computed
        self._requires_grad = False
        self.grad: Tensor | None = None
        self.maker: Function | None = None
        if requires_grad:
            self.requires_grad_(True)

    # ------------------------------------------------------------------------------------------ what it holds

    @property
    def data(self) -> Any:
        """The array. While a pending backward needs its values, a read-only look at it."""
        return as_user_sees(self._data)

    @data.setter
    def data(self, value: Any) -> None:
        check_free(self._data, "the data of this tensor")
        array = as_array(value)
        if self._requires_grad and (array.shape != self.shape or array.dtype != self.dtype):
            raise ValueError(f"data of a tensor that requires grad: got {array.dtype} of shape {array.shape}, expected "
                             f"{self.dtype} of shape {self.shape}; make a new Tensor instead")
        self._data = array

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def dtype(self) -> np.dtype:
        return self._data.dtype

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(self._data.size)

    @property
    def device(self) -> str:
        """``"cpu"``, or ``"cuda:0"`` and so on for an array on a GPU."""
        return device_of(self._data)

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, value: bool = True) -> Tensor:
        """Set ``requires_grad`` and return the tensor itself."""
        if self.maker is not None and not value:
            raise ValueError("requires_grad of a computed tensor cannot be switched off; use .detach()")
        if value and self._data.dtype.kind != "f":
            raise TypeError(f"only float tensors can require grad, got {self.dtype}; write 1.0 instead of 1, or pass "
                            "dtype='float32'")
        self._requires_grad = bool(value)
        return self

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array: the same memory on the CPU (see `data`), a copy from a GPU."""
        return move(self.data, "cpu")

    def item(self) -> float | int | bool:
        """The single number in a tensor of one element."""
        if self.size != 1:
            raise ValueError(f"item() needs a tensor with one element, got shape {self.shape}; index it or reduce it")
        return self._data.item()

    def tolist(self) -> Any:
        return self._data.tolist()

    def detach(self) -> Tensor:
        """The same array without its history."""
        return Tensor(self._data)

    def clone(self) -> Tensor:
        """A copy that gradients flow through."""
        return functional.clone(self)

    def to(self, device: str | None = None, dtype: Any = None) -> Tensor:
        """This tensor on ``device`` (``"cpu"``, ``"cuda"``, ``"cuda:1"``) and in ``dtype``; itself if nothing changes."""
        return functional.to(self, device, dtype)

    def ones_like(self) -> Tensor:
        with beside(self._data):
            return Tensor(array_module(self._data).ones_like(self._data))

    # ------------------------------------------------------------------------------------------ differentiation

    def backward(self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Add the derivative of this tensor to the ``grad`` of every leaf it was computed from.

        Args:
            gradient: the upstream gradient, in this tensor's shape; 1 where left out, for a single number.
            retain_graph: keep what the graph saved, so that backward can run again; otherwise it is released.
            create_graph: record the computation of the gradients, so that they can be differentiated (implies
                ``retain_graph``).

        Calling it twice adds twice: gradients accumulate in leaves until ``grad`` is set to None.

        Raises:
            GraphError: there is no graph, or an earlier call released it.
            ValueError: ``gradient`` is missing for more than one element, or has another shape.
        """
        autograd.backward(self, gradient, retain_graph, create_graph)

    # ------------------------------------------------------------------------------------------ operators

    def __add__(self, other: Any) -> Tensor: return functional.add(self, other)
    def __radd__(self, other: Any) -> Tensor: return functional.add(other, self)
    def __sub__(self, other: Any) -> Tensor: return functional.sub(self, other)
    def __rsub__(self, other: Any) -> Tensor: return functional.sub(other, self)
    def __mul__(self, other: Any) -> Tensor: return functional.mul(self, other)
    def __rmul__(self, other: Any) -> Tensor: return functional.mul(other, self)
    def __truediv__(self, other: Any) -> Tensor: return functional.div(self, other)
    def __rtruediv__(self, other: Any) -> Tensor: return functional.div(other, self)
    def __pow__(self, other: Any) -> Tensor: return functional.pow(self, other)
    def __rpow__(self, other: Any) -> Tensor: return functional.pow(other, self)
    def __matmul__(self, other: Any) -> Tensor: return functional.matmul(self, other)
    def __rmatmul__(self, other: Any) -> Tensor: return functional.matmul(other, self)
    def __iadd__(self, other: Any) -> Tensor: return self._change("add", other)
    def __isub__(self, other: Any) -> Tensor: return self._change("sub", other)
    def __imul__(self, other: Any) -> Tensor: return self._change("mul", other)
    def __itruediv__(self, other: Any) -> Tensor: return self._change("div", other)
    def __neg__(self) -> Tensor: return functional.neg(self)
    def __abs__(self) -> Tensor: return functional.abs(self)

    def __eq__(self, other: Any) -> Tensor: return functional.compare("equal", self, other)      # type: ignore[override]
    def __ne__(self, other: Any) -> Tensor: return functional.compare("not_equal", self, other)  # type: ignore[override]
    def __lt__(self, other: Any) -> Tensor: return functional.compare("less", self, other)
    def __le__(self, other: Any) -> Tensor: return functional.compare("less_equal", self, other)
    def __gt__(self, other: Any) -> Tensor: return functional.compare("greater", self, other)
    def __ge__(self, other: Any) -> Tensor: return functional.compare("greater_equal", self, other)
    def __invert__(self) -> Tensor: return Tensor(~self._data)

    def _change(self, name: str, other: Any) -> Tensor:
        """``w -= step``: under no_grad a leaf that requires grad is changed in place; other tensors become a new one."""
        if not (self._requires_grad and self.maker is None):
            return getattr(functional, name)(self, other)
        if autograd.is_recording():
            raise InPlaceError("a leaf that requires grad cannot be changed while the graph is recorded; do it under "
                               "mv.no_grad(), or write w = w - step for a new tensor")
        changed = getattr(functional, name)(self, other)
        if changed.shape != self.shape:
            raise ValueError(f"got shape {changed.shape} for the new value of a tensor of shape {self.shape}; it cannot grow")
        check_free(self._data, "this tensor")
        with beside(self._data):
            self._data[...] = changed._data
        return self

    def __getitem__(self, index: Any) -> Tensor: return functional.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError("a Tensor cannot be assigned to, since the graph may need its values; build a new one with "
                        "mv.where(condition, new, old) or mv.cat, or change tensor.data before the tensor is used")

    # ------------------------------------------------------------------------------------------ elementwise

    def exp(self) -> Tensor: return functional.exp(self)
    def log(self) -> Tensor: return functional.log(self)
    def sqrt(self) -> Tensor: return functional.sqrt(self)
    def abs(self) -> Tensor: return functional.abs(self)
    def sin(self) -> Tensor: return functional.sin(self)
    def cos(self) -> Tensor: return functional.cos(self)
    def tanh(self) -> Tensor: return functional.tanh(self)
    def sigmoid(self) -> Tensor: return functional.sigmoid(self)
    def relu(self) -> Tensor: return functional.relu(self)
    def clip(self, min: float | None = None, max: float | None = None) -> Tensor: return functional.clip(self, min, max)
    def maximum(self, other: Any) -> Tensor: return functional.maximum(self, other)
    def minimum(self, other: Any) -> Tensor: return functional.minimum(self, other)
    def where(self, condition: Any, other: Any) -> Tensor: return functional.where(condition, self, other)

    # ------------------------------------------------------------------------------------------ reductions

    def sum(self, dim: Dim = None, keepdim: bool = False) -> Tensor: return functional.sum(self, dim, keepdim)
    def mean(self, dim: Dim = None, keepdim: bool = False) -> Tensor: return functional.mean(self, dim, keepdim)

    def var(self, dim: Dim = None, keepdim: bool = False, correction: int = 1) -> Tensor:
        return functional.var(self, dim, keepdim, correction)

    def max(self, dim: int | None = None, keepdim: bool = False) -> Any: return functional.max(self, dim, keepdim)
    def min(self, dim: int | None = None, keepdim: bool = False) -> Any: return functional.min(self, dim, keepdim)
    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor: return functional.argmax(self, dim, keepdim)
    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor: return functional.argmin(self, dim, keepdim)
    def logsumexp(self, dim: Dim = None, keepdim: bool = False) -> Tensor: return functional.logsumexp(self, dim, keepdim)
    def softmax(self, dim: int) -> Tensor: return functional.softmax(self, dim)
    def log_softmax(self, dim: int) -> Tensor: return functional.log_softmax(self, dim)

    # ------------------------------------------------------------------------------------------ shape

    def reshape(self, shape: Any = (), *more: int) -> Tensor: return functional.reshape(self, shape, *more)
    def view(self, shape: Any = (), *more: int) -> Tensor: return functional.reshape(self, shape, *more)
    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor: return functional.flatten(self, start_dim, end_dim)
    def transpose(self, dim0: int, dim1: int) -> Tensor: return functional.transpose(self, dim0, dim1)
    def permute(self, dims: Any = (), *more: int) -> Tensor: return functional.permute(self, dims, *more)
    def squeeze(self, dim: Dim = None) -> Tensor: return functional.squeeze(self, dim)
    def unsqueeze(self, dim: int) -> Tensor: return functional.unsqueeze(self, dim)
    def broadcast_to(self, size: Any = (), *more: int) -> Tensor: return functional.broadcast_to(self, size, *more)
    def flip(self, dims: Any = (), *more: int) -> Tensor: return functional.flip(self, dims, *more)
    def pad(self, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
        return functional.pad(self, pad, mode, value)
    def matmul(self, other: Any) -> Tensor: return functional.matmul(self, other)

    @property
    def T(self) -> Tensor:
        """The tensor with its dimensions reversed."""
        return functional.permute(self, *reversed(range(self.ndim)))

    # ------------------------------------------------------------------------------------------ Python's protocols

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("a tensor of no dimensions has no length; use .item() for its number")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(f"the truth of a tensor of shape {self.shape} is ambiguous; reduce it to one element first")
        return bool(self.item())

    def __format__(self, spec: str) -> str: return format(self.item() if spec and self.size == 1 else str(self), spec)

    def __copy__(self) -> Tensor:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A leaf with the same values; for a computed tensor an error, since its history cannot be copied."""
        if self.maker is not None:
            raise TypeError("a computed tensor cannot be copied together with its history; copy tensor.detach(), or use "
                            "tensor.clone(), which gradients flow through")
        copy = type(self)(self._data.copy(), requires_grad=self._requires_grad)
        copy.grad = None if self.grad is None else Tensor(self.grad._data.copy())
        memo[id(self)] = copy
        return copy

    def __float__(self) -> float: return float(self.item())
    def __int__(self) -> int: return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind != "i" and self.dtype.kind != "u":
            raise TypeError(f"only an integer tensor can be an index, got {self.dtype}")
        return int(self.item())

    def __contains__(self, value: Any) -> bool:
        return bool((self._data == (value._data if isinstance(value, Tensor) else value)).any())

    def __repr__(self) -> str:
        text = np.array2string(self.numpy(), separator=", ", prefix="tensor(", threshold=200, edgeitems=3)
        notes = [] if self.dtype.name in ("float32", "int64", "bool") else [f"dtype={self.dtype.name}"]
        if self.size == 0:
            notes.append(f"shape={self.shape}")
        if self.device != "cpu":
            notes.append(f"device={self.device!r}")
        if self.maker is not None:
            notes.append(f"maker={type(self.maker).__name__}")
        elif self.requires_grad:
            notes.append("requires_grad=True")
        return f"tensor({', '.join([text, *notes])})"

    # ------------------------------------------------------------------------------------------ NumPy and others

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"a {array.dtype} tensor cannot be seen as {np.dtype(dtype)} without a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any) -> Tensor:
        """``np.sin(tensor)`` and ``array + tensor``: our operation of that name, or an error that says what to do."""
        ours = _UFUNCS.get(ufunc.__name__)
        if out is not None and not any(isinstance(x, Tensor) for x in out):
            raise TypeError("an array cannot be changed in place by a Tensor; write w.data -= step.data, with arrays on both "
                            "sides")
        if out is None and method == "__call__" and ours is not None and not options:
            return ours(*inputs)
        name = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
        raise TypeError(f"{name}{' with out=' if out is not None else ''} does not work on a Tensor; use mv's operations, "
                        f"or {name}(tensor.detach().numpy()) on the plain array (no gradient flows through it)")

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        """``np.allclose(tensor, ...)`` and other questions are answered; anything else would lose the gradient."""
        if function.__name__ in _QUESTIONS:
            return function(*_plain(args), **_plain(options))
        same = callable(getattr(functional, function.__name__, None))             # and not one of its files, such as norm
        hint = f"use mv.{function.__name__}" if same else "use mv's operations"
        raise TypeError(f"np.{function.__name__} does not work on a Tensor; {hint}, or call it with tensor.detach()."
                        "numpy() on the plain array (no gradient flows through it)")

    def __dlpack__(self, **options: Any) -> Any:
        if self.requires_grad:
            raise BufferError("a tensor that requires grad cannot be exported, since its gradient would be lost; "
                              "export tensor.detach()")
        return self._data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._data.__dlpack_device__()


_QUESTIONS = {"allclose", "isclose", "array_equal", "array_equiv", "shape", "ndim", "size", "result_type", "can_cast",
              "iscomplexobj", "isrealobj", "array_repr", "array_str", "array2string", "shares_memory", "may_share_memory"}


def _plain(value: Any) -> Any:
    """``value`` with the arrays of its Tensors in their place."""
    if isinstance(value, Tensor):
        return value.numpy()
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(v) for v in value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


# ---------------------------------------------------------------------------------------------- arrays from anything


_COMPUTED = (np.ndarray, np.generic)             # of all numbers, NumPy's sum is not an array but a number
_CHARS = frozenset("fd?bBhHiIlLqQ")              # NumPy's letters for float32, float64, bool and the integers


def as_array(data: Any, dtype: Any = None) -> Any:
    """An array that a Tensor can hold, sharing memory where it can; Python floats become float32."""
    if isinstance(data, _COMPUTED) and dtype is None and data.dtype.char in _CHARS and data.dtype.isnative:
        return np.asarray(data)
    if isinstance(data, Tensor):
        data = data._data
    module = array_module(data)
    if not hasattr(data, "dtype"):
        try:
            data = module.asarray(_plain(data))
        except ValueError:
            raise ValueError("got nested lists of different lengths; every row needs the same number of entries") from None
        if data.dtype == "float64" and dtype is None:
            data = data.astype("float32")
    with beside(data):
        array = module.asarray(data, dtype=dtype)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8 or (array.dtype.kind == "f" and array.dtype.itemsize < 4):
        raise TypeError(f"got data of dtype {array.dtype}; a Tensor holds float32, float64, integers or bool. Convert it "
                        "first, for example with array.astype('float32')")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def as_operands(inputs: Sequence[Any], name: str, floats_only: bool) -> tuple[Tensor, ...]:
    """The inputs of operation ``name`` as Tensors whose dtypes go together and whose arrays are on one device."""
    if len(inputs) == 2 and type(number := inputs[1]) is float and isinstance(x := inputs[0], Tensor) and x.dtype.kind == "f":
        return x, Tensor(constant(number, x.dtype, array_module(x._data)))           # x * 0.5: the next most frequent
    dtype = _common_dtype(inputs, floats_only)
    tensors: list[Tensor] = []
    for i, x in enumerate(inputs):
        if isinstance(x, (list, tuple)) and any(isinstance(v, Tensor) and v.requires_grad for v in x):
            raise TypeError(f"{name}: input {i} is a list of Tensors that require grad, whose gradients would be lost; join "
                            "them with mv.stack")
        if isinstance(x, (*Number, list, tuple)):
            x = Tensor(constant(x, dtype, _like(inputs)))
        elif not isinstance(x, Tensor):
            if not hasattr(x, "dtype"):
                raise TypeError(f"{name}: input {i} is a {type(x).__name__}; expected a Tensor, an array or a number")
            x = Tensor(x)
        if dtype.kind == "f" and x.dtype.kind != "f":
            x = Tensor(x._data.astype(dtype))
        tensors.append(x)
    devices = {x.device for x in tensors}
    if len(devices) > 1:
        raise ValueError(f"{name}: the inputs are on different devices, {' and '.join(sorted(devices))}; move them to one "
                         "with .to(device)")
    return tuple(tensors)


def go_together(inputs: Sequence[Any], floats_only: bool) -> bool:
    """Whether all are Tensors, of one dtype and on one kind of device: by far the most frequent case."""
    if not inputs or not isinstance(inputs[0], Tensor):
        return False
    first = inputs[0]._data
    dtype, kind = first.dtype, type(first)
    for x in inputs[1:]:
        if not isinstance(x, Tensor) or x._data.dtype is not dtype or type(x._data) is not kind:
            return False
    return dtype.kind == "f" or not floats_only


def _common_dtype(inputs: Sequence[Any], floats_only: bool) -> np.dtype:
    """The dtype that numbers and integers take on: the arrays' own, floats before integers before bools."""
    inputs = [np.asarray(x).flat[0].item() if isinstance(x, (list, tuple)) and np.size(x) else x for x in inputs]
    dtypes = [x.dtype for x in inputs if hasattr(x, "dtype") and not isinstance(x, Number)]
    floats = [d for d in dtypes if d.kind == "f"]
    if floats:
        return np.result_type(*floats)
    if floats_only or any(isinstance(x, (float, np.floating)) for x in inputs):
        return np.dtype("float32")
    whole = [d for d in dtypes if d.kind in "iu"]
    if whole:
        return np.result_type(*whole)
    has_int = any(isinstance(x, (int, np.integer)) and not isinstance(x, bool) for x in inputs)
    return np.dtype("int64") if has_int else np.dtype("bool")


def _like(inputs: Sequence[Any]) -> Any:
    return next((array_module(x._data) for x in inputs if isinstance(x, Tensor)), np)


# At the end, since operations are made of Tensors: whoever imports this module first gets all three.
from . import autograd, functional  # noqa: E402

_UFUNCS = {name: getattr(functional, ours) for name, ours in {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div", "power": "pow",
    "negative": "neg", "matmul": "matmul", "exp": "exp", "log": "log", "sqrt": "sqrt", "absolute": "abs", "sin": "sin",
    "cos": "cos", "tanh": "tanh", "maximum": "maximum", "minimum": "minimum"}.items()}
_UFUNCS.update({name: (lambda a, b, name=name: functional.compare(name, a, b))
                for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")})

__all__ = ["InPlaceError", "Tensor", "as_array", "as_operands", "go_together"]
