"""Memory for large results, used again: what fresh pages cost, and how not to pay for them.

The operating system gives a program large blocks page by page, each cleared when it is first touched. For a result of
many megabytes that takes as long as a memory-bound kernel itself, and the pages are given back as soon as the array is
dropped, only to be cleared again for the next one. So large results are views of buffers that are kept.

Whether a buffer may be handed out again is not a matter of bookkeeping. Every view of a NumPy array, and every view of a
view, refers to the array that owns the memory; so does whatever else looks at it (a memoryview, a PyTorch tensor). If
Python counts no reference to a buffer but ours, nobody can see it.

Results start at a multiple of 64 bytes, the length of a cache line and of the longest vector.

Every layer asks for memory, after a kernel has pushed all that Python needs for it out of the caches: each step then takes
microseconds, so there are few. Who takes a buffer out of its queue has it alone until it is put back, without a lock.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import deque
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
_total = _asked = _new = 0


def empty(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Like ``numpy.empty``, from memory used before where that is possible."""
    global _asked
    if isinstance(dtype, type):
        dtype = np.dtype(dtype)
    size = dtype.itemsize * math.prod(shape)
    if size < LEAST or not _on:
        return np.empty(shape, dtype)
    step = 1 << max(12, size.bit_length() - 4)              # lengths lie a sixteenth to an eighth apart, so that similar
    length = -(-(size + LINE) // step) * step               # results share buffers
    _asked += 1
    buffers, buffer = _kept.get(length), None
    if buffers:
        try:
            buffer = buffers.pop()
            if getrefcount(buffer.owner) != _ALONE:         # who had it last still uses it
                buffers.append(buffer)
                buffer = _take(buffers)
        except IndexError:                                  # another thread was faster
            pass
    if buffer is None:
        buffer, buffers = _new_buffer(length)
    if not buffer.owner.flags.writeable:                    # whoever had it may have forbidden writing
        buffer.owner.flags.writeable = True
    array = np.ndarray(shape, dtype, buffer.owner, buffer.start)
    if buffers is not None:
        buffers.append(buffer)                              # not before the array refers to it
    return array


def zeros(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Like ``numpy.zeros``, from memory used before where that is possible."""
    result = empty(shape, dtype)
    result.fill(0)
    return result


def scratch(numbers: int, dtype: np.dtype) -> np.ndarray:
    """Memory for a kernel to work in: so many numbers or more in a row, from the beginning of a cache line on where memory is
    reused. A kernel that makes its arrays itself counts references to them at every branch; one that is given them does not."""
    return empty((max(numbers, LEAST // dtype.itemsize),), dtype)


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
    return ReuseInfo(_on, _total, LIMIT, _asked, _asked - _new)


def clear() -> None:
    """Give all memory that is not in use back to the operating system."""
    global _total
    with _lock:
        _kept.clear()
        _total = 0


def _take(buffers: deque[Buffer]) -> Buffer | None:
    """A buffer that nobody uses, out of its queue: one of the last handed out, which may still lie in a cache, or of the first.

    Those looked at in vain are put back: the last as they were, the first behind the others, so that all have their turn.
    """
    last: list[Buffer] = []
    try:
        for _ in range(RECENT):
            buffer = buffers.pop()
            if getrefcount(buffer.owner) == _ALONE:
                return buffer
            last.append(buffer)
        for _ in range(min(OLD, len(buffers))):
            buffer = buffers.popleft()
            if getrefcount(buffer.owner) == _ALONE:
                return buffer
            buffers.append(buffer)
    except IndexError:                                      # there are no more
        pass
    finally:
        if last:
            buffers.extend(reversed(last))
    return None


def _new_buffer(length: int) -> tuple[Buffer, deque[Buffer] | None]:
    """A new buffer, and the queue that it goes to, if so much may be kept."""
    global _new, _total
    owner, buffers = np.empty(length, np.uint8), None
    _new += 1
    # Whoever finds the lock taken does not wait: the holder may be this very thread, interrupted by a destructor.
    if _lock.acquire(False):
        try:
            _make_room(length)
            if _total + length <= LIMIT:
                _total += length
                buffers = _kept.pop(length, None)
                if buffers is None:
                    buffers = deque()
                _kept[length] = buffers                     # last in the dict, since it grew last
        finally:
            _lock.release()
    return Buffer(owner, -owner.ctypes.data % LINE), buffers


def _make_room(size: int) -> None:
    """Forget buffers that nobody uses, those of queues that grew longest ago first, until ``size`` bytes may be kept."""
    global _total
    tries = 64
    for length, buffers in list(_kept.items()):
        for _ in range(len(buffers)):
            if _total + size <= LIMIT or not tries:
                return
            tries -= 1
            try:
                buffer = buffers.popleft()
            except IndexError:                              # another thread has it just now
                break
            if getrefcount(buffer.owner) == _ALONE:
                _total -= length
            else:
                buffers.append(buffer)


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()                                # another thread of the parent may have held the old one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
