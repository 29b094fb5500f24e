"""Integral images: rows shared between the threads, then columns."""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import (
    Float64Out2,
    In2,
    IntOut2,
    Team,
    UInt8In2,
    compiled,
    contiguous,
    helper,
    pixels,
    prange,
)
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.reference.integral import sum_dtype

BAND = 64                       # columns that a thread adds up at a time: eight lines of the cache in each row


@rung("integral", name="parallel", device="cpu", accepts=pixels)
def integral(x: np.ndarray, squared: bool) -> np.ndarray:
    """Sums along rows, the rows shared between the threads; then down the columns, bands of columns shared."""
    x = contiguous(x)
    y = empty((x.shape[0] + 1, x.shape[1] + 1), sum_dtype(x))
    (_rows_of_bytes if x.dtype == np.uint8 else _rows_of_floats)(x, squared, y, work=y.size)
    (_down if x.dtype == np.uint8 else _down_floats)(y, work=y.size)
    return y


@rung("integral_tilted", name="compiled", device="cpu", accepts=pixels)
def integral_tilted(x: np.ndarray) -> np.ndarray:
    """One pass, by one thread: a row needs the two rows above. NumPy makes five passes over short rows."""
    x = contiguous(x)
    y = empty((x.shape[0] + 1, x.shape[1] + 1), sum_dtype(x))
    (_tilted_bytes if x.dtype == np.uint8 else _tilted_floats)(x, y)
    return y


@compiled
def _rows_of_bytes(x: UInt8In2, squared: bool, y: IntOut2, team: Team):
    H, W = x.shape
    y[0, :] = 0
    for h in prange(H, team):
        total = 0
        y[h + 1, 0] = 0
        for w in range(W):
            value = np.int64(x[h, w])
            total += value * value if squared else value
            y[h + 1, w + 1] = total


@compiled
def _rows_of_floats(x: In2, squared: bool, y: Float64Out2, team: Team):
    H, W = x.shape
    y[0, :] = 0.0
    for h in prange(H, team):
        total = 0.0
        y[h + 1, 0] = 0.0
        for w in range(W):
            value = np.float64(x[h, w])
            total += value * value if squared else value
            y[h + 1, w + 1] = total


@compiled
def _down(y: IntOut2, team: Team):
    rows, columns = y.shape
    for band in prange((columns + BAND - 1) // BAND, team):
        for h in range(1, rows):
            for w in range(band * BAND, min(columns, (band + 1) * BAND)):
                y[h, w] += y[h - 1, w]


@compiled
def _down_floats(y: Float64Out2, team: Team):
    rows, columns = y.shape
    for band in prange((columns + BAND - 1) // BAND, team):
        for h in range(1, rows):
            for w in range(band * BAND, min(columns, (band + 1) * BAND)):
                y[h, w] += y[h - 1, w]


@compiled
def _tilted_bytes(x: UInt8In2, y: IntOut2):
    tilted(x, y, 0)


@compiled
def _tilted_floats(x: In2, y: Float64Out2):
    tilted(x, y, 0.0)


@helper
def tilted(x, y, zero):
    """``zero`` is of the type of the sums."""
    H, W = x.shape
    y[0, :] = zero
    if H == 0 or W == 0:
        y[:, :] = zero
        return
    y[1, 0] = zero
    for w in range(W):
        y[1, w + 1] = x[0, w]
    for h in range(2, H + 1):
        y[h, 0] = y[h - 1, 1]
        for w in range(1, W):
            tip = (zero + x[h - 1, w - 1]) + (zero + x[h - 2, w - 1])
            y[h, w] = y[h - 1, w - 1] + y[h - 1, w + 1] - y[h - 2, w] + tip
        y[h, W] = y[h - 1, W - 1] + ((zero + x[h - 1, W - 1]) + (zero + x[h - 2, W - 1]))
