"""Pixels of bytes picked by "nearest", a word at a time.

To pick a pixel is to copy it, and a pixel of three bytes costs three loads and three stores where a processor could have
moved eight bytes each time. So four bytes are moved at once: the fourth belongs to the next pixel, which is written
afterwards. Only the last pixel of a row, and what lies at the end of the image, is copied byte by byte.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import types

from minivision_kernels.cpu.compile import (
    Int32In1,
    IntIn1,
    Team,
    UInt8In1,
    UInt8In2,
    UInt8Out2,
    compiled,
    contiguous,
    have_compiler,
    helper,
    prange,
)
from minivision_kernels.cpu.simd import entry
from minivision_kernels.cpu.writer import INT32, config, int_, word
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.reference.affine import POINT, Matrix, fixed, in_fixed_point
from minivision_kernels.resample import NEAREST, nearest
from minivision_kernels.shapes import Pair

BAND = 16                       # rows that a thread takes at a time
CHEAP = 4                       # so many bytes are moved in the time of a multiply-add


def bytes_by_nearest(x: np.ndarray, size: Pair, method: str, antialias: bool = True) -> bool:
    """What ``resize`` here can do: pictures of bytes, grey or in colours, by "nearest"."""
    return method == NEAREST and _small_pixels(x)


def bytes_in_fixed_point(x: np.ndarray, matrix: Matrix, size: Pair, method: str) -> bool:
    """What ``affine`` here can do."""
    return method == NEAREST and _small_pixels(x) and in_fixed_point(matrix, size)


def _small_pixels(x: np.ndarray) -> bool:
    return have_compiler() and not config.DISABLE_JIT and x.dtype == np.uint8 and x.shape[2] in (1, 3) and x.nbytes < 1 << 31


def _insist(possible: bool) -> None:
    if not possible:
        raise ValueError("the rung 'words' picks pixels by 'nearest', of uint8 and 1 or 3 channels; take another rung")


@rung("resize", name="words", device="cpu", accepts=bytes_by_nearest)
def resize(x: np.ndarray, size: Pair, method: str, antialias: bool) -> np.ndarray:
    """Four bytes at once, and a row that shows the same old row as the one above is a copy of it."""
    _insist(bytes_by_nearest(x, size, method))
    (H, W, C), (OH, OW) = x.shape, size
    y = empty((OH, OW, C), np.dtype(np.uint8))
    _pick_grid(contiguous(x).reshape(H, W * C), nearest(H, OH), _places(W, OW, C), C, y.reshape(OH, OW * C),
               work=y.size // CHEAP)
    return y


@rung("affine", name="words", device="cpu", accepts=bytes_in_fixed_point)
def affine(x: np.ndarray, matrix: Matrix, size: Pair, method: str) -> np.ndarray:
    """Four bytes at once; where a row enters the image and where it leaves it is known before, so no pixel is asked."""
    _insist(bytes_in_fixed_point(x, matrix, size, method))
    H, W, C = x.shape
    y = empty((*size, C), np.dtype(np.uint8))
    _pick_turned(contiguous(x).reshape(-1), H, W, C, np.array(fixed(matrix)), y.reshape(size[0], size[1] * C),
                 work=y.size // CHEAP)
    return y


@lru_cache(maxsize=64)
def _places(n: int, m: int, C: int) -> np.ndarray:
    """Where each new pixel of a row begins in the old row."""
    places = (nearest(n, m) * C).astype(np.int32)
    places.flags.writeable = False
    return places


@compiled
def _pick_grid(x: UInt8In2, rows: IntIn1, places: Int32In1, C: int, y: UInt8Out2, team: Team):
    OH, OW = y.shape[0], places.shape[0]
    for band in prange((OH + BAND - 1) // BAND, team):
        for h in range(band * BAND, min(OH, band * BAND + BAND)):
            source, result = x[rows[h]], y[h]
            if h > band * BAND and rows[h] == rows[h - 1]:
                copy_bytes(y[h - 1], result)
            elif C == 1:
                for w in range(OW):
                    result[w] = entry(source, np.int64(places[w]))
            else:
                # Behind the last pixel of the image there is no fourth byte.
                fast = OW - 1 if rows[h] < x.shape[0] - 1 else 0
                for w in range(fast):
                    move_four(source, np.int64(places[w]), result, 3 * w)
                for w in range(fast, OW):
                    move_three(source, np.int64(places[w]), result, 3 * w)


@helper
def copy_bytes(source, target):
    for k in range(target.shape[0]):
        target[k] = source[k]


@helper
def move_three(a, at, b, bt):
    for k in range(3):
        b[bt + k] = a[at + k]


@compiled
def _pick_turned(x: UInt8In1, H: int, W: int, C: int, matrix: IntIn1, y: UInt8Out2, team: Team):
    OW = y.shape[1] // C
    for i in prange(y.shape[0], team):
        u, v = matrix[1] * i + matrix[2], matrix[4] * i + matrix[5]
        first, end = inside(u, matrix[0], W << POINT, OW)
        top, bottom = inside(v, matrix[3], H << POINT, OW)
        first = min(max(first, top), OW)
        end = max(min(end, bottom), first)
        result = y[i]
        for k in range(first * C):
            result[k] = 0
        u, v = u + matrix[0] * first, v + matrix[3] * first
        if C == 1:
            for j in range(first, end):
                result[j] = entry(x, (v >> POINT) * W + (u >> POINT))
                u, v = u + matrix[0], v + matrix[3]
        else:
            for j in range(first, end):
                at = ((v >> POINT) * W + (u >> POINT)) * 3
                if j < end - 1 and at + 3 < x.shape[0]:
                    move_four(x, at, result, 3 * j)
                else:
                    move_three(x, at, result, 3 * j)
                u, v = u + matrix[0], v + matrix[3]
        for k in range(end * C, OW * C):
            result[k] = 0


@helper
def inside(start, step, length, count):
    """From which j on, and up to which, start + j step lies in 0 .. length - 1; within 0 .. count."""
    if step == 0:
        return (0, count) if 0 <= start < length else (0, 0)
    if step < 0:
        start, step = length - 1 - start, -step         # seen from the other end
    first = max(-(start // step), 0)                    # ceil(-start / step)
    end = max(-((start - length) // step), 0)
    return min(first, count), min(end, count)


@word
def move_four(typing, a, at, b, bt):
    """b[bt : bt + 4] = a[at : at + 4], for bytes."""
    def write(context, builder, signature, args):
        def pointer(k):
            start = context.make_array(signature.args[k])(context, builder, args[k]).data
            return builder.bitcast(builder.gep(start, [args[k + 1]]), INT32.as_pointer())

        builder.store(builder.load(pointer(0), align=1), pointer(2), align=1)
        return context.get_dummy_value()

    return types.void(a, int_, b, int_), write
