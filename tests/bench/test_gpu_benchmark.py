"""The benchmark of the CUDA kernels: what it says without a GPU, and its measuring, with the processor in a GPU's place."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minivision.bench import suites
from minivision.bench.problems import numpy_rung

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def gpu():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("benchmarks_gpu", BENCHMARKS / "gpu.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


class Processor:
    """Has the methods of the benchmark's ``Gpu``."""

    name = "cpu"

    def move(self, value):
        return value

    def numpy(self, value):
        return value.detach().numpy() if hasattr(value, "detach") else value

    def time(self, call):
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e3


def test_without_a_gpu_it_says_so_in_one_line():
    result = subprocess.run([sys.executable, str(BENCHMARKS / "gpu.py")], capture_output=True, text=True,
                            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert result.returncode == 1 and not result.stdout
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("benchmarks/gpu.py measures on a GPU: ")


@pytest.mark.parametrize("problem", [
    next(suites.linear_problems("gemm", "12x20x9", 12, 20, 9)),
    next(suites.conv_problems("cifar", suites.conv(3, 8, 4, 3), 2)),
    next(problem for problem in suites.memory_problems(1) if problem.op == "channel_sum"),
], ids=lambda problem: problem.op)
def test_a_row(gpu, problem, monkeypatch):
    monkeypatch.setattr(gpu, "run", lambda op, *arrays, **options: numpy_rung(op).function(*arrays, **options))
    monkeypatch.setattr(gpu, "ladder", lambda op: [numpy_rung(op)])        # which need not be compiled
    row = json.loads(json.dumps(gpu.measure(problem, Processor(), 0.01)))
    assert not row["failed"]
    assert row["ms"]["minivision"] > 0 and set(row["ms"]) == set(row["error_by_spread"])
    assert all(error < 1e-4 for error in row["error_by_spread"].values())
    assert gpu.line(row).startswith(row["suite"])


def test_who_fails_does_not_stop_the_others(gpu, monkeypatch):
    monkeypatch.setattr(gpu, "contestants", lambda *_: {
        "minivision": (lambda: np.zeros((12, 9), np.float32), lambda result: result),
        "absent": (lambda: [][0], lambda result: result)})
    row = gpu.measure(next(suites.linear_problems("gemm", "12x20x9", 12, 20, 9)), Processor(), 0.01)
    assert list(row["ms"]) == ["minivision"] and row["failed"] == {"absent": "IndexError: list index out of range"}
    assert row["error_by_spread"]["minivision"] > 1         # zeros are not the product


def test_what_is_measured(gpu):
    problems = list(gpu.chosen_problems())
    assert {problem.suite for problem in problems} == {"gemm", "vgg", "resnet", "cifar", "memory"}
    assert any(problem.shapes.get("x") == (8192, 8192) for problem in problems)
    assert {problem.batch for problem in problems if problem.suite != "gemm"} == {32}


@pytest.mark.parametrize("registers, threads, shared, blocks", [
    (128, 256, 48 << 10, 2), (164, 256, 80 << 10, 1), (32, 256, 0, 8), (32, 1024, 0, 2), (64, 128, 100 << 10, 2),
    (255, 256, 0, 1),
])
def test_blocks_on_a_multiprocessor(gpu, registers, threads, shared, blocks):
    assert gpu.occupancy(registers, threads, shared, 228 << 10) == blocks


def test_tf32_is_on_for_one_call_only(gpu):
    states = []
    assert gpu.with_tf32(lambda x: x + 1, states.append)(2) == 3
    with pytest.raises(ZeroDivisionError):
        gpu.with_tf32(lambda: 1 / 0, states.append)()
    assert states == [True, False, True, False]


def test_registers_and_blocks_of_every_tile(gpu, monkeypatch):
    """Of one kernel, so that it is quick; with the path that the script has, whose folder must not hide NVIDIA's packages."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from minivision_kernels.cuda import gemm, nvrtc
    from minivision_kernels.cuda.launch import Kernel

    try:
        nvrtc.version()
    except nvrtc.NoCompiler as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    kernel = gemm.SPLIT[0].kernels["linear_forward"]
    monkeypatch.setattr(Kernel, "known", [kernel])
    monkeypatch.setattr(gpu, "iter_modules", lambda path: [])
    rows = gpu.resources((9, 0))
    assert [row["kernel"] for row in rows] == ["tensor"] and 64 < rows[0]["registers"] <= 255 and not rows[0]["spill loads"]
    found = gpu.tiles(rows, 228 << 10)
    assert [(row["tile"], row["op"]) for row in found] == [("128x128", "linear_forward")] and found[0]["blocks"] >= 1
