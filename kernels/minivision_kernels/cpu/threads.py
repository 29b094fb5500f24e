"""How many threads a parallel kernel uses, and when it must not use any.

Numba starts its threads at the first parallel kernel, on the layer it prefers: OpenMP where there is one. GNU OpenMP
does not survive a fork: a child process that inherited started threads is killed at its first parallel region. Data
loaders fork. So a child of a process whose OpenMP threads were running computes with the serial forms of the kernels
instead: the same source, the same bits, one thread.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from numbers import Integral
from typing import Any


class _Local(threading.local):
    applied: int | None = None      # the count this Python thread has told Numba, which keeps one per thread


_local = _Local()
_wanted: int | None = None          # None: Numba's default, all cores or NUMBA_NUM_THREADS
_all: int | None = None             # what that is, once a count has been applied
_exclusive = threading.Lock()
_guard: contextlib.AbstractContextManager[Any] = _exclusive     # until we know that the layer needs none
serial_only = False                 # True in a child forked from a process with OpenMP threads


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
    return max_threads() if _wanted is None else _wanted


@functools.cache
def max_threads() -> int:
    """The number of threads that Numba can use in this process; 1 without Numba."""
    try:
        from numba import config
    except ImportError:
        return 1
    return int(config.NUMBA_NUM_THREADS)       # type: ignore[attr-defined]  # Numba sets it by name


def region(share: bool) -> contextlib.AbstractContextManager[Any]:
    """To be held around every parallel kernel: sets this Python thread's count, 1 if the work is not to be shared, and keeps
    out other Python threads where Numba's layer cannot take two at once (its own "workqueue" cannot; OpenMP and TBB can)."""
    global _guard, _all
    wanted = _wanted if share else 1
    if wanted is None and _local.applied not in (None, _all):
        wanted = max_threads()
    if wanted is not None and _local.applied != wanted:
        import numba

        with _exclusive:
            numba.set_num_threads(wanted)           # starts the threads if nothing has yet
        _local.applied, _all = wanted, max_threads()
    if _guard is _exclusive and _layer() in ("omp", "tbb"):
        _guard = contextlib.nullcontext()
    return _guard


def _layer() -> str:
    """The threading layer that Numba has started, or "" if none yet."""
    numba = sys.modules.get("numba")
    try:
        return numba.threading_layer() if numba is not None else ""
    except (AttributeError, ValueError):            # Numba is half imported, or has not started any threads
        return ""


def _after_fork_in_child() -> None:
    global serial_only, _exclusive, _guard
    serial_only = serial_only or _layer() == "omp"
    _exclusive = _guard = threading.Lock()          # another thread of the parent may have held the old one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
