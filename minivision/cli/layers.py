"""List the layers of a network: their names, which other jobs take, what they are, and how large their answer is."""

from __future__ import annotations

import argparse

HELP = "list the layers of a network"
EXAMPLE = "examples:\n  minivision layers squeezenet\n  minivision layers digits"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from .arguments import add_root
    from .networks import NAMES

    parser.add_argument("model", nargs="?", choices=NAMES, metavar="MODEL", help=f"{', '.join(NAMES)} (the one that is here)")
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    from .. import explain
    from .networks import open_network

    network = open_network(arguments.model, arguments.root)
    modules = dict(network.model.named_modules())
    names = network.model.layers()
    answers = explain.feature_maps(network.model, network.prepare(None), names)
    width = max(map(len, names))
    for name in names:
        size = " x ".join(map(str, answers[name].shape))
        weights = sum(p.size for p in modules[name].parameters())
        line = f"{name:<{width}}  {type(modules[name]).__name__:<18} {size:<16}"
        print((line + (f" {weights:>10,} weights" if weights else "")).rstrip())
    return 0
