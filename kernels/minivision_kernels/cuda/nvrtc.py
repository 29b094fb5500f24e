"""CUDA C++ to machine code for one GPU architecture, by NVIDIA's run-time compiler.

NVRTC is a shared library that needs neither a GPU nor a driver; it comes with the extras ``cuda12`` and ``cuda13``, with a
CUDA toolkit, or alone as the package nvidia-cuda-nvrtc. Its C interface is small enough to be called by ctypes.
(NVRTC documentation, "User Interface"; ``-arch=sm_90`` gives machine code, with ptxas inside.)
"""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["CompileError", "Machine", "NoCompiler", "architectures", "compile", "version"]

USES = {"registers": r"Used (\d+) registers", "stack": r"(\d+) bytes stack frame",
        "spill stores": r"(\d+) bytes spill stores", "spill loads": r"(\d+) bytes spill loads", "shared": r"(\d+) bytes smem"}


class NoCompiler(RuntimeError):
    """There is no NVRTC on this machine."""


class CompileError(RuntimeError):
    """NVRTC refuses a kernel; the message is its log."""


@dataclass(frozen=True)
class Machine:
    """Machine code, and what the assembler said about each kernel in it."""

    code: bytes
    log: str

    def uses(self) -> dict[str, dict[str, int]]:
        """For each kernel: its "registers", the bytes of "stack", "spill stores" and "spill loads" of a thread, and the bytes
        of "shared" memory of a block, without those that a launch asks for.
        """
        found: dict[str, dict[str, int]] = {}
        for name, report in re.findall(r"Compiling entry function '(\w+)'(.*?)(?=Compiling entry|\Z)", self.log, re.S):
            found[name] = {
                what: int(number.group(1)) if (number := re.search(pattern, report)) else 0
                for what, pattern in USES.items()
            }
        return found


def compile(text: str, name: str, arch: str, headers: Mapping[str, str], options: Sequence[str] = ()) -> Machine:
    """Compile the ``text`` of a file called ``name`` for an architecture like ``"sm_90"``.

    Args:
        headers: the text of each file that it may include, by name.
        options: more options for NVRTC, such as ``"-DREAL=double"``.

    Raises:
        NoCompiler: NVRTC is not installed.
        CompileError: the text is wrong, with the compiler's words.
    """
    library = _library()
    texts = (ctypes.c_char_p * len(headers))(*[value.encode() for value in headers.values()])
    names = (ctypes.c_char_p * len(headers))(*[key.encode() for key in headers])
    program = ctypes.c_void_p()
    _check(library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), len(headers), texts, names))
    try:
        words = ["-std=c++17", f"-arch={arch}", "--ptxas-options=-v", *options]
        result = library.nvrtcCompileProgram(program, len(words), (ctypes.c_char_p * len(words))(*[w.encode() for w in words]))
        log = _read(program, "ProgramLog").decode(errors="replace").rstrip("\0")
        if result:
            raise CompileError(f"{name} does not compile for {arch}:\n{log}")
        return Machine(_read(program, "CUBIN" if arch.startswith("sm_") else "PTX"), log)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


@functools.cache
def version() -> tuple[int, int]:
    """NVRTC's major and minor version."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(_library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return major.value, minor.value


@functools.cache
def architectures() -> list[int]:
    """The architectures NVRTC compiles for, ascending: 75 is compute capability 7.5."""
    count = ctypes.c_int()
    _check(_library().nvrtcGetNumSupportedArchs(ctypes.byref(count)))
    numbers = (ctypes.c_int * count.value)()
    _check(_library().nvrtcGetSupportedArchs(numbers))
    return sorted(numbers)


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib  # knows wheels, conda and toolkits on every system

        library = ctypes.CDLL(load_nvidia_dynamic_lib("nvrtc").abs_path)
    except Exception as problem:        # not installed, or of a kind that does not load here: all the same to the caller
        raise NoCompiler(
            f"NVRTC, NVIDIA's run-time compiler, cannot be loaded ({problem}); pip install 'minivision[cuda13]' "
            "(or [cuda12] for an older driver)") from None
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


def _read(program: ctypes.c_void_p, what: str) -> bytes:
    library, size = _library(), ctypes.c_size_t()
    _check(getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(library, f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def _check(result: int) -> None:
    if result:
        raise CompileError(f"NVRTC: {_library().nvrtcGetErrorString(result).decode()}")
