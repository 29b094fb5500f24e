"""Memory for large results, used again: what fresh pages cost, and how not to pay for them.

The operating system gives a program large blocks page by page, each cleared when it is first touched. For a result of
many megabytes that takes as long as a memory-bound kernel itself, and the pages are given back as soon as the array is
dropped, only to be cleared again for the next one. So large results are views of buffers that are kept.

Whether a buffer may be handed out again is not a matter of bookkeeping. Every view of a NumPy array, and every view of a
view, refers to the array that owns the memory; if Python counts no reference to a buffer but ours, nobody can see it.
"""

from __future__ import annotations

import os
import sys
import threading

import numpy as np

LEAST = 64 * 1024                       # bytes; smaller results are left to NumPy, whose allocator keeps them anyway
LIMIT = 1 << 30                         # bytes that are kept, at most

_lock = threading.Lock()
_kept: dict[int, list[np.ndarray]] = {}     # size in bytes -> buffers of it, in use or not
_total = 0
# The count proves something only in CPython with its global lock.
_possible = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
_on = _possible and os.environ.get("MINIVISION_REUSE", "1") != "0"
_ALONE = 3                              # references to a buffer nobody uses: the list's, the loop's and getrefcount's own


def set_reuse(on: bool) -> None:
    """Keep the memory of large results for later ones (True, as at first), or leave all to NumPy (False)."""
    global _on
    _on = bool(on) and _possible
    if not _on:
        clear()


def clear() -> None:
    """Give all memory that is not in use back to the operating system."""
    global _total
    with _lock:
        _kept.clear()
        _total = 0


def empty(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Like ``numpy.empty``, from memory used before where that is possible."""
    dtype = np.dtype(dtype)
    size = dtype.itemsize
    for n in shape:
        size *= n
    if size < LEAST or not _on:
        return np.empty(shape, dtype)
    return _buffer(_rounded(size))[:size].view(dtype).reshape(shape)


def _rounded(size: int) -> int:
    """The size class: at most an eighth more than asked for."""
    step = 1 << max(12, size.bit_length() - 4)
    return -(-size // step) * step


def _buffer(size: int) -> np.ndarray:
    global _total
    with _lock:
        buffers = _kept.setdefault(size, [])
        for buffer in buffers:
            if sys.getrefcount(buffer) == _ALONE:
                return buffer
        new = np.empty(size, np.uint8)
        if _total + size <= LIMIT:
            buffers.append(new)
            _total += size
        return new
