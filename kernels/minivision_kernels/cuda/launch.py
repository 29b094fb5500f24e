"""A kernel by name, called with arrays and numbers.

    tile = Kernel("gemm.cu", "register_tile", 128, 128, 8, 8, 8)
    tile.launch((columns, rows), 256, M, N, K, a, b, c)

The arrays say where it runs: on the GPU of CuPy arrays, on its current stream, or in the emulator for NumPy arrays. A file
of kernels is compiled for one number type (``real`` in the text; that of the arrays) and one architecture on first use, and
the machine code is kept on disk. A kernel with template constants, like the one above, stands between ``#ifdef
REGISTER_TILE`` and ``#endif`` in its file and is compiled for those constants alone: ``-DREGISTER_TILE=128,128,8,8,8``.

What is given for a parameter becomes the C type the kernel's text declares: Python numbers an ``int``, ``long long`` or
``real``, a tuple of whole numbers a struct of ints, arrays a pointer, None a null pointer, and a tuple of these for ``Arrays``
a struct of pointers to ``real``. An array of another type than declared, or one that is not contiguous, is refused. Launches
come back at once; an error of a running kernel shows in a later call. With the environment variable MINIVISION_CUDA_SYNC=1
each launch waits for its end and names the kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minivision_kernels.ladder import array_module, beside

HERE = Path(__file__).resolve().parent
HEADERS = ("words.cuh", "tile.cuh", "conv.cuh")
OLDEST = (7, 5)                         # compute capability: what every NVRTC from 12 on compiles for
SHARED_BY_DEFAULT = 48 << 10            # bytes; more must be asked for
NUMBERS: dict[str, Any] = {"int": np.int32, "unsigned": np.uint32, "long long": np.int64, "float": np.float32,
                           "double": np.float64, "unsigned char": np.uint8}
LIMITS = {kind: (int(np.iinfo(number).min), int(np.iinfo(number).max))
          for kind, number in NUMBERS.items() if np.dtype(number).kind in "iu"}
DTYPES = {kind: np.dtype(number) for kind, number in NUMBERS.items()}
SINGLE, NULL = np.dtype(np.float32), np.uint64(0)
SYNCHRONOUS = os.environ.get("MINIVISION_CUDA_SYNC") == "1"
HEAD = r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\) )?'       # of a kernel; its name follows

Size = int | tuple[int, ...]
Three = tuple[int, int, int]


class Parameter(NamedTuple):
    """One parameter of a kernel, as its text declares it."""

    kind: str                           # the C type, or what a pointer points to
    name: str
    pointer: bool


@dataclass(frozen=True)
class Facts:
    """What the choice of a kernel hangs on."""

    capability: tuple[int, int]         # (9, 0) is sm_90
    multiprocessors: int
    shared: int                         # the most bytes of shared memory a block can ask for
    name: str = "a GPU"


class Kernel:
    """One kernel of a file, for one set of template constants.

    Args:
        source: the name of a ``.cu`` file beside this one.
        name: the kernel's.
        constants: its template arguments, whole numbers or words.
        needs: the least compute capability that it compiles to something sensible for.
        reals: the number types it is made for.
        folder: another place to look for ``source``.
    """

    known: ClassVar[list[Kernel]] = []          # all that were made, for the test that compiles each of them

    def __init__(
        self, source: str, name: str, *constants: int | str, needs: tuple[int, int] = OLDEST,
        reals: tuple[str, ...] = ("float32", "float64"), folder: Path = HERE,
    ) -> None:
        self.source, self.name, self.constants, self.folder = source, name, constants, folder
        self.needs, self.reals = needs, reals
        self._chars = {np.dtype(real).char for real in reals}
        self._parameters: tuple[Parameter, ...] = ()            # read from the text when first launched
        self._functions: dict[tuple[str, int], Any] = {}        # (real, device) -> what CuPy launches
        Kernel.known.append(self)

    def __repr__(self) -> str:
        return f"<kernel {self.name}{list(self.constants) or ''} of {self.source}>"

    def launch(self, grid: Size, block: Size, *arguments: Any, shared: int = 0) -> None:
        """Run on ``grid`` blocks of ``block`` threads (numbers along x, or x and y, or x, y and z).

        Args:
            arguments: one for each parameter; at least one is an array.
            shared: bytes of dynamic shared memory for each block.

        Raises:
            TypeError, ValueError: the arguments are not what the kernel's text declares.
        """
        grid, block = _three(grid), _three(block)
        if 0 in grid or 0 in block:     # nothing to do, which CUDA calls an error
            return
        parameters = self._parameters or self._read()
        if len(parameters) != len(arguments):
            raise TypeError(f"{self!r} takes {len(parameters)} arguments ({', '.join(p.name for p in parameters)}), "
                            f"got {len(arguments)}")
        first, real = self._first(parameters, arguments)
        values = []
        for parameter, value in zip(parameters, arguments):
            kind, _, pointer = parameter
            if pointer and getattr(value, "dtype", None) is (real if kind == "real" else DTYPES[kind]) and (
                    value.flags.c_contiguous):              # the usual case; everything else takes a moment longer
                values.append(value)
            elif kind == "real" and type(value) is float:
                values.append(real.type(value))
            else:
                values.append(_argument(self, parameter, value, real))
        if type(first) is np.ndarray or array_module(first) is np:
            self._emulate(real, grid, block, shared, values)
        else:
            self._on_device(real, grid, block, shared, values, first.device.id)

    def options(self, real: np.dtype) -> list[str]:
        """The definitions that the compiler is given."""
        constants = ",".join(map(str, self.constants))
        return [f"-DREAL={'double' if real == np.float64 else 'float'}"] + [
            f"-D{self.name.upper()}={constants}"] * bool(self.constants)

    def _read(self) -> tuple[Parameter, ...]:
        self._parameters = _parameters(_text(self.folder / self.source), self.name, self.source)
        return self._parameters

    def _first(self, parameters: tuple[Parameter, ...], arguments: tuple[Any, ...]) -> tuple[Any, np.dtype]:
        """The first array, which says where to run, and the dtype of the first array of ``real``."""
        first = None
        for parameter, value in zip(parameters, arguments):
            several = parameter[0] == "Arrays"
            value = value[0] if several else value
            if (several or parameter[2]) and hasattr(value, "dtype"):       # a pointer
                first = value if first is None else first
                if several or parameter[0] == "real":
                    if value.dtype.char not in self._chars:
                        raise TypeError(f"{self!r}: {parameter.name} is {value.dtype}, expected an array of "
                                        f"{' or '.join(self.reals)}")
                    return first, value.dtype
        if first is None:
            raise TypeError(f"{self!r}: got no array, expected at least one")
        return first, SINGLE

    def _emulate(self, real: np.dtype, grid: Three, block: Three, shared: int, values: list[Any]) -> None:
        from minivision_kernels.cuda import emulator

        text = _text(self.folder / self.source)
        together = [self.name] if self.constants else _plain(text)
        emulator.run(text, self.source, together, self.options(real), self.name, (*grid, *block), shared,
                     [_in_c(v) for v in values])

    def _on_device(self, real: np.dtype, grid: Three, block: Three, shared: int, values: list[Any], device: int) -> None:
        import cupy

        if cupy.cuda.runtime.getDevice() != device:
            with cupy.cuda.Device(device):
                return self._on_device(real, grid, block, shared, values, device)
        function = self._functions.get((real.char, device))
        if function is None:
            function = _loaded(self.folder, self.source, self.name, tuple(self.options(real)), device)
            self._functions[real.char, device] = function
        if shared > SHARED_BY_DEFAULT:
            _allow(function, shared)
        # CuPy passes None as no argument at all; a null pointer is a number.
        function(grid, block, tuple([NULL if value is None else value for value in values]), shared_mem=shared)
        if SYNCHRONOUS:
            try:
                cupy.cuda.get_current_stream().synchronize()
            except Exception as problem:
                raise RuntimeError(f"{self!r} on {grid} blocks of {block} threads: {problem}") from problem
        return None


def blocks(count: int, each: int) -> int:
    """How many blocks that handle ``each`` items it takes for ``count``."""
    return -(-count // each)


def grouped(count: int, size: int) -> tuple[int, int]:
    """How many of ``count`` things of ``size`` numbers go together so that 32 bits count them, and how many such groups."""
    together = max(1, min(count, (1 << 30) // max(size, 1)))
    return together, blocks(count, together)


def empty(like: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
    """A new array beside ``like``, of its dtype unless another is given."""
    if type(like) is np.ndarray:
        return np.empty(shape, dtype or like.dtype)
    with beside(like):
        return array_module(like).empty(shape, dtype or like.dtype)


def ready(array: Any) -> Any:
    """``array``, or a copy of it, in C order and starting at a multiple of 16 bytes, where four numbers are loaded as one."""
    if array.flags.c_contiguous and aligned(array):
        return array
    with beside(array):
        return array_module(array).array(array, order="C")


def aligned(*arrays: Any) -> bool:
    """Whether all of them start at a multiple of 16 bytes; a slice of an array need not."""
    return all(_address(array) % 16 == 0 for array in arrays)


def _address(array: Any) -> int:
    return array.ctypes.data if array_module(array) is np else array.data.ptr


def floats(*arrays: Any, **options: Any) -> bool:
    """Whether a rung that is compiled for float32 and float64 accepts these arguments."""
    return arrays[0].dtype in (np.float32, np.float64)


def facts(array: Any) -> Facts:
    """What the device of ``array`` can do. The emulator takes the part of a small GPU of compute capability 8.0."""
    if array_module(array) is np:
        return Facts((8, 0), 2, 96 << 10, "the emulator")
    return _facts(array.device.id)


@functools.cache
def _facts(device: int) -> Facts:
    import cupy

    about = cupy.cuda.runtime.getDeviceProperties(device)
    return Facts((about["major"], about["minor"]), about["multiProcessorCount"], about["sharedMemPerBlockOptin"],
                 about["name"].decode())


# ------------------------------------------------------------------------------------------------ what the text declares

@functools.cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@functools.cache
def _parameters(text: str, kernel: str, source: str) -> tuple[Parameter, ...]:
    found = re.search(rf"{HEAD}{kernel}\(([^)]*)\)", text)
    if not found:
        raise ValueError(f'{source} has no kernel {kernel}; expected extern "C" __global__ void {kernel}(...)')
    parameters = []
    for word in filter(None, (part.strip() for part in found.group(1).split(","))):
        plain = re.sub(r"\bconst |__restrict__|__grid_constant__ ", "", word)
        kind, name = re.fullmatch(r"(.*?)\s*(\w+)", plain, re.S).groups()  # type: ignore[union-attr]
        kind = kind.replace(" *", "*").strip()
        parameters.append(Parameter(kind.rstrip("*"), name, kind.endswith("*")))
    return tuple(parameters)


@functools.cache
def _plain(text: str) -> list[str]:
    """The kernels of a file that have no template constants, and so are compiled together."""
    names = re.findall(rf"{HEAD}(\w+)\(", text)
    return [name for name in names if f"#ifdef {name.upper()}\n" not in text]


def _argument(kernel: Kernel, parameter: Parameter, value: Any, real: np.dtype) -> Any:
    """``value`` as the NumPy scalar or the array that the launch takes for a parameter."""
    kind, name, pointer = parameter
    if kind == "Arrays":
        one = parameter._replace(kind="real", pointer=True)
        addresses = [0 if array is None else _address(_argument(kernel, one, array, real)) for array in value]
        return np.frombuffer(np.array(addresses, np.uint64).tobytes(), np.dtype((np.void, 8 * len(addresses))))
    if pointer:
        if value is None:
            return None
        expected = real if kind == "real" else DTYPES[kind]
        if not hasattr(value, "dtype") or value.dtype != expected:
            got = getattr(value, "dtype", type(value).__name__)
            raise TypeError(f"{kernel!r}: {name} is {got}, expected an array of {expected}")
        if not value.flags.c_contiguous:
            raise ValueError(f"{kernel!r}: {name} is not contiguous; pass a contiguous copy")
        return value
    if isinstance(value, tuple):
        return _struct(value)
    if kind in LIMITS:
        least, most = LIMITS[kind]
        if not least <= value <= most:
            raise ValueError(f"{kernel!r}: {name} is {value}, which {kind} cannot hold; use smaller arrays")
    return (real.type if kind == "real" else NUMBERS[kind])(value)


@functools.lru_cache(1024)
def _struct(numbers: tuple[int, ...]) -> np.ndarray:
    """Whole numbers as a struct of ints: what CuPy passes by value is an array of one element that has its bytes."""
    return np.frombuffer(np.array(numbers, np.int32).tobytes(), np.dtype((np.void, 4 * len(numbers))))


def _in_c(value: Any) -> Any:
    """A ctypes value with the bytes of an argument; for an array, of a pointer to it."""
    if value is None:
        return ctypes.c_void_p(0)
    if isinstance(value, np.ndarray) and value.dtype.kind != "V":
        return ctypes.c_void_p(value.ctypes.data)
    raw = value.tobytes()
    return (ctypes.c_char * len(raw)).from_buffer_copy(raw)


def _three(size: Size) -> Three:
    if isinstance(size, int):
        return size, 1, 1
    x, y, z = (*size, 1, 1)[:3]
    return x, y, z


# --------------------------------------------------------------------------------------------------- on the device

@functools.cache
def _loaded(folder: Path, source: str, kernel: str, options: tuple[str, ...], device: int) -> Any:
    """The kernel, ready on the current device. Its machine code comes from the disk if it was compiled before."""
    import cupy

    from minivision_kernels.cuda import nvrtc

    text, arch = _text(folder / source), architecture(_facts(device).capability, tuple(nvrtc.architectures()))
    headers = {name: _text(HERE / name) for name in HEADERS}
    digest = hashlib.sha256()
    for part in (text, *headers.values(), *options, arch, str(nvrtc.version())):
        digest.update(f"{len(part)} {part}".encode())
    name = f"{Path(source).stem}-{digest.hexdigest()[:24]}.cubin"
    with kept(cache_folder(), name, lambda: nvrtc.compile(text, source, arch, headers, options).code) as path:
        code = path.read_bytes()
    module = cupy.cuda.function.Module()
    module.load(code)
    return module.get_function(kernel)


_allowed: dict[int, int] = {}           # by a function's address: the bytes of shared memory that it may ask for


def _allow(function: Any, shared: int) -> None:
    """Let a kernel have more shared memory than a launch may ask for without further words."""
    if _allowed.get(function.ptr, 0) < shared:
        from cupy_backends.cuda.api import driver

        driver.funcSetAttribute(function.ptr, driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared)
        _allowed[function.ptr] = shared


def architecture(capability: tuple[int, int], supported: tuple[int, ...]) -> str:
    """What to compile for: the newest architecture of the device's generation, else code that its driver translates.

    Raises:
        RuntimeError: the device is older than what can be compiled for.
    """
    number = capability[0] * 10 + capability[1]
    if capability < OLDEST or number < supported[0]:
        least = max(OLDEST[0] * 10 + OLDEST[1], supported[0])
        raise RuntimeError(f"the GPU has compute capability {capability[0]}.{capability[1]}; minivision's kernels need "
                           f"{least // 10}.{least % 10} or newer")
    same = [each for each in supported if each // 10 == capability[0] and each <= number]
    return f"sm_{max(same)}" if same else f"compute_{max(each for each in supported if each <= number)}"


def cache_folder() -> Path:
    """Where machine code is kept: beside the compiled kernels of the CPU. Its file names say what it was made of."""
    from minivision_kernels.cpu.cache import root

    return root() / "cuda"


@contextlib.contextmanager
def kept(folder: Path, name: str, make: Callable[[], bytes]) -> Iterator[Path]:
    """The file ``name`` in ``folder``, made if it is not there; in a passing place where the folder cannot be written."""
    path = folder / name
    if path.is_file():
        yield path
        return
    content = make()
    with tempfile.TemporaryDirectory() as passing:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as part:
                part.write(content)
            os.replace(part.name, path)
        except OSError:
            path = Path(passing) / name
            path.write_bytes(content)
        yield path
