"""What a gradient check found, as an object and as a text of at most 25 lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import wrap

import numpy as np

from .kinks import Kink
from .picture import error_map

LINES = 25


class GradcheckError(AssertionError):
    """A gradient check failed; the text is the report, and ``report`` the object."""

    def __init__(self, report: GradcheckReport):
        super().__init__(str(report))
        self.report = report


@dataclass
class Entry:
    """One number of a gradient: what backward said, what was measured, and their ratio yours / numeric."""

    input: int
    index: tuple[int, ...]
    yours: float
    numeric: float
    ratio: float

    @property
    def gap(self) -> float:
        gap = abs(self.yours - self.numeric)
        return gap if np.isfinite(gap) else np.inf


@dataclass
class InputResult:
    """The comparison for one input; all arrays have its shape."""

    input: int
    name: str
    yours: np.ndarray
    numeric: np.ndarray
    tolerance: np.ndarray
    noise: np.ndarray                 # how far ``numeric`` may be off
    kinks: np.ndarray                 # where a kink that could not be left makes the measurement meaningless
    uncertain: np.ndarray             # where the measurement is too noisy to prove anything

    @property
    def usable(self) -> np.ndarray:
        return ~(self.kinks | self.uncertain)

    @property
    def error(self) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.abs(self.yours - self.numeric)

    @property
    def wrong(self) -> np.ndarray:
        return ~(self.error <= self.tolerance) & self.usable          # written so that nan counts as wrong

    @property
    def scale(self) -> float:
        """The largest entry of the true gradient."""
        return float(np.abs(self.numeric[self.usable]).max(initial=0.0))


def worst_entries(result: InputResult) -> list[Entry]:
    """The five entries that are furthest off, worst first."""
    error = np.where(result.wrong, np.nan_to_num(result.error, nan=np.inf), -1.0).ravel()
    entries = []
    for k in np.argsort(-error, kind="stable")[:5]:
        if error[k] < 0:
            break
        index = tuple(int(j) for j in np.unravel_index(int(k), result.yours.shape))
        yours, numeric = float(result.yours[index]), float(result.numeric[index])
        ratio = yours / numeric if numeric else float("inf") if yours else float("nan")
        entries.append(Entry(result.input, index, yours, numeric, ratio))
    return entries


@dataclass(repr=False)
class GradcheckReport:
    """The result of `gradcheck`; true if the gradients are right.

    Attributes:
        checked: how many gradient entries were compared.
        power: the percentage of them large enough to be told from zero. A check without power proves nothing.
        max_error: the largest |yours - numeric|, as a fraction of the largest entry of that input's gradient.
        entries: the worst wrong entries of each input, worst first.
        diagnoses: named mistakes that explain the numbers, best first; ``details`` says of each how it shows.
        reasons: what is wrong besides numbers: a changed input, a random result, a check without power, ...
        kinks: the inputs that were moved away from kinks.
        results: the gradients themselves, one `InputResult` per checked input.
        second_order_zero: `gradgradcheck` only: the gradient turned out not to depend on the inputs.
        cause: the exception that backward raised, if it did.
    """

    eps: float
    checked: int = 0
    power: float = 0.0
    max_error: float = 0.0
    entries: list[Entry] = field(default_factory=list)
    diagnoses: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    kinks: list[Kink] = field(default_factory=list)
    results: list[InputResult] = field(default_factory=list)
    title: str = "gradcheck"
    second_order_zero: bool = False
    cause: BaseException | None = None

    @property
    def wrong(self) -> list[InputResult]:
        return [r for r in self.results if r.wrong.any()]

    def __bool__(self) -> bool:
        return not self.reasons and not self.wrong

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return "\n".join(self._passed() if self else self._failed())

    def _summary(self) -> str:
        kinks = "no kinks" if not self.kinks else f"{len(self.kinks)} kink{'s' * (len(self.kinks) > 1)} redrawn"
        return f"{self.checked} entries, power {self.power:.0f} %, {kinks}, eps {self.eps:g}"

    def _passed(self) -> list[str]:
        lines = [f"{self.title} passed: {self._summary()}, largest error {self.max_error:.1e} of the gradient's scale"]
        if self.second_order_zero:
            lines.append("  the gradient does not depend on the inputs: func is linear (or piecewise), its second "
                         "derivatives are zero")
        return lines + self._kink_lines(1)

    def _kink_lines(self, most: int) -> list[str]:
        shown = [f"  kink: {k}" for k in self.kinks[:most]]
        if shown and len(self.kinks) > most:
            shown[-1] += f" (and {len(self.kinks) - most} more)"
        return shown

    def _failed(self) -> list[str]:
        wrong = self.wrong
        names = " and ".join(r.name for r in wrong[:4]) + (" ..." if len(wrong) > 4 else "")
        what = "backward raised an exception" if self.cause else "the check cannot be trusted" if not wrong else (
            f"the gradient of {names} is wrong" if len(wrong) == 1 else f"the gradients of {names} are wrong")
        lines = [f"{self.title} failed: {what}"]
        for reason in self.reasons[:3]:
            lines += wrap(reason, 116, initial_indent="  ", subsequent_indent="    ", max_lines=3)
        for r in wrong[:3]:
            share = float(np.nanmax(np.where(r.wrong, r.error, 0))) / (r.scale or 1.0)
            size = "" if not r.scale else f", worst error {share:.2g} of the largest entry"
            count = f"{int(r.wrong.sum())} of {r.yours.size} entries wrong"
            lines.append(f"  {r.name}, shape {r.yours.shape}: {count}{size}")
        tail = self._diagnosis_lines() + self._kink_lines(1) + [f"  {self._summary()}"]
        if self.entries:
            lines += self._table(min(5, LINES - len(lines) - len(tail) - 1))
        room = LINES - len(lines) - len(tail)
        if wrong and room >= 2:
            lines += error_map(wrong[0], room)      # of the first: a mistake there often spoils the others
        return lines + tail

    def _table(self, rows: int) -> list[str]:
        names = {r.input: r.name for r in self.results}
        return [f"  {'':14} {'index':16} {'yours':>13} {'numeric':>13} {'ratio':>10}"] + [
            f"  {names[e.input]:14} {list(e.index)!s:16} {e.yours:13.6g} {e.numeric:13.6g} {e.ratio:10.4g}"
            for e in self.entries[:rows]]

    def _diagnosis_lines(self) -> list[str]:
        if not self.diagnoses:
            return ["  no known mistake explains these numbers"] if self.wrong else []
        lines = []
        for lead, name, detail in zip(("looks like:", "or:", "or:"), self.diagnoses, self.details):
            lines += wrap(f"{lead:11} {name}" + (f": {detail}" if detail else ""), 116, initial_indent="  ",
                          subsequent_indent=" " * 16, max_lines=2)
        return lines
