"""The gradient checker: is this backward the derivative of that forward?

The upstream gradient is random and every entry of every input is measured. Summing the outputs instead (an upstream of
ones) is how checkers come to accept a softmax without a backward: its outputs always sum to 1, so the derivative of the
sum is zero whatever backward does. What else a check must not do silently: skip entries at kinks, pass where all
gradients are too small to be seen, or excuse a wrong gradient with its own rounding errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import autograd
from ..device import move
from ..tensor import Tensor
from .contract import (
    BackwardRaised,
    Run,
    different_gradients,
    different_outputs,
    nonlinear,
    wrong_outputs,
)
from .diagnosis import Evidence, diagnose
from .kinks import ROUNDS, Kink, move_away
from .numeric import EPS, Numeric, Probe, float_outputs, measure
from .report import GradcheckError, GradcheckReport, InputResult, worst_entries

ATOL, RTOL = 1e-8, 1e-6
VISIBLE = 10.0           # an entry is tested if it is this many times its tolerance away from zero
UNCERTAIN = 1e-5         # a measurement off by more than this share of the gradient proves nothing


def gradcheck(func: Callable[..., Any], inputs: Any, *, eps: float | None = None, atol: float | None = None,
              rtol: float | None = None, raise_exception: bool = True, seed: int = 0,
              lift: bool = False) -> GradcheckReport:
    """Compare the gradients that backward computes with measured ones, and say what is wrong with them.

    Args:
        func: takes the inputs as Tensors, returns a Tensor or a tuple of Tensors; for example ``MyOp.apply``.
        inputs: one Tensor or a tuple, float64. Those that require grad are checked, the others are constants. They are
            copied; nothing happens to them, to their ``grad``, or to anything else.
        eps: step of the differences, relative to max(1, |x|); 1e-5.
        atol, rtol: a gradient entry may differ from the measured one by atol + rtol * |measured|, and by three times
            what the measurement itself is uncertain; 1e-8 and 1e-6.
        raise_exception: raise the failure; otherwise return the report, which is false.
        seed: of the random upstream gradient and of the moves away from kinks.
        lift: convert float32 inputs to float64 instead of refusing them.

    Returns:
        A `GradcheckReport`. ``print`` it.

    Raises:
        GradcheckError: the gradients are wrong, or could not be tested; its text is the report.
        TypeError: an input is not a Tensor, or is a float32 one that requires grad.
        ValueError: no input requires grad, or a setting is not a positive number.

    Inputs that sit on a kink (ReLU at 0, a tie of max) are moved away and listed in the report. Gradients are compared
    where the function was measured: after the move.
    """
    tensors = _inputs(inputs, lift, "gradcheck")
    settings = _Settings(eps, atol, rtol, seed)
    names = [f"input {i}" for i in range(len(tensors))]
    return _finish(_check(func, tensors, names, settings, GradcheckReport(settings.eps)), raise_exception)


def gradgradcheck(func: Callable[..., Any], inputs: Any, *, eps: float | None = None, atol: float | None = None,
                  rtol: float | None = None, raise_exception: bool = True, seed: int = 0,
                  lift: bool = False) -> GradcheckReport:
    """Check second derivatives: `gradcheck` of the gradient itself, as a function of the inputs and the upstream.

    Arguments as in `gradcheck`. The gradient of <upstream, func(inputs)> is recorded with ``create_graph=True`` and
    differentiated again, with respect to the inputs (where it may well be zero: a linear function has no second
    derivative) and to the upstream gradient (where it is never zero, since the gradient is linear in it).
    """
    tensors = _inputs(inputs, lift, "gradgradcheck")
    settings = _Settings(eps, atol, rtol, seed)
    varied = [i for i, x in enumerate(tensors) if x.requires_grad]
    result = Run(func, [x.numpy() for x in tensors], varied, [x.device for x in tensors]).result
    report = GradcheckReport(settings.eps, title="gradgradcheck", reasons=wrong_outputs(result))
    if report.reasons:
        return _finish(report, raise_exception)
    outputs = float_outputs(result)
    upstream = [Tensor(move(u, y.device), requires_grad=True)
                for u, y in zip(_random_upstream(outputs, settings.random()), outputs)]

    def first_order(*args: Tensor) -> tuple[Tensor, ...]:
        xs = list(args[:len(tensors)])
        for i in varied:                                  # when measured, the inputs come without a history
            if not xs[i].requires_grad:
                raise autograd.GraphError("the gradient needs inputs that require grad")
        connected = [(y, g) for y, g in zip(float_outputs(func(*xs)), args[len(tensors):]) if y.requires_grad]
        found = autograd.propagate([y for y, _ in connected], [g for _, g in connected],
                                   {autograd.node_of(xs[i]) for i in varied}, retain_graph=True, create_graph=True)
        return tuple(found.get(xs[i], xs[i] * 0.0) for i in varied)

    names = [f"input {i}" for i in range(len(tensors))] + [f"upstream {i}" for i in range(len(upstream))]
    report = _check(first_order, [*tensors, *upstream], names, settings, report, set(range(len(tensors))))
    report.second_order_zero = bool(report.results) and all(
        r.scale <= settings.atol for r in report.results if r.input < len(tensors))
    return _finish(report, raise_exception)


# ---------------------------------------------------------------------------------------------- the parts


class _Settings:
    def __init__(self, eps: float | None, atol: float | None, rtol: float | None, seed: int):
        self.eps = EPS if eps is None else float(eps)
        self.atol = ATOL if atol is None else float(atol)
        self.rtol = RTOL if rtol is None else float(rtol)
        self.seed = seed
        if not (0 < self.eps < 1 and self.atol >= 0 and self.rtol >= 0):
            raise ValueError(f"got eps={self.eps}, atol={self.atol}, rtol={self.rtol}; expected 0 < eps < 1 and "
                             "tolerances >= 0")

    def random(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)


def _inputs(inputs: Any, lift: bool, name: str) -> list[Tensor]:
    tensors = list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    for i, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: input {i} is a {type(x).__name__}; expected a Tensor, for example "
                            "mv.tensor(array, dtype='float64', requires_grad=True)")
        if x.requires_grad and x.dtype != np.float64 and not lift:
            raise TypeError(
                f"{name}: input {i} is {x.dtype}, which carries about 7 digits. A central difference subtracts nearly "
                "equal numbers and would keep 2 or 3 of them, too few to tell a wrong gradient from rounding. Convert "
                "it with .to(dtype='float64'), or pass lift=True to have it converted")
    if not any(x.requires_grad for x in tensors):
        raise ValueError(f"{name}: none of the {len(tensors)} input(s) requires grad, so there is nothing to check; "
                         "create one with requires_grad=True")
    if not lift:
        return tensors
    return [Tensor(x._data.astype(np.float64), x.requires_grad) if x.dtype.kind == "f" else x for x in tensors]


def _random_upstream(outputs: Sequence[Tensor], random: np.random.Generator) -> list[np.ndarray]:
    """Numbers of either sign and not near 0, so that every output weighs in."""
    return [np.asarray(random.uniform(0.5, 1.5, y.shape) * random.choice([-1.0, 1.0], y.shape)) for y in outputs]


def _finish(report: GradcheckReport, raise_exception: bool) -> GradcheckReport:
    if raise_exception and not report:
        raise GradcheckError(report) from report.cause
    return report


def _check(func: Callable[..., Any], tensors: Sequence[Tensor], names: Sequence[str], settings: _Settings,
           report: GradcheckReport, may_be_constant: frozenset[int] | set[int] = frozenset()) -> GradcheckReport:
    arrays = [x.numpy().copy() for x in tensors]
    devices = [x.device for x in tensors]
    varied = [i for i, x in enumerate(tensors) if x.requires_grad]
    random = settings.random()

    run = Run(func, arrays, varied, devices)
    report.reasons = wrong_outputs(run.result) or run.changed_inputs("func")
    if report.reasons:
        return report
    shapes = [y.shape for y in run.outputs]
    upstream = _random_upstream(run.outputs, random)
    try:
        again = Run(func, arrays, varied, devices)
        report.reasons = different_outputs(run.outputs, again.outputs) or _unstable(run, again, upstream)
        if report.reasons:
            return report
        report.reasons = _not_linear(run, upstream, random, settings.atol)
        probe = Probe(func, varied, devices)
        numerics = _measure_away_from_kinks(probe, arrays, varied, upstream, settings, random, report)
        grads = Run(func, arrays, varied, devices).gradients(upstream)
    except BackwardRaised as problem:
        report.reasons, report.cause = [str(problem)], problem.__cause__
        return report

    for i, yours, numeric in zip(varied, grads, numerics):
        report.results.append(_compare(i, names[i], yours, numeric, settings))
    _judge(report, settings, may_be_constant)
    weights = np.concatenate([u.ravel() for u in upstream])
    _explain(report, [Evidence(r, n.jacobian, weights, shapes, report.results, [a.shape for a in arrays], settings.atol)
                      for r, n in zip(report.results, numerics)])
    return report


def _unstable(run: Run, again: Run, upstream: Sequence[np.ndarray]) -> list[str]:
    first = run.gradients(upstream)
    return (run.changed_inputs("backward") or run.changed_upstream
            or different_gradients(first, again.gradients(upstream), run.varied))


def _not_linear(run: Run, upstream: Sequence[np.ndarray], random: np.random.Generator, atol: float) -> list[str]:
    other = _random_upstream(run.outputs, random)
    both = [2 * g + 5 * h for g, h in zip(upstream, other)]
    return nonlinear(run.gradients(upstream), run.gradients(other), run.gradients(both), run.varied, atol)


def _measure_away_from_kinks(probe: Probe, arrays: list[np.ndarray], varied: Sequence[int],
                             upstream: Sequence[np.ndarray], settings: _Settings, random: np.random.Generator,
                             report: GradcheckReport) -> list[Numeric]:
    """Measure every gradient; where a kink lies within a step, move those entries of ``arrays`` and measure again."""
    weights = np.concatenate([u.ravel() for u in upstream])
    moved: dict[tuple[int, int], Kink] = {}
    for round_ in range(ROUNDS + 1):
        numerics = [measure(probe, arrays, i, weights, settings.eps, settings.atol) for i in varied]
        if round_ == ROUNDS or not any(n.kinks for n in numerics):
            break
        for i, numeric in zip(varied, numerics):
            for k in numeric.kinks:
                index = tuple(int(j) for j in np.unravel_index(k, arrays[i].shape))
                value = float(arrays[i][index])
                arrays[i][index] = move_away(value, settings.eps, round_, random)
                kink = moved.setdefault((i, k), Kink(i, index, value, value))
                kink.moved_to = float(arrays[i][index])
    report.kinks = list(moved.values())
    return numerics


def _compare(i: int, name: str, yours: np.ndarray, numeric: Numeric, settings: _Settings) -> InputResult:
    kinks = np.zeros(yours.shape, bool)
    kinks.reshape(-1)[numeric.kinks] = True
    size = np.abs(np.where(np.isfinite(numeric.values) & ~kinks, numeric.values, 0.0))
    # The measurement's own uncertainty may loosen the tolerance, but never far enough to hide a mistake.
    slack = UNCERTAIN * size.max(initial=0.0)
    uncertain = ~(numeric.errors <= settings.atol + slack) & ~kinks
    tolerance = settings.atol + settings.rtol * size + np.minimum(3 * numeric.errors, slack)
    return InputResult(i, name, yours, numeric.values, tolerance, numeric.errors, kinks, uncertain)


def _judge(report: GradcheckReport, settings: _Settings, may_be_constant: frozenset[int] | set[int]) -> None:
    """Count what was tested, and say where the check itself is worth nothing."""
    visible = 0
    for r in report.results:
        large = (np.abs(r.numeric) > VISIBLE * (settings.atol + r.noise)) & r.usable
        visible += int(large.sum())
        report.checked += int(r.usable.sum())
        if r.usable.any():
            worst = float(np.nan_to_num(r.error[r.usable], nan=np.inf).max())
            report.max_error = max(report.max_error, worst / max(r.scale, settings.atol))
        if r.kinks.any():
            report.reasons.append(
                f"{r.name}: {int(r.kinks.sum())} entries still sit within eps of a kink after {ROUNDS} redraws, the "
                f"first at {_first(r.kinks)}; use a smaller eps or a smoother func (does it round, or compute in "
                "float32 inside?)")
        if r.uncertain.any():
            report.reasons.append(
                f"{r.name}: the numeric gradient is uncertain at {int(r.uncertain.sum())} entries, the first at "
                f"{_first(r.uncertain)}; func may leave its domain there, round, or compute in float32 "
                "inside. Move the inputs, scale them to about 1, or change eps")
        if r.usable.all() and not large.any() and not r.wrong.any() and r.input not in may_be_constant:
            why = ("The outputs do not depend on it at all" if r.scale == 0 else
                   "Is func constant (a sum of softmax is always 1), or saturated? Change func or its inputs")
            report.reasons.append(
                f"vacuous: no entry of the gradient of {r.name} can be told from zero (largest {r.scale:.1g}), so a "
                f"backward that returns zeros would pass as well. {why}")
    report.power = 100.0 * visible / report.checked if report.checked else 0.0


def _first(mask: np.ndarray) -> list[int]:
    return [int(j) for j in np.unravel_index(int(np.argmax(mask)), mask.shape)]


def _explain(report: GradcheckReport, evidence: Sequence[Evidence]) -> None:
    for result in report.results:
        report.entries += worst_entries(result)
    report.entries.sort(key=lambda e: -e.gap)
    found = diagnose([e for e in evidence if e.result.wrong.any()])
    if any(r.kinks.any() for r in report.results):
        found.append(("kink within eps", ""))
    report.diagnoses, report.details = [name for name, _ in found], [detail for _, detail in found]
