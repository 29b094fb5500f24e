"""A CUDA kernel without a GPU: run in the emulator, with every access to memory seen.

`emulator.h` of the kernels runs the threads of a block in an order we choose. Here its translation unit is compiled with
``-fsanitize=thread``, which puts a call before each load and store, and those calls are answered by `accesses.cpp`, not
by a sanitizer: it counts accesses to each array, finds those out of bounds, and two threads that touch one word without
a barrier between them.
"""

from __future__ import annotations

import ctypes
import functools
import pdb
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..work import Work
from .sizes import Case, Sizes, random_of, written

HERE = Path(__file__).resolve().parent
ORDERS = (0, 1, 7)                  # the threads of a block in order, in reverse, shuffled
Launch = tuple[tuple[int, ...], tuple[int, ...], list[Any]]      # grid, block, arguments


@dataclass(frozen=True)
class Cuda:
    """Check a kernel of a .cu file.

    Attributes:
        kernel: its name.
        oracle: takes the inputs, returns the expected output.
        build: ``build(random, **case)`` makes (inputs, output), float32 arrays and numbers; the output is filled with NaN.
        launch: ``launch(inputs, output)`` gives the grid, the block and the arguments in their order.
        sizes: the cases.
        names: of the arrays, inputs first.
        reads: the most reads of global memory in the first case, by the name of the array; a score is shown anyway.
    """

    kernel: str
    oracle: Callable[..., Any]
    build: Callable[..., tuple[list[Any], np.ndarray]]
    launch: Callable[[list[Any], np.ndarray], Launch]
    sizes: Sizes
    names: tuple[str, ...]
    reads: dict[str, int] = field(default_factory=dict)
    atol: float = 1e-6
    rtol: float = 1e-5
    examples: int = 12

    def run(self, work: Work) -> None:
        with work.stage("compiles"):
            _library(work.path, work.text, self.kernel, work)
        work.case = self.sizes.first
        counts: dict[str, tuple[int, int]] = {}
        for order in ORDERS:
            with work.stage("values" if order == 0 else "other orders of the threads"):
                counts = self._once(work, self.sizes.first, order)
        shown = ", ".join(f"{name} {reads:,} reads {writes:,} writes" for name, (reads, writes) in counts.items())
        work.note(f"global memory: {shown}")
        with work.stage("traffic"):
            for name, limit in self.reads.items():
                if counts[name][0] > limit:
                    work.fail(f"the result is right, but {name} is read {counts[name][0]:,} times from global memory; at most "
                              f"{limit:,} are allowed. Keep what several threads need in shared memory, or in a register",
                              "too much traffic", evidence=(np.array(counts[name][0]),))
        def attempt(case: Case) -> None:
            self._once(work, case, 1)

        self.sizes.search(work, attempt, self.examples)

    def debug(self, work: Work, case: Case) -> None:
        inputs, output = self.build(random_of(case), **case)
        grid, block, _ = self.launch(inputs, output)
        print(f"a kernel is C++, so Python's debugger stops before its launch: inputs, output, grid={grid}, block={block}; put "
              "printf into the kernel, as one does on a GPU")
        pdb.Pdb().runcall(self._once, work, case, 0)

    def _once(self, work: Work, case: Case, order: int) -> dict[str, tuple[int, int]]:
        inputs, output = self.build(random_of(case), **case)
        expected = np.asarray(self.oracle(*[a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
                                            for a in inputs]))
        grid, block, arguments = self.launch(inputs, output)
        library = _library(work.path, work.text, self.kernel, work)
        counts = _launch(work, library, self.kernel, grid, block, arguments, self.names, order)
        written(work, self.names[-1], output, expected)
        work.same(self.names[-1], output, expected.astype(output.dtype), self.atol, self.rtol)
        return counts


def _launch(work: Work, library: ctypes.CDLL, kernel: str, grid: tuple[int, ...], block: tuple[int, ...],
            arguments: list[Any], names: tuple[str, ...], order: int) -> dict[str, tuple[int, int]]:
    """Run the kernel once; its arrays lie between guard zones and come back as they were left."""
    guard = 1024                                                     # elements
    library.watch_clear()
    values: list[Any] = []
    arrays: list[tuple[np.ndarray, np.ndarray]] = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            room = np.full(argument.size + 2 * guard, -1, argument.dtype)
            inner = room[guard:guard + argument.size]
            inner[...] = argument.ravel()
            arrays.append((argument, inner))
            values.append(ctypes.c_void_p(inner.ctypes.data))
            library.watch_array(ctypes.c_void_p(inner.ctypes.data), ctypes.c_longlong(inner.nbytes), argument.itemsize,
                                guard * argument.itemsize)
            values[-1].room = room                                   # lives as long as the pointer
        else:
            values.append(ctypes.c_float(argument) if isinstance(argument, float) else ctypes.c_int(argument))
    shape = (ctypes.c_uint * 6)(*(tuple(grid) + (1, 1, 1))[:3], *(tuple(block) + (1, 1, 1))[:3])
    places = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
    message = ctypes.create_string_buffer(500)
    failed = library[f"emulate_{kernel}"](shape, ctypes.c_size_t(0), places, ctypes.c_uint(order), message,
                                          ctypes.c_size_t(len(message)))
    _report(work, library, names, message.value.decode() if failed else "")
    for argument, inner in arrays:
        argument[...] = inner.reshape(argument.shape)
    return {name: (library.watch_reads(i), library.watch_writes(i)) for i, name in enumerate(names[:len(arrays)])}


class _Problem(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int), ("array", ctypes.c_int), ("writes", ctypes.c_int), ("other_writes", ctypes.c_int),
                ("place", ctypes.c_longlong), ("length", ctypes.c_longlong), ("thread", ctypes.c_uint * 3),
                ("block", ctypes.c_uint * 3), ("other", ctypes.c_uint * 3), ("caller", ctypes.c_longlong))


def _report(work: Work, library: ctypes.CDLL, names: tuple[str, ...], message: str) -> None:
    problem = _Problem.in_dll(library, "watch_problem")
    if problem.kind:
        name = names[problem.array] if problem.array >= 0 else "shared memory"
        line = _line(library, problem.caller)
        who = f"thread {tuple(problem.thread)} of block {tuple(problem.block)}"
        verb = "writes" if problem.writes else "reads"
        at = f"line {line}: " if line else ""
        if problem.kind == 1:
            work.fail(f"{at}{who} {verb} {name}[{problem.place}], which has {problem.length} elements. On a GPU this "
                      "overwrites or reads something else, or stops the program. Is there a thread too many, without an if?",
                      "out of bounds")
        if problem.kind == 2:
            other = "wrote" if problem.other_writes else "read"
            work.fail(f"{at}{who} {verb} word {problem.place} of {name}, which thread {tuple(problem.other)} {other} with no "
                      "barrier in between. On a GPU either may come first: is a __syncthreads() missing, or do two threads "
                      "write to one place?", "race")
    if message:
        work.fail(message, "threads wait for ever")


def _line(library: ctypes.CDLL, offset: int) -> int:
    """The line of the student's file at this place of the library, 0 if it cannot be told."""
    tool = shutil.which("addr2line")
    if not tool or not offset:
        return 0
    said = subprocess.run([tool, "-i", "-e", library._name, hex(offset - 1)], capture_output=True, text=True).stdout
    for place in said.splitlines():
        name, _, number = place.partition(" ")[0].rpartition(":")
        if name.endswith(".cu") and number.isdigit():
            return int(number)
    return 0


@functools.lru_cache(maxsize=64)
def _build(text: str, kernel: str) -> Any:
    """The compiled kernel, and its folder, which lives as long; or what the compiler said."""
    from minivision_kernels.cuda.emulator import HERE as EMULATOR
    from minivision_kernels.cuda.emulator import compiler

    folder = tempfile.TemporaryDirectory(prefix="minivision-")
    place = Path(folder.name)
    (place / "exercise.cu").write_text(f"{text}\nEMULATE({kernel})\n", encoding="utf-8")
    words = [compiler(), "-std=c++17", "-O1", "-g1", "-fPIC", "-Wno-unknown-pragmas", "-ffp-contract=off", "-fno-gnu-unique",
             f"-I{EMULATOR}", f"-I{HERE}"]
    for command in ([*words, "-fsanitize=thread", "-include", "emulator.h", "-include", "watched.h", "-c", "-x", "c++",
                     "exercise.cu"], [*words, "-O2", "-c", str(HERE / "accesses.cpp")],
                    [compiler(), "-shared", "exercise.o", "accesses.o", "-o", "kernel.so"]):
        made = subprocess.run(command, cwd=place, capture_output=True, text=True)
        if made.returncode:
            return made.stderr, folder
    library = ctypes.CDLL(str(place / "kernel.so"))
    library.watch_reads.restype = library.watch_writes.restype = ctypes.c_longlong
    return library, folder


def _library(path: str, text: str, kernel: str, work: Work) -> ctypes.CDLL:
    library, _ = _build(text, kernel)
    if isinstance(library, str):
        said = [line for line in library.splitlines() if "exercise.cu" in line or line.startswith(" ")]
        name = Path(path).name
        said = [line.replace("exercise.cu", name) for line in said or library.splitlines()]
        work.fail("\n".join(["it does not compile:", *said[:14]]), "does not compile")
    return library
