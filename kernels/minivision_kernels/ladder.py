"""The register of rungs: for each operation its implementations, from the slowest to the fastest.

A rung is a function marked with ``@rung``. It lives in a module of the operation's family, and ``FAMILIES`` lists those
modules in ladder order, so that the table below is the whole register: to add a rung, write its module and name it
here. Modules are imported when somebody asks for the ladder, not before.

Which rung ``best`` chooses
---------------------------
Among the rungs that run on the device of the first array (a NumPy array asks for "cpu", a CuPy array for "cuda"),
accept the arguments (compiled rungs take float32 and float64, the NumPy ones any dtype) and are worth their while for
these shapes, as their own rule says: the fastest repeatable one, and if none is repeatable, the fastest. Repeatable means
that the result has the same bits whatever the number of threads. NumPy's matrix products need not have: the BLAS behind
them may split sums by thread count.

A rung that trades accuracy for speed says so (``exact=False``: Winograd's convolution, off by up to 1e-4 of the spread of
its results in float32, where direct summation is off by 1e-5). After ``set_exact(True)``, or with the environment variable
MINIVISION_EXACT=1, none of those is chosen. After ``set_compiled(False)`` (MINIVISION_COMPILED=0) none is that must be
compiled first where NumPy's rung will do. Tensor cores that round to TF32 are chosen only after ``set_tf32(True)``.

The choice depends on the operation and on the device, shapes and dtype of the arrays, never on the number of threads,
and on a measurement only where the user asked for one: `minivision bench --tune` writes down which repeatable rung was the
fastest for a call on this machine (``tuned.py``), and that one is chosen from then on, with or without the exact switch as
the case may be. So the same program gives the same bits on every run, on one machine from one tuning to the next.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from minivision_kernels import tuned
from minivision_kernels.checks import check, is_array

__all__ = ["Rung", "UnknownOperation", "array_module", "beside", "best", "elsewhere", "ladder", "ops", "run", "rung",
           "set_compiled", "set_exact", "set_tf32", "tf32"]

# Family -> (its operations, its modules in ladder order: slowest first, as measured on layers of small networks).
# Between neighbours the order can turn on other sizes; where it does, the docstrings of the rungs say so.
FAMILIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "conv": (
        ("conv2d_forward", "conv2d_input"),
        ("cpu.conv_loops", "reference.conv", "cpu.conv_parallel", "cpu.conv_tiles", "cpu.conv_direct", "cpu.conv_implicit",
         "cpu.conv_product", "cpu.conv_pixels", "cpu.conv_dealt", "cpu.conv_fold", "cpu.conv_depthwise",
         "cpu.conv_groups", "cpu.conv_images", "cpu.conv_amx", "cpu.conv_winograd", "cpu.conv_winograd_amx", "cpu.conv_dilated",
         "cpu.conv_whole", "cuda.conv", "cuda.conv_staged", "cuda.depthwise"),
    ),
    "conv weight": (
        ("conv2d_weight",),
        ("cpu.conv_loops", "cpu.conv_parallel", "reference.conv", "cpu.conv_tiles", "cpu.conv_direct_weight",
         "cpu.conv_packed", "cpu.conv_inner", "cpu.conv_amx_weight", "cpu.conv_images_weight", "cpu.conv_depthwise",
         "cpu.conv_groups_weight", "cpu.conv_winograd", "cpu.conv_winograd_amx", "cpu.conv_dilated", "cpu.conv_whole",
         "cuda.conv", "cuda.conv_staged", "cuda.depthwise"),
    ),
    "pool": (
        ("max_pool2d_forward", "max_pool2d_backward", "avg_pool2d_forward", "avg_pool2d_backward"),
        ("reference.pool", "cpu.pool_loops", "cpu.pool_parallel", "cpu.pool_vectors", "cuda.pool"),
    ),
    "relu": (
        ("relu_forward", "relu_backward"),
        ("reference.relu", "cpu.relu_loops", "cpu.relu_parallel", "cpu.relu_vectors", "cuda.elementwise"),
    ),
    "add": (
        ("add",),
        ("reference.add", "cpu.add_vectors", "cuda.elementwise"),
    ),
    "channels": (
        ("bias_add", "channel_affine", "channel_sum", "relu_bias_backward"),
        ("reference.channels", "cpu.channels_vectors", "cuda.channels"),
    ),
    "batch_norm": (
        ("batch_norm_forward", "batch_norm_backward"),
        ("reference.batch_norm", "cpu.batch_norm_loops", "cpu.batch_norm_vectors",
         "cuda.batch_norm"),
    ),
    "linear": (
        ("linear_forward", "linear_input", "linear_weight"),
        ("cpu.linear_loops", "cpu.linear_blocked", "cpu.linear_vectors", "cpu.linear_parallel", "reference.linear",
         "cpu.linear_tiles", "cpu.linear_packed", "cpu.linear_small", "cpu.linear_amx", "cuda.gemm"),
    ),
    "cross_entropy": (
        ("cross_entropy_forward", "cross_entropy_backward"),
        ("reference.cross_entropy", "cpu.cross_entropy_loops", "cpu.cross_entropy_parallel",
         "cpu.cross_entropy_vectors", "cuda.cross_entropy"),
    ),
    "sgd": (
        ("sgd_update",),
        ("cpu.sgd_loops", "reference.sgd", "cpu.sgd_parallel", "cpu.sgd_vectors", "cuda.optimizers"),
    ),
    "adam": (
        ("adam_update",),
        ("reference.adam", "cpu.adam_vectors", "cuda.optimizers"),
    ),
    "resize": (
        ("resize",),
        ("reference.resize", "cpu.resize_parallel", "cpu.nearest_words"),
    ),
    "affine": (
        ("affine",),
        ("reference.affine", "cpu.affine_parallel", "cpu.nearest_words"),
    ),
    "integral": (
        ("integral", "integral_tilted"),
        ("reference.integral", "cpu.integral_parallel"),
    ),
    "cascade": (
        ("shrink_exact", "window_sums", "cascade_haar", "cascade_lbp"),
        ("reference.cascade", "cpu.cascade_loops", "cpu.cascade_parallel", "cpu.cascade_vectors",
         "cuda.cascade"),
    ),
    "hog": (
        ("hog_cells", "hog_votes", "hog_blocks", "hog_scores"),
        ("reference.hog", "cpu.hog_loops", "cpu.hog_vectors", "cuda.hog"),
    ),
}
FAMILY_OF = {op: family for family, (names, _) in FAMILIES.items() for op in names}


class UnknownOperation(KeyError):
    """The name is not that of an operation; the message lists those there are."""

    def __str__(self) -> str:       # KeyError would show the message in quotes
        return str(self.args[0])


@dataclass(frozen=True)
class Rung:
    """One implementation of one operation; calling it checks the arguments (``checks.py``) and calls the function."""

    op: str
    name: str
    device: str                                 # "cpu" or "cuda"
    doc: str                                    # what changed from the rung below, and why it is faster
    function: Callable[..., Any]
    repeatable: bool                            # the same bits for every number of threads
    accepts: Callable[..., bool] | None         # of the call's arguments, whether it can; None: everything
    worth: Callable[..., bool] | None           # of the same, whether it is likely to be the faster one; None: always
    exact: bool                                 # as accurate as direct summation

    def __call__(self, *args: Any, **options: Any) -> Any:
        check(self.op, *args, **options)
        return self.function(*args, **options)

    @functools.cached_property
    def finishes(self) -> bool:
        """Whether the function takes a ``finish``: it can do more to its sums before it writes them (``finish.py``)."""
        return "finish" in inspect.signature(self.function).parameters

    def __repr__(self) -> str:
        return f"<rung {self.op} / {self.name} on {self.device}>"


_registered: dict[tuple[str, str], list[Rung]] = {}     # (module, op) -> its rungs, in the order of the file
_ladders: dict[str, list[Rung]] = {}
_choices: dict[tuple[str, str], tuple[Rung, ...]] = {}  # (op, device) -> the rungs `best` may choose from, best first
_by_dtype: dict[tuple[str, np.dtype], Rung] = {}        # (op, dtype) -> its answer for all NumPy arrays, whatever their shapes
_answers: dict[tuple[Any, ...], Rung] = {}              # products and convolutions `best` has seen -> what it answered
MOST_ANSWERS = 4096
LOOKED_UP = frozenset(op for family in ("conv", "conv weight", "linear") for op in FAMILIES[family][0])


def of_dtype(accepts: Callable[..., bool]) -> Callable[..., bool]:
    """Mark a question that asks for no more than the dtype of the first array, so that one answer will do for all shapes."""
    _of_dtype.add(accepts)
    return accepts


_of_dtype: set[Callable[..., bool] | None] = {None}


def rung(
    op: str, *, name: str, device: str, repeatable: bool = True, accepts: Callable[..., bool] | None = None,
    worth: Callable[..., bool] | None = None, exact: bool = True,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a function as a rung of ``op``. Its docstring says what changed from the rung below."""
    if op not in FAMILY_OF:
        raise _unknown(op)

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        new = Rung(op, name, device, inspect.getdoc(function) or "", function, repeatable, accepts, worth, exact)
        rungs = _registered.setdefault((function.__module__, op), [])
        rungs[:] = [old for old in rungs if old.name != name] + [new]       # a module may be reloaded
        return function

    return mark


def ops() -> list[str]:
    """The names of all operations, by family."""
    return list(FAMILY_OF)


def ladder(op: str) -> list[Rung]:
    """All rungs of ``op``, slowest first. The first call imports the modules of its family."""
    if op not in _ladders:
        if op not in FAMILY_OF:
            raise _unknown(op)
        package = __name__.rpartition(".")[0]
        modules = [f"{package}.{name}" for name in FAMILIES[FAMILY_OF[op]][1]]
        for module in modules:
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as missing:      # a rung made of what is not installed is not there
                if str(missing.name).partition(".")[0] not in ("numba", "llvmlite", "cupy"):
                    raise
        _ladders[op] = [rung for module in modules for rung in _registered.get((module, op), [])]
    return list(_ladders[op])


def best(op: str, *arrays: Any, **options: Any) -> Rung:
    """The rung that ``run`` would call with these arguments; this module's docstring states the rule.

    To ask takes up to 20 us for a convolution, as long as a small layer. What decides is the dtype alone for many operations,
    and no more than shapes, dtypes and what else the call says for products and convolutions. So there they are asked once
    for each dtype, or each kind of call; the other rules are asked sooner than an answer is looked up.
    """
    if tuned.table or tuned.table is None or not arrays or type(arrays[0]) is not np.ndarray:
        return _asked(op, arrays, options)
    if op not in LOOKED_UP:
        return _by_dtype.get((op, arrays[0].dtype)) or _asked(op, arrays, options)
    try:
        x, w, *others = arrays                                  # of each such operation; the rest are no arrays
        call = (op, _exact, x.shape, x.dtype, type(w), w.shape, w.dtype, *others, *options, *options.values())
        answer = _answers.get(call)
    except (ValueError, AttributeError, TypeError):             # no such call, or one that cannot be looked up: with a list
        return _asked(op, arrays, options)
    if answer is None:
        if len(_answers) >= MOST_ANSWERS:
            _answers.clear()
        answer = _answers[call] = _asked(op, arrays, options)
    return answer


def _asked(op: str, arrays: tuple[Any, ...], options: dict[str, Any]) -> Rung:
    """The rung that the rules choose."""
    first = arrays[0] if arrays else None
    device = "cpu" if type(first) is np.ndarray else _device(op, first)
    choices = _choices.get((op, device)) or _choose_from(op, device)
    try:
        if (tuned.table is None or tuned.table) and device == "cpu":    # it is empty unless somebody has measured
            measured = _measured(choices, op, arrays, options)
            if measured is not None:
                return measured
        dtype_decides = type(first) is np.ndarray
        for candidate in choices:
            dtype_decides &= candidate.worth is None and candidate.exact and candidate.accepts in _of_dtype
            if (candidate.accepts is None or candidate.accepts(*arrays, **options)) and (
                    candidate.worth is None or candidate.worth(*arrays, **options)) and (candidate.exact or not _exact):
                if dtype_decides:
                    _by_dtype[op, arrays[0].dtype] = candidate
                return candidate
    except (AttributeError, IndexError, TypeError) as error:        # an argument is missing or is not an array
        given = ", ".join([*map(_describe, arrays), *(f"{name}={value!r}" for name, value in options.items())])
        raise TypeError(f"{op}{inspect.signature(choices[0].function)} cannot be called with {given}") from error
    raise TypeError(
        f"no rung of {op} on {device} accepts {', '.join(_describe(a) for a in arrays)}; "
        "convert the arrays to float32 or float64"
    )


def run(op: str, *args: Any, **options: Any) -> Any:
    """Call the best rung of ``op``, without a check of the arguments: shapes that do not fit read beyond the arrays.

    minivision's functions have checked. Who calls from elsewhere should call ``best(op, ...)(...)``, which does check.
    """
    return best(op, *args, **options).function(*args, **options)


def array_module(array: Any) -> ModuleType:
    """``numpy`` or ``cupy``, whichever ``array`` belongs to; CuPy is not imported unless the array is its own."""
    if type(array) is not np.ndarray and type(array).__module__.partition(".")[0] == "cupy":
        return sys.modules["cupy"]              # an import statement, or import_module, takes five times as long
    return np


def elsewhere(array: Any) -> bool:
    """Whether ``array`` is on a GPU that is not the current one, which is where CuPy computes and makes new arrays."""
    module: Any = array_module(array)
    return module is not np and array.device.id != module.cuda.runtime.getDevice()


def beside(array: Any) -> AbstractContextManager[Any]:
    """While it is entered, the GPU of ``array`` is the current one."""
    return array.device if elsewhere(array) else nullcontext()


_exact = os.environ.get("MINIVISION_EXACT", "0") == "1"


def set_exact(on: bool) -> None:
    """Choose only rungs as accurate as direct summation (True), or also faster, less accurate ones (False, as at first)."""
    global _exact
    _exact = bool(on)


_compiled = os.environ.get("MINIVISION_COMPILED", "1") != "0"


def set_compiled(on: bool) -> None:
    """Choose also rungs that Numba compiles (True, as at first), or NumPy's wherever there is one (False): nothing has to be
    waited for then, and a debugger sees every line, but large arrays take longer."""
    global _compiled
    _compiled = bool(on)
    _choices.clear()
    _by_dtype.clear()
    _answers.clear()


_tf32 = os.environ.get("MINIVISION_TF32", "0") == "1"


def set_tf32(on: bool) -> None:
    """Let tensor cores round what they multiply to TF32, 10 bits of mantissa (True), or not (False, as at first).

    Results are then off by about 1e-3 of their size where float32 is off by 1e-6; GPUs from compute capability 8.0 on are
    several times as fast. The environment variable MINIVISION_TF32=1 says the same; ``set_exact(True)`` overrides both.
    """
    global _tf32
    _tf32 = bool(on)


def tf32(*arrays: Any, **options: Any) -> bool:
    """Whether ``set_tf32`` allows it; the ``worth`` of the rungs that do so."""
    return _tf32


def _device(op: str, first: Any) -> str:
    """Where the array ``first`` lies, or the first of a tuple of them."""
    if type(first) is tuple and first:
        first = first[0]
    if array_module(first) is not np:
        return "cuda"
    if not is_array(first) and not isinstance(first, np.generic):
        if op not in FAMILY_OF:
            raise _unknown(op)
        got = "none" if first is None else f"one of type {type(first).__name__}"
        raise TypeError(f"{op} takes NumPy or CuPy arrays, the first of them by position; got {got}")
    return "cpu"


def _measured(choices: tuple[Rung, ...], op: str, arrays: tuple[Any, ...], options: dict[str, Any]) -> Rung | None:
    """The rung that was fastest here for this very call, if that is known and the rung may be chosen."""
    name = tuned.chosen(choices[0].function, op, arrays, options, _exact)
    for candidate in choices:
        if candidate.name == name and candidate.repeatable and (candidate.exact or not _exact) and (
                candidate.accepts is None or candidate.accepts(*arrays, **options)):
            return candidate
    return None


def _choose_from(op: str, device: str) -> tuple[Rung, ...]:
    """The rungs on ``device``, best first, the unrepeatable ones after all others."""
    fastest_first = [rung for rung in reversed(ladder(op)) if rung.device == device]
    if not fastest_first:
        raise NotImplementedError(f"{op} has no rung on {device} yet; move the arrays to cpu")
    plain = [rung for rung in fastest_first if ".reference." in rung.function.__module__]
    if not _compiled and plain:
        fastest_first = plain
    choices = tuple(sorted(fastest_first, key=lambda rung: not rung.repeatable))        # the sort is stable
    _choices[op, device] = choices
    return choices


def _unknown(op: str) -> UnknownOperation:
    near = difflib.get_close_matches(str(op), FAMILY_OF, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UnknownOperation(f"there is no operation {op!r}; {hint}The operations are: {', '.join(FAMILY_OF)}")


def _describe(value: Any) -> str:
    if isinstance(value, tuple) and any(hasattr(each, "dtype") for each in value):
        return f"({', '.join(map(_describe, value))})"
    return f"{value.dtype} {tuple(value.shape)}" if hasattr(value, "dtype") else repr(value)
