"""Learn deep learning by writing it: backward passes and kernels that are checked as you save them.

Without a word it shows the exercise that is on and checks its file whenever you save it.

words:
  init DIR         copy the track into a folder of yours
  run [NAME]       check once (the current exercise, or the one named)
  hint [NAME]      one hint more: the shape, the formula, the code for one index
  next             go on with the next open exercise
  list             all exercises
  reset [NAME]     put a file back as it was; yours is kept as a backup
  diff [NAME]      what you changed
  solution [NAME]  after passing, or with --give-up, which is recorded
  verify           check all
  debug [NAME]     step through a case, with Python's debugger
  finish           put your operations into the engine and train a network on them
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..exercises.state import Progress
    from ..exercises.track import Item

HELP = "learn by writing backward passes and kernels"
EXAMPLE = """\
examples:
  minivision exercises init exercises && cd exercises && minivision exercises
  minivision exercises hint"""
WORDS = ("watch", "init", "run", "hint", "next", "list", "reset", "diff", "solution", "verify", "debug", "finish")
KEYS = "h and Enter: a hint; n: next; l: list; q: leave"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("word", nargs="?", default="watch", metavar="WORD", help="what to do (watch)")
    parser.add_argument("name", nargs="?", metavar="NAME", help="an exercise; for init the folder (exercises)")
    parser.add_argument("--dir", metavar="DIR", help="your folder of exercises (this one, or one above it)")
    parser.add_argument("--no-watch", action="store_true", help="check the current exercise once and leave")
    parser.add_argument("--give-up", action="store_true", help="solution: show it although the exercise is not passed")
    parser.add_argument("--case", metavar="JSON", help="debug: the sizes, as a failed check prints them")
    parser.add_argument("--epochs", type=int, default=4, metavar="N", help="finish: passes over the digits (4)")


def run(arguments: argparse.Namespace) -> int:
    import difflib

    if arguments.word not in WORDS:
        near = difflib.get_close_matches(arguments.word, WORDS, n=1)
        raise ValueError(f"exercises: there is no word {arguments.word!r}{f'; did you mean {near[0]}?' if near else '.'} "
                         f"There are {', '.join(WORDS[1:])}")
    if arguments.word == "init":
        return _init(arguments)
    from ..exercises.state import Progress, find_folder

    progress = Progress.read(find_folder(arguments.dir))
    jobs: dict[str, Callable[[Progress, argparse.Namespace], int]] = {
        "watch": _watch, "run": _run, "hint": _hint, "next": _next, "list": _list, "reset": _reset, "diff": _diff,
        "solution": _solution, "verify": _verify, "debug": _debug, "finish": _finish}
    return jobs[arguments.word](progress, arguments)


def _item(progress: Progress, name: str | None) -> Item:
    from ..exercises.track import find

    return find(name or progress.current)


def _init(arguments: argparse.Namespace) -> int:
    from ..exercises import course, screen

    folder = Path(arguments.name or arguments.dir or "exercises")
    progress, written = course.init(folder)
    print(f"{folder}: {written} files written" if written else f"{folder} has all files already; nothing was changed")
    print(screen.current(progress, _item(progress, None)))
    print(f"\nopen that file in an editor, and in another window: cd {folder} && minivision exercises")
    return 0


def _check(progress: Progress, item: Item) -> bool:
    from ..exercises import course, screen

    if item.folder == "kernels":
        print(screen.coloured("compiling takes a moment ...", "dim"), flush=True)
    found = course.check(progress, item)
    print(screen.result(found, item), flush=True)
    return found.passed


def _run(progress: Progress, arguments: argparse.Namespace) -> int:
    return 0 if _check(progress, _item(progress, arguments.name)) else 1


def _watch(progress: Progress, arguments: argparse.Namespace) -> int:
    """Check the current exercise now and after every change, and go on to the next one when it is right."""
    from ..exercises import course, screen

    item = _item(progress, arguments.name)
    print(screen.current(progress, item))
    if arguments.no_watch:
        return 0 if _check(progress, item) else 1
    typed = _typed_lines()
    if typed is not None:
        print(f"  {screen.coloured(KEYS, 'dim')}")
    due = True
    changes = course.Changes(progress.folder / item.path)
    while True:
        if due:
            print()
            try:
                passed = _check(progress, item)
            except (FileNotFoundError, ValueError) as problem:       # moved, or half written: it may come back
                print(problem, flush=True)
                passed = False
            if passed and progress.current != item.name:
                item = _item(progress, None)
                print("\n" + screen.current(progress, item), flush=True)
                changes = course.Changes(progress.folder / item.path)
            elif passed:
                print("all exercises are passed; `minivision exercises finish` trains a network on your operations")
                return 0
        due = changes.wait()
        line = _next_line(typed)
        if line == "q":
            return 0
        if line == "h":
            _print_hints(progress, item)
        elif line == "l":
            print(screen.listing(progress))
        elif line == "n":
            _next(progress, arguments)
            item = _item(progress, None)
            changes, due = course.Changes(progress.folder / item.path), False


def _typed_lines() -> queue.Queue[str] | None:
    """What is typed while the file is watched; None where nobody can type."""
    if not sys.stdin or not sys.stdin.isatty():
        return None
    lines: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line.strip().lower()[:1])

    threading.Thread(target=listen, daemon=True).start()
    return lines


def _next_line(typed: queue.Queue[str] | None) -> str:
    try:
        return typed.get_nowait() if typed is not None else ""
    except queue.Empty:
        return ""


def _print_hints(progress: Progress, item: Item) -> None:
    from textwrap import wrap

    from ..exercises import course, screen

    shown = course.hint(progress, item)
    for number, text in enumerate(shown, 1):
        print("\n".join(wrap(text, screen.WIDTH, initial_indent=f"hint {number} of 3: ", subsequent_indent="    ")), flush=True)


def _hint(progress: Progress, arguments: argparse.Namespace) -> int:
    _print_hints(progress, _item(progress, arguments.name))
    return 0


def _next(progress: Progress, arguments: argparse.Namespace) -> int:
    from ..exercises import screen

    item = progress.first_open(after=progress.current)
    progress.current = item.name
    progress.write()
    print(screen.current(progress, item))
    return 0


def _list(progress: Progress, arguments: argparse.Namespace) -> int:
    from ..exercises import screen

    print(screen.listing(progress))
    return 0


def _reset(progress: Progress, arguments: argparse.Namespace) -> int:
    from ..exercises import course

    item = _item(progress, arguments.name)
    backup = course.reset(progress, item)
    kept = f"; yours is kept in {backup.name}" if backup else ""
    print(f"{progress.folder / item.path} is as it was in the beginning{kept}")
    return 0


def _diff(progress: Progress, arguments: argparse.Namespace) -> int:
    from ..exercises import course

    print(course.diff(progress, _item(progress, arguments.name)) or "nothing was changed")
    return 0


def _solution(progress: Progress, arguments: argparse.Namespace) -> int:
    from ..exercises import course

    item = _item(progress, arguments.name)
    path = course.solution(progress, item, arguments.give_up)
    print(path.read_text(encoding="utf-8"))
    print(f"(in {path})")
    return 0


def _verify(progress: Progress, arguments: argparse.Namespace) -> int:
    from ..exercises import course, screen
    from ..exercises.track import items

    failed = 0
    for item in items():
        try:
            found = course.check(progress, item)
            right, words = found.passed, "" if found.passed else f"{found.stage}: {found.first_guess}"
        except FileNotFoundError:
            right, words = False, "the file is not there"
        failed += not right
        print(f"{screen.coloured('✓', 'green') if right else screen.coloured('✗', 'red')} {item.path:44} {words}", flush=True)
    print(screen.bar(progress))
    return 1 if failed else 0


def _debug(progress: Progress, arguments: argparse.Namespace) -> int:
    from ..exercises import course
    from ..exercises.work import Work

    item = _item(progress, arguments.name)
    first: dict[str, Any] = getattr(getattr(item.exercise.check, "sizes", None), "first", {})
    case: Any = {}
    if arguments.case:
        try:
            case = json.loads(arguments.case)
        except ValueError as problem:
            raise ValueError(f"--case: got {arguments.case!r}, which is not JSON ({problem}); copy it from a failed check, in "
                             "single quotes") from problem
        if not isinstance(case, dict):
            raise ValueError(f"--case: got {arguments.case!r}, expected an object such as {{\"n\":1}}")
        if unknown := sorted(set(case) - set(first)):
            raise ValueError(f"--case: got {', '.join(unknown)}, which {item.name} has not; its sizes are "
                             f"{', '.join(first) or 'fixed'}")
    path = course.file_of(progress, item)
    item.exercise.check.debug(Work(str(path), path.read_text(encoding="utf-8-sig")), {**first, **case})
    return 0


def _finish(progress: Progress, arguments: argparse.Namespace) -> int:
    from ..exercises.finish import finish

    return finish(progress, arguments.epochs)
