"""Measure the kernels beside PyTorch, ONNX Runtime and NumPy, and beside the machine's own limits.

Contestants take turns on the same arrays, in one run. Peers that are not installed take no part.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import number, whole

if TYPE_CHECKING:
    from ..bench.bench import Request

SUITES = ("conv", "vgg", "resnet", "mobilenet", "lenet", "cifar", "deepbench", "gemm", "linear", "memory", "training", "all")
HELP = "measure the kernels beside other libraries and the machine's limits"
EXAMPLE = """examples:
  minivision bench --suite lenet --batch 64
  minivision bench --suite resnet --batch 1 4 --op forward --json resnet.json
  minivision bench --suite vgg --rungs --plot pictures"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what is measured")
    what.add_argument("--suite", choices=SUITES, default="lenet", help="which layers (lenet)")
    what.add_argument("--batch", nargs="+", type=whole(1), metavar="N", help="images at a time (1 4 32; training 1 64)")
    what.add_argument("--op", nargs="+", metavar="OP", help="only operations whose name has this in it, like forward")
    what.add_argument("--rungs", action="store_true", help="every rung of the ladder, not only the one that is chosen")
    what.add_argument("--exact", action="store_true", help="leave out what is less accurate than direct summation")
    how = parser.add_argument_group("how")
    how.add_argument("--threads", type=whole(1), metavar="N", help="threads for everyone (all cores)")
    how.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="measure other libraries too (yes)")
    how.add_argument("--keep-memory", action="store_true", help="let malloc keep what is freed, which helps PyTorch")
    how.add_argument("--seconds", type=number(above=0), metavar="S", help="about this long for each row (1)")
    how.add_argument("--quick", action="store_true", help="batch 1 and a tenth of a second for each row")
    out = parser.add_argument_group("what is written")
    out.add_argument("--json", metavar="FILE", help="all numbers")
    out.add_argument("--plot", metavar="DIR", help="pictures: the roofline, and with --rungs the ladders")


def run(arguments: argparse.Namespace) -> int:
    needed = _environment(arguments)
    if any(os.environ.get(name) != value for name, value in needed.items()):
        # These are read when a process starts.
        return subprocess.call([sys.executable, "-m", "minivision.cli", *arguments.words], env={**os.environ, **needed})

    from ..bench import bench, report
    from ..bench.peers import missing
    from ..bench.roofs import measure_roofs
    from .output import progress, say

    request = _request(arguments)
    todo = bench.chosen(request)
    if not todo:
        raise ValueError(f"suite {request.suite} has no such operation: {', '.join(request.ops)}")
    if request.peers:
        for absence in missing():
            say(absence)
    roofs = measure_roofs(min(request.seconds, 1.0))
    about = bench.conditions(request, roofs)
    say(report.conditions_line(about))
    say(f"\n{report.HEAD}")
    rows = []
    with progress(len(todo), "measuring", "row") as bar:
        for row in bench.rows(request, roofs, todo):
            rows.append(row)
            say(report.line(row))
            bar.update()
    say("\n".join(["", report.LEGEND, "", *report.summary_lines(rows)]))
    if arguments.json:
        report.save(arguments.json, about, rows)
        say(f"\nwritten to {arguments.json}")
    if arguments.plot:
        from ..bench.pictures import draw

        for path in draw(Path(arguments.plot), about, rows):
            say(f"drawn in {path}")
    return 0


def _environment(arguments: argparse.Namespace) -> dict[str, str]:
    """Variables that must be set before NumPy, numba and malloc start."""
    from ..bench.bench import KEEP_MEMORY, REST

    needed = {**(KEEP_MEMORY if arguments.keep_memory else {}), **(REST if arguments.peers else {})}
    if arguments.threads is not None:
        names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        needed.update(dict.fromkeys(names, str(arguments.threads)))
    return needed


def _request(arguments: argparse.Namespace) -> Request:
    from ..bench.bench import QUICK_SECONDS, Request

    return Request(
        suite=arguments.suite, batches=arguments.batch or ([1] if arguments.quick else []),
        ops=_ops(arguments.op or []), rungs=arguments.rungs, peers=arguments.peers, exact=arguments.exact,
        seconds=arguments.seconds or (QUICK_SECONDS if arguments.quick else 1.0))


def _ops(asked: list[str]) -> list[str]:
    """The operations whose names have a word of ``asked`` in them."""
    import difflib

    from minivision_kernels import ops

    chosen = []
    for text in asked:
        found = [op for op in ops() if text.lower() in op]
        if not found:
            near = difflib.get_close_matches(text.lower(), ops(), n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"--op: there is no operation {text!r}; {hint}There are {', '.join(ops())}")
        chosen += found
    return chosen
