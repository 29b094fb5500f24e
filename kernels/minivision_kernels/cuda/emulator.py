"""Kernels on an ordinary processor: the text of a ``.cu`` file, compiled by g++ or clang++ behind ``emulator.h``.

The header says what is modelled. Here the text is compiled, once for each state of it, and called:

    with emulator.threads(order="backward"):        # the last thread of a block runs first
        rung(x, w)                                  # a CUDA rung, with NumPy arrays

A kernel that is right gives the same result in every order; one that lacks a barrier does not.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ORDERS = {"forward": 0, "backward": 1}
SANITIZE = "MINIVISION_SANITIZE"        # environment: "address,undefined" compiles those checks into every kernel

_order: contextvars.ContextVar[int] = contextvars.ContextVar("order", default=0)


class EmulatorError(RuntimeError):
    """A kernel does what a GPU leaves undefined, such as waiting for threads that have returned."""


class NoCompiler(RuntimeError):
    """There is no C++ compiler on this machine."""


@contextlib.contextmanager
def threads(order: str | int) -> Iterator[None]:
    """Take up the threads of a block in this order: "forward", "backward", or a whole number above 1, a seed to shuffle by."""
    number = ORDERS[order] if isinstance(order, str) else order
    token = _order.set(number)
    try:
        yield
    finally:
        _order.reset(token)


def run(
    text: str, name: str, kernels: Sequence[str], options: Sequence[str], kernel: str, shape: Sequence[int], shared: int,
    arguments: Sequence[Any],
) -> None:
    """Run one of the ``kernels`` in a file's text on a grid of blocks.

    Args:
        shape: the numbers of blocks along x, y and z, then the numbers of threads of a block.
        shared: bytes of dynamic shared memory.
        arguments: ctypes values, one for each parameter.

    Raises:
        NoCompiler: neither g++ nor clang++ is installed.
        EmulatorError: the kernel hangs or its threads wait at different barriers.
    """
    library = _library(text, name, tuple(kernels), tuple(options))
    places = (ctypes.c_void_p * max(len(arguments), 1))(*[ctypes.addressof(value) for value in arguments])
    message = ctypes.create_string_buffer(500)
    if library[f"emulate_{kernel}"]((ctypes.c_uint * 6)(*shape), ctypes.c_size_t(shared), places,
                                    ctypes.c_uint(_order.get()), message, ctypes.c_size_t(len(message))):
        raise EmulatorError(f"{name}, kernel {kernel}: {message.value.decode()}")


@functools.cache
def compiler() -> str:
    """The C++ compiler: $CXX, g++ or clang++."""
    for candidate in (os.environ.get("CXX"), "g++", "clang++"):
        if candidate and shutil.which(candidate):
            return candidate
    raise NoCompiler("the emulator of CUDA needs a C++ compiler; got neither g++ nor clang++; install one of them")


@functools.cache
def _library(text: str, name: str, kernels: tuple[str, ...], options: tuple[str, ...]) -> ctypes.CDLL:
    """The compiled text, from the cache if it was compiled before."""
    from minivision_kernels.cuda.launch import HEADERS, cache_folder, kept

    checks = os.environ.get(SANITIZE, "")
    words = ["-std=c++17", "-O1", "-shared", "-fPIC", "-Wno-unknown-pragmas", "-ffp-contract=off", *options]
    if checks:
        words += [f"-fsanitize={checks}", "-fno-sanitize-recover=undefined", "-g1"]
    main = "\n".join(['#include "emulator.h"', f'#include "{name}"', *(f"EMULATE({kernel})" for kernel in kernels), ""])
    digest = hashlib.sha256()
    for part in (text, main, " ".join(words), _compiler_version(), *(
            (HERE / header).read_text() for header in ("emulator.h", *HEADERS))):
        digest.update(f"{len(part)} {part}".encode())

    def build() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / name).write_text(text)
            (Path(folder) / "main.cpp").write_text(main)
            made = subprocess.run([compiler(), *words, f"-I{HERE}", "main.cpp", "-o", "kernel.so"], cwd=folder,
                                  capture_output=True, text=True)
            if made.returncode:
                raise EmulatorError(f"{name} does not compile with {compiler()}:\n{made.stderr[:4000]}")
            return (Path(folder) / "kernel.so").read_bytes()

    with kept(cache_folder(), f"{Path(name).stem}-{digest.hexdigest()[:24]}.so", build) as path:
        return ctypes.CDLL(str(path))


@functools.cache
def _compiler_version() -> str:
    return subprocess.run([compiler(), "--version"], capture_output=True, text=True).stdout
