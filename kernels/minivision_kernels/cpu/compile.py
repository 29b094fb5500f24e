"""From a Python function with loops to machine code: the one place that knows Numba.

A kernel is written as a plain function over arrays, and its annotations are its signature:

    @compiled
    def scale(x: In2, y: Out2, factor: float, team: Team):
        for i in prange(x.shape[0], team):
            for j in range(x.shape[1]):
                y[i, j] = factor * x[i, j]

    scale(x, y, 3.0, work=x.size)

``In2`` is a C-contiguous float array of two axes that is only read, ``Out2`` one that is written; ``IntIn1``,
``Int32Out4`` and ``UInt8In3`` are int64, int32 and uint8 arrays likewise, ``Float64In2`` one that is float64 whatever the
others are; ``Ins1`` and ``Outs1`` are tuples of ``TOGETHER`` arrays of one axis. ``int`` is int64, ``float`` a scalar of the
arrays' own float type. Each kernel is compiled at its first call, once for float32 and once for float64, for exactly that
signature; a kernel of whole numbers alone, such as pixels of 8 bits, is compiled once, and its scalars are float64. A
read-only array is a wider type than a writable one, so both fit the one compiled ``In2``: no call compiles again.

Functions that kernels call are marked ``@helper``. Until something is compiled, kernels and helpers are the Python
functions they look like, and Numba is not even imported; with NUMBA_DISABLE_JIT=1 they stay so, for a debugger.

No kernel uses fast math: sums keep their order, so results do not depend on how LLVM vectorises or on the number of
threads. A kernel whose last argument is its ``Team`` may be run by several threads, each of which goes through its part of
the one loop over ``prange(n, team)``; the caller does not name this argument. Work too small to share (``work``, in visited
elements or multiply-adds, those of a vector counted once) is done by one thread, and so is all in a process that must not
start threads (see ``threads.py``). How a kernel gets to the other threads is told in ``team.py``.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import inspect
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_type_hints

import numpy as np

from minivision_kernels.cpu import threads
from minivision_kernels.cpu.cache import PACKAGE, cache_info
from minivision_kernels.ladder import of_dtype


@dataclass(frozen=True)
class ArraySpec:
    """What the compiler must know of an array argument."""

    element: str                # "float": the float type the kernel is compiled for; else a NumPy name
    ndim: int
    writable: bool
    count: int = 0              # as a tuple of so many arrays; 0: the array itself

    def __str__(self) -> str:
        array = f"{'writable ' * self.writable}C-contiguous {self.element} array"
        many = f"a tuple of {self.count} {array}s" if self.count else f"a {array}"
        return f"{many} of {self.ndim} axes"


In1: TypeAlias = Annotated[np.ndarray, ArraySpec("float", 1, False)]
In2: TypeAlias = Annotated[np.ndarray, ArraySpec("float", 2, False)]
In3: TypeAlias = Annotated[np.ndarray, ArraySpec("float", 3, False)]
In4: TypeAlias = Annotated[np.ndarray, ArraySpec("float", 4, False)]
Out1: TypeAlias = Annotated[np.ndarray, ArraySpec("float", 1, True)]
Out2: TypeAlias = Annotated[np.ndarray, ArraySpec("float", 2, True)]
Out3: TypeAlias = Annotated[np.ndarray, ArraySpec("float", 3, True)]
Out4: TypeAlias = Annotated[np.ndarray, ArraySpec("float", 4, True)]
IntIn1: TypeAlias = Annotated[np.ndarray, ArraySpec("int64", 1, False)]
Int32In4: TypeAlias = Annotated[np.ndarray, ArraySpec("int32", 4, False)]
Int32Out4: TypeAlias = Annotated[np.ndarray, ArraySpec("int32", 4, True)]
IntOut2: TypeAlias = Annotated[np.ndarray, ArraySpec("int64", 2, True)]
Int32In1: TypeAlias = Annotated[np.ndarray, ArraySpec("int32", 1, False)]
Int32In2: TypeAlias = Annotated[np.ndarray, ArraySpec("int32", 2, False)]
Int32In3: TypeAlias = Annotated[np.ndarray, ArraySpec("int32", 3, False)]
Int32Out1: TypeAlias = Annotated[np.ndarray, ArraySpec("int32", 1, True)]
Int32Out2: TypeAlias = Annotated[np.ndarray, ArraySpec("int32", 2, True)]
Int32Out3: TypeAlias = Annotated[np.ndarray, ArraySpec("int32", 3, True)]
UInt8In1: TypeAlias = Annotated[np.ndarray, ArraySpec("uint8", 1, False)]
UInt8In2: TypeAlias = Annotated[np.ndarray, ArraySpec("uint8", 2, False)]
UInt8In3: TypeAlias = Annotated[np.ndarray, ArraySpec("uint8", 3, False)]
UInt8Out2: TypeAlias = Annotated[np.ndarray, ArraySpec("uint8", 2, True)]
UInt8Out3: TypeAlias = Annotated[np.ndarray, ArraySpec("uint8", 3, True)]
Float64In1: TypeAlias = Annotated[np.ndarray, ArraySpec("float64", 1, False)]
Float64In2: TypeAlias = Annotated[np.ndarray, ArraySpec("float64", 2, False)]
Float64Out1: TypeAlias = Annotated[np.ndarray, ArraySpec("float64", 1, True)]
Float64Out2: TypeAlias = Annotated[np.ndarray, ArraySpec("float64", 2, True)]

TOGETHER = 8                    # arrays that a kernel is given as one tuple (``several.py``)
Ins1: TypeAlias = Annotated[tuple, ArraySpec("float", 1, False, TOGETHER)]
Outs1: TypeAlias = Annotated[tuple, ArraySpec("float", 1, True, TOGETHER)]

Team: TypeAlias = Annotated[int, "team"]        # which member of how large a team runs the kernel (team.py)

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
MAKERS = {"empty", "empty_like", "zeros", "zeros_like", "full", "arange"}     # functions of NumPy's that make arrays
SERIAL_BELOW = 30_000           # calling another thread takes two or three microseconds: half of what this much work does
OPTIONS = {"nogil": True, "error_model": "numpy"}       # other Python threads run on; 1 / 0 is inf, not an exception

watchers: list[Callable[[Kernel], None]] = []           # told of each form that was made

_compiling = threading.RLock()


@of_dtype
def floats(*args: Any, **options: Any) -> bool:
    """What compiled rungs accept: float32 and float64 arrays, where Numba is installed."""
    return args[0].dtype in FLOATS and _have_numba()


@of_dtype
def pixels(*args: Any, **options: Any) -> bool:
    """What compiled rungs on images accept: uint8, float32 and float64, where Numba is installed."""
    return (args[0].dtype == np.uint8 or args[0].dtype in FLOATS) and _have_numba()


@of_dtype
def have_compiler(*_: Any, **__: Any) -> bool:
    """What rungs of whole numbers accept: whatever the operation takes, where Numba is installed."""
    return _have_numba()


def contiguous(array: np.ndarray) -> np.ndarray:
    """``array`` itself if compiled code can read it, else a copy."""
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else array.copy(order="C")


def prange(n: int, team: int) -> range:
    """The part of range(n) that falls to a member of a team; while compiling, the word of ``team.py`` takes its place."""
    if team < 0:                                # the team is to be called, but Python knows of none: all of it
        return range(n)
    index, size = team >> 32, team & (1 << 32) - 1
    return range(n * index // size, n * (index + 1) // size)


def compiled(function: Callable[..., None]) -> Kernel:
    """Make a function a kernel: compiled at its first call, for the signature its annotations state."""
    return Kernel(function)


def helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a function that kernels call; it is compiled into them."""
    _helpers.add(function)
    return function


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A helper whose text is copied into each caller, so that a constant it is called with can size a tile of vectors."""
    _inlined.add(function)
    return helper(function)


def within(function: Callable[..., Any]) -> Callable[..., Any]:
    """A helper that LLVM has to put into its callers, as it does with most. Where it would rather call one for each row of an
    image, references to the arrays are counted at each call, by all threads at once: with AVX2, max pooling took six times as
    long, though only in the process that compiled it."""
    _within.add(function)
    return helper(function)


def rebuilt(kernel: Kernel, words: Mapping[str, Any], ending: str) -> Kernel:
    """The same text with other words: what the kernel calls by one of these names, a helper or a number, is what they say."""
    old = kernel.function
    new = types.FunctionType(old.__code__, {**old.__globals__, **words}, old.__name__ + ending, old.__defaults__)
    new.__annotations__, new.__doc__, new.__module__ = old.__annotations__, old.__doc__, old.__module__
    new.__qualname__ = new.__name__             # by which the cache tells them apart
    return Kernel(new)


_helpers: set[Callable[..., Any]] = set()
_inlined: set[Callable[..., Any]] = set()
_within: set[Callable[..., Any]] = set()


class Kernel:
    """A function that writes into its output arrays, and its compiled forms."""

    def __init__(self, function: Callable[..., None]):
        functools.update_wrapper(self, function)
        self.name = function.__name__
        self.function = function
        hints = get_type_hints(function, include_extras=True)
        names = inspect.signature(function).parameters
        specs = {n: getattr(hints[n], "__metadata__", (hints[n],))[0] for n in names}
        self.shared = specs.pop("team", None) is not None       # between the threads of a team
        self.signature: dict[str, Any] = specs                  # what the caller gives
        self.forms: dict[np.dtype, Any] = {}                    # by float type
        self._typed_by = next((
            place for place, spec in enumerate(self.signature.values())
            if isinstance(spec, ArraySpec) and spec.element == "float" and not spec.count
        ), None)                        # None: no array is of a float type that the caller may choose

    def __call__(self, *args: Any, work: int = 0) -> None:
        """Run on arrays and scalars, all positional; with several threads if that is allowed and ``work`` is worth it."""
        dtype = FLOATS[-1] if self._typed_by is None else args[self._typed_by].dtype
        form = self.forms.get(dtype) or self.form(dtype)
        try:
            if not self.shared:
                form(*args)
            elif work < SERIAL_BELOW:
                form(*args, threads.ALONE)
            elif (guard := threads.guard) is None:
                form(*args, threads.team())
            else:
                with guard:
                    form(*args, threads.team())
        except TypeError as error:
            raise TypeError(self._explain(args, dtype)) from error

    def form(self, dtype: np.dtype) -> Any:
        """The compiled form for one float type: as it is, loaded from the disk, or compiled now."""
        with _compiling:
            if dtype not in self.forms:
                self.forms[dtype] = self._compile(dtype)
                for tell in watchers:
                    tell(self)
            return self.forms[dtype]

    def _compile(self, dtype: np.dtype) -> Any:
        if dtype not in FLOATS:
            raise TypeError(f"{self.name} takes float32 or float64 arrays, got {dtype}; convert with .astype")
        numba = _import_numba()
        if numba.config.DISABLE_JIT:
            return self.function
        counted = _allocates(self.function)
        function = _for_numba(self.function, counted)
        signature = tuple(_numba_type(spec, dtype) for spec in (*self.signature.values(), *[int] * self.shared))
        jit = functools.partial(numba.njit, _nrt=counted, **OPTIONS)
        if cache_info().writable and PACKAGE in Path(inspect.getfile(function)).resolve().parents:
            try:
                with _cache_folder(numba, cache_info().folder):
                    return jit(signature, cache=True)(function)
            except Exception:
                pass                    # a full disk or a damaged file costs us the cache, not the result; an error in
                                        # the kernel itself comes again below
        return jit(signature)(function)

    def _explain(self, args: tuple[Any, ...], dtype: np.dtype) -> str:
        """Say which argument does not fit the signature; compiled code only knows that one does not."""
        if len(args) != len(self.signature):
            return f"{self.name} takes {', '.join(self.signature)}; got {len(args)} arguments"
        for (name, spec), value in zip(self.signature.items(), args):
            if isinstance(spec, ArraySpec) and not _fits(value, spec, dtype):
                got = "of type " + type(value).__name__
                if isinstance(value, np.ndarray):
                    got = f"{value.dtype} {value.shape}, " + (
                        "read-only" if spec.writable and not value.flags.writeable else
                        "contiguous" if value.flags.c_contiguous else "not contiguous")
                return f"{self.name}: {name} must be {spec}, float meaning {dtype}; got one that is {got}"
        return f"{self.name} failed on arguments that fit its signature"


def _fits(value: Any, spec: ArraySpec, dtype: np.dtype) -> bool:
    if spec.count:
        alone = replace(spec, count=0)
        return isinstance(value, tuple) and len(value) == spec.count and all(_fits(each, alone, dtype) for each in value)
    return (
        isinstance(value, np.ndarray) and value.ndim == spec.ndim and value.flags.c_contiguous and value.flags.aligned
        and value.dtype == (dtype if spec.element == "float" else np.dtype(spec.element))
        and (value.flags.writeable or not spec.writable)
    )


def _numba_type(spec: Any, dtype: np.dtype) -> Any:
    from numba import types as nt

    scalar = getattr(nt, dtype.name)
    if isinstance(spec, ArraySpec):
        element = scalar if spec.element == "float" else getattr(nt, spec.element)
        array = nt.Array(element, spec.ndim, "C", readonly=not spec.writable)
        return nt.UniTuple(array, spec.count) if spec.count else array
    return {int: nt.int64, bool: nt.boolean, float: scalar}[spec]


def _allocates(function: Any) -> bool:
    """Whether a kernel makes arrays, itself or in a helper. One that does not needs no references to be counted: those of its
    arguments are held by its caller. Where Numba cannot tell that a slice is soon forgotten, it counts one up and down, and
    threads that slice the same array in their inner loops wait for each other, for 60 times as long as they compute.

    If Numba refuses a kernel since "NRT required but not enabled", it makes an array in a way that is not known here: by a
    function that belongs into `MAKERS`, or by assigning an array to a slice, which may need a copy.
    """
    names = function.__code__.co_names                  # of globals and of attributes alike
    words = [function.__globals__.get(name) for name in names]
    return ("np" in names and not MAKERS.isdisjoint(names)) or not {"copy", "astype"}.isdisjoint(names) or any(
        _allocates(word) for word in words if inspect.isfunction(word) and word in _helpers)


def _for_numba(function: Any, counted: bool) -> Any:
    """A copy of ``function`` that sees the word ``prange`` and compiled helpers where the original sees Python's."""
    namespace = dict(function.__globals__)
    for name in function.__code__.co_names:
        value = namespace.get(name)
        if value is prange:
            namespace[name] = importlib.import_module("minivision_kernels.cpu.team").prange
        elif inspect.isfunction(value) and value in _helpers:
            namespace[name] = _compiled_helper(value, counted)
    copy = types.FunctionType(function.__code__, namespace, function.__name__, function.__defaults__)
    copy.__qualname__ = function.__qualname__
    return copy


@functools.cache
def _compiled_helper(function: Callable[..., Any], counted: bool) -> Any:
    inline = "always" if function in _inlined else "never"
    return _import_numba().njit(inline=inline, forceinline=function in _within, no_cpython_wrapper=True, no_cfunc_wrapper=True,
                                _nrt=counted, **OPTIONS)(_for_numba(function, counted))


@contextlib.contextmanager
def _cache_folder(numba: Any, folder: Path) -> Iterator[None]:
    """Point Numba's disk cache at ``folder`` for a moment; the setting belongs to the user."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


@functools.cache
def _have_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


def _import_numba() -> Any:
    try:
        import numba
    except ImportError as error:
        raise ModuleNotFoundError(
            "this rung is compiled by Numba, which is not installed; install numba, or call the 'numpy' rung"
        ) from error
    return numba
