"""Two results side by side: what differs, where, and which mistake would explain it.

The same table, error map and detectors as in a gradient check (`minivision.checking`), for values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checking.diagnosis import EXACT, VAGUE, Evidence, diagnose
from ..checking.picture import error_map
from ..checking.report import LINES, InputResult, worst_entries

Difference = tuple[list[str], tuple[str, ...], tuple[np.ndarray, ...]]
# What can be told from the numbers alone, without a Jacobian; the other detectors are about gradients.
OF_GRADIENTS = ("zero", "missing_upstream", "missing_local", "another_input", "gate")
WORDS = {"only the first group has a gradient": "only the beginning is right"}
DETECTORS = [detector for detector in EXACT + VAGUE if detector.__name__ not in OF_GRADIENTS]


def difference(what: str, yours: Any, expected: Any, atol: float, rtol: float) -> Difference | None:
    """None if ``yours`` is ``expected`` within atol + rtol * |expected|, else a report, its diagnoses and the numbers."""
    if isinstance(expected, (tuple, list)):
        if not isinstance(yours, (tuple, list)) or len(yours) != len(expected):
            got = f"{len(yours)} values" if isinstance(yours, (tuple, list)) else f"one {type(yours).__name__}"
            return [f"{what}: got {got}, expected {len(expected)} values"], ("wrong number of values",), ()
        parts = (difference(f"{what}, value {i}", y, e, atol, rtol) for i, (y, e) in enumerate(zip(yours, expected)))
        return next((part for part in parts if part is not None), None)
    if yours is None:
        return [f"{what}: got None; is a return missing?"], ("returned None",), ()
    right = np.asarray(expected)
    try:
        mine = np.asarray(yours)
    except ValueError:
        mine = np.asarray(None)
    if mine.dtype.kind not in "fiub":
        return [f"{what}: got {type(yours).__name__}, expected {_kind(right)}"], ("wrong type",), ()
    if mine.shape != right.shape:
        return ([f"{what}: got shape {mine.shape}, expected {right.shape}"], ("wrong shape",),
                (mine.astype(float),))
    if right.dtype.kind == "f" and mine.dtype != right.dtype and isinstance(expected, np.ndarray):
        return [f"{what}: got {mine.dtype}, expected {right.dtype}"], ("wrong dtype",), (mine.astype(float),)
    return _numbers(what, mine.astype(float), right.astype(float), atol, rtol)


def _kind(right: np.ndarray) -> str:
    return "a number" if right.ndim == 0 else f"an array of shape {right.shape}"


def _numbers(what: str, mine: np.ndarray, right: np.ndarray, atol: float, rtol: float) -> Difference | None:
    if np.array_equal(mine, right, equal_nan=True):
        return None
    known = np.isfinite(right)
    tolerance = atol + rtol * np.abs(np.where(known, right, 0.0))
    same = np.isnan(right) & np.isnan(mine) | (mine == right)
    result = InputResult(0, what, np.where(same, 0.0, mine), np.where(same, 0.0, right), tolerance, np.zeros(right.shape),
                         np.zeros(right.shape, bool), np.zeros(right.shape, bool))
    if not result.wrong.any():
        return None
    if right.ndim == 0:
        lines = [f"{what}: got {float(mine):.10g}, expected {float(right):.10g}"]
    else:
        share = np.abs(mine - right).max() / (np.abs(right[known]).max(initial=0.0) or 1.0)
        lines = [f"{what}: {int(result.wrong.sum())} of {mine.size} entries wrong, shape {mine.shape}, worst error "
                 f"{share:.2g} of the largest entry",
                 f"  {'index':16} {'yours':>13} {'expected':>13} {'ratio':>10}"]
        lines += [f"  {list(e.index)!s:16} {e.yours:13.6g} {e.numeric:13.6g} {e.ratio:10.4g}" for e in worst_entries(result)]
    evidence = Evidence(result, None, np.empty(0), [], [result], [right.shape], atol)
    found = [(WORDS.get(name, name), detail) for name, detail in diagnose([evidence], DETECTORS)] if right.ndim else []
    if right.ndim and mine.size > 4:
        lines += error_map(result, LINES - len(lines) - 6)
    for lead, (name, detail) in zip(("looks like:", "or:"), found):
        lines.append(f"  {lead:11} {name}: {detail}".replace("the true gradient", "the expected one"))
    return lines, tuple(name for name, _ in found), (mine,)
