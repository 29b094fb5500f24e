"""Which rung is the fastest on this machine, layer by layer, for the table that ``minivision_kernels.tuned`` keeps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import minivision_kernels as kernels
from minivision_kernels import Rung, tuned

from .. import doctor
from .measure import in_turns
from .peers import ours, usable_rungs
from .problems import arguments, call_of, exactness
from .suites import Problem

HOPELESS = 4                    # so many times slower than the best so far, a rung and those below it are not tried
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
    about = dict(machine=dict(doctor.processor())["name"], threads=kernels.get_num_threads(), date=date.today().isoformat())
    return tuned.save({one.key: {"any": one.any, "exact": one.exact} for one in found}, **about)


def _by_rule(problem: Problem, given: dict, exact: bool) -> Rung:
    """What is chosen without a table."""
    arrays, options = call_of(problem, given)
    before, tuned.table = tuned.table, {}
    try:
        with exactness(exact):
            return kernels.best(problem.op, *arrays, **options)
    finally:
        tuned.table = before
