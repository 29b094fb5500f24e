"""Which rung is the fastest on this machine, layer by layer, for the table that ``minivision_kernels.tuned`` keeps.

On a GPU the rung is known, and what is looked for is its tile, and in how many slices the terms of a product are summed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import minivision_kernels as kernels
from minivision_kernels import Rung, tuned
from minivision_kernels.cuda.tile import Choice, Study, studied

from .. import doctor
from .measure import in_turns
from .peers import ours, usable_rungs
from .problems import arguments, call_of, exactness, own
from .suites import Problem

HOPELESS = 4                    # so many times slower than the best so far, a rung and those below it are not tried
ROUNDS = 5, 100                 # of the turns that tiles take, at least and at most
CLEARLY = 1.03                  # so many times faster than what the rule chooses, to be preferred to it


@dataclass(frozen=True)
class Found:
    """The fastest rungs for one call, and what the rule would have chosen."""

    key: str
    any: str
    exact: str
    rule: str
    gain: float                 # time of the rule's choice / time of the fastest


def fastest(problem: Problem, seconds: float) -> Found:
    """Measure the repeatable rungs in turns. Where none is clearly faster than the rule's choice, that choice stays."""
    given = arguments(problem)
    arrays, options = call_of(problem, given)
    rules = {exact: _by_rule(problem, given, exact) for exact in (False, True)}
    calls = {}
    best = float("inf")
    for rung in reversed([rung for rung in usable_rungs(problem, given) if rung.repeatable]):
        call = ours(problem, given, rung).call
        call()                                              # compiles
        start = time.perf_counter()
        call()
        took = time.perf_counter() - start
        best = min(best, took)
        if took > HOPELESS * best:
            break
        calls[rung.name] = call
    for rung in rules.values():                             # it may lie below where the search was given up
        calls.setdefault(rung.name, ours(problem, given, rung).call)
    times = {name: timing.median for name, timing in in_turns(calls, seconds).items()}
    exact = {rung.name for rung in kernels.ladder(problem.op) if rung.exact}
    chosen = {}
    for only_exact, rule in rules.items():
        winner = min((name for name in times if name in exact or not only_exact), key=times.__getitem__)
        chosen[only_exact] = winner if times[rule.name] > CLEARLY * times[winner] else rule.name
    key = tuned.key(kernels.ladder(problem.op)[0].function, problem.op, arrays, options)
    return Found(key, chosen[False], chosen[True], rules[False].name, times[rules[False].name] / times[chosen[False]])


def save(found: Sequence[Found]) -> Path:
    """Add to this machine's table."""
    about: dict[str, Any] = {"machine": dict(doctor.processor())["name"], "threads": kernels.get_num_threads(),
                             "date": date.today().isoformat()}
    return tuned.save({one.key: {"any": one.any, "exact": one.exact} for one in found}, **about)


@dataclass(frozen=True)
class FoundTile:
    """The fastest tile and number of slices for one product on a GPU, and what the rule says."""

    key: str
    choice: Choice
    rule: Choice
    gain: float


def fastest_tile(problem: Problem, gpu: Any, seconds: float) -> FoundTile | None:
    """Measure all tiles and slices in turns; None for an operation without tiles. ``gpu``: see `minivision.bench.gpu.Gpu`."""
    given = {name: gpu.move(value) for name, value in own(problem.op, dict(arguments(problem))).items()}
    arrays, options = call_of(problem, given)

    def computed(study: Study) -> Callable[[], None]:
        def call() -> None:
            with studied(study):
                kernels.run(problem.op, *arrays, **options)

        return call

    first = Study()
    computed(first)()
    if not first.key:
        return None
    calls = {choice: computed(Study(forced=choice)) for choice in {first.rule, *first.choices}}
    for call in calls.values():
        call()                                              # compiles
    round_ = sum(gpu.time(call) for call in calls.values()) / 1e3
    least, most = ROUNDS
    times: dict[Choice, list[float]] = {choice: [] for choice in calls}
    for _ in range(max(least, min(most, int(seconds / max(round_, 1e-9))))):
        for choice, call in calls.items():
            times[choice].append(gpu.time(call))
    medians = {choice: statistics.median(turns) for choice, turns in times.items()}
    winner = min(medians, key=lambda choice: medians[choice])
    if medians[first.rule] <= CLEARLY * medians[winner]:
        winner = first.rule
    return FoundTile(first.key, winner, first.rule, medians[first.rule] / medians[winner])


def save_tiles(found: Sequence[FoundTile]) -> Path:
    """Add to this machine's table."""
    return tuned.save({}, {one.key: one.choice for one in found}, date=date.today().isoformat())


def _by_rule(problem: Problem, given: dict, exact: bool) -> Rung:
    """What is chosen without a table."""
    arrays, options = call_of(problem, given)
    before, tuned.table = tuned.table, {}
    try:
        with exactness(exact):
            return kernels.best(problem.op, *arrays, **options)
    finally:
        tuned.table = before
