"""The benchmark of the CUDA kernels: what it says without a GPU, and its measuring, with the processor in a GPU's place."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import stand_in

from minivision.bench import suites, training
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
    """Whether it cannot be made, cannot be called, or fails at its third call."""
    zeros, tired = np.zeros((12, 9), np.float32), iter([np.ones((12, 9), np.float32)] * 2)
    monkeypatch.setattr(gpu, "contestants", lambda *_: [
        (name, lambda call=call: (call(), lambda result: result)) for name, call in {
            "unmade": lambda: 1 / 0, "absent": lambda: lambda: [][0], "tired": lambda: lambda: next(tired),
            "minivision": lambda: lambda: zeros}.items()])
    row = gpu.measure(next(suites.linear_problems("gemm", "12x20x9", 12, 20, 9)), Processor(), 0.01)
    assert list(row["ms"]) == ["minivision"] and row["turns"]["minivision"] >= gpu.LEAST
    assert row["failed"] == {"unmade": "ZeroDivisionError: division by zero", "absent": "IndexError: list index out of range",
                             "tired": "StopIteration: "}
    assert row["error_by_spread"]["minivision"] > 1         # zeros are not the product
    assert "tired failed" in gpu.line(row)


def test_arrays_are_moved_once_and_only_rungs_of_the_device_are_asked(gpu):
    class There(Processor):
        name, moved = "cuda", 0

        def move(self, value):
            self.moved += 1
            return value

    there = There()
    problem = next(suites.linear_problems("gemm", "12x20x9", 12, 20, 9))
    names = [name for name, _ in gpu.contestants(problem, gpu.arguments(problem), there)]
    assert there.moved == 2 and {"minivision", "minivision naive", "minivision tf32x3", "cublas"} <= set(names)
    assert "minivision loops" not in names


# ------------------------------------------------------------------------------------------ the whole run, on the stand-in

LINEAR = next(suites.linear_problems("gemm", "12x20x9", 12, 20, 9))


@pytest.fixture
def device(gpu, monkeypatch):
    """The stand-in with what the script asks of CuPy, and a clock."""
    cupy = stand_in.install(monkeypatch)
    cupy.get_default_memory_pool = lambda: types.SimpleNamespace(free_all_blocks=lambda: None)

    class Device(Processor):
        name = "cuda"

        def __init__(self):
            self.cupy = cupy

        def move(self, value):
            return cupy.asarray(value) if isinstance(value, np.ndarray) else value

        def numpy(self, value):
            return cupy.asnumpy(value)

    monkeypatch.setattr(gpu, "Gpu", Device)
    monkeypatch.setattr(gpu, "facts_of", lambda device: {"device": "stand-in"})
    monkeypatch.setattr(gpu, "available", lambda peer: False)
    monkeypatch.setattr(gpu, "chosen_problems", lambda suites: [LINEAR] * ("gemm" in list(suites)))
    return Device()


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_run_leaves_a_file_and_a_second_one_adds_to_it(gpu, device, monkeypatch, tmp_path, capsys):
    out, training = tmp_path / "gpu.json", []
    monkeypatch.setattr(gpu, "train", lambda *_: training.append(1) or 1 / 0)
    which = shutil.which
    monkeypatch.setattr(gpu.shutil, "which", lambda name: None if name == "ncu" else which(name))
    run = ["--no-tests", "--seconds", "0", "--out", str(out)]
    assert gpu.main([*run, "--suites", "gemm"]) == 0
    first = read(out)
    assert first["tests_passed"] is None and first["device"] == "stand-in"
    row, = first["rows"]
    assert row["ms"]["minivision"] > 0 and row["error_by_spread"]["minivision tf32x3"] < 1e-5
    assert row["failed"] == {"cublas": "RuntimeError: cuBLAS is not available"}
    assert gpu.main([*run, "--suites", "gemm,training,profile", "--resume"]) == 0
    second = read(out)
    assert second["rows"][0] == row and second["profile"] == {"failed": "ncu, the profiler, is not installed"}
    assert second["rows"][1]["failed"] == {"all": "ZeroDivisionError: division by zero"}
    gpu.main([*run, "--suites", "training", "--resume"])
    assert len(training) == 1
    gpu.main([*run, "--suites", "gemm"])
    assert len(read(out)["rows"]) == 2 and read(out)["rows"][0] != row
    assert capsys.readouterr().out.count("all of it is in") == 4
    monkeypatch.setattr(gpu, "facts_of", lambda device: {"device": "another"})
    with pytest.raises(SystemExit, match=r"is of stand-in, and this is another; choose another file with --out"):
        gpu.main([*run, "--suites", "gemm"])
    with pytest.raises(SystemExit):
        gpu.main(["--suites", "gem"])
    assert "there is no suite 'gem'" in capsys.readouterr().err


def test_what_was_measured_is_kept_when_the_run_ends_early(gpu, device, monkeypatch, tmp_path):
    out = tmp_path / "gpu.json"

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        gpu.main(["--no-tests", "--seconds", "0", "--out", str(out), "--suites", "gemm,training"])
    assert [row["suite"] for row in read(out)["rows"]] == ["gemm"]


def test_a_gpu_that_answers_no_more_ends_the_run(gpu, device, monkeypatch, tmp_path):
    """Else all rows that follow would be failures, also those of which an earlier run has times."""
    out = tmp_path / "gpu.json"

    def broken(*_):
        monkeypatch.setattr(stand_in.Device, "synchronize", lambda self: [][0])
        raise RuntimeError("cudaErrorIllegalAddress")

    monkeypatch.setattr(gpu, "measure", broken)
    with pytest.raises(SystemExit, match=r"does not answer any more, IndexError: .*; run this again with --resume"):
        gpu.main(["--no-tests", "--seconds", "0", "--out", str(out), "--suites", "gemm,training"])
    assert [row["failed"] for row in read(out)["rows"]] == [{"all": "RuntimeError: cudaErrorIllegalAddress"}]


def test_training_steps_eager_and_as_a_graph(gpu, device):
    network = training.Network("tiny", lambda nn: nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 10)), (1, 4, 4))
    row = json.loads(json.dumps(gpu.train(device, 0, network, 3)))
    assert not row["failed"] and set(row["ms"]) == set(row["first_losses"]) == {"minivision", "minivision, graph"}
    eager = row["first_losses"]["minivision"]
    assert len(set(eager)) == 10 and all(np.isfinite(eager)) and gpu.line(row).startswith("training")


def test_the_profilers_table(gpu):
    names = ["ID", "Kernel Name", "Block Size", "Grid Size", *gpu.METRICS.values()]
    values = ["0", "tensor", "(256, 1, 1)", "(1024, 1, 1)", "1,250,000", "178", "31.5", "80", "12.4", "70", "n/a"]
    text = "\n".join(["==PROF== Connected to process 7", *(",".join(f'"{each}"' for each in row) for row in
                     (names, [""] * len(names), values)), "==PROF== Disconnected"])
    assert gpu.profiled(text) == [{"kernel": "tensor", "grid": "(1024, 1, 1)", "block": "(256, 1, 1)", "us": 1250.0,
                                   "registers": 178.0, "memory": 31.5, "multiprocessors": 80.0, "warps": 12.4, "issue": 70.0,
                                   "tensor cores": -1.0}]
    assert gpu.profiled("==ERROR== no permission") == []


def test_the_profiler_is_asked_and_its_refusal_noted(gpu, monkeypatch):
    asked = []
    monkeypatch.setattr(gpu.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(gpu.subprocess, "run", lambda command, **_: asked.append(command) or subprocess.CompletedProcess(
        command, 1, "==ERROR== ERR_NVGPUCTRPERM", ""))
    assert gpu.profile() == {"failed": "ncu ended with 1: ==ERROR== ERR_NVGPUCTRPERM", "kernels": []}
    assert asked[0][0] == "/bin/ncu" and asked[0][-1] == "--launch-once"


def test_it_needs_no_installation(tmp_path):
    """Where no folder on the path has minivision, this checkout's is found, by the processes that the script starts as well."""
    script = f"""
import os, sys
from importlib.util import find_spec
sys.path = [{str(BENCHMARKS)!r}, *(each for each in sys.path if not os.path.exists(os.path.join(each, "minivision"))
                                   and not os.path.exists(os.path.join(each, "minivision_kernels")))]
sys.meta_path = [each for each in sys.meta_path if "editable" not in repr(each)]
import checkout
print(find_spec("minivision").origin)
print(find_spec("minivision_kernels").origin)
print(os.environ["PYTHONPATH"])
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path)
    root = BENCHMARKS.parent
    assert result.stdout.splitlines() == [
        str(root / "minivision" / "__init__.py"), str(root / "kernels" / "minivision_kernels" / "__init__.py"),
        os.pathsep.join([str(root), str(root / "kernels")])], result.stderr


def test_what_is_measured(gpu):
    problems = list(gpu.chosen_problems(gpu.LAYERS))
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
    assert gpu.occupancy(64, 256, 4 * 2 * 16 * (128 + 8) * 4, 150 << 10) == 2        # what linear_weight asks for
    rows[0]["options"] = gemm.SPLIT[0].kernels["linear_weight"].options(np.dtype("float32"))[1:]
    rows[0]["registers"] = 64
    assert [(row["op"], row["blocks"]) for row in gpu.tiles(rows, 150 << 10)] == [("linear_weight", 2)]
