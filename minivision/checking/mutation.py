"""Wrong backwards on purpose: the test of the tester.

A gradient check is worth what it catches. For each operation there are *mutants*: its backward with one plausible
mistake, and the diagnosis that mistake should get (None where it has no name, and being caught is enough). The idea is
mutation testing (DeMillo, Lipton and Sayward 1978, "Hints on test data selection").

Four mistakes fit every operation and are made here; those of single operations are in `mistakes.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..autograd import Function
from .catalogue import case, operations
from .checker import gradcheck
from .report import GradcheckReport

# The outputs of these sum to a constant, so that an upstream gradient of ones comes back as zeros.
CONSTANT_SUM = {"Softmax", "Standardize", "CrossEntropyInput"}

Backward = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Mutant:
    """A wrong backward of one operation.

    Attributes:
        op: the operation's name.
        name: the mistake, in words.
        expected: the diagnosis it should get first, or None.
        backward: the wrong method, ``backward(self, grad)``.
        note: which of the operation's cases shows it.
    """

    op: str
    name: str
    expected: str | None
    backward: Backward
    note: str = ""

    def run(self, seed: int = 0) -> GradcheckReport:
        """Check the operation with the mistake in it; the report should be false."""
        each = case(self.op, self.note, seed)
        with replaced(operations()[self.op], self.backward):
            return gradcheck(each.func, each.inputs, raise_exception=False, seed=seed)


@contextmanager
def replaced(op: type[Function], backward: Backward) -> Iterator[None]:
    """``op`` with another backward, for the length of a with block."""
    original = op.backward
    op.backward = backward                        # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        op.backward = original                    # type: ignore[method-assign]


def mutants() -> list[Mutant]:
    """All mutants of all operations."""
    from .mistakes import MISTAKES

    found = []
    for name, op in operations().items():
        found += [Mutant(name, *mistake) for mistake in _general(op)]
        found += [Mutant(name, *mistake) for mistake in MISTAKES.get(op, [])]
    return found


def _general(op: type[Function]) -> Iterator[tuple[str, str, Backward]]:
    right = op.backward

    def each(change: Callable[[Any], Any]) -> Backward:
        def backward(self: Function, grad: Any) -> Any:
            grads = right(self, grad)
            grads = grads if isinstance(grads, tuple) else (grads,)
            return tuple(None if g is None else change(g) for g in grads)
        return backward

    yield "a factor of 2 too many", "scaled by 2", each(lambda g: g * 2.0)
    yield "a minus sign too many", "sign flipped", each(lambda g: -g)
    yield "returns zeros", "zero gradient", each(lambda g: g * 0.0)
    ignored = "zero gradient" if op.__name__ in CONSTANT_SUM else "missing upstream gradient"
    yield "ignores the upstream gradient", ignored, lambda self, grad: right(self, grad.ones_like())
