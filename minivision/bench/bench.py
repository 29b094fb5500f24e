"""One run of the benchmark: what was asked for, and the rows that come of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from typing import Any

import minivision_kernels as kernels

from .. import doctor
from .measure import Timing, in_turns, ratio
from .peers import OURS, PEERS, TORCH, ours, usable_rungs
from .peers import peers as peers_of
from .problems import Error, Reference, arguments, call_of
from .suites import Problem, problems

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**40)}
# NumPy's OpenBLAS lets its threads run on for 30 ms when their work is done, on cores that the next contestant needs.
REST = {"OPENBLAS_THREAD_TIMEOUT": "20"}        # 2^20 cycles, well under a millisecond
QUICK_SECONDS = 0.1
Row = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What to measure, and how."""

    suite: str
    batches: Sequence[int]
    ops: Sequence[str]              # only these operations; empty: all
    rungs: bool                     # every rung, not only the one that is chosen
    peers: bool
    exact: bool                     # leave out what is less accurate than direct summation
    seconds: float                  # for each problem


def chosen(request: Request) -> list[Problem]:
    """The problems of the request, in the order in which they are measured."""
    return [problem for problem in problems(request.suite, request.batches) if not request.ops or problem.op in request.ops]


def rows(request: Request, roofs: Any, todo: Sequence[Problem]) -> Iterator[Row]:
    """Measure one problem after the other."""
    kernels.set_exact(request.exact)
    try:
        for problem in todo:
            yield measure(problem, request, roofs)
    finally:
        kernels.set_exact(False)


def measure(problem: Problem, request: Request, roofs: Any) -> Row:
    """All contestants of one problem in turns, and how right they are."""
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
        errors[name] = reference.error(by_name[name].result(result))

    timings = in_turns({name: contestant.call for name, contestant in by_name.items()}, request.seconds, compare)
    return row(problem, choice.name, timings, errors, roofs)


def row(problem: Problem, rung: str, timings: dict[str, Timing], errors: dict[str, Error], roofs: Any) -> Row:
    """What is kept of one problem. Times are medians in milliseconds; a ratio above 1 says that we are faster."""
    mine = timings[OURS]
    ratios = {name: ratio(timing, mine) for name, timing in timings.items() if name in PEERS}
    layouts = {name: value for name, value in ratios.items() if name in TORCH}
    gflops, moved = problem.flops / mine.median / 1e9, problem.traffic / mine.median / 1e9
    return {
        "suite": problem.suite, "layer": problem.layer, "op": problem.op, "batch": problem.batch, "rung": rung,
        "shapes": {name: list(shape) for name, shape in problem.shapes.items()},
        "gflop": problem.flops / 1e9, "executed_gflop": {
            name: problem.executed(name.removeprefix(OURS).strip() or rung) / 1e9 for name in timings if name not in PEERS},
        "mbytes": problem.traffic / 1e6,
        "ms": {name: timing.median * 1e3 for name, timing in timings.items()},
        "first_ms": {name: timing.first * 1e3 for name, timing in timings.items()},
        "turns": {name: len(timing.turns) for name, timing in timings.items()},
        "ratios": ratios,
        "ratio": min(layouts.values(), default=None),           # to PyTorch in the layout it is best in
        "gflops": gflops or None, "of_peak": gflops / roofs.gflops or None,
        "gbs": moved, "of_bandwidth": moved / roofs.bandwidth,
        "error_by_spread": {name: error.spread for name, error in errors.items()},
        "error_by_largest": {name: error.largest for name, error in errors.items()},
    }


def conditions(request: Request, roofs: Any) -> dict[str, Any]:
    """Where and how it was measured."""
    about = dict(doctor.processor())
    return {
        "machine": about["name"], "features": about["features"], "cores": about["cores"], "system": platform.platform(),
        "date": date.today().isoformat(), "threads": kernels.get_num_threads(), "suite": request.suite,
        "exact": request.exact, "keep_memory": keeps_memory(), "seconds": request.seconds,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in (
            "minivision", "numpy", "numba", "llvmlite", "torch", "onnxruntime")}},
        "kernels": _sources(),
        "roofs": {"gflops": roofs.gflops, "copy_gbs": roofs.copy, "triad_gbs": roofs.triad},
    }


def keeps_memory() -> bool:
    """Whether this process was started so that malloc keeps what it was given back."""
    return all(os.environ.get(name) == value for name, value in KEEP_MEMORY.items())


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _sources() -> str:
    from minivision_kernels.cpu.cache import source_hash

    return source_hash()


