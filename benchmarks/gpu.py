"""All that a machine with a GPU can tell about the CUDA kernels, by one command: are they right, how fast, how full.

    python benchmarks/gpu.py [--seconds 0.5]

It runs the tests marked gpu, then measures matrix products, the convolutions of VGG-16, ResNet-50 and the CIFAR network at
batch 32 in three directions, what only moves memory, and training steps of the CIFAR network at batch 64; and it notes the
registers of every kernel and how many blocks of each product fit on a multiprocessor. Peers, where they are installed:
PyTorch with cuDNN (which tries its algorithms first), TF32 off and on, and cuBLAS through CuPy.

Contestants take turns. Before each timed call the cache of level 2 is overwritten, which also gives the host the time to be
ahead of the device; CUDA events around the call measure it, and the median counts. Beside each time stands the error: the
largest difference from float64, as a share of the spread of the results, over a part of them (minivision/bench/problems.py).
Everything goes to ``results/gpu.json``. The exit status is 0 if the tests passed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
from tables import HERE

from minivision.bench import training
from minivision.bench.gpu import Gpu
from minivision.bench.peers import OURS, TORCH_CALLS, available
from minivision.bench.problems import Reference, arguments, call_of, output, own
from minivision.bench.suites import Problem, linear_problems, problems
from minivision.device import why_no_gpu
from minivision_kernels import ladder, run, set_tf32

RESULTS = HERE / "results" / "gpu.json"
BATCH, TRAINING_BATCH = 32, 64
LARGE = 4096, 8192              # squares beside those of the suite "gemm"
LEAST, MOST = 5, 200            # timed calls of each contestant
SLOW = 20                       # a rung so many times slower than the chosen one is timed once


def facts_of(gpu: Gpu) -> dict[str, Any]:
    """What was measured on."""
    about = gpu.cupy.cuda.runtime.getDeviceProperties(gpu.cupy.cuda.runtime.getDevice())
    asked = subprocess.run(["nvidia-smi", "--query-gpu=driver_version,clocks.sm,clocks.max.sm,power.limit", "--format=csv"],
                           capture_output=True, text=True)
    x, y = gpu.cupy.ones(1 << 28, np.float32), gpu.cupy.empty(1 << 28, np.float32)
    copy = statistics.median(gpu.time(lambda: gpu.cupy.copyto(y, x)) for _ in range(20))
    return {"device": about["name"].decode(), "capability": f"{about['major']}.{about['minor']}",
            "multiprocessors": about["multiProcessorCount"], "nvidia_smi": asked.stdout.splitlines(),
            "copy_gbs": 2 * x.nbytes / copy / 1e6, "cuda": gpu.cupy.cuda.runtime.runtimeGetVersion()}


# -------------------------------------------------------------------------------------------------------- the contestants

Contestants = dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]     # name -> (call, from its result what is compared)


def contestants(problem: Problem, given: Mapping[str, Any], gpu: Any) -> Contestants:
    """minivision as it chooses itself, with TF32 off and on, each of its rungs, and the peers."""
    found: Contestants = {OURS: ours(problem, given, gpu, lambda *a, **o: run(problem.op, *a, **o))}
    if problem.op.startswith(("conv2d", "linear")):
        found[f"{OURS}, TF32 on"] = ours(problem, given, gpu, with_tf32(lambda *a, **o: run(problem.op, *a, **o), set_tf32))
    for rung in ladder(problem.op):
        arrays, options = call_of(problem, {name: gpu.move(value) for name, value in given.items()})
        if rung.device == gpu.name and (rung.accepts is None or rung.accepts(*arrays, **options)):
            found[f"{OURS} {rung.name}"] = ours(problem, given, gpu, rung.function)
    if available("pytorch"):
        found["pytorch"] = torchs(problem, given, gpu)
        if problem.op.startswith(("conv2d", "linear")):
            call, result = torchs(problem, given, gpu)
            found["pytorch, TF32 on"] = with_tf32(call, torch_tf32), result
    if problem.op.startswith("linear") and gpu.name == "cuda":
        found["cublas"] = cublas(problem, given, gpu)
    return found


def ours(problem: Problem, given: Mapping[str, Any], gpu: Any, function: Callable[..., Any]) -> Any:
    mine = {name: gpu.move(value) for name, value in own(problem.op, dict(given)).items()}
    arrays, options = call_of(problem, mine)
    return lambda: function(*arrays, **options), lambda result: output(problem.op, result, mine)


def torchs(problem: Problem, given: Mapping[str, Any], gpu: Any) -> Any:
    import torch

    tensors = {name: torch.from_numpy(value).to(gpu.name) for name, value in own(problem.op, dict(given)).items()
               if isinstance(value, np.ndarray)}
    if "index" in tensors:
        tensors["index"] = tensors["index"].long()
    options = {name: value for name, value in given.items() if not isinstance(value, np.ndarray)}
    with torch.device(gpu.name):
        call = TORCH_CALLS[problem.op](torch, **tensors, **options, fused=True)
    return call, lambda result: output(problem.op, result, tensors)


def cublas(problem: Problem, given: Mapping[str, Any], gpu: Any) -> Any:
    a, b = (gpu.move(given[name]) for name in problem.shapes)
    call = {"linear_forward": lambda: a @ b.T, "linear_input": lambda: a @ b, "linear_weight": lambda: a.T @ b}[problem.op]
    return call, lambda result: result


def torch_tf32(on: bool) -> None:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on


def with_tf32(call: Callable[..., Any], switch: Callable[[bool], None]) -> Callable[..., Any]:
    """The call with a switch on around it."""
    def switched(*args: Any, **options: Any) -> Any:
        switch(True)
        try:
            return call(*args, **options)
        finally:
            switch(False)

    return switched


# -------------------------------------------------------------------------------------------------------------- the rows

def measure(problem: Problem, gpu: Any, seconds: float) -> dict[str, Any]:
    """All contestants of one problem in turns, and how right they are. Who fails has the reason instead of a time."""
    given = arguments(problem)
    reference = Reference(problem, given)
    calls, errors, failed = {}, {}, {}
    for name, (call, result) in contestants(problem, given, gpu).items():
        try:
            errors[name] = reference.error(gpu.numpy(result(call()))).spread
            calls[name] = call
        except Exception as problem_found:              # out of memory, no such algorithm: the others are measured all the same
            failed[name] = f"{type(problem_found).__name__}: {problem_found}".splitlines()[0]
    times = in_turns(calls, gpu, seconds)
    return {"suite": problem.suite, "layer": problem.layer, "op": problem.op, "batch": problem.batch,
            "shapes": {name: list(shape) for name, shape in problem.shapes.items()},
            "gflop": problem.flops / 1e9, "mbytes": problem.traffic / 1e6,
            "ms": {name: statistics.median(turns) for name, turns in times.items()},
            "turns": {name: len(turns) for name, turns in times.items()}, "error_by_spread": errors, "failed": failed}


def in_turns(calls: Mapping[str, Callable[[], Any]], gpu: Any, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of every timed call, in rounds that begin with another contestant each."""
    times = {name: [gpu.time(call)] for name, call in calls.items()}
    chosen = times.get(OURS, next(iter(times.values()), [0.0]))[0]
    names = [name for name in times if times[name][0] <= SLOW * chosen]
    cost = sum(times[name][0] for name in names) / 1e3
    for number in range(max(LEAST, min(MOST, int(seconds / cost))) if cost else 0):
        for name in names[number % len(names):] + names[:number % len(names)]:
            times[name].append(gpu.time(calls[name]))
    return {name: turns[1:] or turns for name, turns in times.items()}


def chosen_problems() -> Iterator[Problem]:
    yield from problems("gemm", ())
    for n in LARGE:
        yield from linear_problems("gemm", str(n), n, n, n)
    for suite in ("vgg", "resnet", "cifar", "memory"):
        yield from problems(suite, (BATCH,))


def train(gpu: Any, seconds: float) -> dict[str, Any]:
    """Training steps of the CIFAR network, from the same weights: ours and PyTorch's, TF32 off."""
    import minivision as mv

    network = next(network for network in training.NETWORKS if "CIFAR" in network.name)
    rng = np.random.default_rng(0)
    batches = [(rng.standard_normal((TRAINING_BATCH, *network.image), np.float32), rng.integers(0, 10, TRAINING_BATCH))
               for _ in range(training.ROTATING)]
    mv.manual_seed(0)
    model = network.build(mv.nn)
    weights = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    model.to(gpu.name)
    optimizer = mv.optim.SGD(model.parameters(), **training.SETTINGS)
    calls = {OURS: training.step_of(mv.functional, model, optimizer, [
        (mv.Tensor(gpu.move(x)), mv.Tensor(gpu.move(labels))) for x, labels in batches])}
    if available("pytorch"):
        import torch

        theirs = network.build(torch.nn)
        theirs.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        theirs.to(gpu.name)
        calls["pytorch"] = training.step_of(
            torch.nn.functional, theirs, torch.optim.SGD(theirs.parameters(), **training.SETTINGS),
            [(torch.from_numpy(x).to(gpu.name), torch.from_numpy(labels).to(gpu.name)) for x, labels in batches])
    losses = {name: [call() for _ in range(10)] for name, call in calls.items()}
    times = {name: statistics.median(turns) for name, turns in in_turns(calls, gpu, seconds * 10).items()}
    return {"suite": "training", "layer": network.name, "batch": TRAINING_BATCH, "ms": times, "first_losses": losses,
            "images_per_second": {name: 1e3 * TRAINING_BATCH / each for name, each in times.items()}}


# ----------------------------------------------------------------------------------------------------------- the kernels

def resources(capability: tuple[int, int]) -> list[dict[str, Any]]:
    """Registers and spills of every kernel, as the assembler reports them."""
    import minivision_kernels.cuda
    from minivision_kernels.cuda import nvrtc
    from minivision_kernels.cuda.launch import HEADERS, Kernel, architecture
    from minivision_kernels.cuda.launch import HERE as SOURCES

    for module in iter_modules(minivision_kernels.cuda.__path__):
        import_module(f"minivision_kernels.cuda.{module.name}")
    headers = {name: (SOURCES / name).read_text(encoding="utf-8") for name in HEADERS}
    arch = architecture(capability, tuple(nvrtc.architectures()))
    units = sorted({(kernel.source, tuple(kernel.options(np.dtype("float32")))) for kernel in Kernel.known
                    if "float32" in kernel.reals and kernel.needs <= capability and kernel.folder == SOURCES})
    rows = []
    for source, options in units:
        machine = nvrtc.compile((SOURCES / source).read_text(encoding="utf-8"), source, arch, headers, options)
        rows += [{"source": source, "kernel": name, "options": list(options[1:]), **used}
                 for name, used in machine.uses().items()]
    return rows


def occupancy(registers: int, threads: int, shared: int, shared_of_all: int) -> int:
    """How many blocks fit on a multiprocessor of 65536 registers and 2048 threads (CUDA C++ Programming Guide, 5.2.3).

    Registers are given out to warps in pieces of 256; 1 KiB of a block's shared memory is the system's.
    """
    by_registers = 65536 // (-(-registers * 32 // 256) * 256 * (threads // 32))
    return min(by_registers, 2048 // threads, shared_of_all // (shared + 1024))


def tiles(rows: list[dict[str, Any]], shared_of_all: int) -> list[dict[str, Any]]:
    """For each tile of the matrix product and each direction, how many of its blocks fit on a multiprocessor."""
    from minivision_kernels.cuda import gemm

    registers = {tuple(row["options"]): row["registers"] for row in rows if row["source"] == "gemm.cu" and row["options"]}
    return [{"tile": f"{tile.rows}x{tile.columns}", "op": op, "kernel": repr(kernel), "registers": registers[option],
             "blocks": occupancy(registers[option], tile.threads, tile.shared(op, 4), shared_of_all)}
            for tile in (*gemm.ORDINARY["float32"], *gemm.SPLIT, *gemm.ROUNDED) for op, kernel in tile.kernels.items()
            if (option := tuple(kernel.options(np.dtype("float32"))[1:])) in registers]


# --------------------------------------------------------------------------------------------------------------- the run

def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="for each problem (default: 0.5)")
    options = parser.parse_args()
    reason = why_no_gpu()
    if reason is not None:
        print(f"benchmarks/gpu.py measures on a GPU: {reason}", file=sys.stderr)
        return 1
    root = HERE.parent
    tested = subprocess.run([sys.executable, "-m", "pytest", "-m", "gpu", "tests"], cwd=root)
    gpu = Gpu()
    facts = facts_of(gpu)
    if available("pytorch"):
        import torch

        torch.backends.cudnn.benchmark = True
        torch_tf32(False)
    rows = []
    for problem in chosen_problems():
        rows.append(measure(problem, gpu, options.seconds))
        print(line(rows[-1]), flush=True)
        gpu.cupy.get_default_memory_pool().free_all_blocks()
    rows.append(train(gpu, options.seconds))
    print(line(rows[-1]))
    used = resources(tuple(map(int, facts["capability"].split("."))))           # type: ignore[arg-type]
    about = gpu.cupy.cuda.runtime.getDeviceProperties(0)
    write(RESULTS, {"tests_passed": tested.returncode == 0, "date": date.today().isoformat(), "host": platform.platform(),
                    **facts, "versions": {name: version(name) for name in ("numpy", "cupy", "torch", "minivision")},
                    "rows": rows, "kernels": used, "tiles": tiles(used, about["sharedMemPerMultiprocessor"])})
    print(f"all of it is in {RESULTS}; the tests {'passed' if tested.returncode == 0 else 'FAILED'}")
    return tested.returncode


def line(row: Mapping[str, Any]) -> str:
    times = sorted(row["ms"].items(), key=lambda item: item[1])
    return f"{row['suite']:9}{row['layer']:24}{row.get('op', 'training step'):24}" + "  ".join(
        f"{name} {ms:.3f}" for name, ms in times[:6])


def version(name: str) -> str | None:
    try:
        return str(import_module(name).__version__)
    except ImportError:
        return None


def write(path: Path, content: Mapping[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


if __name__ == "__main__":
    sys.exit(main())
