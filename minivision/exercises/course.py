"""What can be done in a student's folder: begin, check, hint, move on, go back, compare, look at the solution."""

from __future__ import annotations

import difflib
import itertools
import shutil
import time
from pathlib import Path

from .result import Result
from .runner import run
from .state import FILE, Progress
from .track import HERE, Item, items

PYTEST = '''"""Every exercise as a test: `pytest -k conv_weight` checks what `minivision exercises run conv_weight` checks."""

from minivision.exercises.as_tests import exercise_files, test_exercise  # noqa: F401
'''
POLL = 0.5                       # seconds between two looks at a file


def init(folder: Path) -> tuple[Progress, int]:
    """Copy the track into ``folder``; files that are there already stay as they are. Returns how many were written.

    Raises:
        FileExistsError: ``folder`` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; expected the name of a folder for the exercises")
    folder.mkdir(parents=True, exist_ok=True)
    texts = {item.path: item.shipped for item in items()}
    for item in items():
        if item.number == 1:
            texts[str(Path(item.path).parent / "README.md")] = _chapter_text(item)
    texts["README.md"] = (HERE / "README.md").read_text(encoding="utf-8")
    texts["test_exercises.py"] = PYTEST
    written = 0
    for name, text in texts.items():
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written += 1
    if not (folder / FILE).exists():
        Progress(folder, current=items()[0].name).write()
    return Progress.read(folder), written


def _chapter_text(item: Item) -> str:
    rows = [f"{i}. `{e.name}`: {e.goal}" for i, e in enumerate(item.chapter.exercises, 1)]
    return "\n".join([f"# {item.chapter_number}. {item.chapter.title}", "", item.chapter.text.strip(), "", *rows, ""])


def check(progress: Progress, item: Item) -> Result:
    """Check the student's file and remember it if it is right.

    Raises:
        FileNotFoundError: the file is not there; files with a similar name are named.
    """
    path = file_of(progress, item)
    found = run(item, path)
    if found.passed:
        progress.pass_(item)
        if progress.current == item.name:
            progress.current = progress.first_open(after=item.name).name
        progress.write()
    return found


def file_of(progress: Progress, item: Item) -> Path:
    """The student's file of an exercise."""
    path = progress.folder / item.path
    if path.is_file():
        return path
    there = [p.name for p in path.parent.glob("*") if p.suffix in (".py", ".cu")] if path.parent.is_dir() else []
    known = {Path(each.path).name for each in items()}
    near = difflib.get_close_matches(path.name, [name for name in there if name not in known], n=1)
    hint = f" Is {near[0]} it? Then rename it to {path.name}." if near else ""
    raise FileNotFoundError(f"{path} is not there.{hint} `minivision exercises reset {item.name}` puts the file there as it "
                            "was in the beginning")


class Changes:
    """Looks at a file now and then, which works on every file system."""

    def __init__(self, path: Path):
        self.path, self.seen = path, _stamp(path)

    def wait(self) -> bool:
        """Wait for half a second; whether the file was changed since the last time."""
        time.sleep(POLL)
        before, self.seen = self.seen, _stamp(self.path)
        return before != self.seen


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return status.st_mtime_ns, status.st_size


def hint(progress: Progress, item: Item) -> list[str]:
    """One hint more than were shown before; all of them once all were."""
    count = min(progress.hints.get(item.name, 0) + 1, 3)
    progress.hints[item.name] = count
    progress.write()
    return list(item.exercise.hints[:count])


def reset(progress: Progress, item: Item) -> Path | None:
    """Put the file back as it was in the beginning. Returns where the student's version is kept."""
    path = progress.folder / item.path
    backup = None
    if path.exists():
        names = (path.with_name(f"{path.name}.{number}.bak") for number in itertools.count(1))
        backup = next(name for name in names if not name.exists())
        shutil.copy2(path, backup)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(item.shipped, encoding="utf-8")
    progress.passed.pop(item.name, None)
    progress.write()
    return backup


def diff(progress: Progress, item: Item) -> str:
    """What the student changed of the file as it was in the beginning."""
    path = file_of(progress, item)
    lines = difflib.unified_diff(item.shipped.splitlines(), path.read_text(encoding="utf-8-sig").splitlines(),
                                 "in the beginning", str(path), lineterm="")
    return "\n".join(lines)


def solution(progress: Progress, item: Item, give_up: bool) -> Path:
    """Write the solution into ``solutions/`` of the student's folder and return where.

    Raises:
        ValueError: the exercise is not passed, and the student did not give up on it.
    """
    if item.name not in progress.passed:
        if not give_up:
            raise ValueError(f"{item.name} is not passed yet, and its solution is shown afterwards. There are hints "
                             f"(`minivision exercises hint {item.name}`), and --give-up shows it now; that is recorded")
        if item.name not in progress.given_up:
            progress.given_up.append(item.name)
            progress.write()
    path = progress.folder / "solutions" / Path(item.path).name
    path.parent.mkdir(exist_ok=True)
    path.write_text(item.solution, encoding="utf-8")
    return path
