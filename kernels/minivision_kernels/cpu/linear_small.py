"""The forward product of the linear layer for small matrices: half of the packing, and one meeting of the threads.

``linear_packed.py`` copies both operands to panels, the left one in a round of its own, so the threads meet twice. Where the
whole product takes some ten microseconds, that is most of the time. Here only w is copied, turned over, by the thread that is
about to use it, which also fills its last columns up with zeros. x is read where it lies, number by number. Its rows need no
filling up: the last tile begins a few rows earlier and computes them once more.

The two gradients need no turning over, and for them the rung ``tile`` copies nothing at all. This arrangement was tried
there, with w copied and with w read in place: 10 to 20 % faster where no width is a multiple of a vector, as much slower
elsewhere.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import SERIAL_BELOW, In1, Out1, Team, compiled, contiguous, helper, prange
from minivision_kernels.cpu.goal import NOTHING
from minivision_kernels.cpu.linear_packed import SMALL, filled
from minivision_kernels.cpu.panels import COLUMNS, ROWS, pack_right
from minivision_kernels.cpu.simd import lanes, lanes_of, load, put, room, vectors
from minivision_kernels.cpu.stream import whole
from minivision_kernels.cpu.tile import finish_columns, outer, store, zeros
from minivision_kernels.finish import Finish
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty

LEAST = 24          # rows; with fewer, turning w over costs more than the sums (rung ``tile``)
TERMS = 1024        # of longer sums a panel leaves the second-level cache,
MOST = 1 << 24      # and with more products packing the rows pays as well


def _worth(x: np.ndarray, w: np.ndarray) -> bool:
    return x.shape[0] >= LEAST and x.shape[1] <= TERMS and x.size * w.shape[0] <= (MOST if filled(w, len(w)) else SMALL)


@rung("linear_forward", name="small", device="cpu", accepts=vectors, worth=_worth)
def linear_forward(x: np.ndarray, w: np.ndarray, finish: Finish | None = None) -> np.ndarray:
    """Only w is copied, and the threads meet once: 1.2 to 1.5 times the rung below for the layers of LeNet-5 at batch 64, and
    twice as fast for 1024 x 9 x 64. A panel that one vector fills has tiles of one vector: 1.3 to 1.6 times for 10 classes.
    The bias is one more row of the panel.
    """
    (N, I), O = x.shape, w.shape[0]
    if N < ROWS:                                        # rows of zeros fill the tile, and are dropped
        return contiguous(linear_forward(np.pad(x, ((0, ROWS - N), (0, 0))), w, finish)[:N])
    y = empty((N, O), x.dtype)
    if O:
        work = N * I * O // lanes_of(x)
        parts = _parts(-(-O // (COLUMNS * lanes_of(x))), N, workers()) if work >= SERIAL_BELOW else 1
        bias, relu = (NOTHING[x.dtype], False) if finish is None else (contiguous(finish.bias), finish.relu)
        _multiply(contiguous(x).reshape(-1), contiguous(w).reshape(-1), N, O, I, parts, bias, relu, y.reshape(-1), work=work)
    return y


@functools.lru_cache(maxsize=1024)
def _parts(panels: int, rows: int, workers: int) -> int:
    """Into how many parts the rows are divided, so that all threads have the same to do; each part copies the panel again, at
    about the price of eight rows."""
    def time(parts: int) -> Any:
        return -(-panels * parts // workers) * (-(-rows // parts) + 8)

    return min(range(1, min(workers, rows // ROWS) + 1), key=time)


@compiled
def _multiply(x: In1, w: In1, N: int, O: int, I: int, parts: int, bias: In1, relu: bool, y: Out1, team: Team):
    width = COLUMNS * lanes(x)
    for item in prange((O + width - 1) // width * parts, team):
        column, part = item // parts * width, item % parts
        count, end = min(width, O - column), N * (part + 1) // parts
        panel, edge = room(x, (I + 1) * width), room(x, ROWS * width)
        pack_right(w, column * I, 1, I, O - column, I, panel, 0)
        if bias.shape[0] > 0:
            copy(bias, column, panel, I * width, count)
        for row in range(N * part // parts, end, ROWS):
            top = min(row, end - ROWS)
            if count <= lanes(x):                       # one vector holds what is left of the columns
                line = zeros(x, ROWS, 1)
                for k in range(I):
                    line = outer(line, ROWS, 1, x, top * I + k, I, panel, k * width)
                if bias.shape[0] > 0:
                    line = finish_columns(line, ROWS, 1, panel, I * width, relu)
                store(line, ROWS, 1, edge, 0, width)
            else:
                tile = zeros(x, ROWS, COLUMNS)
                for k in range(I):
                    tile = outer(tile, ROWS, COLUMNS, x, top * I + k, I, panel, k * width)
                if bias.shape[0] > 0:
                    tile = finish_columns(tile, ROWS, COLUMNS, panel, I * width, relu)
                if count == width:
                    store(tile, ROWS, COLUMNS, y, top * O + column, O)
                    continue
                store(tile, ROWS, COLUMNS, edge, 0, width)
            for i in range(ROWS):
                copy(edge, i * width, y, (top + i) * O + column, count)


@helper
def copy(x, at, y, to, count):
    """y[to + i] = x[at + i] for i < ``count``."""
    last = whole(x, 0, count)
    for i in range(0, last, lanes(x)):
        put(y, to + i, load(x, at + i))
    for i in range(last, count):
        y[to + i] = x[at + i]
