"""A numba kernel: run as Python on watched arrays, then compiled, with guard zones around what it writes."""

from __future__ import annotations

import pdb
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..work import Work
from .gradient import MEDALS
from .sizes import Case, Sizes, changed, random_of, written
from .watched import Watch, Watched

GUARD = 64                                   # elements before and after an output that nobody may touch


@dataclass(frozen=True)
class Kernel:
    """Check a kernel that writes into its last argument, or into its last few.

    Attributes:
        function: its name; compiled by the decorator in the student's file.
        oracle: takes the inputs, returns the expected output (or a tuple of them).
        build: ``build(random, **case)`` makes (inputs, outputs), lists; the outputs are arrays of the right shape.
        sizes: the cases.
        names: of inputs and outputs.
        watched: a case to be run as Python on watched arrays; empty for kernels made of words that only numba knows.
        fetches: the most cache lines that the watched run may fetch; 0: any number.
        reads: the most reads of an array in the watched run, by its name.
        medal: a large case to be timed beside ``rival``, which takes what the oracle takes.
    """

    function: str
    oracle: Callable[..., Any]
    build: Callable[..., tuple[list[Any], list[np.ndarray]]]
    sizes: Sizes
    names: tuple[str, ...]
    watched: Case = field(default_factory=dict)
    fetches: int = 0
    reads: dict[str, int] = field(default_factory=dict)
    medal: Case = field(default_factory=dict)
    rival: Callable[..., Any] | None = None
    atol: float = 1e-9
    rtol: float = 1e-7
    examples: int = 15

    def run(self, work: Work) -> None:
        with work.stage("runs"):
            work.get(self.function)
        if self.watched:
            work.case = self.watched
            with work.stage("element by element"):
                watch = self._watch(work, self.watched)
            counts = ", ".join(f"{name} {n:,}" for name, n in watch.reads.items())
            work.note(f"reads: {counts or 'none'}; writes: " + ", ".join(f"{name} {n:,}" for name, n in watch.writes.items())
                      + f"; lines fetched by a cache of 32 lines: {watch.fetched:,}")
            if self.fetches or self.reads:
                with work.stage("traffic"):
                    self._traffic(work, watch, counts)
        work.case = self.sizes.first
        with work.stage("compiled"):
            self._compiled(work, self.sizes.first)
        self.sizes.search(work, lambda case: self._compiled(work, case), self.examples)
        if self.medal and self.rival is not None:
            self._medal(work)

    def debug(self, work: Work, case: Case) -> None:
        with _interpreted():
            function = getattr(work.fresh_module(), self.function)
        inputs, outputs = self.build(random_of(case), **case)
        pdb.Pdb().runcall(function, *inputs, *outputs)

    # -- the parts

    def _expected(self, case: Case) -> tuple[list[Any], list[np.ndarray], tuple[Any, ...]]:
        inputs, outputs = self.build(random_of(case), **case)
        expected = self.oracle(*inputs)
        return inputs, outputs, expected if isinstance(expected, tuple) else (expected,)

    def _compare(self, work: Work, inputs: list[Any], seen: list[Any], outputs: list[np.ndarray], expected: tuple) -> None:
        names = self.names + ("output",) * len(outputs)
        changed(work, names, inputs, seen, self.function)
        for name, mine, right in zip(names[len(inputs):], outputs, expected):
            written(work, name, mine, np.asarray(right))
            work.same(name, mine, np.asarray(right, mine.dtype), self.atol, self.rtol)

    def _watch(self, work: Work, case: Case) -> Watch:
        inputs, outputs, expected = self._expected(case)
        watch = Watch()
        with _interpreted():
            module = work.fresh_module()
        for name, value in list(vars(module).items()):
            if getattr(value, "__name__", "") == "prange":
                setattr(module, name, watch.prange)
        import numba

        real = numba.prange
        vars(numba)["prange"] = watch.prange                    # for `numba.prange(n)`
        seen = [a.copy() if isinstance(a, np.ndarray) else a for a in inputs]
        try:
            getattr(module, self.function)(*(
                Watched(a, name, watch) if isinstance(a, np.ndarray) else a for a, name in zip([*seen, *outputs], self.names)))
        finally:
            vars(numba)["prange"] = real
        self._compare(work, inputs, seen, outputs, expected)
        return watch

    def _traffic(self, work: Work, watch: Watch, counts: str) -> None:
        if self.fetches and watch.fetched > self.fetches:
            work.fail(f"the result is right, but a cache of 32 lines must fetch {watch.fetched:,} lines; at most "
                      f"{self.fetches:,} are "
                      f"allowed (elements read: {counts}). Use what is in the cache again before it is thrown out",
                      "too much traffic", evidence=(np.array(watch.fetched),))
        for name, limit in self.reads.items():
            if watch.reads.get(name, 0) > limit:
                work.fail(f"the result is right, but {watch.reads[name]:,} elements of {name} are read; at most {limit:,} are "
                          f"allowed. "
                          "A number that was read can serve several sums while it is in a register", "too much traffic",
                          evidence=(np.array(watch.reads[name]),))

    def _compiled(self, work: Work, case: Case) -> None:
        inputs, outputs, expected = self._expected(case)
        seen = [a.copy() if isinstance(a, np.ndarray) else a for a in inputs]
        guarded = [np.full(a.size + 2 * GUARD, 7.25, a.dtype) for a in outputs]
        inner = [g[GUARD:GUARD + a.size].reshape(a.shape) for g, a in zip(guarded, outputs)]
        for mine, a in zip(inner, outputs):
            mine[...] = a
        work.get(self.function)(*seen, *inner)
        for name, g, a in zip(self.names[len(inputs):], guarded, outputs):
            outside = np.flatnonzero(np.r_[g[:GUARD], g[GUARD + a.size:]] != g.dtype.type(7.25))
            if outside.size:
                place = int(outside[0])
                where = f"{GUARD - place} before its beginning" if place < GUARD else f"{place - GUARD + 1} beyond its end"
                work.fail(f"the compiled kernel wrote outside of {name}, {where}; some bound of a loop is too large",
                          "writes out of bounds")
        self._compare(work, inputs, seen, inner, expected)

    def _medal(self, work: Work) -> None:
        inputs, outputs = self.build(random_of(self.medal), **self.medal)
        mine, theirs = [], []
        work.get(self.function)(*inputs, *outputs)                  # compiled before it is timed
        for _ in range(5):
            start = time.perf_counter()
            work.get(self.function)(*inputs, *outputs)
            middle = time.perf_counter()
            assert self.rival is not None
            self.rival(*inputs)
            mine.append(middle - start)
            theirs.append(time.perf_counter() - middle)
        ratio = min(mine) / min(theirs)
        medal = next((name for limit, name in MEDALS if ratio <= limit), "")
        size = ", ".join(f"{name} {value}" for name, value in self.medal.items())
        work.note(f"speed: {ratio:.1f} times the time of NumPy ({size})" + (f": {medal}" if medal else ""))


@contextmanager
def _interpreted() -> Any:
    """Decorators of numba leave functions as they are."""
    from numba import config

    settings = vars(config)
    before, settings["DISABLE_JIT"] = settings["DISABLE_JIT"], 1
    try:
        yield
    finally:
        settings["DISABLE_JIT"] = before
