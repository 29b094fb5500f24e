"""A student's file under examination: loaded, called, compared, with every failure turned into words.

A check goes through its stages in order and stops at the first that fails::

    with work.stage("forward"):
        work.same("forward", yours, expected)

Whatever the student's code raises inside a stage becomes that stage's failure, with the traceback from the student's
first line on.
"""

from __future__ import annotations

import contextlib
import json
import linecache
import sys
import traceback
import types
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from .compare import difference

WIDTH = 112
TRACEBACK_LINES = 18


class Failure(Exception):
    """Something is wrong with the student's work.

    Attributes:
        lines: the report.
        diagnoses: the names of the mistakes that explain it, best first.
        evidence: the numbers that the student's code gave, by which a known mistake is recognised.
        stage, case: where and with which sizes, set on the way out.
    """

    def __init__(self, lines: list[str], diagnoses: tuple[str, ...] = (), evidence: tuple[np.ndarray, ...] = ()):
        super().__init__("\n".join(lines))
        self.lines, self.diagnoses, self.evidence = lines, diagnoses, evidence
        self.stage = ""
        self.case: dict[str, Any] | None = None

    def same_as(self, other: Failure) -> bool:
        """Whether both failed at the same place with the same numbers."""
        return (self.stage == other.stage and self.case == other.case and len(self.evidence) == len(other.evidence) > 0
                and all(a.shape == b.shape and np.allclose(a, b, rtol=1e-7, atol=1e-10, equal_nan=True)
                        for a, b in zip(self.evidence, other.evidence)))


class Work:
    """One run of a check on one file.

    Args:
        path: the name of the student's file, as tracebacks show it.
        text: what is in it.
    """

    def __init__(self, path: str, text: str):
        self.path, self.text = path, text
        self.passed: list[str] = []
        self.notes: list[str] = []
        self.case: dict[str, Any] | None = None
        self._module: types.ModuleType | None = None

    # -- the stages

    @contextlib.contextmanager
    def stage(self, name: str, done: bool = True) -> Iterator[None]:
        """What happens inside belongs to the stage ``name``, which is passed behind it if it is ``done`` then."""
        try:
            yield
        except Failure as failure:
            self._locate(failure, name)
            raise
        except Exception as problem:
            lines, diagnosis = self._traceback(problem)
            raise self._locate(Failure(lines, (diagnosis,)), name) from problem
        if done and name not in self.passed:
            self.passed.append(name)

    def _locate(self, failure: Failure, stage: str) -> Failure:
        failure.stage, failure.case = failure.stage or stage, failure.case or self.case
        return failure

    def note(self, text: str) -> None:
        """Something to tell a student who has passed: a score, a picture, a medal."""
        self.notes += text.splitlines()

    def fail(self, text: str, *diagnoses: str, evidence: tuple[Any, ...] = ()) -> None:
        """End the check: ``text`` says what was got, what was expected and where to look."""
        lines = [line for part in text.splitlines() for line in (wrap(part, WIDTH, subsequent_indent="  ") or [""])]
        raise Failure(lines, diagnoses, tuple(np.asarray(e, float) for e in evidence))

    def same(self, what: str, yours: Any, expected: Any, atol: float = 1e-9, rtol: float = 1e-7) -> None:
        """Hold a result (a number, an array, or a tuple of them) against the expected one."""
        found = difference(what, yours, expected, atol, rtol)
        if found is not None:
            lines, diagnoses, evidence = found
            raise Failure(lines, diagnoses, evidence)

    # -- the student's code

    @property
    def module(self) -> types.ModuleType:
        """The student's file, imported once."""
        if self._module is None:
            self._module = self.fresh_module()
        return self._module

    def fresh_module(self, **names: Any) -> types.ModuleType:
        """The student's file imported anew. ``names`` replace its own of the same name, once it has been run."""
        module = types.ModuleType("exercise")
        module.__file__ = self.path
        linecache.cache[self.path] = (len(self.text), None, self.text.splitlines(keepends=True), self.path)
        sys.modules["exercise"] = module                 # numba and dataclasses look their module up by name
        exec(compile(self.text, self.path, "exec"), module.__dict__)
        module.__dict__.update(names)
        return module

    def get(self, name: str) -> Any:
        """What the student's file calls ``name``."""
        if not hasattr(self.module, name):
            mine = [n for n, value in vars(self.module).items() if getattr(value, "__module__", "") == "exercise"]
            self.fail(f"the file has no {name!r}, which is the name that the check calls; it has "
                      f"{', '.join(mine) or 'no definitions'}. Give it its name back", "a name was changed")
        return getattr(self.module, name)

    def _traceback(self, problem: Exception) -> tuple[list[str], str]:
        """The traceback of an exception from the student's first line to the last one, and its name."""
        name = type(problem).__name__
        if isinstance(problem, SyntaxError):
            lines = [line.rstrip() for line in traceback.format_exception_only(type(problem), problem)]
            return [part for line in lines for part in line.splitlines()], name
        frames = traceback.extract_tb(problem.__traceback__)
        first = next((i for i, frame in enumerate(frames) if frame.filename == self.path), None)
        if isinstance(problem, NotImplementedError) and first is not None:
            what = f": {problem}" if str(problem) else ""
            return [f"line {frames[-1].lineno} is still to be written{what}"], "not written yet"
        ours = str(Path(__file__).parent)
        last = max((i for i, frame in enumerate(frames) if frame.filename == self.path), default=-1)
        # What a library does inside itself says less than its message.
        shown = [frame for frame in frames[first:last + 1] if not frame.filename.startswith(ours)]
        lines = [part for line in traceback.format_list(shown) for part in line.rstrip().splitlines()]
        if len(lines) > TRACEBACK_LINES:
            half = TRACEBACK_LINES // 2
            lines = lines[:half] + [f"  ... {len(lines) - 2 * half} lines ..."] + lines[-half:]
        text = " ".join(str(problem).split())
        return lines + wrap(f"{name}: {text}" if text else name, WIDTH, subsequent_indent="  ", max_lines=4), name


def case_text(case: dict[str, Any]) -> str:
    """A case in one line, as a command takes it."""
    return json.dumps(case, separators=(",", ":"))
