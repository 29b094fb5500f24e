"""How many threads a parallel kernel uses, and when it must not use any.

The threads are Numba's, and start at the first kernel that calls for them (``team.py`` tells how), on the layer Numba
prefers: OpenMP where there is one. GNU OpenMP does not survive a fork: a child process that inherited started threads is killed
when it first calls for them. Data loaders fork. So a child of a process whose OpenMP threads were running computes with
one thread: the same kernels, the same bits.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from numbers import Integral
from typing import Any

ALONE = 1                           # what a kernel is told that has no team

_wanted: int | None = None          # None: Numba's default, all cores or NUMBA_NUM_THREADS
_teams: dict[int, tuple[int, Any]] = {}     # size -> what a kernel is told, and the numbers that lie at that address
guard: threading.Lock | None = threading.Lock()     # to be held around a kernel that calls for threads: Numba's own layer,
                                    # "workqueue", takes one call at a time. OpenMP and TBB need no guard
serial_only = False                 # True in a child forked from a process with OpenMP threads; then nobody has a team


def set_num_threads(n: int) -> None:
    """Use ``n`` threads in parallel kernels, in every Python thread of this process. Results do not depend on it.

    ``n`` is at least 1 and at most the number Numba started with: the number of cores, or NUMBA_NUM_THREADS.
    """
    global _wanted
    if isinstance(n, bool) or not isinstance(n, Integral):
        raise TypeError(f"n is {n!r}; expected a whole number of threads")
    most = max_threads()
    if not 1 <= n <= most:
        raise ValueError(
            f"n is {n}; expected 1 to {most}. For more, set the environment variable NUMBA_NUM_THREADS before starting")
    _wanted = int(n)


def get_num_threads() -> int:
    """The number of threads that parallel kernels use."""
    if serial_only:
        return 1
    return _wanted or max_threads()


@functools.cache
def max_threads() -> int:
    """The number of threads that Numba can use in this process; 1 without Numba."""
    try:
        from numba import config
    except ImportError:
        return 1
    return int(config.NUMBA_NUM_THREADS)       # type: ignore[attr-defined]  # Numba sets it by name


def team() -> int:
    """What a kernel is told that may be shared between threads (``team.py``). To be asked with `guard` in hand."""
    size = get_num_threads()
    return ALONE if size == 1 else _teams[size][0] if size in _teams else _new_team(size)


def _new_team(size: int) -> int:
    global guard
    import llvmlite.binding
    import numba

    numba.get_num_threads()                     # has a layer chosen, which registers the function
    numbers = (ctypes.c_int64 * 2)(llvmlite.binding.address_of_symbol("numba_parallel_for"), size)
    _teams[size] = -ctypes.addressof(numbers), numbers
    if _layer() in ("omp", "tbb"):
        guard = None
    return _teams[size][0]


def _layer() -> str:
    """The threading layer that Numba has started, or "" if none yet."""
    numba = sys.modules.get("numba")
    try:
        return numba.threading_layer() if numba is not None else ""
    except (AttributeError, ValueError):            # Numba is half imported, or has not started any threads
        return ""


def _after_fork_in_child() -> None:
    global serial_only, guard
    serial_only = serial_only or _layer() == "omp"
    guard = threading.Lock()                    # another thread of the parent may have held the old one
    _teams.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
