"""The process in which students' code runs: ``python -m minivision.exercises.child`` with a job on its standard input.

A job is a JSON object: the exercise, the texts to check, the limits. One line of JSON comes back for each text, in a
file of its own, so that nothing the code prints can be mistaken for a result. A hang is ended by `faulthandler`, which
also says at which line the code was.
"""

from __future__ import annotations

import faulthandler
import json
import signal
import sys
import warnings
from typing import Any

from minivision_kernels import set_compiled

from .result import Result
from .track import Item, find
from .work import Failure, Work

LONGEST = 64 << 20              # a loop that prints for ever would fill the disk


def examine(item: Item, text: str, path: str) -> Result:
    """Check ``text`` as the file of an exercise; where it fails, look for a known mistake with the same numbers."""
    work = Work(path, text)
    failure = _failure(item, work)
    if failure is None:
        return Result(True, work.passed, notes=work.notes)
    result = Result(False, work.passed, failure.stage, failure.lines[:25], list(failure.diagnoses), case=failure.case)
    if failure.evidence:
        for name, mutant in item.mutants.items():
            if text == mutant:
                result.known = name
                break
            other = _failure(item, Work(path, mutant)) if not _hangs(item, name) else None
            if other is not None and failure.same_as(other):
                result.known = name
                break
    return result


def _hangs(item: Item, name: str) -> bool:
    return any(mutant.hangs for mutant in item.exercise.mutants if mutant.name == name)


def _failure(item: Item, work: Work) -> Failure | None:
    try:
        item.exercise.check.run(work)
    except Failure as failure:
        return failure
    return None


def limit(megabytes: int) -> None:
    """Give this process so much memory at most, and each file it writes `LONGEST` bytes, where the system can do that."""
    try:
        import resource
    except ImportError:                                   # Windows
        return
    limits = [(resource.RLIMIT_FSIZE, LONGEST)]
    if sys.platform.startswith("linux"):
        limits.append((resource.RLIMIT_AS, megabytes << 20))
    for kind, size in limits:
        _, most = resource.getrlimit(kind)
        resource.setrlimit(kind, (size if most == resource.RLIM_INFINITY else min(size, most), most))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)         # print() then raises an OSError


def main() -> int:
    job: dict[str, Any] = json.loads(sys.stdin.read())
    warnings.simplefilter("ignore")
    item = find(job["name"])
    set_compiled(False)                                   # the engine is asked for small things, and nobody wants to wait
    with open(job["results"], "a", encoding="utf-8") as results, open(job["stack"], "w") as stack:
        faulthandler.enable(stack)
        limit(job["megabytes"])
        for text in job["texts"]:
            faulthandler.dump_traceback_later(job["seconds"], exit=True, file=stack)
            result = examine(item, text, job["path"])
            faulthandler.cancel_dump_traceback_later()
            results.write(result.to_json() + "\n")
            results.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
