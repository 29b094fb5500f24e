"""Where a kernel writes its sums, and what it does to them on the way (``finish.py``), in the form in which kernels take it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu.compile import FLOATS, contiguous
from minivision_kernels.cpu.simd import lanes_of
from minivision_kernels.cpu.tile import TALL_COLUMNS
from minivision_kernels.finish import Finish
from minivision_kernels.memory import empty

NOTHING = {dtype: np.empty(0, dtype) for dtype in FLOATS}


class Goal(NamedTuple):
    """The result (N, F, OH, OW), pixel after pixel and channel after channel, and the finish."""

    flat: np.ndarray            # begins with the first pixel of the first image's first channel
    step: int                   # numbers from there to the same pixel of the next image
    bias: np.ndarray            # of F numbers, and as many more as the last vector or tile has room for; or of none, which says
    relu: bool                  # that sums are written as they are


def aim(shape: tuple[int, ...], dtype: np.dtype, finish: Finish | None = None, groups: int = 1) -> tuple[np.ndarray, Goal]:
    """The result, still empty, and the goal that leads there."""
    _, F, OH, OW = shape
    if finish is None:
        y = empty(shape, dtype)
        return y, Goal(y.reshape(-1), F * OH * OW, NOTHING[dtype], False)
    bias, whole = contiguous(finish.bias), TALL_COLUMNS * lanes_of(finish.bias)
    if F % whole or groups > 1:
        bias = np.zeros(F + whole, dtype)
        bias[:F] = finish.bias
    if finish.into is None:
        y = empty(shape, dtype)
        return y, Goal(y.reshape(-1), F * OH * OW, bias, finish.relu)
    into, first = finish.into, finish.first
    step = into.shape[1] * OH * OW
    return into[:, first:first + F], Goal(into.reshape(-1)[first * OH * OW:], step, bias, finish.relu)


def matrix(rows: int, columns: int, dtype: np.dtype, finish: Goal | None = None) -> tuple[np.ndarray, Goal]:
    """The same for a product (rows, columns): the channels of one image are its rows."""
    if finish is None:
        y = empty((rows, columns), dtype)
        return y, Goal(y, y.size, NOTHING[dtype], False)
    return finish.flat[:rows * columns].reshape(rows, columns), finish


def fill(y: np.ndarray, goal: Goal) -> None:
    """Write sums of no products to y (N, F, OH, OW)."""
    numbers = goal.bias[:y.shape[1], None, None] if goal.bias.size else 0
    y[...] = np.where(numbers <= 0, 0, numbers) if goal.relu else numbers
