"""The machine's own limits, measured: multiply-adds per second, and bytes moved per second.

No data sheet: clocks change with load and memory is shared. The arithmetic roof is a loop that does nothing but
multiply-adds in registers, written in the same vocabulary of vectors as the kernels. The memory roofs are a copy and a
triad (STREAM, McCalpin 1995) over arrays several times larger than the last cache, written past the caches, so that no memory
is read before it is written. The faster of the two is the roof that shares are taken of.

A matrix unit (AMX) has a roof of its own: tiles that lie in the first-level cache, multiplied over and over, six products of
bfloat16 counted as the one in float32 that they make.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minivision_kernels import get_num_threads
from minivision_kernels.cpu import amx
from minivision_kernels.cpu.amx_panels import PANEL
from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, prange
from minivision_kernels.cpu.simd import add, add_times, lanes, lanes_of, load, put, room
from minivision_kernels.cpu.stream import arrived, past_caches, put_past
from minivision_kernels.memory import empty

CHAINS = 12                     # independent sums: more than a core's units times their latency
LEAST_BYTES = 128 * 2**20       # of each array of the memory roofs
ROUNDS = 50_000                 # of CHAINS multiply-adds each; under a millisecond
BIG = 10**9                     # multiply-adds, as kernels count their work


@dataclass(frozen=True)
class Roofs:
    gflops: float               # float32, all used threads
    copy: float                 # GB/s, read and written
    triad: float
    tiles: float | None = None  # GFLOP/s of a matrix unit, if there is one

    def of(self, rung: str) -> float:
        """The GFLOP/s that a rung's share is taken of."""
        return self.tiles if rung.endswith("amx") and self.tiles else self.gflops

    @property
    def bandwidth(self) -> float:
        return max(self.copy, self.triad)


def measure_roofs(seconds: float = 1.0) -> Roofs:
    """The roofs for the threads in use, about ``seconds`` for each of the three."""
    threads = get_num_threads()
    x = np.ones(64, np.float32)
    sums = np.empty(64 * threads, np.float32)
    per_call = 2 * CHAINS * ROUNDS * lanes_of(x) * threads
    gflops = per_call / _fastest(lambda: _multiply_adds(x, ROUNDS, sums, work=BIG), seconds) / 1e9
    copying = copier()
    copy = copying.bytes / _fastest(copying.call, seconds) / 1e9
    size = copying.bytes // 8
    a, b, c = (_array(size, number) for number in (1, 1, 0))
    triad = 12 * size / _fastest(lambda: _triad(a, b, threads, c, past_caches(c), work=BIG), seconds) / 1e9
    tiles = None
    if amx.present():
        products = 2 * amx.TILE * 4 * amx.SIDE * 2 * ROUNDS // 10 * threads
        tiles = products / _fastest(lambda: _multiply_tiles(x, ROUNDS // 10, threads, sums, work=BIG), seconds) / 1e9
    return Roofs(gflops, copy, triad, tiles)


class Copier(NamedTuple):
    """A copy of arrays several times larger than the last cache."""

    call: Callable[[], None]
    bytes: int                  # read and written


def copier() -> Copier:
    """With the threads in use; to be timed beside what should be as fast."""
    size, threads = max(LEAST_BYTES, 4 * last_cache()) // 4, get_num_threads()
    a, c = _array(size, 1), _array(size, 0)
    return Copier(lambda: _copy(a, threads, c, past_caches(c), work=BIG), 8 * size)


def _array(size: int, number: float) -> np.ndarray:
    """So many times the same, from where a line of the cache begins."""
    array = empty((size,), np.float32)
    array.fill(number)
    return array


def last_cache() -> int:
    """Bytes of the largest cache, as far as the system tells; else 32 MiB."""
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return max((int(size[:-1]) << {"K": 10, "M": 20}[size[-1]] for size in sizes), default=32 << 20)


def _fastest(call: Callable[[], None], seconds: float) -> float:
    """The least seconds of a call: of a limit the best is asked, not the usual."""
    call()                                                  # compiles
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - start)
        if now > end:
            return best


@compiled
def _multiply_adds(x: In1, rounds: int, y: Out1, team: Team):
    """Each thread: twelve sums in registers, each a chain of ``rounds`` multiply-adds."""
    for thread in prange(y.shape[0] // 64, team):
        v = load(x, 0)
        a, b, c, d, e, f = load(x, 1), load(x, 2), load(x, 3), load(x, 4), load(x, 5), load(x, 6)
        g, h, i, j, k, l = load(x, 7), load(x, 8), load(x, 9), load(x, 10), load(x, 11), load(x, 12)
        for _ in range(rounds):
            a, b, c, d = add_times(a, 3, v), add_times(b, 3, v), add_times(c, 3, v), add_times(d, 3, v)
            e, f, g, h = add_times(e, 3, v), add_times(f, 3, v), add_times(g, 3, v), add_times(h, 3, v)
            i, j, k, l = add_times(i, 3, v), add_times(j, 3, v), add_times(k, 3, v), add_times(l, 3, v)
        total = add(add(add(add(add(a, b), c), d), e), f)
        put(y, 64 * thread, add(add(add(add(add(add(total, g), h), i), j), k), l))


@compiled
def _multiply_tiles(x: In1, rounds: int, threads: int, y: Out1, team: Team):
    """Each thread: four tiles of sums, and so often the products of one block of terms."""
    for thread in prange(threads, team):
        left, right, sums = room(x, PANEL), room(x, PANEL), room(x, 4 * amx.TILE)
        numbers = room(x, PANEL)
        for i in range(PANEL):
            numbers[i] = x[0] / (i + 3)                             # of all digits: zeros are multiplied sooner
        for i in range(4 * amx.SIDE):
            row = i // 2 // amx.SIDE * amx.TILE + i // 2 % amx.SIDE * amx.SIDE
            amx.put_split(load(numbers, 20 * i), load(numbers, 20 * i + 7), left if i % 2 == 0 else right, row)
        amx.tiles_begin()
        amx.tiles_zero(2, 2)
        for _ in range(rounds):
            amx.tiles_add_products(2, 2, left, 0, right, 0)
        amx.tiles_store(2, 2, sums, 0)
        amx.tiles_end()
        put(y, 64 * thread, load(sums, 0))


@compiled
def _copy(a: In1, threads: int, c: Out1, past: bool, team: Team):
    share = (a.shape[0] // threads + lanes(a)) // lanes(a) * lanes(a)
    for thread in prange(threads, team):
        at, end = thread * share, min(a.shape[0], (thread + 1) * share)
        while at + lanes(a) <= end:
            put_past(c, at, load(a, at), past)
            at += lanes(a)
        arrived(past)


@compiled
def _triad(a: In1, b: In1, threads: int, c: Out1, past: bool, team: Team):
    share = (a.shape[0] // threads + lanes(a)) // lanes(a) * lanes(a)
    for thread in prange(threads, team):
        at, end = thread * share, min(a.shape[0], (thread + 1) * share)
        while at + lanes(a) <= end:
            put_past(c, at, add_times(load(a, at), 3, load(b, at)), past)
            at += lanes(a)
        arrived(past)
