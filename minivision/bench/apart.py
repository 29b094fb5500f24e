"""How far apart two cores are: nanoseconds until one sees what the other has written.

Cores that share a last cache see it after 20 to 60 ns, others after 100 to 300. On a machine that is shared, a virtual core may
move from one to the other kind of place within seconds. Then whatever one thread leaves for another gets slower, and reading
and writing memory faster, since two caches have two ways to it: it is no less a condition of a measurement than the clock.
"""

from __future__ import annotations

import time

import numpy as np
from numba import types

from minivision_kernels import get_num_threads
from minivision_kernels.cpu.compile import IntOut2, Team, compiled, prange
from minivision_kernels.cpu.writer import Writer, int_, word

from .roofs import BIG

PASSES = 2000               # to and fro, a fraction of a millisecond
PATIENCE = 2_000_000        # looks at the ball in vain, before a player gives up: the other one has no core


def apart() -> float | None:
    """Nanoseconds that a number takes from one thread to another; None if there is one thread, or only one of them runs."""
    if get_num_threads() < 2:
        return None
    best = None
    for _ in range(3):                                      # the first time threads wake up
        ball = np.zeros((1, 8), np.int64)
        start = time.perf_counter()
        _play(ball, PASSES, PATIENCE, work=BIG)
        took = time.perf_counter() - start
        if ball[0, 0] == 2 * PASSES:
            best = min(took, best or took)
    return best and best / (2 * PASSES) * 1e9


@word
def peek(typing, a, at):
    """a[at], looked up in memory each time."""
    def write(context, builder, signature, args):
        pointer = Writer(context, builder, signature.args[0]).pointer(signature.args[0], args[0], args[1])
        return builder.load_atomic(pointer, "acquire", 8)

    return int_(a, int_), write


@word
def poke(typing, a, at, number):
    """a[at] = number, for others to see."""
    def write(context, builder, signature, args):
        pointer = Writer(context, builder, signature.args[0]).pointer(signature.args[0], args[0], args[1])
        builder.store_atomic(args[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(a, int_, int_), write


@compiled
def _play(ball: IntOut2, passes: int, patience: int, team: Team):
    """Two players: the first makes even numbers odd, the second odd ones even, each counting up."""
    for player in prange(2, team):
        vain = 0
        for number in range(player, 2 * passes, 2):
            while peek(ball, 0) != number and vain < patience:
                vain += 1
            if vain < patience:
                poke(ball, 0, number + 1)
