"""All that a machine with a GPU can tell about the CUDA kernels, by one command: are they right, how fast, how full.

    python benchmarks/gpu.py [--seconds 0.5] [--suites gemm,vgg] [--no-tests] [--resume] [--out FILE]

It runs the tests marked gpu, then measures matrix products, the convolutions of VGG-16, ResNet-50 and the CIFAR network at
batch 32 in three directions, what only moves memory, and training steps of the CIFAR network at batch 64; and it notes the
registers of every kernel, how many blocks of each product fit on a multiprocessor, and by the profiler ncu, where there is
one, how busy memory, multiprocessors and tensor cores are. Peers, where they are installed: PyTorch with cuDNN (which tries
its algorithms first), TF32 off and on, and cuBLAS through CuPy. minivision need not be installed.

Contestants take turns. Before each timed call the cache of level 2 is overwritten, which also gives the host the time to be
ahead of the device; CUDA events around the call measure it, and the median counts. Beside each time stands the error: the
largest difference from float64, as a share of the spread of the results, over a part of them (minivision/bench/problems.py).
Everything goes to ``results/gpu.json``, after every row, so that what was measured is not lost with what comes later. A second
run adds to the file: it measures the named suites anew, or with ``--resume`` only what is not there. Who fails has the reason
in the file instead of a time. The exit status is 0 if the tests, where they were run, passed.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
from checkout import ROOT

from minivision.bench import training
from minivision.bench.gpu import Gpu
from minivision.bench.peers import OURS, TORCH_CALLS, available
from minivision.bench.problems import Reference, arguments, call_of, output, own
from minivision.bench.suites import Problem, conv, conv_problems, linear_problems, problems
from minivision.checkpoint import write_whole
from minivision.device import why_no_gpu
from minivision_kernels import ladder, run, set_tf32

RESULTS = ROOT / "benchmarks" / "results" / "gpu.json"
LAYERS = "gemm", "vgg", "resnet", "cifar", "memory"
SUITES = *LAYERS, "training", "kernels", "profile"
BATCH, TRAINING_BATCH = 32, 64
LARGE = 4096, 8192              # squares beside those of the suite "gemm"
LEAST, MOST = 5, 200            # timed calls of each contestant
SLOW = 20                       # a rung so many times slower than the chosen one is timed once


def facts_of(gpu: Gpu) -> dict[str, Any]:
    """What was measured on."""
    about = gpu.cupy.cuda.runtime.getDeviceProperties(gpu.cupy.cuda.runtime.getDevice())
    told = ""
    if program := shutil.which("nvidia-smi"):
        asked = "--query-gpu=driver_version,clocks.sm,clocks.max.sm,power.limit"
        told = subprocess.run([program, asked, "--format=csv"], capture_output=True, text=True).stdout
    x, y = gpu.cupy.ones(1 << 28, np.float32), gpu.cupy.empty(1 << 28, np.float32)
    copy = statistics.median(gpu.time(lambda: gpu.cupy.copyto(y, x)) for _ in range(20))
    return {"device": about["name"].decode(), "capability": f"{about['major']}.{about['minor']}",
            "multiprocessors": about["multiProcessorCount"], "nvidia_smi": told.splitlines(),
            "copy_gbs": 2 * x.nbytes / copy / 1e6, "cuda": gpu.cupy.cuda.runtime.runtimeGetVersion()}


# -------------------------------------------------------------------------------------------------------- the contestants

Contestant = tuple[Callable[[], Any], Callable[[Any], Any]]      # the call, and from its result what is compared


def contestants(problem: Problem, given: Mapping[str, Any], gpu: Any) -> Iterator[tuple[str, Callable[[], Contestant]]]:
    """minivision as it chooses itself, with TF32 off and on, each of its rungs, and the peers: names, and makers of calls."""
    there = {name: gpu.move(value) for name, value in given.items()}
    chosen = partial(run, problem.op)
    rounds = problem.op.startswith(("conv2d", "linear"))            # has rungs that round to TF32
    yield OURS, partial(ours, problem, there, chosen)
    if rounds:
        yield f"{OURS}, TF32 on", partial(ours, problem, there, with_tf32(chosen, set_tf32))
    arrays, options = call_of(problem, there)
    for rung in ladder(problem.op):
        if rung.device == gpu.name and (rung.accepts is None or rung.accepts(*arrays, **options)):
            yield f"{OURS} {rung.name}", partial(ours, problem, there, rung.function)
    if available("pytorch"):
        yield "pytorch", partial(torchs, problem, given, gpu)
        if rounds:
            yield "pytorch, TF32 on", partial(torchs, problem, given, gpu, torch_tf32)
    if problem.op.startswith("linear") and gpu.name == "cuda":
        yield "cublas", partial(cublas, problem, there)


def ours(problem: Problem, there: Mapping[str, Any], function: Callable[..., Any]) -> Contestant:
    mine = own(problem.op, dict(there))
    arrays, options = call_of(problem, mine)
    return lambda: function(*arrays, **options), lambda result: output(problem.op, result, mine)


def torchs(problem: Problem, given: Mapping[str, Any], gpu: Any, switch: Callable[[bool], None] | None = None) -> Contestant:
    import torch

    tensors = {name: torch.from_numpy(value).to(gpu.name) for name, value in own(problem.op, dict(given)).items()
               if isinstance(value, np.ndarray)}
    if "index" in tensors:
        tensors["index"] = tensors["index"].long()
    options = {name: value for name, value in given.items() if not isinstance(value, np.ndarray)}
    with torch.device(gpu.name):
        call = TORCH_CALLS[problem.op](torch, **tensors, **options, fused=True)
    return with_tf32(call, switch) if switch else call, lambda result: output(problem.op, result, tensors)


def cublas(problem: Problem, there: Mapping[str, Any]) -> Contestant:
    a, b = (there[name] for name in problem.shapes)
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
    for name, make in contestants(problem, given, gpu):
        try:
            call, result = make()
            errors[name] = reference.error(gpu.numpy(result(call()))).spread
            calls[name] = call
        except Exception as found:              # out of memory, no such algorithm: the others are measured all the same
            failed[name] = reason(found)
    times = in_turns(calls, gpu, seconds, failed)
    return {**name_of(problem), "shapes": {name: list(shape) for name, shape in problem.shapes.items()},
            "gflop": problem.flops / 1e9, "mbytes": problem.traffic / 1e6,
            "ms": {name: statistics.median(turns) for name, turns in times.items()},
            "turns": {name: len(turns) for name, turns in times.items()}, "error_by_spread": errors, "failed": failed}


def in_turns(
    calls: Mapping[str, Callable[[], Any]], gpu: Any, seconds: float, failed: dict[str, str],
) -> dict[str, list[float]]:
    """Milliseconds of every timed call, in rounds that begin with another contestant each; who fails goes to ``failed``."""
    times: dict[str, list[float]] = {name: [] for name in calls}

    def turn(name: str) -> None:
        if name in times:
            try:
                times[name].append(gpu.time(calls[name]))
            except Exception as found:
                del times[name]
                failed[name] = reason(found)

    for name in calls:
        turn(name)
    chosen = times.get(OURS, next(iter(times.values()), [0.0]))[0]
    names = [name for name in times if times[name][0] <= SLOW * chosen]
    cost = sum(times[name][0] for name in names) / 1e3
    for number in range(max(LEAST, min(MOST, int(seconds / cost))) if cost else 0):
        for name in names[number % len(names):] + names[:number % len(names)]:
            turn(name)
    return {name: turns[1:] or turns for name, turns in times.items()}


def reason(found: Exception) -> str:
    return f"{type(found).__name__}: {found}".splitlines()[0]


def name_of(problem: Problem) -> dict[str, Any]:
    return {"suite": problem.suite, "layer": problem.layer, "op": problem.op, "batch": problem.batch}


def chosen_problems(suites: Iterable[str]) -> Iterator[Problem]:
    for suite in suites:
        yield from problems(suite, () if suite == "gemm" else (BATCH,))
        if suite == "gemm":
            for n in LARGE:
                yield from linear_problems("gemm", str(n), n, n, n)


def train(gpu: Any, seconds: float, network: training.Network, batch: int = TRAINING_BATCH) -> dict[str, Any]:
    """Training steps from the same weights: ours, ours as a graph of launches, and PyTorch's, TF32 off."""
    rng = np.random.default_rng(0)
    batches = [(rng.standard_normal((batch, *network.image), np.float32), rng.integers(0, 10, batch))
               for _ in range(training.ROTATING)]
    makers = {OURS: our_step, f"{OURS}, graph": captured_step} | ({"pytorch": torch_step} if available("pytorch") else {})
    calls, losses, failed = {}, {}, {}
    for name, make in makers.items():
        try:
            call = make(network, batches, gpu)
            losses[name] = [call() for _ in range(10)]
            calls[name] = call
        except Exception as found:
            failed[name] = reason(found)
    times = {name: statistics.median(turns) for name, turns in in_turns(calls, gpu, seconds * 10, failed).items()}
    return {"suite": "training", "layer": network.name, "op": "step", "batch": batch, "ms": times, "first_losses": losses,
            "failed": failed, "images_per_second": {name: 1e3 * batch / each for name, each in times.items()}}


def our_model(network: training.Network, gpu: Any) -> Any:
    import minivision as mv

    mv.manual_seed(0)
    model = network.build(mv.nn).to(gpu.name)
    return model, mv.optim.SGD(model.parameters(), **training.SETTINGS)


def our_step(network: training.Network, batches: list, gpu: Any) -> Callable[[], float]:
    """Labels stay on the CPU, where they can be checked without waiting for the GPU."""
    import minivision as mv

    return training.step_of(mv.functional, *our_model(network, gpu), [
        (mv.Tensor(gpu.move(images)), mv.Tensor(labels)) for images, labels in batches])


def captured_step(network: training.Network, batches: list, gpu: Any) -> Callable[[], float]:
    """Forward and backward are one launch; the batch is copied to where the graph reads it."""
    import minivision as mv
    from minivision import graph

    model, optimizer = our_model(network, gpu)
    images, labels = (mv.Tensor(gpu.move(part.copy())) for part in batches[0])
    there = [(gpu.move(x), gpu.move(y)) for x, y in batches]
    count = 0

    def gradients() -> Any:
        optimizer.zero_grad()
        loss = mv.functional.cross_entropy(model(images), labels)
        loss.backward()
        return loss

    captured = graph.capture(gradients)

    def step() -> float:
        nonlocal count
        images.data[...], labels.data[...] = there[count % len(there)]
        count += 1
        loss = captured.replay()
        optimizer.step()
        return loss.item()

    return step


def torch_step(network: training.Network, batches: list, gpu: Any) -> Callable[[], float]:
    import torch

    weights = {name: torch.from_numpy(value.numpy()) for name, value in our_model(network, gpu)[0].state_dict().items()}
    model = network.build(torch.nn)
    model.load_state_dict(weights)
    model.to(gpu.name)
    return training.step_of(
        torch.nn.functional, model, torch.optim.SGD(model.parameters(), **training.SETTINGS),
        [(torch.from_numpy(x).to(gpu.name), torch.from_numpy(labels).to(gpu.name)) for x, labels in batches])


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
             "blocks": occupancy(registers[option], tile.threads, tile.shared(gemm.ALONG_K[op], 4), shared_of_all)}
            for tile in (*gemm.ORDINARY["float32"], *gemm.SPLIT, *gemm.ROUNDED) for op, kernel in tile.kernels.items()
            if (option := tuple(kernel.options(np.dtype("float32"))[1:])) in registers]


# ---------------------------------------------------------------------------------------------------------- the profiler

METRICS = {
    "us": "gpu__time_duration.sum", "registers": "launch__registers_per_thread",
    "memory": "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "multiprocessors": "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "warps": "sm__warps_active.avg.pct_of_peak_sustained_active",
    "issue": "sm__inst_issued.avg.pct_of_peak_sustained_active",
    "tensor cores": "sm__inst_executed_pipe_tensor_op_hmma.avg.pct_of_peak_sustained_active",
}


def profiled_problems() -> Iterator[Problem]:
    """One of each kind: large products, a layer of each shape that is hard, and passes over memory."""
    yield from linear_problems("gemm", "4096", 4096, 4096, 4096)
    for layer in (conv(64, 56, 64, 3), conv(512, 7, 512, 3), conv(3, 224, 64, 3), conv(32, 32, 32, 3)):
        yield from conv_problems("profile", layer, BATCH)
    yield from problems("memory", (BATCH,))


def launch_once() -> None:
    """What ncu looks at: the chosen kernels of some problems, once each."""
    gpu = Gpu()
    for problem in profiled_problems():
        call = ours(problem, {name: gpu.move(value) for name, value in arguments(problem).items()}, partial(run, problem.op))[0]
        gpu.cupy.cuda.profiler.start()
        call()
        gpu.cupy.cuda.profiler.stop()


def profile() -> dict[str, Any]:
    """What ncu says of each kernel: share of the peak in percent, registers, microseconds; or why it says nothing."""
    program = shutil.which("ncu")
    if program is None:
        return {"failed": "ncu, the profiler, is not installed"}
    result = subprocess.run([
        program, "--clock-control", "none", "--csv", "--page", "raw", "--profile-from-start", "off", "--print-units", "base",
        "--metrics", ",".join(METRICS.values()), sys.executable, __file__, "--launch-once"], capture_output=True, text=True)
    kernels = profiled(result.stdout)
    if result.returncode or not kernels:
        return {"failed": f"ncu ended with {result.returncode}: {(result.stdout + result.stderr)[-2000:]}", "kernels": kernels}
    return {"kernels": kernels}


def profiled(text: str) -> list[dict[str, Any]]:
    """The kernels of ncu's raw page: remarks, then a line of names, one of units, and one for each launch."""
    lines = text.splitlines()
    start = next((i for i, each in enumerate(lines) if each.startswith('"ID"')), len(lines))
    rows = list(csv.DictReader(each for each in lines[start:] if each.startswith('"')))[1:]
    return [{"kernel": row["Kernel Name"], "grid": row.get("Grid Size"), "block": row.get("Block Size"),
             **{name: number(row.get(metric)) / (1e3 if name == "us" else 1) for name, metric in METRICS.items()}}
            for row in rows]


def number(text: str | None) -> float:
    """ncu writes thousands with commas, and "n/a" for what this GPU does not count."""
    try:
        return float((text or "").replace(",", ""))
    except ValueError:
        return -1.0


# --------------------------------------------------------------------------------------------------------------- the run

class Results:
    """The file of results, written anew after every change. What an earlier run on the same device has left in it stays."""

    def __init__(self, path: Path, **facts: Any):
        self.path = path
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if before.get("device", facts["device"]) != facts["device"]:
            raise SystemExit(f"{path} is of {before['device']}, and this is {facts['device']}; choose another file with --out")
        self.content: dict[str, Any] = {"tests_passed": None, "rows": [], **before, **facts}
        self.set()

    def set(self, **values: Any) -> None:
        self.content.update(values)
        content = (json.dumps(self.content, indent=1) + "\n").encode()
        write_whole(self.path, lambda file: file.write(content))

    def has(self, **name: Any) -> bool:
        return any(name.items() <= row.items() for row in self.content["rows"])

    def add(self, row: dict[str, Any]) -> None:
        """In place of an earlier one of the same name."""
        name = {key: row[key] for key in ("suite", "layer", "op", "batch")}
        for i, old in enumerate(self.content["rows"]):
            if name.items() <= old.items():
                self.content["rows"][i] = row
                break
        else:
            self.content["rows"].append(row)
        print(line(row), flush=True)
        self.set()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="for each problem (default: 0.5)")
    parser.add_argument("--suites", default=",".join(SUITES), help=f"some of {','.join(SUITES)} (default: all)")
    parser.add_argument("--no-tests", action="store_true", help="measure only")
    parser.add_argument("--resume", action="store_true", help="leave out what the file has already")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of results (default: results/gpu.json)")
    parser.add_argument("--launch-once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    suites = options.suites.split(",")
    if unknown := [suite for suite in suites if suite not in SUITES]:
        parser.error(f"there is no suite {unknown[0]!r}; expected some of {','.join(SUITES)}")
    cause = why_no_gpu()
    if cause is not None:
        print(f"benchmarks/gpu.py measures on a GPU: {cause}", file=sys.stderr)
        return 1
    if options.launch_once:
        launch_once()
        return 0
    gpu = Gpu()
    results = Results(options.out, **facts_of(gpu), date=date.today().isoformat(), host=platform.platform(),
                      versions={name: version(name) for name in ("numpy", "cupy", "torch", "minivision")})
    free_memory(gpu)
    if not options.no_tests:
        tested = subprocess.run([sys.executable, "-m", "pytest", "-m", "gpu", "tests"], cwd=ROOT)
        results.set(tests_passed=tested.returncode == 0)
    measure_all(suites, gpu, results, options.seconds, options.resume)
    passed = {True: "passed", False: "FAILED", None: "were not run"}[results.content["tests_passed"]]
    print(f"all of it is in {options.out}; the tests {passed}")
    return 0 if options.no_tests or results.content["tests_passed"] else 1


def measure_all(suites: Sequence[str], gpu: Any, results: Results, seconds: float, resume: bool) -> None:
    if available("pytorch"):
        import torch

        torch.backends.cudnn.benchmark = True
        torch_tf32(False)
    works: list[tuple[dict[str, Any], Callable[[], dict[str, Any]]]] = [
        (name_of(problem), partial(measure, problem, gpu, seconds))
        for problem in chosen_problems(suite for suite in suites if suite in LAYERS)]
    if "training" in suites:
        network = next(network for network in training.NETWORKS if "CIFAR" in network.name)
        name = {"suite": "training", "layer": network.name, "op": "step", "batch": TRAINING_BATCH}
        works.append((name, partial(train, gpu, seconds, network)))
    for name, work in works:
        if resume and results.has(**name):
            continue
        try:
            row = work()
        except Exception as found:                          # of the problem itself: no memory for its arrays
            row = {**name, "ms": {}, "failed": {"all": reason(found)}}
        results.add(row)
        try:
            free_memory(gpu)
        except Exception as found:              # after an error of a kernel nothing works any more in this process
            raise SystemExit(f"the GPU does not answer any more, {reason(found)}; run this again with --resume") from found
    for suite, find in {"kernels": lambda: about_kernels(gpu), "profile": lambda: {"profile": profile()}}.items():
        if suite in suites and not (resume and suite in results.content):
            try:
                results.set(**find())
            except Exception as found:
                results.set(**{suite: {"failed": reason(found)}})


def about_kernels(gpu: Any) -> dict[str, Any]:
    about = gpu.cupy.cuda.runtime.getDeviceProperties(gpu.cupy.cuda.runtime.getDevice())
    used = resources((about["major"], about["minor"]))
    return {"kernels": used, "tiles": tiles(used, about["sharedMemPerMultiprocessor"])}


def free_memory(gpu: Any) -> None:
    """What the two libraries keep for later, one cannot use for the other's arrays."""
    gpu.cupy.cuda.Device().synchronize()
    gpu.cupy.get_default_memory_pool().free_all_blocks()
    if "torch" in sys.modules:
        sys.modules["torch"].cuda.empty_cache()


def line(row: Mapping[str, Any]) -> str:
    times = sorted(row["ms"].items(), key=lambda item: item[1])
    return f"{row['suite']:9}{row['layer']:24}{row['op']:24}" + "  ".join(
        [f"{name} {ms:.3f}" for name, ms in times[:6]] + [f"{name} failed" for name in row["failed"]])


def version(name: str) -> str | None:
    try:
        return str(import_module(name).__version__)
    except ImportError:
        return None


if __name__ == "__main__":
    sys.exit(main())
