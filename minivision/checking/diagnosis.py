"""From a wrong gradient to the mistake that made it.

Each detector below knows one mistake. It computes what backward *would* return with that mistake in it and compares:
an exact match is an explanation. The detectors stand in order, exact and specific ones first, and the order is the
ranking. Where nothing matches, nothing is claimed.

Some mistakes show only in the single contributions that a gradient is the sum of: output m hands
upstream[m] * d output[m] / d x[i] to entry i. Those come from the measured Jacobian; see `contributions.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from .contributions import DETECTORS as OF_CONTRIBUTIONS
from .report import InputResult

Found = Iterator[tuple[str, str]]        # (name of the mistake, how it shows)


@dataclass
class Evidence:
    """All that is known about one wrong gradient."""

    result: InputResult
    jacobian: np.ndarray | None                   # (entries of the input, M output numbers)
    upstream: np.ndarray                          # (M,)
    outputs: list[tuple[int, ...]]                # shapes
    results: list[InputResult]                    # of all checked inputs
    inputs: list[tuple[int, ...]]                 # shapes of all inputs
    atol: float

    @property
    def yours(self) -> np.ndarray:
        return self.result.yours

    @property
    def numeric(self) -> np.ndarray:
        return self.result.numeric

    @cached_property
    def gap(self) -> float:
        return float(self.result.error[self.result.usable].max(initial=0.0))

    def explained_by(self, candidate: np.ndarray, where: np.ndarray | None = None) -> bool:
        """Whether ``candidate`` is what backward returned: within measuring errors, and far closer than the truth."""
        usable = self.result.usable if where is None else self.result.usable & where
        if candidate.shape != self.yours.shape or not usable.any():
            return False
        off = np.abs(candidate - self.yours)[usable]
        scale = max(float(np.abs(self.yours).max()), self.result.scale)
        return bool((off <= 10 * self.atol + 1e-5 * scale).all() and off.max() <= 0.05 * self.gap)


def diagnose(wrong: Sequence[Evidence], only: Sequence[Callable[[Evidence], Found]] = ()) -> list[tuple[str, str]]:
    """The mistakes that explain the wrong gradients, best first, each with how it shows; ``only`` some detectors, if given."""
    # Where several inputs are wrong, a mistake that explains more of them comes first.
    votes: dict[str, tuple[int, int, str]] = {}
    sources: dict[str, str] = {}
    for evidence in wrong:
        detectors = (only or EXACT + OF_CONTRIBUTIONS + VAGUE) if np.isfinite(evidence.yours).all() else [not_finite]
        seen: set[str] = set()
        for rank, detector in enumerate(detectors):
            for name, detail in detector(evidence):
                if name not in seen:
                    seen.add(name)
                    sources.setdefault(name, evidence.result.name)
                    count, best, text = votes.get(name, (0, rank, detail))
                    votes[name] = (count + 1, min(best, rank), text)
    if len(wrong) > 1:
        for name, (count, best, text) in votes.items():
            if count < len(wrong):
                votes[name] = (count, best, f"{sources[name]}: {text}")
    vague = len(EXACT + OF_CONTRIBUTIONS)
    order = sorted(votes, key=lambda name: (votes[name][1] >= vague, -votes[name][0], votes[name][1]))
    return [(name, votes[name][2]) for name in order]


# ---------------------------------------------------------------------------------------------- the whole tensor


def not_finite(e: Evidence) -> Found:
    count = int((~np.isfinite(e.yours)).sum())
    if count:
        yield "NaN or inf", f"{count} of {e.yours.size} entries; exp of a large number, log of 0 or less, a division by 0?"


def zero(e: Evidence) -> Found:
    if (np.abs(e.yours) <= e.atol).all():
        yield "zero gradient", "backward returned nothing for it, or the graph was cut (.detach(), .data, .numpy())"


def missing_upstream(e: Evidence) -> Found:
    if e.jacobian is not None and e.explained_by(e.jacobian.sum(axis=1).reshape(e.yours.shape)):
        yield "missing upstream gradient", "the local derivative was returned without multiplying it by grad"


def missing_local(e: Evidence) -> Found:
    right = ~e.result.wrong & (np.abs(e.numeric) > e.atol)
    if e.upstream.size == e.yours.size and not right.any() and e.explained_by(e.upstream.reshape(e.yours.shape)):
        yield "local derivative missing", "grad was passed on as it came"


def scaled(e: Evidence) -> Found:
    """A constant factor, and what such a factor usually means."""
    numeric, yours = e.numeric[e.result.usable], e.yours[e.result.usable]
    factor = float(yours @ numeric / (numeric @ numeric)) if numeric.any() else 0.0
    if abs(factor) < 1e-9 or not e.explained_by(factor * e.numeric):
        return
    if (np.abs(numeric) > 1e-3 * e.result.scale).sum() < 2 and not _simple(factor):
        return                                        # any two numbers have some ratio
    if abs(factor + 1) < 1e-5:
        yield "sign flipped", "every entry has the opposite sign"
        return
    text = "scaled by " + f"{factor:.4g}", "every entry has this ratio to the true one"
    batch = [n for n in {s[0] for s in e.inputs + e.outputs if s} if n > 1]
    averaged = any(prod(s) == 1 for s in e.outputs)
    for n in batch:
        if abs(factor * n - 1) < 1e-5:
            cause = "divided by batch twice", f"every entry is 1/{n} of the true one, and {n} the length of axis 0"
            yield from (cause, text) if n > 2 or averaged else (text, cause)
        if abs(factor / n - 1) < 1e-5:
            cause = "missing division by batch", f"every entry is {n} times the true one, and {n} the length of axis 0"
            yield from (cause, text) if n > 2 and averaged else (text, cause)
    yield text


def _simple(factor: float) -> bool:
    return any(abs(f * n - round(f * n)) < 1e-5 and round(f * n) for f in (factor, 1 / factor) for n in (1, 2, 3, 4, 5))


def rearranged(e: Evidence) -> Found:
    """The right numbers in the wrong places."""
    true, d = e.numeric, e.numeric.ndim
    permutations = itertools.permutations(range(d)) if d <= 4 else _exchanges(d)
    for axes in itertools.islice(permutations, 1, None):
        if e.explained_by(true.transpose(axes)):
            yield "transposed", f"it equals the true gradient with its axes in the order {axes}"
        elif true.transpose(axes).size == e.yours.size and e.explained_by(true.transpose(axes).reshape(e.yours.shape)):
            yield "transposed", f"it is the true gradient with axes in the order {axes}, reshaped, not transposed back"
        elif prod(e.yours.shape) and e.explained_by(_unreshape(true, axes)):
            yield "transposed", f"axes {axes} were restored with reshape instead of transpose"
    for shape in e.outputs:
        if prod(shape) == true.size and len(shape) > 1 and shape != true.shape and e.explained_by(
                true.reshape(shape).T.reshape(true.shape)):
            yield "transposed", f"the upstream gradient, of shape {shape}, was transposed before it was reshaped"
    if e.jacobian is not None and true.size == e.upstream.size and e.explained_by(
            (e.upstream @ e.jacobian).reshape(true.shape)):
        yield "transposed", "a matrix of the forward pass was used as it is; its transpose is needed"
    for count in range(1, min(d, 4) + 1):
        for flipped in itertools.combinations(range(d), count):
            if e.explained_by(np.flip(true, flipped)):
                both = count == 2 and flipped == (d - 2, d - 1)
                yield "flipped", f"reversed along axes {flipped}" + (", a rotation by 180 degrees" if both else "")


def _exchanges(d: int) -> Iterator[tuple[int, ...]]:
    yield tuple(range(d))
    for a, b in itertools.combinations(range(d), 2):
        axes = list(range(d))
        axes[a], axes[b] = b, a
        yield tuple(axes)
    yield tuple(reversed(range(d)))


def _unreshape(true: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The data of ``true``, read as if its axes already stood in the order ``axes``, and put back."""
    shape = tuple(true.shape[a] for a in axes)
    return true.reshape(shape).transpose(np.argsort(axes))


def shifted(e: Evidence) -> Found:
    """Moved by one along an axis, or along the last two; what came in at the edge may be anything."""
    d = e.yours.ndim
    steps = [tuple(s if i == axis else 0 for i in range(d)) for axis in range(d) for s in (1, -1)]
    steps += [(0,) * (d - 2) + (a, b) for a in (1, -1) for b in (1, -1)] if d >= 2 else []
    for step in steps:
        if any(s and n < 3 for s, n in zip(step, e.yours.shape)):
            continue
        candidate = np.roll(e.numeric, step, tuple(range(d)))
        inside = np.zeros(e.yours.shape, bool)
        inside[tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(step, e.yours.shape))] = True
        telling = inside & (np.abs(candidate) > 1e-3 * e.result.scale)
        if telling.sum() >= 2 and e.explained_by(candidate, inside):
            yield "shifted by one", f"by {[s for s in step if s]} along axes {[i for i, s in enumerate(step) if s]}"


def another_input(e: Evidence) -> Found:
    for other in e.results:
        if other is not e.result and other.numeric.size == e.yours.size and e.explained_by(
                other.numeric.reshape(e.yours.shape)):
            yield "gradient of another input", f"it is the true gradient of {other.name}; are they returned in order?"


# ---------------------------------------------------------------------------------------------- parts of the tensor


def only_first_group(e: Evidence) -> Found:
    """Right at the beginning of an axis, zero in the rest."""
    for axis, n in enumerate(e.yours.shape):
        given = np.abs(np.moveaxis(e.yours, axis, 0).reshape(n, -1)).max(axis=1) > e.atol
        needed = np.abs(np.moveaxis(e.numeric, axis, 0).reshape(n, -1)).max(axis=1) > e.atol
        count = int(given.sum())
        if 0 < count < n and given[:count].all() and needed[count:].any() and (
                not np.moveaxis(e.result.wrong, axis, 0)[:count].any()):
            yield ("only the first group has a gradient",
                   f"along axis {axis} the first {count} of {n} are right, the rest is zero")


def border(e: Evidence) -> Found:
    axes = range(max(e.yours.ndim - 2, 0), e.yours.ndim)
    inner = np.zeros(e.yours.shape, bool)
    inner[tuple(slice(1, -1) if i in axes else slice(None) for i in range(e.yours.ndim))] = True
    seen = inner & (np.abs(e.numeric) > e.atol)
    outer_wrong = int((e.result.wrong & ~inner).sum())
    if e.yours.ndim >= 2 and seen.sum() > 1 and not (e.result.wrong & inner).any() and outer_wrong > 1:
        yield "wrong at the border (padding?)", "every entry inside is right"


def gate(e: Evidence) -> Found:
    """Right where it is right, and zero exactly where it should not be, or the other way round."""
    wrong, true, yours = e.result.wrong, np.abs(e.numeric) > e.atol, np.abs(e.yours) > e.atol
    if not (~wrong & true).any():
        return
    if not (wrong & true).any():
        yield "passes where it should block", "the true gradient is zero at every wrong entry; is the mask right?"
    if not (wrong & yours).any():
        yield "blocks where it should pass", "yours is zero at every wrong entry, and right elsewhere"


def some_scaled(e: Evidence) -> Found:
    wrong = e.result.wrong & e.result.usable
    if wrong.sum() < 3 or not (~wrong & (np.abs(e.numeric) > e.atol)).any():
        return
    factor = float(e.yours[wrong] @ e.numeric[wrong] / max(e.numeric[wrong] @ e.numeric[wrong], 1e-300))
    if abs(factor) > 1e-9 and e.explained_by(np.where(wrong, factor * e.numeric, e.numeric)):
        yield f"some entries scaled by {factor:.4g}", "the others are right"


def constant(e: Evidence) -> Found:
    """Off by one number, or by one number for each slice: a mean or sum that was not subtracted, or a bias too many."""
    gap = e.yours - e.numeric
    d = gap.ndim
    for count in range(d, 0, -1):
        for axes in itertools.combinations(range(d), count):
            if prod(gap.shape[a] for a in axes) >= 3 and e.explained_by(e.numeric + gap.mean(axis=axes, keepdims=True)):
                where = f": {float(gap.flat[0]):.4g}" if count == d else f" along axes {axes}"
                yield "wrong by a constant", f"the difference is the same everywhere{where}; is a mean or sum missing?"
                return


EXACT: list[Callable[[Evidence], Found]] = [
    zero, missing_upstream, scaled, missing_local, rearranged, shifted, another_input, only_first_group]
VAGUE: list[Callable[[Evidence], Found]] = [constant, some_scaled, gate, border]

