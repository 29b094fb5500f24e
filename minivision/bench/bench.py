"""One run of the benchmark: what was asked for, and the rows that come of it."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

import minivision_kernels as kernels
from minivision_kernels import tuned

from .. import doctor
from .finds import Find, difference, finds
from .finds import contestants as finders
from .looks import Look, looks
from .looks import contestants as lookers
from .measure import Timing, in_turns, ratio
from .peers import OURS, PEERS, TORCH, ours, usable_rungs
from .peers import peers as peers_of
from .problems import Error, Reference, arguments, call_of, exactness
from .suites import SUITES, Problem, problems
from .training import BATCHES as TRAINING_BATCHES
from .training import NETWORKS, Network, steps

if TYPE_CHECKING:
    from .roofs import Copier, Roofs  # imports numba

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**40)}
# NumPy's OpenBLAS lets its threads run on for 30 ms when their work is done, on cores that the next contestant needs.
REST = {"OPENBLAS_THREAD_TIMEOUT": "20"}        # 2^20 cycles, well under a millisecond
# As on a processor without AVX-512, for us, PyTorch (oneDNN, its own kernels, MKL) and NumPy; ONNX Runtime has no switch.
AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+popcnt,+sse4.2",
        "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell"}
BATCHES = 1, 4, 32              # of layers
QUICK_SECONDS = 0.1
STEP, LOOK = "training step", "look inside"
MEMORY, COPY = "memory", "copy"     # the suite whose problems are compared with a copy
Row = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What to measure, and how."""

    suite: str
    batches: Sequence[int]          # empty: what the suite is usually measured at
    ops: Sequence[str]              # only these operations; empty: all
    rungs: bool                     # every rung, not only the one that is chosen
    peers: bool
    exact: bool                     # leave out what is less accurate than direct summation
    seconds: float                  # for each problem


@dataclass(frozen=True)
class Training:
    """A training step to measure."""

    network: Network
    batch: int


def chosen(request: Request) -> list[Problem | Training | Look | Find]:
    """The problems of the request, in the order in which they are measured."""
    layers = problems(request.suite, request.batches or BATCHES)
    todo: list[Problem | Training | Look | Find] = [
        problem for problem in layers if not request.ops or problem.op in request.ops]
    if "training" in SUITES[request.suite] and not request.ops:
        todo += [Training(network, batch) for network in NETWORKS for batch in request.batches or TRAINING_BATCHES]
    if "explain" in SUITES[request.suite] and not request.ops:
        todo += looks(request.batches)
    if "vision" in SUITES[request.suite] and not request.ops:
        todo += finds()
    return todo


def rows(request: Request, roofs: Roofs, todo: Sequence[Problem | Training | Look | Find]) -> Iterator[Row]:
    """Measure one problem after the other, and how far apart the cores are meanwhile."""
    from .apart import apart

    @functools.cache
    def copying() -> Copier:
        from .roofs import copier

        return copier()

    with exactness(request.exact):
        for one in todo:
            if isinstance(one, Problem):
                found = measure(one, request, roofs, copying() if one.suite == MEMORY else None)
            elif isinstance(one, Find):
                found = search(one, request)
            else:
                found = train(one, request) if isinstance(one, Training) else look(one, request)
            yield {**found, "apart_ns": apart()}


def train(one: Training, request: Request) -> Row:
    """The training steps of all contestants in turns. The error is how far the losses of the first step are apart."""
    contestants = list(steps(one.network, one.batch, kernels.get_num_threads(), request.peers))
    losses: dict[str, float] = {}
    timings = in_turns(dict(contestants), request.seconds, losses.__setitem__)
    return {"suite": "training", "layer": one.network.name, "op": STEP, "batch": one.batch, "rung": None,
           **_times(timings), "images_per_second": {name: one.batch / timing.median for name, timing in timings.items()},
           "loss_difference": max(abs(loss - losses[OURS]) for loss in losses.values())}


def look(one: Look, request: Request) -> Row:
    """A look into a network by all contestants in turns. The error is the mean difference of the results, by the largest."""
    results: dict[str, np.ndarray] = {}
    calls = {who.name: who.call for who in lookers(one, kernels.get_num_threads(), request.peers)}
    timings = in_turns(calls, request.seconds, results.__setitem__)
    mine = results[OURS]
    return {"suite": "explain", "layer": one.name, "op": LOOK, "batch": one.batch, "rung": None, **_times(timings),
            "difference": max(float(np.abs(other - mine).mean() / np.abs(mine).max()) for other in results.values())}


def search(one: Find, request: Request) -> Row:
    """A whole job on a photograph by all contestants in turns. The error is the largest difference of their results."""
    results: dict[str, np.ndarray] = {}
    calls = {who.name: who.call for who in finders(one, kernels.get_num_threads(), request.peers)}
    timings = in_turns(calls, request.seconds, results.__setitem__)
    return {"suite": "vision", "layer": one.name, "op": one.op, "batch": 1, "rung": None, **_times(timings),
            "difference": max(difference(results[OURS], other) for other in results.values())}


def measure(problem: Problem, request: Request, roofs: Roofs, copying: Copier | None = None) -> Row:
    """All contestants of one problem in turns, and how right they are.

    Memory that is shared is faster and slower by the minute. If there is a copy, it has its turns too, and is the roof.
    """
    given = arguments(problem)
    arrays, options = call_of(problem, given)
    choice = kernels.best(problem.op, *arrays, **options)
    contestants = [ours(problem, given)]
    if request.rungs:
        contestants += [ours(problem, given, rung) for rung in usable_rungs(problem, given)]
    if request.peers:
        contestants += peers_of(problem, given, kernels.get_num_threads())
    reference = Reference(problem, given)
    by_name = {contestant.name: contestant for contestant in contestants}
    errors: dict[str, Error] = {}

    def compare(name: str, result: Any) -> None:
        if name != COPY:
            errors[name] = reference.error(by_name[name].result(result))

    calls: dict[str, Callable[[], Any]] = {name: contestant.call for name, contestant in by_name.items()}
    timings = in_turns(calls if copying is None else {**calls, COPY: copying.call}, request.seconds, compare)
    bandwidth = roofs.bandwidth
    if copying is not None:
        seconds = ratio(timings.pop(COPY), timings[OURS]) * timings[OURS].median
        bandwidth = copying.bytes / seconds / 1e9
    return row(problem, choice.name, timings, errors, roofs.of(choice.name), bandwidth)


def row(
    problem: Problem, rung: str, timings: dict[str, Timing], errors: dict[str, Error], peak: float, bandwidth: float,
) -> Row:
    """What is kept of one problem; ``peak`` in GFLOP/s and ``bandwidth`` in GB/s are what shares are taken of."""
    seconds = timings[OURS].median
    gflops, moved = problem.flops / seconds / 1e9, problem.traffic / seconds / 1e9
    return {
        "suite": problem.suite, "layer": problem.layer, "op": problem.op, "batch": problem.batch, "rung": rung,
        "shapes": {name: list(shape) for name, shape in problem.shapes.items()},
        "gflop": problem.flops / 1e9, "executed_gflop": {
            name: problem.executed(name.removeprefix(OURS).strip() or rung) / 1e9 for name in timings if name not in PEERS},
        "mbytes": problem.traffic / 1e6,
        **_times(timings),
        "gflops": gflops or None, "of_peak": gflops / peak or None,
        "gbs": moved, "of_bandwidth": moved / bandwidth, "roof_gbs": bandwidth,
        "error_by_spread": {name: error.spread for name, error in errors.items()},
        "error_by_largest": {name: error.largest for name, error in errors.items()},
    }


def _times(timings: dict[str, Timing]) -> Row:
    """Medians in milliseconds; a ratio above 1 says that we are faster."""
    ratios = {name: ratio(timing, timings[OURS]) for name, timing in timings.items() if name in PEERS}
    return {
        "ms": {name: timing.median * 1e3 for name, timing in timings.items()},
        "first_ms": {name: timing.first * 1e3 for name, timing in timings.items()},
        "turns": {name: len(timing.turns) for name, timing in timings.items()},
        "ratios": ratios,
        "ratio": min((value for name, value in ratios.items() if name in TORCH), default=None),     # in its best layout
    }


def conditions(request: Request, roofs: Roofs) -> dict[str, Any]:
    """Where and how it was measured; ``tuned`` is the number of calls whose rung was chosen by `--tune`."""
    from minivision_kernels.cpu.cache import source_hash

    about = dict(doctor.processor())
    return {
        "machine": about["name"], "features": about["features"], "cores": about["cores"], "system": platform.platform(),
        "date": date.today().isoformat(), "threads": kernels.get_num_threads(), "suite": request.suite,
        "exact": request.exact, "keep_memory": keeps_memory(), "seconds": request.seconds,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in (
            "minivision", "numpy", "numba", "llvmlite", "torch", "onnxruntime", "pillow", "opencv-python-headless",
            "scikit-image")}},
        "kernels": source_hash(), "tuned": len(tuned.load()),
        "roofs": {"gflops": roofs.gflops, "copy_gbs": roofs.copy, "triad_gbs": roofs.triad, "tiles_gflops": roofs.tiles},
    }


def keeps_memory() -> bool:
    """Whether this process was started so that malloc keeps what it was given back."""
    return all(os.environ.get(name) == value for name, value in KEEP_MEMORY.items())


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
