"""Mistakes in adding up: which of the single contributions to a gradient got lost.

Backward of an operation whose outputs share inputs is a sum: over overlapping windows, over the places a value was
broadcast to, over an index that occurs twice. Lose a part of that sum, and what remains is a recognisable selection of
the contributions upstream[m] * d output[m] / d x[i], which the measured Jacobian provides.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .diagnosis import Evidence, Found


def _per_output(e: Evidence) -> Iterator[tuple[tuple[int, ...], np.ndarray, np.ndarray]]:
    """For each output: its shape, what its elements contribute (n, *shape), and what other outputs add (n,)."""
    if e.jacobian is None:
        return
    parts, start = e.jacobian * e.upstream, 0
    for shape in e.outputs:
        size = int(np.prod(shape, dtype=np.int64))
        mine = parts[:, start:start + size]
        yield shape, mine.reshape(-1, *shape), parts.sum(axis=1) - mine.sum(axis=1)
        start += size


def _choices(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Every choice of axes that are longer than 1, small choices first."""
    long = [k for k, n in enumerate(shape) if n > 1]
    for count in range(1, min(len(long), 5) + 1):
        yield from itertools.combinations(long, count)


def missing_sum(e: Evidence) -> Found:
    """One slice along some axes of the output, where the sum over all of them is due."""
    for shape, parts, others in _per_output(e):
        for axes in _choices(shape):
            summed = parts.sum(axis=tuple(k + 1 for k in range(len(shape)) if k not in axes))
            places = [(j,) for j in range(shape[axes[0]])] if len(axes) == 1 else [(0,) * len(axes), (-1,) * len(axes)]
            for place in places:
                if e.explained_by((summed[(slice(None),) + place] + others).reshape(e.yours.shape)):
                    yield ("missing sum over broadcast axis",
                           f"it is the contribution of index {list(place)} along axes {list(axes)} of the output alone")
                    return


def assigned(e: Evidence) -> Found:
    """Of several contributions only the last (or first) written survives; entries reached once are right.

    A window usually hands back all its channels at once, so every split of the output's axes into those that were
    summed and those that were looped over is tried.
    """
    for shape, parts, others in _per_output(e):
        for looped in _choices(shape):
            rest = tuple(k + 1 for k in range(len(shape)) if k not in looped)
            written = parts.sum(axis=rest).reshape(len(parts), -1)
            touched = (parts != 0).any(axis=rest).reshape(len(parts), -1)
            if touched.sum(axis=1).max(initial=0) < 2:
                continue
            rows, last = np.arange(len(parts)), touched.shape[1] - 1
            for which, column in (("last", last - touched[:, ::-1].argmax(axis=1)), ("first", touched.argmax(axis=1))):
                if e.explained_by((written[rows, column] + others).reshape(e.yours.shape)):
                    yield ("assigned where windows overlap (= instead of +=)",
                           f"of the contributions of several outputs only the {which} one is there")
                    return


def diagonal(e: Evidence) -> Found:
    """Each output treated as if it depended on the input of its own place alone."""
    for shape, parts, others in _per_output(e):
        if shape == e.yours.shape and e.explained_by(
                np.diagonal(parts.reshape(len(parts), -1)).reshape(shape) + others.reshape(shape)):
            yield "cross terms missing", "only the Jacobian's diagonal is there, but outputs depend on several inputs"


DETECTORS: list[Callable[[Evidence], Found]] = [missing_sum, diagonal, assigned]
