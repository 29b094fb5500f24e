"""Derivatives by measurement: move one number a little, look how far the outputs move.

The central difference (f(x + h) - f(x - h)) / 2h is wrong by h² f'''/6 because the function bends, and by about
u |f| / h because float64 rounds with u = 1e-16. The two meet near h = u^(1/3) = 6e-6 times the scale on which x changes
the function (Press et al., Numerical Recipes, section 5.7), hence the default step ``EPS * max(1, |x|)``.

Every slope is measured twice, with steps h and 2h. That costs twice as much and buys three things: Richardson's
combination (4 D(h) - D(2h)) / 3, in which the h² error cancels (Numerical Recipes, section 5.7, after Ridders 1982);
the difference |D(h) - D(2h)|, an honest estimate of what is left; and a first suspicion of a kink, see `kinks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd import GraphError, no_grad
from ..device import move
from ..tensor import Tensor
from .kinks import has_kink

EPS = 1e-5                           # default step, relative to max(1, |x|)
ROUNDING = np.finfo(np.float64).eps
LARGEST_JACOBIAN = 4_000_000         # entries kept for the diagnosis, 32 MB


@dataclass
class Numeric:
    """The measured gradient of one input.

    ``values`` and ``errors`` have the input's shape; ``errors`` estimates how far ``values`` may be off. ``jacobian``
    (entries of the input, entries of the outputs) is None where it would be too large. ``kinks`` lists flat positions.
    """

    values: np.ndarray
    errors: np.ndarray
    jacobian: np.ndarray | None
    kinks: list[int]


class Probe:
    """``func`` as a plain function of arrays: Tensors are made and thrown away inside.

    Every call works on fresh copies, so that nothing ``func`` does can reach the caller's arrays.
    """

    def __init__(self, func: Callable[..., Any], varied: Sequence[int], devices: Sequence[str]):
        self.func, self.varied, self.devices = func, varied, devices
        self.recording = False

    def __call__(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """All float outputs, one after the other in one flat float64 array."""
        with np.errstate(all="ignore"):       # a step may leave the domain of log; the nan is seen and handled
            return self._run(arrays)

    def _run(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        if not self.recording:
            try:
                with no_grad():
                    return flat_outputs(self.func(*fresh(arrays, self.devices)))
            except GraphError:
                self.recording = True         # func asks for gradients itself, so it needs a graph to do so
        return flat_outputs(self.func(*fresh(arrays, self.devices, self.varied)))


def fresh(arrays: Sequence[np.ndarray], devices: Sequence[str], varied: Sequence[int] = ()) -> list[Tensor]:
    """New Tensors with copies of ``arrays``, each on its device; those in ``varied`` require grad."""
    return [Tensor(move(a.copy(), device), requires_grad=i in varied)
            for i, (a, device) in enumerate(zip(arrays, devices))]


def float_outputs(result: Any) -> list[Tensor]:
    """The outputs that have a gradient; whole numbers (an argmax, say) have none."""
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    return [y for y in outputs if y.dtype.kind == "f"]


def flat_outputs(result: Any) -> np.ndarray:
    return np.concatenate([y.numpy().ravel() for y in float_outputs(result)])


def measure(probe: Probe, arrays: Sequence[np.ndarray], which: int, upstream: np.ndarray, eps: float,
            atol: float) -> Numeric:
    """The gradient of <upstream, func(arrays)> with respect to ``arrays[which]``, entry by entry.

    Args:
        probe: the function.
        arrays: its inputs; not changed.
        which: the input to differentiate, float64.
        upstream: (M,), the weight of each of the M output numbers.
        eps: the step, relative to max(1, |x|).
        atol: differences below this are not worth a second look.
    """
    x = arrays[which]
    keep = x.size * upstream.size <= LARGEST_JACOBIAN
    result = Numeric(np.zeros(x.shape), np.zeros(x.shape), np.zeros((x.size, upstream.size)) if keep else None, [])
    centre = probe(arrays)
    work = [a.copy() for a in arrays]
    entries = work[which] = np.ascontiguousarray(work[which])
    entries = entries.reshape(-1)
    values, errors = result.values.reshape(-1), result.errors.reshape(-1)
    for i in range(x.size):
        here = float(entries[i])

        def at(step: float, i: int = i, here: float = here) -> np.ndarray:
            entries[i] = here + step
            outputs = probe(work)
            entries[i] = here
            return outputs

        # A step that float64 can add to x exactly, or the quotient would be divided by the wrong width.
        h = (here + eps * max(1.0, abs(here))) - here
        slope = Slope(at, h, upstream, centre)
        if slope.suspicious(atol):
            if slope.finite and has_kink(along(at, upstream), 2.5 * h):
                result.kinks.append(i)
            else:                    # it bends strongly, leaves its domain, or is noisy: another step may do better
                slope = refined(slope, at, h, upstream, centre)
        values[i], errors[i] = slope.value, slope.error
        if result.jacobian is not None:
            result.jacobian[i] = slope.column
    return result


def along(at: Callable[[float], np.ndarray], upstream: np.ndarray) -> Callable[[float], float]:
    return lambda t: float(upstream @ at(t))


def refined(slope: Slope, at: Callable[[float], np.ndarray], h: float, upstream: np.ndarray,
            centre: np.ndarray) -> Slope:
    """A better measurement, if smaller steps (for a strong bend) or larger ones (for a noisy function) give one.

    Only convergence counts: the new value must lie where the old error allowed it, and the error must fall. Taking the
    step with the smallest error would be fooled by a function that rounds, whose slope at tiny steps is exactly zero.
    """
    for factors in ((1 / 8, 1 / 64, 1 / 512, 1 / 4096), (8.0,)):
        start = slope
        for factor in factors:
            other = Slope(at, h * factor, upstream, centre)
            falls = other.finite and other.error <= slope.error / 4
            if slope.finite and not (falls and abs(other.value - slope.value) <= 2 * slope.error):
                break
            slope = other
        if slope is not start:
            break
    return slope


class Slope:
    """One entry's derivative from the outputs at x and at four places around it.

    ``value`` is the derivative of <upstream, outputs>, ``column`` that of each output, ``error`` an estimate of how far
    ``value`` may be off.
    """

    def __init__(self, at: Callable[[float], np.ndarray], h: float, upstream: np.ndarray, centre: np.ndarray):
        down2, down, up, up2 = at(-2 * h), at(-h), at(h), at(2 * h)
        with np.errstate(invalid="ignore", over="ignore"):
            # Outputs are subtracted one by one, before the sum: those that did not move contribute exactly nothing.
            once, twice = up - down, up2 - down2
            self.column = (8 * once - twice) / (12 * h)              # Richardson's combination
            self.value = float(upstream @ self.column)
            self.finite = bool(np.isfinite(self.value))
            self.error = float(abs(upstream @ (2 * once - twice) / (4 * h))) if self.finite else np.inf
            # In the middle of a kink both quotients agree, on the mean of two slopes. The fourth difference does not:
            # it is h^4 f'''' for a smooth function, and 2 h times the change of slope for a kink.
            self.bend = float(abs(upstream @ (up2 - 4 * up + 6 * centre - 4 * down + down2) / (2 * h)))
            self.noise = float(ROUNDING * (np.abs(upstream) @ np.abs(centre * (once != 0))) / h) if self.finite else 0.0

    def suspicious(self, atol: float) -> bool:
        """Is this more than a gentle bend and rounding explain?"""
        return not self.finite or max(self.error, self.bend) > atol + 1e-6 * abs(self.value) + 100 * self.noise
