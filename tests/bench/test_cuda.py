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
def cuda():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("benchmarks_cuda", BENCHMARKS / "cuda.py")
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
    result = subprocess.run([sys.executable, str(BENCHMARKS / "cuda.py")], capture_output=True, text=True,
                            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert result.returncode == 1 and not result.stdout
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("benchmarks/cuda.py measures on a GPU: ")


@pytest.mark.parametrize("problem", [
    next(suites.linear_problems("gemm", "12x20x9", 12, 20, 9)),
    next(suites.conv_problems("cifar", suites.conv(3, 8, 4, 3), 2)),
    next(problem for problem in suites.memory_problems(1) if problem.op == "channel_sum"),
], ids=lambda problem: problem.op)
def test_a_row(cuda, problem, monkeypatch):
    monkeypatch.setattr(cuda, "run", lambda op, *arrays, **options: numpy_rung(op).function(*arrays, **options))
    monkeypatch.setattr(cuda, "ladder", lambda op: [numpy_rung(op)])        # which need not be compiled
    row = json.loads(json.dumps(cuda.measure(problem, Processor(), 0.01)))
    assert not row["failed"]
    assert row["ms"]["minivision"] > 0 and set(row["ms"]) == set(row["error_by_spread"])
    assert all(error < 1e-4 for error in row["error_by_spread"].values())
    assert cuda.line(row).startswith(row["suite"])


def test_who_fails_does_not_stop_the_others(cuda, monkeypatch):
    monkeypatch.setattr(cuda, "contestants", lambda *_: {
        "minivision": (lambda: np.zeros((12, 9), np.float32), lambda result: result),
        "absent": (lambda: [][0], lambda result: result)})
    row = cuda.measure(next(suites.linear_problems("gemm", "12x20x9", 12, 20, 9)), Processor(), 0.01)
    assert list(row["ms"]) == ["minivision"] and row["failed"] == {"absent": "IndexError: list index out of range"}
    assert row["error_by_spread"]["minivision"] > 1         # zeros are not the product


def test_what_is_measured(cuda):
    problems = list(cuda.chosen_problems())
    assert {problem.suite for problem in problems} == {"gemm", "vgg", "resnet", "cifar", "memory"}
    assert any(problem.shapes.get("x") == (8192, 8192) for problem in problems)
    assert {problem.batch for problem in problems if problem.suite != "gemm"} == {32}


@pytest.mark.parametrize("registers, threads, shared, blocks", [
    (128, 256, 48 << 10, 2), (164, 256, 80 << 10, 1), (32, 256, 0, 8), (32, 1024, 0, 2), (64, 128, 100 << 10, 2),
    (255, 256, 0, 1),
])
def test_blocks_on_a_multiprocessor(cuda, registers, threads, shared, blocks):
    assert cuda.occupancy(registers, threads, shared, 228 << 10) == blocks


def test_tf32_is_on_for_one_call_only(cuda):
    states = []
    assert cuda.with_tf32(lambda x: x + 1, states.append)(2) == 3
    with pytest.raises(ZeroDivisionError):
        cuda.with_tf32(lambda: 1 / 0, states.append)()
    assert states == [True, False, True, False]
