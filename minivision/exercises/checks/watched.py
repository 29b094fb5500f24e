"""Arrays that watch who touches them: out of bounds, races between iterations, and how often memory is fetched.

A numba kernel is also a Python function. Run as one, on these arrays, every element it reads or writes is seen. Two
iterations of a ``prange`` that touch one element, one of them writing, are a race, whatever the values come out as: on
some machine, some day, they run at the same time.

The cache is modelled as small as an exercise: `LINES` lines of 64 bytes, the one not used for longest is thrown out
(LRU). What it must fetch is the score by which a tiled loop shows its worth without a clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

LINES, LINE_BYTES = 32, 64


class OutOfBounds(IndexError):
    """An element that is not there was touched."""


class Race(Exception):
    """Two iterations of one parallel loop touch the same element, and one of them writes."""


@dataclass
class Watch:
    """What is seen of one run; shared by all arrays of it."""

    reads: dict[str, int] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)
    fetched: int = 0                                   # lines of the cache
    iteration: int | None = None                       # of the parallel loop that is running
    _cache: OrderedDict[tuple[str, int], None] = field(default_factory=OrderedDict)
    _touched: dict[tuple[str, int], tuple[int, bool]] = field(default_factory=dict)

    def prange(self, *bounds: int) -> Iterator[int]:
        """As numba's prange, its iterations in reverse: no order is promised."""
        if self.iteration is not None:                 # an inner prange is an ordinary loop
            yield from range(*bounds)
            return
        self._touched.clear()
        for i in reversed(range(*bounds)):
            self.iteration = i
            yield i
        self.iteration = None
        self._touched.clear()

    def touch(self, name: str, ids: np.ndarray, itemsize: int, writes: bool) -> None:
        counts = self.writes if writes else self.reads
        counts[name] = counts.get(name, 0) + ids.size
        for k in ids.ravel().tolist():
            line = (name, k * itemsize // LINE_BYTES)
            if line in self._cache:
                self._cache.move_to_end(line)
            else:
                self.fetched += 1
                self._cache[line] = None
                if len(self._cache) > LINES:
                    self._cache.popitem(last=False)
            if self.iteration is not None:
                self._look_for_race(name, k, writes)

    def _look_for_race(self, name: str, k: int, writes: bool) -> None:
        other, wrote = self._touched.get((name, k), (self.iteration, False))
        if other != self.iteration and (writes or wrote):
            what = "both write" if writes and wrote else "one reads and the other writes"
            raise Race(f"iterations {self.iteration} and {other} of prange: {what} element {k} of {name} (counted flat). They "
                       "may run at the same time, and then one of them is lost; give each iteration elements of its own")
        self._touched[name, k] = (self.iteration or 0, writes or wrote)


class Watched(NDArrayOperatorsMixin):
    """An array under watch. It is indexed, sliced and computed with as any array, and grows no copies."""

    def __init__(self, array: np.ndarray, name: str, watch: Watch, ids: np.ndarray | None = None):
        self._array, self._name, self._watch = array, name, watch
        self._ids = np.arange(array.size).reshape(array.shape) if ids is None else ids

    shape = property(lambda self: self._array.shape)
    size = property(lambda self: self._array.size)
    ndim = property(lambda self: self._array.ndim)
    dtype = property(lambda self: self._array.dtype)

    def __len__(self) -> int:
        return len(self._array)

    def _check(self, index: Any) -> None:
        for axis, i in enumerate(index if isinstance(index, tuple) else (index,)):
            if isinstance(i, (int, np.integer)) and not 0 <= i < self.shape[axis]:
                raise OutOfBounds(f"{self._name}: index {i} along axis {axis}, which has {self.shape[axis]} elements. A "
                                  "compiled kernel would not notice, and read or overwrite what lies there")

    def __getitem__(self, index: Any) -> Any:
        self._check(index)
        part, ids = self._array[index], self._ids[index]
        if isinstance(part, np.ndarray) and part.ndim:
            return Watched(part, self._name, self._watch, ids)
        self._watch.touch(self._name, np.asarray(ids), self.dtype.itemsize, writes=False)
        return part

    def __setitem__(self, index: Any, value: Any) -> None:
        self._check(index)
        self._watch.touch(self._name, np.asarray(self._ids[index]), self.dtype.itemsize, writes=True)
        self._array[index] = value._read() if isinstance(value, Watched) else value

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def _read(self) -> np.ndarray:
        self._watch.touch(self._name, self._ids, self.dtype.itemsize, writes=False)
        return self._array.copy()

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self._read().astype(dtype or self.dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: tuple = (), **options: Any) -> Any:
        result = getattr(ufunc, method)(*(x._read() if isinstance(x, Watched) else x for x in inputs), **options)
        if out:
            out[0][...] = result
            return out[0]
        return result

    def sum(self, *args: Any, **options: Any) -> Any:
        return self._read().sum(*args, **options)

    def max(self, *args: Any, **options: Any) -> Any:
        return self._read().max(*args, **options)

    def min(self, *args: Any, **options: Any) -> Any:
        return self._read().min(*args, **options)
