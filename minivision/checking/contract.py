"""What a function and its backward promise apart from the numbers.

A gradient that matches the measured one can still be broken: backward may change the arrays it was given, give another
answer the second time, or treat the upstream gradient as anything but a factor. Each check here returns sentences that
say what was seen and what to change; an empty list means that the promise was kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import node_of, propagate
from ..device import move
from ..tensor import Tensor
from .numeric import float_outputs, fresh

Arrays = Sequence[np.ndarray]


class BackwardRaised(Exception):
    """Backward raised; ``__cause__`` is what it raised."""


class Run:
    """``func`` run once with recording on, on copies of ``arrays``."""

    def __init__(self, func: Callable[..., Any], arrays: Arrays, varied: Sequence[int], devices: Sequence[str]):
        self.arrays, self.varied = arrays, varied
        self.tensors = fresh(arrays, devices, varied)
        self.result = func(*self.tensors)
        self.changed_upstream: list[str] = []

    @property
    def outputs(self) -> list[Tensor]:
        return float_outputs(self.result)

    def gradients(self, upstream: Arrays) -> list[np.ndarray]:
        """One gradient per varied input; zeros where backward gave none."""
        used = [(y, g) for y, g in zip(self.outputs, upstream) if y.requires_grad]
        connected = [(y, Tensor(move(np.array(g), y.device))) for y, g in used]
        leaves = [self.tensors[i] for i in self.varied]
        try:
            found = propagate([y for y, _ in connected], [g for _, g in connected], {node_of(x) for x in leaves},
                              retain_graph=True, create_graph=False)
        except Exception as problem:
            raise BackwardRaised(f"backward raised {type(problem).__name__}: {problem}") from problem
        for (_, seen), (_, given) in zip(connected, used):
            if not _same(seen.numpy(), given):
                self.changed_upstream = [
                    f"backward changed the upstream gradient it was given, {_where(seen.numpy(), given)}; others may "
                    "still need it, so build a new Tensor"]
        grads = [found.get(x) for x in leaves]
        return [np.zeros(x.shape) if g is None else g.numpy().copy() for x, g in zip(leaves, grads)]

    def changed_inputs(self, when: str) -> list[str]:
        """Which inputs no longer hold what they were given."""
        return [f"input {i} was changed by {when}: {_where(t.numpy(), a)}; work on a copy of it"
                for i, (t, a) in enumerate(zip(self.tensors, self.arrays)) if not _same(t.numpy(), a)]


def wrong_outputs(result: Any) -> list[str]:
    """Whether ``func`` returned something that can be checked."""
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    for i, y in enumerate(outputs):
        if not isinstance(y, Tensor):
            return [f"func returned a {type(y).__name__} as output {i}; return a Tensor, or a tuple of Tensors"]
        if y.dtype.kind == "f" and y.dtype != np.float64:
            return [f"output {i} is {y.dtype} although the inputs are float64; keep float64 inside func, since "
                    f"{y.dtype} has too few digits to measure a derivative"]
        if not np.isfinite(y.numpy()).all():
            place = tuple(int(k) for k in np.argwhere(~np.isfinite(y.numpy()))[0])
            return [f"output {i} holds {y.numpy()[place]} at {list(place)}, which has no derivative; choose inputs "
                    "inside the function's domain"]
    if not any(y.dtype.kind == "f" for y in outputs):
        dtypes = " and ".join(sorted({str(y.dtype) for y in outputs}))
        return [f"func returned only {dtypes}, which has no derivative: it is constant wherever it does not jump"]
    return []


def different_outputs(first: Sequence[Tensor], second: Sequence[Tensor]) -> list[str]:
    if [y.shape for y in first] != [y.shape for y in second]:
        return [f"func is not deterministic: it gave outputs of shapes {[y.shape for y in first]}, then "
                f"{[y.shape for y in second]}, for the same inputs"]
    return [f"func is not deterministic: output {i} differs between two runs on the same inputs, "
            f"{_where(b.numpy(), a.numpy())}; if it draws random numbers (dropout), seed them inside func: "
            "mv.manual_seed(0)"
            for i, (a, b) in enumerate(zip(first, second)) if not _same(a.numpy(), b.numpy())]


def different_gradients(first: Arrays, second: Arrays, varied: Sequence[int]) -> list[str]:
    return [f"backward is not deterministic: the gradient of input {i} differs between two runs, {_where(b, a)}; it "
            "must depend on nothing but the inputs and the upstream gradient"
            for i, a, b in zip(varied, first, second) if not _same(a, b)]


def nonlinear(of_first: Arrays, of_second: Arrays, of_both: Arrays, varied: Sequence[int],
              atol: float) -> list[str]:
    """Whether backward(2 g + 5 h) = 2 backward(g) + 5 backward(h), as the chain rule demands."""
    problems = []
    for i, a, b, both in zip(varied, of_first, of_second, of_both):
        expected = 2 * a + 5 * b
        size = np.abs(expected).max(initial=0) + np.abs(a).max(initial=0) + np.abs(b).max(initial=0)
        if np.isfinite(size) and not (np.abs(both - expected) <= atol + 1e-6 * size).all():
            problems.append(f"backward is not linear in the upstream gradient (input {i}): 2 g + 5 h gives "
                            f"{_where(both, expected)}; each gradient must be the upstream gradient times something "
                            "that does not depend on it")
    return problems


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _where(seen: np.ndarray, expected: np.ndarray) -> str:
    """The first place where two arrays differ most."""
    if seen.shape != expected.shape or seen.dtype != expected.dtype:
        return f"{seen.dtype} of shape {seen.shape} instead of {expected.dtype} of shape {expected.shape}"
    gap = np.nan_to_num(np.abs(seen.astype(float) - expected.astype(float)), nan=np.inf)
    place = np.unravel_index(int(np.argmax(gap)), gap.shape) if gap.ndim else ()
    return f"{seen[place]:.6g} at {[int(k) for k in place]} instead of {expected[place]:.6g}"
