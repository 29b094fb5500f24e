"""Arrays that a pending backward still needs, and why nobody may change them meanwhile.

The derivative of ``x * y`` with respect to ``x`` is ``y``: backward reads the values that forward saw. Change ``y`` in
between and the gradient is silently wrong. So every array that a recorded operation keeps is *held* here until its
backward has run (or its result is thrown away), and an attempt to change it is an error that names the operation:

- whatever changes arrays on purpose (optimisers, ``tensor.data = ...``, ``load_state_dict``) asks `check_free` first;
- ``tensor.data`` shows a held array as a `HeldArray`, which reads like any array and says in its error who needs it;
- NumPy's own write flag is cleared, so that a write through any other reference to the array fails too, with NumPy's
  error "assignment destination is read-only".

What this cannot see: writes through a NumPy view that was taken by hand *before* the operation ran, writes to memory that
belongs to something else (a PyTorch tensor, for instance), where NumPy would not let us set the flag again, and raw writes
to GPU arrays, which have no write flag.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np


class InPlaceError(RuntimeError, ValueError):
    """An array that a pending backward needs was about to be changed."""


class _Hold:
    """One block of memory that is held: by how many operations, the first one's name, and the arrays to make writable."""

    __slots__ = ("count", "name", "root", "switched")

    def __init__(self, root: Any, name: str):
        self.root, self.name, self.count = root, name, 1
        self.switched: list[np.ndarray] = []


_holds: dict[int, _Hold] = {}      # by id of the array that owns the memory; the hold keeps that array alive
_lock = threading.RLock()          # reentrant: garbage collection may release a hold while another is being taken


def memory_owner(array: Any) -> Any:
    """The array whose memory ``array`` looks at: itself, or the base of the views it came through."""
    base = getattr(array, "base", None)
    while base is not None and isinstance(base, (np.ndarray, type(array))):
        array, base = base, getattr(base, "base", None)
    return array


def hold(arrays: Sequence[Any], name: str) -> None:
    """Declare that the pending backward of operation ``name`` needs these arrays unchanged."""
    with _lock:
        for array in arrays:
            root = memory_owner(array)
            entry = _holds.get(id(root))
            if entry is None:
                entry = _holds[id(root)] = _Hold(root, name)
                if isinstance(root, np.ndarray):
                    flags = root.flags
                    # NumPy makes memory writable again if the array owns it, or if its owner hands it out as a writable buffer.
                    if flags.writeable and (flags.owndata if root.base is None else _is_writable(root.base)):
                        root.setflags(write=False)      # sooner done than flags.writeable = False
                        entry.switched.append(root)
            else:
                entry.count += 1
            if array is not root and entry.switched and array.flags.writeable:      # a view can be what its base can
                array.setflags(write=False)
                entry.switched.append(array)


def _is_writable(owner: Any) -> bool:
    """Whether what owns memory hands it out as a writable buffer."""
    try:
        return not memoryview(owner).readonly
    except TypeError:
        return False


def let_go(arrays: Sequence[Any]) -> None:
    """Take back one `hold` of each; the last one makes the memory writable again."""
    with _lock:
        for array in arrays:
            root = memory_owner(array)
            entry = _holds.get(id(root))
            if entry is None:                  # never held, so nothing to take back
                continue
            entry.count -= 1
            if entry.count == 0:
                del _holds[id(root)]
                for each in entry.switched:    # the owner of the memory comes first: a view may not outdo its base
                    each.setflags(write=True)


def holder(array: Any) -> str | None:
    """The name of an operation whose pending backward needs this memory, or None."""
    if not _holds:                             # once all backwards have run
        return None
    entry = _holds.get(id(memory_owner(array)))
    return None if entry is None else entry.name


def check_free(array: Any, what: str = "this array") -> None:
    """Raise `InPlaceError` if a pending backward needs the memory of ``array``."""
    name = holder(array)
    if name is not None:
        raise InPlaceError(
            f"{what} (shape {tuple(array.shape)}) cannot be changed: the pending backward of {name} still needs its "
            f"values. Call backward() first, drop the result that was computed from it, compute that result under "
            f"mv.no_grad(), or change a copy"
        )


class HeldArray(np.ndarray):
    """A read-only look at an array that a pending backward needs: an ordinary array whose write errors say who."""

    def _refuse(self) -> None:
        if not self.flags.writeable:
            check_free(self)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._refuse()
        super().__setitem__(index, value)

    def fill(self, value: Any) -> None:
        self._refuse()
        super().fill(value)

    def sort(self, *args: Any, **options: Any) -> None:
        self._refuse()
        super().sort(*args, **options)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: tuple = (), **options: Any) -> Any:
        written = (*out, inputs[0]) if method == "at" else out
        for array in written:
            if isinstance(array, HeldArray):
                array._refuse()
        if out:
            options["out"] = tuple(_plain(x) for x in out)
        return getattr(ufunc, method)(*(_plain(x) for x in inputs), **options)


def _plain(array: Any) -> Any:
    return array.view(np.ndarray) if isinstance(array, HeldArray) else array


def as_user_sees(array: Any) -> Any:
    """``array`` itself, or a `HeldArray` of it while it must not be changed."""
    if isinstance(array, np.ndarray) and holder(array) is not None:
        shown = array.view(HeldArray)
        shown.flags.writeable = False
        return shown
    return array
