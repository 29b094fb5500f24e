"""A small stand-in for CuPy, on a machine without a GPU.

Its arrays live in NumPy underneath, but every implicit way there is closed, its functions have CuPy's signatures where
those are narrower than NumPy's, and NumPy's functions refuse them as they refuse CuPy's. Kernels launched on such arrays run
in the emulator of CUDA (minivision_kernels/cuda/emulator.py), with their arguments passed as CuPy passes them. What passes
here does not prove that CuPy agrees, but that nothing touches an array on a device with NumPy.

    def test_something(monkeypatch):
        stand_in.install(monkeypatch)
        mv.ones(2, device="cuda")
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import sys
import types
from typing import ClassVar

import numpy as np

from minivision_kernels import ladder, ops
from minivision_kernels.cuda import emulator, launch, nvrtc

SHARED = 96 << 10                       # bytes that a block may ask for
_captured = None                        # while a graph is captured: the launches that belong to it


def refuse_to_wait():
    if _captured is not None:
        raise RuntimeError("operation not permitted when stream is capturing")


class FakeArray:
    """An array on the stand-in GPU."""

    __module__ = "cupy"
    __array_priority__ = 100

    def __init__(self, array, base=None):
        self.values, self.base = np.asarray(array), base
        self.device = Device() if base is None else base.device

    @property
    def _a(self):
        """The values, for work on the current device."""
        if self.device.id != Device.current[-1]:
            raise ValueError(f"Array device must be same as the current device: array device = {self.device.id} while current "
                             f"= {Device.current[-1]}")
        return self.values

    shape = property(lambda self: self.values.shape)
    ndim = property(lambda self: self.values.ndim)
    size = property(lambda self: self.values.size)
    dtype = property(lambda self: self.values.dtype)
    itemsize = property(lambda self: self.values.itemsize)
    nbytes = property(lambda self: self.values.nbytes)
    T = property(lambda self: FakeArray(self.values.T, base=self))
    flags = property(lambda self: types.SimpleNamespace(c_contiguous=self.values.flags.c_contiguous))
    data = property(lambda self: types.SimpleNamespace(ptr=self.values.ctypes.data))

    def __array__(self, *args, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if any(isinstance(x, np.ndarray) for x in inputs):
            raise TypeError(f"Unsupported type {np.ndarray} in {ufunc.__name__}")
        assert method in ("__call__", "at")
        return wrap(getattr(ufunc, method)(*map(bare, inputs), **{k: bare(v) for k, v in options.items()}))

    def __getitem__(self, index):
        parts = index if isinstance(index, tuple) else (index,)
        return FakeArray(self.values[tuple(map(on_device, parts))], base=self)

    def __setitem__(self, index, value):
        parts = index if isinstance(index, tuple) else (index,)
        self._a[tuple(map(on_device, parts))] = on_device(value)

    def __bool__(self): return bool(self.get())
    def __int__(self): return int(self.get())
    def __float__(self): return float(self.get())
    def __len__(self): return len(self.values)
    def item(self): return self.get().item()
    def tolist(self): return self.get().tolist()

    def get(self):
        """The values for the CPU, which waits for them."""
        refuse_to_wait()
        return self.values.copy()

    def copy(self): return FakeArray(self._a.copy())
    def astype(self, dtype): return FakeArray(self._a.astype(dtype))
    def reshape(self, *shape): return FakeArray(self.values.reshape(*shape), base=self)
    def transpose(self, *axes): return FakeArray(self.values.transpose(*axes), base=self)
    def sum(self, axis=None, dtype=None, out=None, keepdims=False): return wrap(self._a.sum(axis=axis, keepdims=keepdims))
    def mean(self, axis=None, dtype=None, out=None, keepdims=False): return wrap(self._a.mean(axis=axis, keepdims=keepdims))
    def max(self, axis=None, out=None, keepdims=False): return wrap(self._a.max(axis=axis, keepdims=keepdims))
    def min(self, axis=None, out=None, keepdims=False): return wrap(self._a.min(axis=axis, keepdims=keepdims))
    def argmax(self, axis=None, out=None, dtype=None, keepdims=False): return wrap(self._a.argmax(axis, keepdims=keepdims))
    def argmin(self, axis=None, out=None, dtype=None, keepdims=False): return wrap(self._a.argmin(axis, keepdims=keepdims))
    def any(self, axis=None, out=None, keepdims=False): return wrap(self._a.any(axis=axis, keepdims=keepdims))
    def all(self, axis=None, out=None, keepdims=False): return wrap(self._a.all(axis=axis, keepdims=keepdims))

    def var(self, axis=None, dtype=None, out=None, ddof=0, keepdims=False):
        return wrap(self._a.var(axis=axis, ddof=ddof, keepdims=keepdims))


class Device:
    """One of the devices; within ``with Device(1):`` it is the current one, where arrays are made and kernels run."""

    current: ClassVar[list] = [0]

    def __init__(self, number=None):
        self.id = self.current[-1] if number is None else int(number)

    def __enter__(self):
        self.current.append(self.id)
        return self

    def __exit__(self, *_):
        self.current.pop()

    def synchronize(self): refuse_to_wait()


def matrix_product(x, y):
    """CuPy has a kernel of its own for whole numbers; for others it calls cuBLAS, which minivision does not ask for."""
    if on_device(x).dtype.kind == "f":
        raise RuntimeError("cuBLAS is not available")
    return FakeArray(on_device(x) @ on_device(y))


def on_device(x):
    """The array underneath; an array from the other side is refused."""
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {np.ndarray}")
    return x._a if isinstance(x, FakeArray) else x


def bare(x):
    """`on_device`, also within tuples and lists."""
    return type(x)(map(bare, x)) if isinstance(x, (tuple, list)) else on_device(x)


def wrap(x):
    return FakeArray(x) if isinstance(x, (np.ndarray, np.generic)) else x


def binary(name):
    def method(self, other):
        if isinstance(other, np.ndarray):
            raise TypeError(f"Unsupported type {np.ndarray}")
        return wrap(getattr(self._a, name)(bare(other)))
    return method


def in_place(name):
    def method(self, other):
        getattr(self._a, name)(bare(other))
        return self
    return method


for _name in ["add", "sub", "mul", "truediv", "pow", "radd", "rsub", "rmul", "rtruediv", "rpow", "eq",
              "ne", "lt", "le", "gt", "ge", "and", "or"]:
    setattr(FakeArray, f"__{_name}__", binary(f"__{_name}__"))
for _name in ["iadd", "isub", "imul", "itruediv", "iand", "ior"]:
    setattr(FakeArray, f"__{_name}__", in_place(f"__{_name}__"))
FakeArray.__matmul__ = matrix_product
FakeArray.__neg__ = lambda self: FakeArray(-self._a)
FakeArray.__abs__ = lambda self: FakeArray(abs(self._a))
FakeArray.__invert__ = lambda self: FakeArray(~self._a)
FakeArray.__hash__ = object.__hash__
FakeArray.__name__ = FakeArray.__qualname__ = "ndarray"


def is_here(a):
    return isinstance(a, FakeArray) and a.device.id == Device.current[-1]


def fake_cupy(devices):
    """The functions of CuPy that an engine may want, each refusing NumPy arrays."""
    cupy = types.ModuleType("cupy")
    cupy.ndarray = FakeArray
    for name in ["abs", "exp", "log", "log1p", "sqrt", "square", "sin", "cos", "tanh", "sign", "power", "maximum", "minimum",
                 "where", "clip", "isfinite", "isnan", "take_along_axis", "concatenate", "broadcast_to", "expand_dims",
                 "zeros_like", "ones_like", "pad", "arange", "zeros", "ones", "empty", "full", "logical_and",
                 "logical_or", "stack", "argmax", "prod", "squeeze", "moveaxis"]:
        setattr(cupy, name, (lambda f: lambda *a, **k: wrap(f(*map(bare, a), **{n: bare(v) for n, v in k.items()})))(
            getattr(np, name)))
    cupy.matmul = matrix_product
    cupy.asarray = lambda a, dtype=None: a if is_here(a) and dtype in (None, a.dtype) else FakeArray(
        np.array(a.values if isinstance(a, FakeArray) else a, dtype=dtype))
    cupy.array = lambda a, order="K": FakeArray(np.array(on_device(a), order=order))
    cupy.asnumpy = lambda a: a.get() if isinstance(a, FakeArray) else np.asarray(a)
    cupy.indices = lambda dimensions, dtype=int: FakeArray(np.indices(dimensions, dtype))
    cupy.put_along_axis = lambda a, i, v, axis: np.put_along_axis(*map(on_device, (a, i, v)), axis)
    cupy.add = types.SimpleNamespace(at=lambda a, i, v: np.add.at(on_device(a), bare(i), on_device(v)))
    for name in ("inf", "nan", "pi", "float32", "float64", "int64", "bool_", "newaxis"):
        setattr(cupy, name, getattr(np, name))
    cupy.__version__ = "14.0"
    cupy.cuda = types.SimpleNamespace(
        runtime=types.SimpleNamespace(
            getDevice=lambda: Device.current[-1], getDeviceCount=lambda: devices, driverGetVersion=lambda: 13000,
            runtimeGetVersion=lambda: 13000,
            getDeviceProperties=lambda number: {
                "name": b"stand-in", "totalGlobalMem": 8 << 30, "major": 8, "minor": 0, "multiProcessorCount": 2,
                "sharedMemPerBlockOptin": SHARED}),
        Device=Device, Stream=Stream, get_current_stream=lambda: Stream.current[-1],
        MemoryPool=lambda: types.SimpleNamespace(malloc=None), using_allocator=lambda malloc: contextlib.nullcontext())
    return cupy


class Stream:
    """Launches run at once, but for those between `begin_capture` and `end_capture`, which run when their graph is launched.

    What is no launch (NumPy's own operations, underneath) is not captured.
    """

    current: ClassVar[list] = []

    def __init__(self, non_blocking=False):
        self.capturing = False

    def __enter__(self):
        self.current.append(self)
        return self

    def __exit__(self, *_):
        self.current.pop()

    def record(self): return self
    def wait_event(self, event): assert isinstance(event, Stream) and not self.capturing
    def synchronize(self): refuse_to_wait()
    def is_capturing(self): return self.capturing

    def begin_capture(self):
        global _captured
        self.capturing, _captured = True, []

    def end_capture(self):
        global _captured
        launches, self.capturing, _captured = _captured, False, None
        return types.SimpleNamespace(launch=lambda stream: [launch() for launch in launches])


Stream.current.append(Stream())


# ---------------------------------------------------------------------------------------------------- kernels


class Function:
    """What CuPy gives for a kernel of a module; it runs in the emulator."""

    def __init__(self, folder, source, kernel, options, device):
        self.text, self.source, self.kernel, self.options = (folder / source).read_text(), source, kernel, options
        constants = any(option.startswith(f"-D{kernel.upper()}=") for option in options)
        self.together = [kernel] if constants else launch._plain(self.text)
        self.ptr = id(self)

    def __call__(self, grid, block, args, shared_mem=0):
        assert len(grid) == len(block) == 3 and min(*grid, *block) > 0
        assert grid[0] < 1 << 31 and max(grid[1:]) < 1 << 16 and math.prod(block) <= 1024 and block[2] <= 64
        assert shared_mem <= SHARED                     # what a kernel declares itself, the compiler adds and checks
        launch = functools.partial(emulator.run, self.text, self.source, self.together, self.options, self.kernel,
                                   (*grid, *block), shared_mem, list(map(passed, args)))
        if _captured is None:
            launch()
        else:
            _captured.append(lambda: (launch(), args)[1])       # with the arrays, which a pool of memory keeps


def passed(value):
    """An argument as CuPy passes it: it knows nothing of the types in the kernel's text."""
    if isinstance(value, FakeArray):
        return ctypes.c_void_p(value._a.ctypes.data)
    if not isinstance(value, np.generic) and not (type(value) is np.ndarray and value.size == 1):
        raise TypeError(f"CuPy passes {value!r} as another type than a kernel declares, or not at all")
    raw = value.tobytes()
    return (ctypes.c_char * len(raw)).from_buffer_copy(raw)


def install(monkeypatch, devices=1):
    """Let ``import cupy`` find the stand-in for a machine with so many devices; returns it."""
    for op in ops():                # so that all kernels are known
        ladder(op)
    cupy = fake_cupy(devices)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(nvrtc, "architectures", lambda: [75, 80, 90])
    loaded = {}
    monkeypatch.setattr(launch, "_loaded", lambda *what: loaded.setdefault(what, Function(*what)))
    monkeypatch.setattr(launch, "_facts", lambda device: launch.facts(np.zeros(0)))
    monkeypatch.setattr(launch, "_allow", lambda function, shared: None)
    for kernel in launch.Kernel.known:
        monkeypatch.setattr(kernel, "_functions", {})
    return cupy


