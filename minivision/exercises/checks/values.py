"""A plain function: its results against those of an oracle."""

from __future__ import annotations

import copy
import inspect
import pdb
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..work import Work
from .sizes import Case, Sizes, changed, random_of


@dataclass(frozen=True)
class Values:
    """Check a function of the student's.

    Attributes:
        function: its name.
        oracle: takes the same arguments, gives the expected result.
        build: ``build(random, **case)`` makes the arguments, a tuple.
        sizes: the cases.
        atol, rtol: how far a result may be off.
        also: further stages, each ``also(work)``, before the odd shapes.
        examples: how many odd cases.
    """

    function: str
    oracle: Callable[..., Any]
    build: Callable[..., tuple[Any, ...]]
    sizes: Sizes
    atol: float = 1e-9
    rtol: float = 1e-7
    also: tuple[Callable[[Work], None], ...] = ()
    examples: int = 25

    def run(self, work: Work) -> None:
        with work.stage("runs"):
            work.get(self.function)
        work.case = self.sizes.first
        with work.stage("values"):
            self._attempt(work, self.sizes.first)
        work.case = None
        for stage in self.also:
            stage(work)
        self.sizes.search(work, lambda case: self._attempt(work, case), self.examples)

    def _attempt(self, work: Work, case: Case) -> None:
        function = work.get(self.function)
        given = self.build(random_of(case), **case)
        seen = tuple(np.copy(a) if isinstance(a, np.ndarray) else copy.copy(a) for a in given)
        expected = self.oracle(*self.build(random_of(case), **case))
        yours = function(*seen)
        names = [f"argument {name}" for name in _names(function, len(given))]
        changed(work, names, given, seen, f"{self.function}()")
        work.same(f"{self.function}()", yours, expected, self.atol, self.rtol)

    def debug(self, work: Work, case: Case) -> None:
        arguments = self.build(random_of(case), **case)
        debugger = pdb.Pdb()
        debugger.runcall(work.get(self.function), *arguments)


def _names(function: Any, count: int) -> list[str]:
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    return names[:count] if len(names) >= count else [str(i) for i in range(count)]
