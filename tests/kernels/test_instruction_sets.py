"""The same source for every instruction set: each rung made of vectors, compiled as for a smaller processor than this one."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from minivision_kernels.cpu.writer import BYTES

PROGRAM = """
import numpy as np, minivision_kernels as mk
from minivision_kernels.cpu import compile, writer
compile.SERIAL_BELOW = 0
assert writer.BYTES == {bytes}, writer.BYTES
rng, F32 = np.random.default_rng(0), np.float32
cases = [  # images, filters, stride, padding, groups: off the tile in every direction
    ((2, 13, 11, 19), (21, 13, 3, 3), 1, 1, 1), ((3, 9, 10, 9), (18, 9, 3, 3), 2, 1, 1),
    ((2, 33, 7, 7), (37, 33, 1, 1), 1, 0, 1), ((2, 11, 13, 9), (19, 11, 5, 5), 1, 2, 1),
    ((1, 6, 9, 21), (6, 1, 3, 3), 1, 1, 6), ((2, 4, 8, 8), (6, 2, 5, 5), 1, 2, 2),
    ((2, 20, 6, 9), (20, 1, 3, 3), 1, 1, 20), ((3, 40, 9, 7), (60, 2, 3, 3), 2, 1, 20)]
cases = [(*case, F32) for case in cases] + [        # depthwise
    ((1, 2, 14, 41), (2, 1, k, k), s, p, 2, dtype)
    for k in (3, 5, 7) for s in (1, 2) for p in (0, k // 2) for dtype in (F32, float)]
ran = set()
for x_shape, w_shape, s, p, groups, dtype in cases:
    x, w = (rng.standard_normal(shape).astype(dtype) for shape in (x_shape, w_shape))
    geometry = (s, s), (p, p), (1, 1), groups
    g = mk.ladder("conv2d_forward")[0](x, w, *geometry)
    for op, args in dict(conv2d_forward=(x, w), conv2d_input=(g, w, x_shape), conv2d_weight=(x, g, w_shape)).items():
        exact, *others = mk.ladder(op)
        expected = exact(*(a.astype(float) if isinstance(a, np.ndarray) else a for a in args), *geometry)
        for rung in others:
            if rung.device == "cpu" and (rung.accepts is None or rung.accepts(*args, *geometry)):
                off = np.abs(rung(*args, *geometry) - expected).max() / expected.std()
                assert off < (1e-5 if rung.exact else 1e-4), (rung, off)
                ran.add(rung.name)
a, b = rng.standard_normal((37, 45)).astype(np.float32), rng.standard_normal((29, 45)).astype(np.float32)
for op, args in dict(linear_forward=(a, b), linear_input=(a @ b.T, b), linear_weight=(a @ b.T, a)).items():
    exact, *others = mk.ladder(op)
    expected = exact(*(v.astype(float) for v in args))
    for rung in others:
        assert rung.device != "cpu" or np.abs(rung(*args) - expected).max() < 1e-5 * expected.std(), rung
assert ran >= {{"tile", "direct", "implicit", "product", "packed", "pixels", "dealt", "fold", "depthwise", "groups", "images",
                "winograd", "winograd2"}}, ran
"""

x86 = pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="instruction sets of x86 processors")
SETS = {
    "AVX2": ("haswell", "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+popcnt,+sse4.2", 32),
    "SSE2": ("x86-64", "+sse2", 16),
}

AVX512 = ("skylake-avx512", "+avx512f,+avx512dq,+avx512cd,+avx512bw,+avx512vl," + SETS["AVX2"][1], 64)

# Each tile in a loop over its sum, compiled and looked at, never run: so it works for processors that this one is not.
LOOPS = """
import re
import numpy as np
from numba import njit, types
from minivision_kernels.cpu import writer
from minivision_kernels.cpu.simd import entries, entry
from minivision_kernels.cpu.tile import (
    INNER_COLUMNS,
    INNER_ROWS,
    OUTER_COLUMNS,
    OUTER_ROWS,
    TALL_COLUMNS,
    TALL_ROWS,
    ask,
    inner,
    outer,
    outer_along,
    outer_at,
    outer_to,
    store,
    zeros,
)
assert writer.BYTES == {bytes}, writer.BYTES

def of_outer(a, b, place, c, terms):
    tile = zeros(b, OUTER_ROWS, OUTER_COLUMNS)
    for k in range(terms):
        tile = outer(tile, OUTER_ROWS, OUTER_COLUMNS, a, k * OUTER_ROWS, 1, b, k * 48)
        ask(b, k * 48 + 1024, OUTER_COLUMNS)
    store(tile, OUTER_ROWS, OUTER_COLUMNS, c, 0, 48)

def of_outer_at(a, b, place, c, terms):
    tile, rows = zeros(b, TALL_ROWS, TALL_COLUMNS), entries(place, terms, TALL_ROWS)
    for k in range(terms):
        tile = outer_at(tile, TALL_ROWS, TALL_COLUMNS, a, entry(place, k), rows, b, k * 32)
    store(tile, TALL_ROWS, TALL_COLUMNS, c, 0, 32)

def of_outer_along(a, b, place, c, terms):
    tile = zeros(b, TALL_ROWS, TALL_COLUMNS)
    for k in range(terms):
        tile = outer_along(tile, TALL_ROWS, TALL_COLUMNS, a, entry(place, k), 2, b, k * 32)
    store(tile, TALL_ROWS, TALL_COLUMNS, c, 0, 32)

def of_outer_to(a, b, place, c, terms):
    tile, columns = zeros(b, OUTER_ROWS, OUTER_COLUMNS), entries(place, terms, OUTER_COLUMNS)
    for k in range(terms):
        tile = outer_to(tile, OUTER_ROWS, OUTER_COLUMNS, a, k * OUTER_ROWS, 1, b, entry(place, k), columns)
    store(tile, OUTER_ROWS, OUTER_COLUMNS, c, 0, 48)

def of_inner(a, b, place, c, terms):
    tile = zeros(b, INNER_ROWS, INNER_COLUMNS)
    for k in range(terms):
        tile = inner(tile, INNER_ROWS, INNER_COLUMNS, a, k * 16, 4096, b, k * 16, place, 0)
    store(tile, INNER_ROWS, INNER_COLUMNS, c, 0, 96)

read, written = (types.Array(types.float32, 1, "C", readonly=r) for r in (True, False))
signature = (read, read, types.Array(types.int64, 1, "C", readonly=True), written, types.int64)
for loop, sums in ((of_outer, OUTER_ROWS * OUTER_COLUMNS), (of_outer_at, TALL_ROWS * TALL_COLUMNS),
                   (of_outer_along, TALL_ROWS * TALL_COLUMNS),
                   (of_outer_to, OUTER_ROWS * OUTER_COLUMNS), (of_inner, INNER_ROWS * INNER_COLUMNS)):
    compiled = njit(signature, error_model="numpy")(loop)
    lines = compiled.inspect_asm(compiled.signatures[0]).splitlines()
    labels = {{line.rstrip(":"): i for i, line in enumerate(lines) if line.startswith(".L")}}
    found = 0
    for end, line in enumerate(lines):              # a loop ends with a jump back
        jump = re.match(r"\\s+j\\w+\\s+(\\.L\\w+)", line)
        if jump and labels.get(jump[1], end) < end:
            body = lines[labels[jump[1]]:end]
            products = sum("vfmadd" in line for line in body)
            if products and products % sums == 0:
                found += 1
                moved = [line for line in body if re.search("mm[0-9]", line) and "(%rsp" in line]
                assert not moved, (loop.__name__, len(moved), moved[0])
    assert found, loop.__name__
"""


@x86
@pytest.mark.parametrize("processor, features, size", [AVX512, SETS["AVX2"]], ids=["AVX-512", "AVX2"])
def test_sums_stay_in_registers(processor, features, size):
    """A tile is worth its while only if no sum leaves for the stack; LLVM once moved arithmetic so that 28 of them did."""
    done = _run(LOOPS.format(bytes=size), processor, features)
    assert done.returncode == 0, done.stderr


@x86
@pytest.mark.parametrize("name", SETS)
def test_smaller_instruction_sets(name):
    processor, features, size = SETS[name]
    if size == BYTES:
        pytest.skip("the vectors of this processor, with which all other tests run")
    done = _run(PROGRAM.format(bytes=size), processor, features)
    assert done.returncode == 0, done.stderr


def _run(program, processor, features):
    """A process that compiles for another processor."""
    kernels = Path(__file__).parents[2] / "kernels"
    environment = {**os.environ, "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features, "PYTHONPATH": str(kernels)}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
