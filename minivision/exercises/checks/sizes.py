"""Cases of all sizes: one to begin with, then odd ones, of which the smallest that fails is shown.

A case is a dictionary of numbers (lengths, stride, padding, ...) and all arrays follow from it, so that it fits into one
line of a command and fails the same way in a debugger.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..work import Failure, Work, case_text

Case = dict[str, Any]
Range = tuple[int, int] | list[Any]         # from .. to, both included, or a choice
EXAMPLES = 25


@dataclass(frozen=True)
class Sizes:
    """What cases there are.

    Attributes:
        first: the case that the first stages are about: small, but with no two lengths alike.
        ranges: what the odd ones are drawn from: a pair (from, to), or a list of choices; names as in ``first``.
        valid: which of them make sense.
    """

    first: Case
    ranges: Mapping[str, Range]
    valid: Callable[..., bool] = lambda **case: True

    def search(self, work: Work, attempt: Callable[[Case], None], examples: int = EXAMPLES) -> None:
        """Try odd cases; where one fails, raise the failure of the smallest that does.

        Raises:
            Failure: of the smallest case.
            ModuleNotFoundError: hypothesis, which draws them, is not installed; the message says how to get it.
        """
        if not self.ranges:
            return
        try:
            from hypothesis import HealthCheck, Phase, given, settings
            from hypothesis import strategies as st
            from hypothesis.errors import Flaky
        except ModuleNotFoundError as missing:
            with work.stage("odd shapes"):
                work.fail(f"the rest of the check needs {missing.name}, which is not installed: pip install "
                          "'minivision[exercises]'", "not installed")

        drawn = st.fixed_dictionaries({
            name: st.sampled_from(choice) if isinstance(choice, list) else st.integers(*choice)
            for name, choice in self.ranges.items()}).filter(lambda case: self.valid(**{**self.first, **case}))

        failures: list[Failure] = []

        @settings(max_examples=examples, deadline=None, database=None, derandomize=True, report_multiple_bugs=False,
                  phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck))
        @given(drawn)
        def try_one(case: Case) -> None:
            work.case = {**self.first, **case}
            try:
                with work.stage("odd shapes", done=False):
                    attempt(work.case)
            except Failure as failure:
                failures.append(failure)
                raise

        try:
            try_one()
        except Failure as smallest:
            raise _telling(smallest, failures) from None
        except Flaky:
            with work.stage("odd shapes"):
                work.fail(f"the same sizes fail in one run and pass in the next ({case_text(work.case or {})}); does the code "
                          "depend on an earlier call, or on random numbers?", "not deterministic")
        work.case = None
        work.passed.append("odd shapes")


def _telling(smallest: Failure, failures: list[Failure]) -> Failure:
    """The smallest case is the one to step through, but a larger one tells more: four wrong numbers fit any mistake."""
    def size(failure: Failure) -> int:
        return sum(numbers.size for numbers in failure.evidence)

    if not size(smallest):
        return smallest
    telling = max(failures, key=size)
    telling.case = smallest.case
    return telling


def random_of(case: Case) -> np.random.Generator:
    """The random numbers that belong to a case, the same ones on every machine."""
    return np.random.default_rng(zlib.crc32(case_text(case).encode()))


def written(work: Work, name: str, output: np.ndarray, expected: np.ndarray) -> None:
    """Fail if part of an output, which came filled with NaN, was never written."""
    missing = np.isnan(output) & ~np.isnan(expected)
    if missing.all() and missing.size:
        work.fail(f"nothing was written to {name}: every entry is still NaN, as it was given", "never written",
                  evidence=(output,))
    if missing.any():
        place = [int(k) for k in np.argwhere(missing)[0]]
        work.fail(f"{int(missing.sum())} of {missing.size} entries of {name} were never written, or computed from what was "
                  f"never written: they are NaN, as {name} was in the beginning. The first is at {place}", "never written",
                  evidence=(output,))


def changed(work: Work, names: Sequence[str], before: Sequence[Any], after: Sequence[Any], when: str) -> None:
    """Fail if an input no longer holds what it held."""
    for name, old, new in zip(names, before, after):
        if isinstance(old, np.ndarray) and not np.array_equal(old, new, equal_nan=old.dtype.kind == "f"):
            place = [int(k) for k in np.argwhere(~((old == new) | (old != old)))[0]]
            work.fail(f"{name} was changed by {when}: {new[tuple(place)]:.6g} at {place} instead of {old[tuple(place)]:.6g}. "
                      "Others still need it: work on a copy, or build a new array (x = x * 2, not x *= 2)", "input changed",
                      evidence=(new,))
