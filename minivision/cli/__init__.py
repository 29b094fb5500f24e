"""The `minivision` command: one subcommand per job, each a thin call into the library.

    arguments.py    numbers and names checked as they are read
    sources.py      a data set by its name, or a folder of pictures
    trained.py      a model and all that belongs to it, out of a checkpoint
    networks.py     the networks that can be looked into
    output.py       progress bars, bars of blocks, tables
    train.py  evaluate.py  predict.py  image.py  hog.py  faces.py  explain.py  attack.py  dream.py  features.py  layers.py
    gradcheck.py  exercises.py  bench.py  warmup.py  data.py  doctor.py      the jobs

A job is a module with ``HELP``, ``EXAMPLE``, ``add_arguments(parser)`` and ``run(arguments) -> exit code``; to add one,
write the module and name it in ``JOBS``. Jobs import what they need when they run, so that ``--help`` is quick.

Exit codes: 0 done, 1 a check failed, 2 wrong usage or bad input (with one line on stderr), 130 interrupted. The
environment variable MINIVISION_TRACEBACK=1 shows where an error came from.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

JOBS = ("train", "evaluate", "predict", "image", "hog", "faces", "explain", "attack", "dream", "features", "layers",
        "gradcheck", "exercises", "bench", "warmup", "data", "doctor")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with ``argv`` (the process's own arguments where left out) and return its exit code."""
    from ..device import DeviceError

    arguments = list(sys.argv[1:] if argv is None else argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")        # a terminal without a letter shows ? and does not stop us
    if "MINIVISION_TRACEBACK" in os.environ:
        return _run(arguments)
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        print("minivision: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:                             # `minivision doctor | head`: nobody listens any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, TypeError, LookupError, OSError, OverflowError, RecursionError, MemoryError, DeviceError) as problem:
        return _complain(_in_words(problem))


def _run(arguments: list[str]) -> int:
    try:
        _check_job(arguments)
        parsed = build_parser().parse_args(arguments, argparse.Namespace(words=arguments))     # a job may start itself anew
    except SystemExit as leaving:                       # --help and --version leave with 0, argparse's errors with 2
        return leaving.code if isinstance(leaving.code, int) else 0
    return parsed.run(parsed)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command."""
    parser = _Parser(prog="minivision", description="Train small networks on pictures, look into them, and prove their "
                     "gradients right.", epilog="example: minivision train --data digits", allow_abbrev=False)
    parser.add_argument("--version", action=_Version)
    jobs = parser.add_subparsers(title="jobs", metavar="JOB", required=True)
    for name in JOBS:
        job = importlib.import_module(f"{__name__}.{name}")
        own = jobs.add_parser(name, help=job.HELP, description=job.__doc__, epilog=job.EXAMPLE, allow_abbrev=False,
                              formatter_class=argparse.RawDescriptionHelpFormatter)
        job.add_arguments(own)
        own.set_defaults(run=job.run)
    return parser


class _Parser(argparse.ArgumentParser):
    """argparse, but an error is one line."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(_complain(f"{message.removeprefix('argument ')} (see {self.prog} --help)"))


class _Version(argparse.Action):
    """Like argparse's own, but the version is looked up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str):
        super().__init__(option_strings, dest, nargs=0, help="show the version and leave")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from .. import __version__

        print(f"minivision {__version__}")
        raise SystemExit(0)


def _check_job(arguments: list[str]) -> None:
    """A misspelt job gets the nearest name, which argparse would not give."""
    if not arguments:
        raise SystemExit(_complain(f"which job? There are {', '.join(JOBS)} (see minivision --help)"))
    if arguments[0].startswith("-") or arguments[0] in JOBS:
        return
    near = difflib.get_close_matches(arguments[0], JOBS, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise SystemExit(_complain(f"there is no job {arguments[0]!r}{hint} There are {', '.join(JOBS)}"))


def _complain(text: str) -> int:
    print("minivision: error:", " ".join(text.split()), file=sys.stderr)
    return 2


def _in_words(problem: Exception) -> str:
    if isinstance(problem, OSError) and problem.strerror:
        return f"{problem.filename}: {problem.strerror}" if problem.filename else problem.strerror
    if isinstance(problem, (TypeError, LookupError)) and not isinstance(problem, ValueError):
        # Our own errors of these kinds are rare, so this may well be a mistake of ours: say how to see it.
        return f"{problem} ({type(problem).__name__}; MINIVISION_TRACEBACK=1 shows where)"
    if isinstance(problem, MemoryError):
        return f"there is not enough memory ({problem}); take a smaller picture, or less at a time"
    return str(problem) or type(problem).__name__
