"""Timing in turns.

A shared machine is faster and slower from second to second, and so is everything that runs on it; the quotient of two
times taken one after the other is steadier than either. So contestants take turns, in another order each round. A turn is
a short pause, in which the threads of the one before fall asleep, so many calls that the clock's own cost would not count,
and then as many that are timed: it takes a few calls until threads are awake on cores of their own and the arrays are near.
A call of more than a second is timed at once.
The arrays are the same in each call: caches are warm as far as the arrays fit into them.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PAUSE = 0.01                    # seconds; threads of OpenMP go on waiting awake, at the cost of others, for 8 ms
TURN = 0.004                    # seconds of timed calls, at least
LEAST_ROUNDS, MOST_ROUNDS = 5, 100
FEWER = 3                       # rounds where five would take more than twice the time there is
ONCE = 20                       # who is so many times slower than the fastest, and slow, has one turn
GUESSES, SHORT = 3, 0.05        # calls of up to so many seconds by which a turn is planned: one may meet with page faults
LONG = 1.0                      # seconds; such a call wakes the threads and brings the arrays near by itself


@dataclass
class Timing:
    """What the clock said of one contestant."""

    first: float                                    # seconds of the first call: compiling, loading, first memory
    turns: list[float] = field(default_factory=list)        # seconds per call, one number for each turn

    @property
    def median(self) -> float:
        return statistics.median(self.turns)


def in_turns(calls: Mapping[str, Callable[[], Any]], seconds: float,
             on_first: Callable[[str, Any], None] = lambda name, result: None) -> dict[str, Timing]:
    """Time all ``calls`` in about ``seconds``, the first call of each not counted.

    Args:
        on_first: is shown what the first call returned, in time that is not measured.
    """
    timings, guesses = {}, {}
    for name, call in calls.items():
        start = time.perf_counter()
        result = call()
        timings[name] = Timing(time.perf_counter() - start)
        on_first(name, result)
        del result
        time.sleep(PAUSE)
        guesses[name] = _guess(call)
    repeats = {name: max(1, math.ceil(TURN / guess)) for name, guess in guesses.items()}
    untimed = {name: 0 if guess > LONG else repeats[name] for name, guess in guesses.items()}
    costs = {name: PAUSE + (untimed[name] + repeats[name]) * guess for name, guess in guesses.items()}
    fastest = min(guesses.values())
    slow = {name for name, guess in guesses.items() if guess > max(ONCE * fastest, seconds / 4)}
    for name in slow:
        timings[name].turns.append(guesses[name])
    names = [name for name in calls if name not in slow]
    collecting = gc.isenabled()
    gc.disable()
    try:
        for number in range(_rounds(sum(costs[name] for name in names), seconds)):
            for name in names[number % len(names):] + names[:number % len(names)]:
                timings[name].turns.append(_turn(calls[name], untimed[name], repeats[name]))
    finally:
        if collecting:
            gc.enable()
    return timings


def ratio(slower: Timing, faster: Timing) -> float:
    """How many times longer the first takes: the median over pairs of turns, or of medians where there are no pairs."""
    if len(slower.turns) == len(faster.turns):
        return statistics.median(a / b for a, b in zip(slower.turns, faster.turns))
    return slower.median / faster.median


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def _rounds(cost: float, seconds: float) -> int:
    if LEAST_ROUNDS * cost > 2 * seconds:
        return FEWER
    return max(LEAST_ROUNDS, min(MOST_ROUNDS, int(seconds / cost)))


def _guess(call: Callable[[], Any]) -> float:
    """About the seconds of a call, by which turns are planned."""
    guess = _once(call)
    return guess if guess > SHORT else min(guess, *(_once(call) for _ in range(GUESSES - 1)))


def _once(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _turn(call: Callable[[], Any], untimed: int, repeats: int) -> float:
    """Seconds per call."""
    time.sleep(PAUSE)
    for _ in range(untimed):
        call()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats
