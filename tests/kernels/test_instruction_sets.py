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
rng = np.random.default_rng(0)
cases = [  # images, filters, stride, padding, groups: off the tile in every direction
    ((2, 13, 11, 19), (21, 13, 3, 3), 1, 1, 1), ((3, 9, 10, 9), (18, 9, 3, 3), 2, 1, 1),
    ((2, 33, 7, 7), (37, 33, 1, 1), 1, 0, 1),
    ((1, 6, 9, 21), (6, 1, 3, 3), 1, 1, 6), ((2, 4, 8, 8), (6, 2, 5, 5), 1, 2, 2)]
ran = set()
for x_shape, w_shape, s, p, groups in cases:
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (x_shape, w_shape))
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
assert ran >= {{"tile", "direct", "implicit", "product", "fold", "depthwise", "winograd", "winograd2"}}, ran
"""

SETS = {
    "AVX2": ("haswell", "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+popcnt,+sse4.2", 32),
    "SSE2": ("x86-64", "+sse2", 16),
}


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="instruction sets of x86 processors")
@pytest.mark.parametrize("name", SETS)
def test_smaller_instruction_sets(name):
    processor, features, size = SETS[name]
    if size == BYTES:
        pytest.skip("the vectors of this processor, with which all other tests run")
    kernels = Path(__file__).parents[2] / "kernels"
    environment = {**os.environ, "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features, "PYTHONPATH": str(kernels)}
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(bytes=size)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
