"""Prove the gradients of the engine's operations right: compare each backward with the slope of its forward.

error: the largest difference, as a fraction of the largest entry of that gradient. power: the percentage of entries
large enough to be told from zero; a check without power proves nothing. second order: the same for the gradient's
gradient.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..checking import GradcheckReport

HELP = "prove the engine's gradients right"
EXAMPLE = "examples:\n  minivision gradcheck\n  minivision gradcheck conv2d relu"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ops", nargs="*", metavar="OP", help="only these operations (all)")


def run(arguments: argparse.Namespace) -> int:
    from ..checking import cases, check_all

    names = [case.op + (f" ({case.note})" if case.note else "") for case in cases()]
    wanted = _chosen(arguments.ops, names)
    failed = 0
    reports = []
    print(f"{'operation':<26}{'error':>9}{'power':>9}   second order")
    for name, first, second in check_all():
        if name not in wanted:
            continue
        # A text in place of the second report says why there is none. Every operation of the engine should have one.
        right = bool(first) and not isinstance(second, str) and bool(second)
        verdict = "" if right else "   FAILED"
        print(f"{name:<26}{_size(first.max_error):>9}{first.power:>7.0f} %   {_second(second)}{verdict}", flush=True)
        failed += not right
        reports += [report for report in (first, second) if not isinstance(report, str) and not report]
        wanted.remove(name)
        if not wanted:
            break
    for report in reports:
        print(f"\n{report}")
    print(f"\n{failed} failed" if failed else "\nall gradients are right")
    return 1 if failed else 0


def _chosen(asked: list[str], names: list[str]) -> list[str]:
    """The operations whose names begin as asked: ``conv2d`` means Conv2d, Conv2dInput and Conv2dWeight."""
    import difflib

    if not asked:
        return names
    plain = {name: name.lower() for name in names}
    chosen = set()
    for text in asked:
        found = {name for name in names if plain[name].startswith(text.lower().replace("_", ""))}
        if not found:
            near = difflib.get_close_matches(text.lower().replace("_", ""), plain.values(), n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"there is no operation {text!r}; {hint}`minivision gradcheck` without a name "
                             "checks and lists all")
        chosen |= found
    return [name for name in names if name in chosen]


def _second(second: GradcheckReport | str) -> str:
    if isinstance(second, str):
        return second
    return "zero, as it should be" if second.second_order_zero else _size(second.max_error)


def _size(error: float) -> str:
    return f"{error:.0e}" if error else "0"
