"""What the exercises on finding bugs share: the class with the mistake as it was given, and the question for its letter."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ....autograd import Function
from ....checking import GradcheckReport, gradcheck
from ....tensor import Tensor
from ...work import Work

INVALID, HIDDEN, LETTER = "inputs that make no sense", "not exposed", "another mistake"


@functools.cache
def given(name: str) -> types.ModuleType:
    """The file of an exercise as it was given, so that a mistake that was repaired meanwhile is still there."""
    from ...track import find

    module = types.ModuleType(f"given_{name}")
    exec(compile(find(name).shipped, name, "exec"), module.__dict__)
    return module


def letter(work: Work, right: str, why_not: Mapping[str, str]) -> None:
    """The stage in which the mistake is named. ``why_not`` says of each wrong letter what speaks against it."""
    with work.stage("the mistake's letter"):
        choices, mine = work.get("MISTAKES"), work.get("MISTAKE")
        if mine == "":
            work.fail("the mistake is exposed. Now give its letter: MISTAKE, in the last line, is still empty",
                      "not written yet")
        if not isinstance(mine, str) or mine.strip().upper() not in choices:
            work.fail(f"MISTAKE is {mine!r}, expected one of the letters {', '.join(choices)} of MISTAKES", LETTER)
        mine = mine.strip().upper()
        if mine != right:
            work.fail(f"it is not {mine}, {choices[mine]!r}: {why_not[mine]}", LETTER)


def checked(operation: type[Function], arrays: list[np.ndarray], **options: Any) -> GradcheckReport:
    """A gradient check of an operation on these arrays."""
    function: Callable[..., Any] = operation.apply
    return gradcheck(lambda *xs: function(*xs, **options), tuple(Tensor(a.astype(float), requires_grad=True) for a in arrays),
                     raise_exception=False)


def array(work: Work, what: str, value: Any, ndim: int, letters: str, largest: int) -> np.ndarray:
    """A student's array: of numbers, with so many axes, not empty and not large; as float64."""
    found = np.asarray(value) if not isinstance(value, (str, bytes)) else np.asarray(None)
    if found.dtype.kind not in "fiu" or found.ndim != ndim:
        kind = f"shape {found.shape}" if found.dtype.kind in "fiu" else type(value).__name__
        work.fail(f"{what}: got {kind}, expected an array of numbers {letters}", INVALID)
    if not 0 < found.size <= largest:
        work.fail(f"{what}: shape {found.shape} has {found.size} numbers, expected 1 to {largest}", INVALID)
    if not np.isfinite(found).all():
        work.fail(f"{what} holds NaN or inf; nothing can be measured there", INVALID)
    return found.astype(float)


def whole(work: Work, what: str, value: Any, lowest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < lowest:
        work.fail(f"{what} is {value!r}, expected a whole number, at least {lowest}", INVALID)
    return int(value)


def parts(work: Work, function: str, count: int, names: str) -> tuple[Any, ...]:
    """What the student's function returns, so many things."""
    value = work.get(function)()
    if not isinstance(value, (tuple, list)) or len(value) != count:
        got = f"{len(value)} things" if isinstance(value, (tuple, list)) else type(value).__name__
        work.fail(f"{function}() returned {got}, expected {count}: {names}", INVALID)
    return tuple(value)
