"""Bring data sets onto this machine, and see which are there."""

from __future__ import annotations

import argparse

from .arguments import add_root

HELP = "fetch data sets, and list them"
EXAMPLE = "examples:\n  minivision data list\n  minivision data fetch fashion-mnist"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, title="actions")
    fetch = actions.add_parser("fetch", help="download a set and check it", allow_abbrev=False,
                               description="Download a data set from its authors' site and check its SHA-256.")
    fetch.add_argument("name", metavar="NAME", help="mnist (12 MB), fashion-mnist (31 MB), cifar10 (170 MB), or squeezenet "
                       "(0.7 MB, the weights of a network)")
    listing = actions.add_parser("list", help="say which sets are here", allow_abbrev=False)
    fetch.set_defaults(action=_fetch)
    listing.set_defaults(action=_list)
    for action in (fetch, listing):
        add_root(action)


def run(arguments: argparse.Namespace) -> int:
    return arguments.action(arguments)


def _fetch(arguments: argparse.Namespace) -> int:
    import difflib

    from ..data import DataError, fetch
    from ..data.fetch import BY_HAND, SOURCES

    if arguments.name == "digits":
        print("digits ships with minivision; there is nothing to fetch")
        return 0
    if arguments.name not in {**SOURCES, **BY_HAND}:
        near = difflib.get_close_matches(arguments.name.lower().replace("_", "-"), SOURCES, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise DataError(f"there is no data set {arguments.name!r} to fetch{hint} There are {', '.join(SOURCES)}")
    print(fetch(arguments.name, arguments.root))
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from ..doctor import data_sets

    for name, where in data_sets(arguments.root):
        print(f"{name:<15}{where}")
    return 0
