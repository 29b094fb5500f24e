"""The gradient to few 1 x 1 filters: inner products of planes as they lie.

    dw[f, c] = the sum over the pixels p of all images of g[f, p] * x[c, p]

For 16 channels and 64 filters there are 1024 such sums over many thousand pixels. To turn planes over, so that a tile may be
summed by outer products (``conv_packed.py``), takes as long as the sums. Inner products need nothing turned over: a tile of
4 filters x 6 channels takes ten loads for 24 multiply-adds. ``conv_tiles.py`` has them, too, and goes through whole planes for
each tile, which come from afar each time. Here a stretch of pixels serves all tiles while it is near, and each tile keeps a
vector of sums for each of its weights in memory meanwhile. What the lanes hold is added up once, at the end.

Rows are filters or channels, of which there are more. Threads share them, so that each sum is formed by one, in the order of
the pixels.
"""

from __future__ import annotations

import functools

import numpy as np

from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, prange
from minivision_kernels.cpu.simd import lanes, lanes_of, vectors
from minivision_kernels.cpu.tile import INNER_COLUMNS, INNER_ROWS, add_totals, inner, inner_part, plus, store, zeros
from minivision_kernels.ladder import rung
from minivision_kernels.memory import scratch
from minivision_kernels.shapes import Pair

ROWS, COLUMNS = INNER_ROWS, INNER_COLUMNS
STRETCH = 512               # pixels
NARROW, MOST = 24, 6144     # the smaller side of the product, and weights, at most,
FEW = 1024                  # and so few of them that images of one line pay
PIXELS = 128, 400           # of an image, at least, for so few weights and for more
BYTES = 16 * 2**20          # of both arrays, at most; those that come from memory are better asked for (``conv_packed.py``)


def _accepts(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
             dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return shape[2:] == (1, 1) and stride == (1, 1) and padding == (0, 0) and groups == 1 and (
        min(shape[:2]) >= COLUMNS and vectors(x))


def _worth(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
           dilation: Pair = (1, 1), groups: int = 1) -> bool:
    """Where layers of random shapes, 190 of them, began to win: for few weights, which fill tiles, and are seen by many pixels
    that are not too far."""
    side, weights, pixels = min(shape[:2]), shape[0] * shape[1], g.shape[2] * g.shape[3]
    filled = -(-side // COLUMNS) * COLUMNS <= 1.2 * side
    return filled and side <= NARROW and weights <= MOST and pixels >= PIXELS[weights > FEW] and (
        3 * len(x) * pixels >= weights and x.nbytes + g.nbytes <= BYTES)


@rung("conv2d_weight", name="inner", device="cpu", accepts=_accepts, worth=_worth)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Inner products of planes, a stretch at a time, with all sums near.

    The time of the rung chosen before / this one's: 1.05 to 2 for 6 to 24 channels or filters on the narrower side, most for
    single images; for 32 and more it was 0.8 to 1.05. To ask for the next rows (``prefetch``) made no difference.
    """
    if not _accepts(x, g, shape, stride, padding, dilation, groups):
        raise ValueError(f"this rung takes {COLUMNS} or more 1 x 1 filters of as many channels, stride 1, no padding and one "
                         "group; call the rung 'direct'")
    N, (F, C), P, L = len(x), shape[:2], g.shape[2] * g.shape[3], lanes_of(x)
    if not N * P:
        return np.zeros(shape, x.dtype)
    a, b, A, B = (g, x, F, C) if F >= C else (x, g, C, F)
    threads, bands, tiles = workers(), -(-A // ROWS), -(-B // COLUMNS)
    totals = np.zeros((bands * ROWS, tiles * COLUMNS), x.dtype)
    room = threads * -(-bands // threads) * tiles * ROWS * COLUMNS * L
    sums = scratch(room, x.dtype)
    _sum_products(contiguous(a).reshape(-1), contiguous(b).reshape(-1), N, A, B, P, _places(B, P), sums, totals.reshape(-1),
                  threads, work=N * F * C * P // L)
    totals = without_twice(without_twice(totals, A, ROWS).T, B, COLUMNS)        # (B, A)
    return contiguous(totals.T if a is g else totals).reshape(shape)


def without_twice(rows: np.ndarray, count: int, tile: int) -> np.ndarray:
    """So many rows of those of whole tiles, of which the last one reaches back into the one before it."""
    rest = count % tile
    return np.concatenate((rows[:count - rest], rows[len(rows) - rest:])) if rest else rows


@functools.lru_cache(maxsize=256)
def _places(planes: int, pixels: int) -> np.ndarray:
    return np.arange(planes) * pixels


@compiled
def _sum_products(
    a: In1, b: In1, N: int, A: int, B: int, P: int, place: IntIn1, sums: Out1, totals: Out1, workers_: int, team: Team,
):
    L, bands, tiles, size = lanes(a), (A + ROWS - 1) // ROWS, (B + COLUMNS - 1) // COLUMNS, ROWS * COLUMNS * lanes(a)
    for worker in prange(workers_, team):
        begin, end, mine = bands * worker // workers_, bands * (worker + 1) // workers_, sums.shape[0] // workers_ * worker
        for k in range((end - begin) * tiles * size):
            sums[mine + k] = 0
        for n in range(N):
            for first in range(0, P, STRETCH):
                last, to = min(P, first + STRETCH), mine
                for band in range(begin, end):              # the last tiles reach back into those before
                    at = (n * A + min(band * ROWS, A - ROWS)) * P
                    for column in range(0, B, COLUMNS):
                        k, p = min(column, B - COLUMNS), first
                        tile = plus(zeros(a, ROWS, COLUMNS), ROWS, COLUMNS, sums, to, COLUMNS * L)
                        while p + L <= last:
                            tile = inner(tile, ROWS, COLUMNS, a, at + p, P, b, n * B * P + p, place, k)
                            p += L
                        if p < last:
                            tile = inner_part(tile, ROWS, COLUMNS, a, at + p, P, b, n * B * P + p, place, k, last - p)
                        store(tile, ROWS, COLUMNS, sums, to, COLUMNS * L)
                        to += size
        to = mine
        for band in range(begin, end):
            for t in range(tiles):
                tile = plus(zeros(a, ROWS, COLUMNS), ROWS, COLUMNS, sums, to, COLUMNS * L)
                add_totals(tile, ROWS, COLUMNS, totals, (band * ROWS * tiles + t) * COLUMNS, tiles * COLUMNS)
                to += size
