"""What the tests of every family of kernels ask for: addresses checked, and each barrier shown to be needed.

    assert_clean([("linear_forward", [(5, 3), (4, 3)], {})], names={"stages"})      # under the sanitizers of the compiler
    for kernel, what in without_each(kernel, "multiply_staged", folder): ...        # its text less one barrier or wait
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from minivision_kernels.cuda import emulator
from minivision_kernels.cuda.launch import HEADERS, HERE, Kernel

WAITS = r"(?:__syncthreads|__syncwarp|close_copies|wait_copies<[^>]*>)\(\);"

CALLS = """
import numpy as np
from minivision_kernels import ladder
rng = np.random.default_rng(0)
for op, shapes, options in {calls!r}:
    for rung in ladder(op):
        if rung.device == "cuda" and (not {names!r} or rung.name in {names!r}):
            arrays = [rng.standard_normal(shape).astype({dtype!r}) for shape in shapes]
            if rung.accepts is None or rung.accepts(*arrays, **options):
                rung(*arrays, **options)
                print(op, rung.name)
print("came to its end")
"""


def sanitized(program: str) -> subprocess.CompletedProcess[str]:
    """Run Python with kernels that check every address; the checks' library must be there before Python is."""
    asked = subprocess.run([emulator.compiler(), "-print-file-name=libasan.so"], capture_output=True, text=True)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True,
        env={**os.environ, "LD_PRELOAD": asked.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0",
             emulator.SANITIZE: "address,undefined"})


def assert_clean(calls: list[tuple[str, list[tuple[int, ...]], dict]], names: frozenset[str] | set[str] = frozenset(),
                 dtype: str = "float32") -> None:
    """Call CUDA rungs, all or those with these names, on arrays of these shapes, in one process with the sanitizers on.

    An access beyond the end of an array or of shared memory, a misaligned one and a sum too large for its type are failures.
    """
    result = sanitized(CALLS.format(calls=calls, names=set(names), dtype=dtype))
    assert result.returncode == 0 and "came to its end" in result.stdout, result.stdout + result.stderr[:4000]
    ran = result.stdout.split("\n")
    for op, _, _ in calls:
        assert any(line.startswith(f"{op} ") for line in ran), f"no rung of {op} ran"


def flattened(source: str) -> str:
    """The text of a file of kernels with the headers it includes, but for words.cuh, in their place."""
    text = (HERE / source).read_text(encoding="utf-8")
    for name in HEADERS:
        if name != "words.cuh":
            header = (HERE / name).read_text(encoding="utf-8").replace("#pragma once\n", "")
            text = text.replace(f'#include "{name}"\n', header)
    return text


def without_each(kernel: Kernel, function: str, folder: Path) -> Iterator[tuple[Kernel, str]]:
    """The kernel with each barrier, wait and end of a group of copies of ``function`` removed in turn.

    Args:
        function: what the kernel's text, or a header's, defines under this name: the kernel itself, or what it calls.
        folder: where the altered texts go.

    Yields:
        the altered kernel, and the line that was removed.
    """
    text = flattened(kernel.source)
    begin = re.search(rf"\n[^\n/]*__device__[^\n]* {function}\(|\n[^\n/]*__global__[^\n]* {function}\(", text)
    assert begin, f"{kernel.source} defines no {function}"
    end = text.index("\n}\n", begin.end())
    for number, found in enumerate(re.finditer(WAITS, text[begin.end():end])):
        at = begin.end() + found.start()
        place = folder / f"{function}{number}"
        place.mkdir(parents=True)
        (place / kernel.source).write_text(text[:at] + text[begin.end() + found.end():], encoding="utf-8")
        altered = Kernel(kernel.source, kernel.name, *kernel.constants, needs=kernel.needs, reals=kernel.reals, folder=place)
        Kernel.known.remove(altered)    # it is no kernel of the house
        yield altered, f"{function}, removal {number + 1}: {found.group()}"
