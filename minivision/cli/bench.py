"""Measure the kernels beside PyTorch, ONNX Runtime and NumPy, those on pictures beside Pillow and OpenCV, and all beside the
machine's own limits.

Contestants take turns on the same arrays, in one run. Peers that are not installed take no part.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import number, whole

if TYPE_CHECKING:
    from ..bench.bench import Request

SUITES = ("conv", "vgg", "resnet", "mobilenet", "lenet", "cifar", "deepbench", "gemm", "linear", "memory", "vision", "training",
          "explain", "all")
HELP = "measure the kernels beside other libraries and the machine's limits"
EXAMPLE = """examples:
  minivision bench --suite lenet --batch 64
  minivision bench --suite resnet --batch 1 4 --op forward --json resnet.json
  minivision bench --suite vgg --rungs --plot pictures
  minivision bench --suite vision --op resize
  minivision bench --suite resnet --batch 1 --tune"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what is measured")
    what.add_argument("--suite", choices=SUITES, default="lenet", help="which layers (lenet)")
    what.add_argument("--batch", nargs="+", type=whole(1), metavar="N", help="images at a time (1 4 32; training 1 64; "
                      "explain 1 32)")
    what.add_argument("--op", nargs="+", metavar="OP", help="only operations whose name has this in it, like forward")
    what.add_argument("--rungs", action="store_true", help="every rung of the ladder, not only the one that is chosen")
    what.add_argument("--exact", action="store_true", help="leave out what is less accurate than direct summation")
    how = parser.add_argument_group("how")
    how.add_argument("--threads", type=whole(1), metavar="N", help="threads for everyone (all cores)")
    how.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="measure other libraries too (yes)")
    how.add_argument("--keep-memory", action="store_true", help="let malloc keep what is freed, which helps PyTorch")
    how.add_argument("--avx2", action="store_true", help="everyone without AVX-512, as on a processor that has AVX2 only")
    how.add_argument("--seconds", type=number(above=0), metavar="S", help="about this long for each row (1)")
    how.add_argument("--quick", action="store_true", help="batch 1 and a tenth of a second for each row")
    out = parser.add_argument_group("what is written")
    out.add_argument("--tune", action="store_true", help="find the fastest rung for each layer on this machine, and remember "
                     "it: from then on it is chosen")
    out.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="for --tune: on a GPU, find the fastest tile of "
                     "each product (cpu)")
    out.add_argument("--json", metavar="FILE", help="all numbers")
    out.add_argument("--plot", metavar="DIR", help="pictures: the roofline, and with --rungs the ladders")


def run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    request = _request(arguments)
    needed = _environment(arguments)
    if any(os.environ.get(name) != value for name, value in needed.items()):
        # These are read when a process starts.
        return subprocess.call([sys.executable, "-m", "minivision.cli", *arguments.words], env={**os.environ, **needed})

    if arguments.device == "cuda":
        return _tune_tiles(request)
    return _tune(request) if arguments.tune else _measure(request, arguments.json, arguments.plot)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse now what would fail after minutes of measuring."""
    if arguments.tune:
        other = [f"--{name}" for name in ("rungs", "exact", "json", "plot") if getattr(arguments, name)]
        if other:
            raise ValueError(f"{other[0]} cannot be chosen with --tune, which writes a table of its own")
    if arguments.device == "cuda":
        from ..device import why_no_gpu

        if not arguments.tune:
            raise ValueError("--device cuda is for --tune; benchmarks/gpu.py measures on a GPU beside other libraries")
        reason = why_no_gpu()
        if reason is not None:
            raise ValueError(f"--device cuda: {reason}")
    if arguments.avx2 and platform.machine().lower() not in ("x86_64", "amd64"):
        raise ValueError(f"--avx2: this processor is a {platform.machine()}, expected x86-64")
    if arguments.json and Path(arguments.json).is_dir():
        raise ValueError(f"--json: {arguments.json} is a folder, expected the name of a file to write")
    if arguments.plot:
        if Path(arguments.plot).exists() and not Path(arguments.plot).is_dir():
            raise ValueError(f"--plot: {arguments.plot} is not a folder")
        if importlib.util.find_spec("matplotlib") is None:
            raise ValueError("--plot: matplotlib is not installed; pip install 'minivision[plot]' brings it")


def _measure(request: Request, file: str | None, folder: str | None) -> int:
    from ..bench import bench, report
    from ..bench.peers import missing
    from ..bench.roofs import measure_roofs
    from .output import progress, say

    todo = bench.chosen(request)
    if not todo:
        raise ValueError(f"suite {request.suite} has none of the operations {', '.join(request.ops)}")
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
    say("\n".join(["", report.LEGEND, report.apart_line(rows), "", *report.summary_lines(rows)]))
    if file:
        report.save(file, about, rows)
        say(f"\nwritten to {file}")
    if folder:
        from ..bench.pictures import draw

        for path in draw(Path(folder), about, rows):
            say(f"drawn in {path}")
    return 0


def _tune(request: Request) -> int:
    from ..bench import bench, tune
    from ..bench.suites import Problem
    from .output import progress, say

    todo = [problem for problem in bench.chosen(request) if isinstance(problem, Problem)]
    if not todo:
        raise ValueError(f"--tune: suite {request.suite} has no operation to choose a rung for")
    say(f"{'layer':<24}{'batch':>5}  {'operation':<24}{'by rule':<12}{'fastest':<12}{'exact':<12}{'gain':>6}")
    found = []
    with progress(len(todo), "tuning", "layer") as bar:
        for problem in todo:
            one = tune.fastest(problem, request.seconds)
            found.append(one)
            say(f"{problem.layer:<24}{problem.batch:>5}  {problem.op:<24}{one.rule:<12}{one.any:<12}{one.exact:<12}"
                f"{one.gain:>6.2f}")
            bar.update()
    path = tune.save(found)
    changed = sum(one.any != one.rule for one in found)
    say(f"\n{changed} of {len(found)} choices differ from the rule's. They hold on this machine until the kernels change: "
        f"{path}\nMINIVISION_TUNED=0 leaves them out.")
    return 0


def _tune_tiles(request: Request) -> int:
    from ..bench import bench, tune
    from ..bench.gpu import Gpu
    from ..bench.suites import Problem
    from .output import progress, say

    todo = [problem for problem in bench.chosen(request) if isinstance(problem, Problem)
            and problem.op.startswith(("linear", "conv2d"))]
    if not todo:
        raise ValueError(f"--tune: suite {request.suite} has no product to choose a tile for")
    gpu = Gpu()
    say(f"{'layer':<24}{'batch':>5}  {'operation':<24}{'tile, slices by rule':<22}{'fastest':<12}{'gain':>6}")
    found = []
    with progress(len(todo), "tuning", "layer") as bar:
        for problem in todo:
            one = tune.fastest_tile(problem, gpu, request.seconds)
            if one is not None:
                found.append(one)
                say(f"{problem.layer:<24}{problem.batch:>5}  {problem.op:<24}{one.rule!s:<22}{one.choice!s:<12}"
                    f"{one.gain:>6.2f}")
            bar.update()
    path = tune.save_tiles(found)
    say(f"\n{sum(one.choice != one.rule for one in found)} of {len(found)} tiles differ from the rule's: {path}")
    return 0


def _environment(arguments: argparse.Namespace) -> dict[str, str]:
    """Variables that must be set before NumPy, numba and malloc start."""
    from ..bench.bench import AVX2, KEEP_MEMORY, REST

    needed = {**(KEEP_MEMORY if arguments.keep_memory else {}), **(REST if arguments.peers else {}),
              **(AVX2 if arguments.avx2 else {})}
    if arguments.threads is not None:
        names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        needed.update(dict.fromkeys(names, str(arguments.threads)))
    return needed


def _request(arguments: argparse.Namespace) -> Request:
    from ..bench.bench import QUICK_SECONDS, Request

    return Request(
        suite=arguments.suite, batches=arguments.batch or ([1] if arguments.quick else []),
        ops=_ops(arguments.op or []), rungs=arguments.rungs, peers=arguments.peers,
        exact=arguments.exact or os.environ.get("MINIVISION_EXACT") == "1",
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
