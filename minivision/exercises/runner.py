"""Run a check where it can do no harm: in a child process, with a limit of time, of memory and of what it may print."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .result import Result
from .track import Item

MEGABYTES = 8192
PRINTED = 2000                     # characters of what the student's code prints that are shown
LOOKED_AT = 4 * PRINTED            # bytes of its beginning, and of its end


def run(item: Item, path: Path) -> Result:
    """Check the student's file ``path``.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is not text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")             # some editors begin a file with a mark
    except UnicodeDecodeError as problem:
        raise ValueError(f"{path} is not a text in UTF-8 ({problem.reason} at byte {problem.start})") from problem
    return check_texts(item, [text], str(path))[0]


def check_texts(item: Item, texts: Sequence[str], path: str, seconds: float | None = None) -> list[Result]:
    """Check several texts of one exercise, one after the other, in as few processes as do not hang."""
    results: list[Result] = []
    while len(results) < len(texts):
        results += _one_process(item, texts[len(results):], path, seconds or item.exercise.seconds)
    return results


def _one_process(item: Item, texts: Sequence[str], path: str, seconds: float) -> list[Result]:
    """The results of the first texts, up to one that brings the process to its end."""
    with tempfile.TemporaryDirectory(prefix="minivision-") as place:
        results, stack, printed = (Path(place) / name for name in ("results", "stack", "printed"))
        results.touch()
        stack.touch()
        job = {"name": item.name, "texts": list(texts), "path": path,
               "results": str(results), "stack": str(stack), "seconds": seconds, "megabytes": MEGABYTES}
        words = [sys.executable, "-m", f"{__package__}.child"]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        with open(printed, "wb") as output:
            child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=environment,
                                     start_new_session=os.name == "posix")
            try:
                child.communicate(json.dumps(job).encode(), timeout=30 + (seconds + 5) * len(texts))
            except (subprocess.TimeoutExpired, KeyboardInterrupt) as problem:
                _end(child)
                if isinstance(problem, KeyboardInterrupt):
                    raise
        found = [Result.from_json(line) for line in results.read_text(encoding="utf-8").splitlines()]
        said, left_out = _said(printed)
        if len(found) < len(texts):
            where = stack.read_text(errors="replace")
            found.append(_ended(child.returncode, "Timeout" in where, _place(where, path, texts[len(found)]), seconds, said))
        if said and len(texts) == 1:
            more = f"\n... {len(said) + left_out - PRINTED:,} characters more" if len(said) > PRINTED else ""
            found[0].printed = said[:PRINTED] + more
        return found


def _said(printed: Path) -> tuple[str, int]:
    """What was printed, its beginning and its end, and how many bytes between them were left out."""
    size = printed.stat().st_size
    with open(printed, "rb") as file:
        head = file.read(LOOKED_AT)
        file.seek(max(len(head), size - LOOKED_AT))
        tail = file.read()
    return (head + tail).decode(errors="replace"), size - len(head) - len(tail)


def _end(child: subprocess.Popen) -> None:
    if os.name == "posix":
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()


def _place(stack: str, path: str, text: str) -> list[str]:
    """Where the student's code was, from the stack that was written at the end; no lines if it was not in there."""
    number = next((int(line) for name, line in re.findall(r'File "(.+?)", line (\d+)', stack) if name == path), 0)
    line = text.splitlines()[number - 1:number]
    return [f"It was at line {number}:", f"    {line[0].strip()}"] if number and line else []


def _ended(code: int, late: bool, place: list[str], seconds: float, said: str) -> Result:
    """What to say of a process that ended before it had a result."""
    if late or code == -getattr(signal, "SIGKILL", 0):
        return Result(False, stage="time", diagnoses=["never ends"], lines=[
            f"still running after {seconds:g} seconds, so it was stopped", *place, "Does this loop ever end?"])
    if code < 0:
        name = signal.Signals(-code).name
        return Result(False, stage="crash", diagnoses=["crashed"], lines=[
            f"the process ended with {name}: it touched memory that is not its own, or was told to stop", *place])
    tail = said.strip().splitlines()[-6:]
    return Result(False, stage="crash", diagnoses=["left"], lines=[
        f"the process left with code {code} before the check was done; does the code call exit()?", *tail])
