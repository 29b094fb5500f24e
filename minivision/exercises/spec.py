"""What an exercise is: a goal, three hints, a check, and the mistakes that the check must tell apart.

The words of an exercise and the code around its hole stand in a file of their own beside the chapter's list, with the
solution in it between marks (see `track.py`); the student is given that file without the solution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .work import Work


class Check(Protocol):
    """How an exercise is checked: ``run`` raises `Failure` at the first thing that is wrong."""

    def run(self, work: Work) -> None: ...

    def debug(self, work: Work, case: dict[str, Any]) -> None:
        """Step into the student's code with one case, in pdb."""


@dataclass(frozen=True)
class Mutant:
    """A solution with one mistake in it.

    Attributes:
        name: the mistake, as it is told to a student whose code gives the same numbers.
        old, new: the text of the solution that is replaced (it occurs exactly once), and what by.
        expect: what the report should say first: the start of a diagnosis of the gradient checker, or of the name of the
            stage that fails. Without it, the check recognises the mistake by its own numbers and says ``name``.
        hangs: it never ends, and is stopped by the time limit.
    """

    name: str
    old: str
    new: str
    expect: str = ""
    hangs: bool = False

    def applied(self, solution: str) -> str:
        """The text of the solution with the mistake in it.

        Raises:
            ValueError: the text to replace is not there exactly once.
        """
        if solution.count(self.old) != 1:
            raise ValueError(f"mutant {self.name!r}: its text occurs {solution.count(self.old)} times in the solution, "
                             f"expected once: {self.old!r}")
        return solution.replace(self.old, self.new)


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        name: also the name of its file.
        goal: one line, without a full stop: what the student is to write.
        hints: three, each saying more than the one before: the shape of it, the formula, the code for one index.
        check: decides.
        mutants: mistakes that people make.
        seconds: the time limit of one run of the check.
    """

    name: str
    goal: str
    hints: tuple[str, str, str]
    check: Check
    mutants: tuple[Mutant, ...] = ()
    seconds: float = 20.0


@dataclass(frozen=True)
class Chapter:
    """Exercises that belong together. ``text`` introduces them, in a paragraph or two."""

    title: str
    text: str
    exercises: tuple[Exercise, ...]
