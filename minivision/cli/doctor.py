"""Say what minivision finds on this machine: versions, processor, threads, kernel cache, GPU and data sets."""

from __future__ import annotations

import argparse

from .arguments import add_root

HELP = "say what minivision finds on this machine"
EXAMPLE = "example:\n  minivision doctor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    from .. import doctor

    for title, rows in doctor.examine(arguments.root):
        print(title)
        for what, found in rows:
            print(f"  {what:<18}{found}")
    return 0
