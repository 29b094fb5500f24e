"""An operation: forward against an oracle, backward against measured slopes, then both over odd shapes.

The order is that of finding a mistake: a wrong shape explains wrong values, a wrong forward explains a wrong gradient.
Odd shapes are screened with the engine's own gradient, which is quick; the case that fails is measured like the first.
"""

from __future__ import annotations

import pdb
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ... import autograd
from ...checking import GradcheckReport, gradcheck
from ...tensor import Tensor
from ..work import Failure, Work
from .sizes import Case, Sizes, changed, random_of

MEDALS = ((1.0, "gold"), (3.0, "silver"), (10.0, "bronze"))       # times the time of the engine's NumPy kernels


@dataclass(frozen=True)
class Gradient:
    """Check an operation, a subclass of `Op`.

    Attributes:
        op: the name of the class in the student's file.
        oracle: takes Tensors (and options), gives a Tensor with the engine's own gradient.
        build: ``build(random, **case)`` makes (list of float64 arrays, dictionary of options).
        sizes: the cases.
        names: what the inputs are called.
        medal: a large case to be timed beside the engine, if there is to be a medal.
        also: further stages, each ``also(work)``, before the odd shapes.
    """

    op: str
    oracle: Callable[..., Tensor]
    build: Callable[..., tuple[list[np.ndarray], dict[str, Any]]]
    sizes: Sizes
    names: tuple[str, ...] = ("x", "w", "b")
    medal: Case = field(default_factory=dict)
    also: tuple[Callable[[Work], None], ...] = ()
    examples: int = 25

    def run(self, work: Work) -> None:
        first = self.sizes.first
        work.case = first
        with work.stage("runs"):
            work.get(self.op)
        with work.stage("shape and dtype"):
            self._shapes(work, first)
        with work.stage("forward"):
            self._forward(work, first)
        with work.stage("gradient"):
            self._measured(work, first)
        work.case = None
        for stage in self.also:
            stage(work)
        self.sizes.search(work, lambda case: self._attempt(work, case), self.examples)
        if self.medal:
            self._medal(work)

    def debug(self, work: Work, case: Case) -> None:
        arrays, options = self.build(random_of(case), **case)
        function = work.get(self.op)()
        debugger = pdb.Pdb()
        y: Any = debugger.runcall(function.forward, *arrays, **options)
        debugger.runcall(function.backward, random_of(case).standard_normal(y.shape))

    # -- the parts

    def _shapes(self, work: Work, case: Case) -> None:
        arrays, options = self.build(random_of(case), **case)
        copies = [a.copy() for a in arrays]
        expected = self.oracle(*[Tensor(a) for a in arrays], **options).numpy()
        function = work.get(self.op)()
        y = function.forward(*copies, **options)
        changed(work, self.names, arrays, copies, "forward")
        if not isinstance(y, (np.ndarray, np.generic)):
            work.fail(f"forward returned {type(y).__name__}, expected an array of shape {expected.shape}", "wrong type")
        if y.shape != expected.shape or y.dtype != expected.dtype:
            work.fail(f"forward returned {y.dtype} of shape {y.shape}, expected {expected.dtype} of shape {expected.shape}",
                      "wrong shape" if y.shape != expected.shape else "wrong dtype", evidence=(y,))
        upstream = random_of(case).standard_normal(y.shape)
        given = upstream.copy()
        grads = function.backward(given)
        changed(work, self.names, arrays, copies, "backward")
        changed(work, ("the upstream gradient",), (upstream,), (given,), "backward")
        if grads is None:
            work.fail("backward returned None; is a return missing?", "returned None")
        grads = grads if isinstance(grads, (tuple, list)) else (grads,)
        if len(grads) != len(arrays):
            work.fail(f"backward returned {len(grads)} gradients, expected {len(arrays)}: one for each of "
                      f"{', '.join(self.names[:len(arrays)])}, in this order", "wrong number of gradients")
        for name, x, grad in zip(self.names, arrays, grads):
            if not isinstance(grad, (np.ndarray, np.generic)):
                work.fail(f"backward returned {type(grad).__name__} as the gradient of {name}, expected an array of shape "
                          f"{x.shape}; is a return missing?", "wrong type")
            if grad.shape != x.shape:
                work.fail(_shape_words(name, grad.shape, x.shape), "wrong shape", evidence=(grad,))
            if grad.dtype != x.dtype:
                work.fail(f"the gradient of {name} is {grad.dtype}, expected {x.dtype}, the dtype of {name}", "wrong dtype",
                          evidence=(grad,))
        first = [grad.copy() for grad in grads]
        again = function.backward(upstream.copy())
        for name, old, new in zip(self.names, first, again if isinstance(again, (tuple, list)) else (again,)):
            if not np.array_equal(old, new, equal_nan=True):
                work.fail(f"backward, called a second time with the same upstream gradient, returned another gradient of {name}"
                          ". It has changed what forward kept: work on a copy", "backward changes what forward kept",
                          evidence=(new,))

    def _forward(self, work: Work, case: Case) -> None:
        arrays, options = self.build(random_of(case), **case)
        yours = work.get(self.op)().forward(*arrays, **options)
        work.same("forward", yours, self.oracle(*[Tensor(a) for a in arrays], **options).numpy())

    def _measured(self, work: Work, case: Case) -> None:
        arrays, options = self.build(random_of(case), **case)
        op = work.get(self.op)
        inputs = tuple(Tensor(a, requires_grad=True) for a in arrays)
        report = gradcheck(lambda *xs: op.apply(*xs, **options), inputs, raise_exception=False)
        if report.cause is not None:
            raise report.cause                          # backward raised: the student's own traceback says more
        if not report:
            raise Failure(self._words(report), _diagnoses(report), tuple(r.yours for r in report.results))

    def _words(self, report: GradcheckReport) -> list[str]:
        for result in report.results:
            result.name = self.names[result.input]
        return str(report).splitlines()

    def _attempt(self, work: Work, case: Case) -> None:
        self._shapes(work, case)
        self._forward(work, case)
        if not self._agrees(work, case):
            self._measured(work, case)

    def _agrees(self, work: Work, case: Case) -> bool:
        arrays, options = self.build(random_of(case), **case)

        def grads_of(function: Callable[..., Tensor]) -> list[np.ndarray]:
            inputs = [Tensor(a.copy(), requires_grad=True) for a in arrays]
            y = function(*inputs, **options)
            upstream = np.random.default_rng(0).standard_normal(y.shape)
            found = autograd.propagate([y], [Tensor(upstream)], set(inputs), retain_graph=False, create_graph=False)
            return [found[x].numpy() if x in found else np.zeros(x.shape) for x in inputs]

        return all(np.allclose(mine, theirs, rtol=1e-6, atol=1e-8)
                   for mine, theirs in zip(grads_of(work.get(self.op).apply), grads_of(self.oracle)))

    def _medal(self, work: Work) -> None:
        arrays, options = self.build(random_of(self.medal), **self.medal)

        def seconds(function: Callable[..., Tensor]) -> float:
            times = []
            for _ in range(3):
                inputs = [Tensor(a, requires_grad=True) for a in arrays]
                start = time.perf_counter()
                y = function(*inputs, **options)
                y.backward(Tensor(np.ones(y.shape)))
                times.append(time.perf_counter() - start)
            return min(times)

        ratio = seconds(work.get(self.op).apply) / seconds(self.oracle)
        medal = next((name for limit, name in MEDALS if ratio <= limit), "")
        size = ", ".join(f"{name} {value}" for name, value in self.medal.items())
        work.note(f"speed: {ratio:.1f} times the time of the engine's NumPy ({size})" + (f": {medal}" if medal else ""))


def _shape_words(name: str, got: tuple[int, ...], expected: tuple[int, ...]) -> str:
    text = f"the gradient of {name} has shape {got}, expected {expected}, the shape of {name}"
    if len(got) == len(expected) and sorted(got) == sorted(expected):
        return text + "; is it transposed?"
    if np.prod(got, dtype=int) > np.prod(expected, dtype=int):
        return text + "; is a sum missing, over the axes along which it was repeated or over the batch?"
    return text


def _diagnoses(report: GradcheckReport) -> tuple[str, ...]:
    def broken(promises: tuple[tuple[str, str], ...]) -> list[str]:
        return [name for words, name in promises if any(words in reason for reason in report.reasons)]

    first = broken((("changed", "input changed"), ("not deterministic", "not deterministic")))
    last = broken((("not linear", "not linear in the upstream gradient"), ("vacuous", "vacuous")))
    return (*first, *report.diagnoses, *last)
