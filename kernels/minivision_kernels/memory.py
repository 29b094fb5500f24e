"""Memory for large results, used again: what fresh pages cost, and how not to pay for them.

The operating system gives a program large blocks page by page, each cleared when it is first touched. For a result of
many megabytes that takes as long as a memory-bound kernel itself, and the pages are given back as soon as the array is
dropped, only to be cleared again for the next one. So large results are views of buffers that are kept.

Whether a buffer may be handed out again is not a matter of bookkeeping. Every view of a NumPy array, and every view of a
view, refers to the array that owns the memory; so does whatever else looks at it (a memoryview, a PyTorch tensor). If
Python counts no reference to a buffer but ours, nobody can see it.

Results start at a multiple of 64 bytes, the length of a cache line and of the longest vector.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import deque
from itertools import islice
from sys import getrefcount
from typing import NamedTuple

import numpy as np

LEAST = 64 * 1024               # bytes; smaller results are left to NumPy, whose allocator keeps them anyway
LINE = 64
RECENT, OLD = 4, 8              # how many buffers are looked at: the last ones handed out, then the first ones


class Buffer(NamedTuple):
    owner: np.ndarray           # of bytes; its memory begins anywhere
    start: int                  # the first byte that lies at a multiple of 64


class ReuseInfo(NamedTuple):
    on: bool
    kept: int                   # bytes, in use or not
    limit: int
    asked: int                  # how many results were large enough
    reused: int                 # how many of them got memory used before


def _limit() -> int:
    """An eighth of the machine's memory, at most 2 GiB."""
    try:
        return min(1 << 31, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8)
    except (AttributeError, OSError, ValueError):       # a system that does not say
        return 1 << 30


LIMIT = _limit()                # bytes that are kept, at most
# Without the global lock of CPython the count of references proves nothing.
POSSIBLE = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
_EXAMPLE = Buffer(np.empty(0), 0)
_ALONE = getrefcount(_EXAMPLE.owner)         # what is counted if a Buffer has the only reference

_on = POSSIBLE and os.environ.get("MINIVISION_REUSE", "1") != "0"
_lock = threading.Lock()
_kept: dict[int, deque[Buffer]] = {}    # length in bytes -> buffers of it, those handed out last at the right end
_total = _asked = _reused = 0


def empty(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Like ``numpy.empty``, from memory used before where that is possible."""
    if isinstance(dtype, type):
        dtype = np.dtype(dtype)
    size = dtype.itemsize * math.prod(shape)
    # Whoever finds the lock taken does not wait: the holder may be this very thread, interrupted by a destructor.
    if size < LEAST or not _on or not _lock.acquire(False):
        return np.empty(shape, dtype)
    try:
        buffer = _buffer(size + LINE)
        return np.ndarray(shape, dtype, buffer.owner, buffer.start)     # refers to the buffer before the lock is given up
    finally:
        _lock.release()


def zeros(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Like ``numpy.zeros``, from memory used before where that is possible."""
    result = empty(shape, dtype)
    result.fill(0)
    return result


def only_view(array: np.ndarray) -> bool:
    """Whether no other array looks at the memory of ``array``: it owns it, or is the one view of a buffer kept here, or of an
    array that nobody else has, and of all of it: a small view would keep the rest alive."""
    if array.base is None:
        return True
    if type(array.base) is not np.ndarray or array.base.base is not None or not POSSIBLE:
        return False
    queue = tuple(_kept.get(array.base.size, ()))
    kept = any(buffer.owner is array.base for buffer in queue)          # which is a reference too
    return (kept or array.nbytes == array.base.nbytes) and getrefcount(array.base) == _ALONE + kept


def set_reuse(on: bool) -> None:
    """Keep the memory of large results for later ones (True, as at first), or leave all to NumPy (False)."""
    global _on
    _on = bool(on) and POSSIBLE
    if not _on:
        clear()


def reuse_info() -> ReuseInfo:
    """Whether memory is reused, how many bytes are kept, and how often that helped."""
    return ReuseInfo(_on, _total, LIMIT, _asked, _reused)


def clear() -> None:
    """Give all memory that is not in use back to the operating system."""
    global _total
    with _lock:
        _kept.clear()
        _total = 0


def _buffer(size: int) -> Buffer:
    """A buffer of at least ``size`` bytes that nobody uses: one used before, or a new one."""
    global _asked, _reused, _total
    _asked += 1
    step = 1 << max(12, size.bit_length() - 4)              # lengths lie a sixteenth to an eighth apart, so that similar
    size = -(-size // step) * step                          # results share buffers
    buffers = _kept.pop(size, None) or deque()
    _kept[size] = buffers                                   # last in the dict, since asked for last
    for buffer in islice(reversed(buffers), RECENT):        # these may still lie in a cache
        if getrefcount(buffer.owner) == _ALONE:
            break
    else:
        for _ in range(min(OLD, len(buffers))):
            buffer = buffers[0]
            buffers.rotate(-1)
            if getrefcount(buffer.owner) == _ALONE:
                break
        else:
            owner = np.empty(size, np.uint8)
            buffer = Buffer(owner, -owner.ctypes.data % LINE)
            _make_room(size)
            if _total + size <= LIMIT:
                buffers.append(buffer)
                _total += size
            return buffer
    _reused += 1
    if not buffer.owner.flags.writeable:                    # whoever had it may have forbidden writing
        buffer.owner.flags.writeable = True
    return buffer


def _make_room(size: int) -> None:
    """Forget buffers that nobody uses, those asked for longest ago first, until ``size`` bytes may be kept."""
    global _total
    tries = 64
    for length, buffers in list(_kept.items()):
        for _ in range(len(buffers)):
            if _total + size <= LIMIT or not tries:
                return
            tries -= 1
            if getrefcount(buffers[0].owner) == _ALONE:
                buffers.popleft()
                _total -= length
            else:
                buffers.rotate(-1)
        if not buffers and length != size:
            del _kept[length]


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()                                # another thread of the parent may have held the old one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
