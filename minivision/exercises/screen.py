"""What the student sees: colours on a terminal, plain text elsewhere, never more than fits on one screen."""

from __future__ import annotations

import os
import sys
from textwrap import wrap

from .result import Result
from .state import Progress
from .track import Item, items
from .work import case_text

COLOURS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "bold": 1, "dim": 2}
WIDTH = 100


def coloured(text: str, *names: str) -> str:
    """``text`` in a colour, if a person is reading on a terminal that has any (and NO_COLOR is not set)."""
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb":
        return text
    return "".join(f"\033[{COLOURS[name]}m" for name in names) + text + "\033[0m"


def bar(progress: Progress, width: int = 30) -> str:
    """How much of the track is done."""
    done, total = len([item for item in items() if item.name in progress.passed]), len(items())
    full = width * done // total
    return f"[{coloured('█' * full, 'green')}{'·' * (width - full)}] {done} of {total}"


def current(progress: Progress, item: Item) -> str:
    """The exercise that is on: where its file is, what it is about."""
    return "\n".join([
        f"{coloured(item.name, 'bold')}   chapter {item.chapter_number}, {item.chapter.title}; exercise {item.number} of "
        f"{len(item.chapter.exercises)}",
        f"  goal  {item.exercise.goal}",
        f"  file  {progress.folder / item.path}",
        f"  {bar(progress)}",
    ])


def result(found: Result, item: Item) -> str:
    """The outcome of a check: its stages, and the report of the one that failed."""
    lines = []
    if found.printed.strip():
        lines += [coloured("your code printed:", "dim"), *(f"  {line}" for line in found.printed.rstrip().splitlines()[:12])]
    marks = [coloured(f"✓ {name}", "green") for name in found.stages]
    if not found.passed:
        marks.append(coloured(f"✗ {found.stage}", "red"))
    lines += [f"{coloured(item.name, 'bold')}  " + "  ".join(marks)]
    if found.passed:
        return "\n".join([*lines, *(f"  {line}" for line in found.notes), coloured(f"  {item.name} is right", "green", "bold")])
    lines += [_shaded(line) for line in found.lines if not (found.known and line.strip().startswith("no known mistake"))]
    if found.known:
        lines += wrap(f"these are the numbers of a common mistake: {found.known}", WIDTH, initial_indent="  ",
                      subsequent_indent="    ")
    if found.case is not None and found.stage == "odd shapes":
        lines.append(f"  smallest case that fails: {case_text(found.case)}")
    if found.case is not None:
        command = f"minivision exercises debug {item.name} --case '{case_text(found.case)}'"
        lines.append(coloured(f"  step through it: {command}", "dim"))
    return "\n".join(lines)


def _shaded(line: str) -> str:
    """The lines of a report in colours: the diagnosis stands out, the error map is red where it is wrong."""
    if line.strip().startswith(("looks like:", "or:")):
        return coloured(line, "yellow")
    if line.strip() and set(line.strip()) <= set("·░▒▓█"):
        return line if coloured("x", "red") == "x" else "".join(c if c in " ·" else coloured(c, "red") for c in line)
    return line


def listing(progress: Progress) -> str:
    """All exercises, chapter by chapter."""
    lines = []
    for item in items():
        if item.number == 1:
            lines += ["", coloured(f"{item.chapter_number}  {item.chapter.title}", "bold")]
        mark = coloured("✓", "green") if item.name in progress.passed else "→" if item.name == progress.current else " "
        extra = "  (solution shown)" if item.name in progress.given_up else ""
        lines.append(f"  {mark} {item.name:20} {item.exercise.goal}{extra}")
    return "\n".join([*lines, "", bar(progress)])
