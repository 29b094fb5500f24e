"""Arguments checked as they are read, so that a bad number is refused before any work begins."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any


def whole(least: int) -> Callable[[str], int]:
    """A reader of whole numbers that are at least ``least``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number >= {least}")
        return value

    return read


def number(above: float | None = None, least: float | None = None,
           below: float | None = None) -> Callable[[str], float]:
    """A reader of finite numbers: > ``above``, >= ``least``, < ``below``."""
    limits = [f"{sign} {limit:g}" for sign, limit in ((">", above), (">=", least), ("<", below)) if limit is not None]

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        outside = ((above is not None and value <= above) or (least is not None and value < least)
                   or (below is not None and value >= below))
        if outside or not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"got {text!r}, expected a number {' and '.join(limits)}")
        return value

    return read


def add_root(parser: Any) -> None:
    """The option --root, to a parser or a group of one."""
    parser.add_argument("--root", metavar="DIR",
                        help="where the files of the data sets are (MINIVISION_DATA, or a cache folder)")


def device(name: str) -> str:
    """``cpu``, ``cuda`` or ``cuda:<number>``, if it is there; otherwise it is refused with the reason."""
    if name == "cpu":
        return name
    from ..device import device_count, why_no_gpu

    kind, _, number = name.partition(":")
    if kind != "cuda" or not (number.isdigit() or name == "cuda"):
        reason: str | None = "expected cpu, cuda or cuda:<number>"
    else:
        reason = why_no_gpu()
        if reason is None and number and int(number) >= device_count():
            reason = f"this machine has {device_count()} CUDA device(s), counted from 0"
    if reason is not None:
        raise argparse.ArgumentTypeError(f"{name!r} cannot be used: {reason}")
    return name


def add_device(parser: Any) -> None:
    """The option --device, to a parser or a group of one."""
    parser.add_argument("--device", type=device, default="cpu", metavar="NAME", help="cpu, cuda or cuda:<number> (cpu)")
