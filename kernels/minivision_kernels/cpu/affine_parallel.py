"""Images seen through an affine map, the rows of the result shared between the threads."""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import (
    Float64In1,
    In3,
    IntIn1,
    Out3,
    Team,
    UInt8In3,
    UInt8Out3,
    compiled,
    contiguous,
    helper,
    pixels,
    prange,
)
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.reference.affine import METHODS, POINT, Matrix, fixed, in_fixed_point
from minivision_kernels.shapes import Pair


@rung("affine", name="parallel", device="cpu", accepts=pixels)
def affine(x: np.ndarray, matrix: Matrix, size: Pair, method: str) -> np.ndarray:
    """Each pixel of the result is reckoned at once and written once, where NumPy holds a whole image of every step."""
    x = contiguous(x)
    y = empty((*size, x.shape[2]), x.dtype)
    whole = x.dtype == np.uint8
    if method == "nearest" and in_fixed_point(matrix, size):
        (_pick_bytes if whole else _pick_floats)(x, np.array(fixed(matrix)), y, work=y.size)
    else:
        (_mix_bytes if whole else _mix_floats)(
            x, np.array(matrix, np.float64), METHODS.index(method), y, work=8 * y.size)
    return y


@compiled
def _pick_bytes(x: UInt8In3, matrix: IntIn1, y: UInt8Out3, team: Team):
    OH = y.shape[0]
    for i in prange(OH, team):
        pick_row(x, matrix, i, y[i])


@compiled
def _pick_floats(x: In3, matrix: IntIn1, y: Out3, team: Team):
    OH = y.shape[0]
    for i in prange(OH, team):
        pick_row(x, matrix, i, y[i])


@compiled
def _mix_bytes(x: UInt8In3, matrix: Float64In1, method: int, y: UInt8Out3, team: Team):
    OH, OW, C = y.shape
    H, W = x.shape[:2]
    for i in prange(OH, team):
        for j in range(OW):
            u, v = place(matrix, i, j)
            if u >= 0 and u < W and v >= 0 and v < H:
                left, top = int(np.floor(u - 0.5)), int(np.floor(v - 0.5))
                for c in range(C):
                    if method == 0:
                        y[i, j, c] = x[int(v), int(u), c]
                    elif method == 1:
                        y[i, j, c] = np.uint8(bilinear(x, left, top, u - 0.5 - left, v - 0.5 - top, c, 0))
                    else:
                        mixed = bicubic(x, left, top, u - 0.5 - left, v - 0.5 - top, c, 0)
                        y[i, j, c] = np.uint8(min(max(mixed, 0.0), 255.0))
            else:
                for c in range(C):
                    y[i, j, c] = 0


@compiled
def _mix_floats(x: In3, matrix: Float64In1, method: int, y: Out3, team: Team):
    OH, OW, C = y.shape
    H, W = x.shape[:2]
    zero = x.dtype.type(0)
    for i in prange(OH, team):
        for j in range(OW):
            u, v = place(matrix, i, j)
            if u >= 0 and u < W and v >= 0 and v < H:
                left, top = int(np.floor(u - 0.5)), int(np.floor(v - 0.5))
                for c in range(C):
                    if method == 0:
                        y[i, j, c] = x[int(v), int(u), c]
                    elif method == 1:
                        y[i, j, c] = bilinear(x, left, top, u - 0.5 - left, v - 0.5 - top, c, zero)
                    else:
                        y[i, j, c] = bicubic(x, left, top, u - 0.5 - left, v - 0.5 - top, c, zero)
            else:
                for c in range(C):
                    y[i, j, c] = zero


@helper
def pick_row(x, matrix, i, y):
    """A row of the result by "nearest"; the matrix is in units of 2^-16."""
    H, W, C = x.shape
    u, v = matrix[1] * i + matrix[2], matrix[4] * i + matrix[5]
    for j in range(y.shape[0]):
        column, row = u >> POINT, v >> POINT
        if column >= 0 and column < W and row >= 0 and row < H:
            pixel = x[row, column]
            if C == 3:
                y[j, 0], y[j, 1], y[j, 2] = pixel[0], pixel[1], pixel[2]
            else:
                for c in range(C):
                    y[j, c] = pixel[c]
        else:
            for c in range(C):
                y[j, c] = 0
        u += matrix[0]
        v += matrix[3]


@helper
def place(matrix, i, j):
    """Where the centre of pixel (i, j) of the result lies in x: column and row."""
    u = matrix[0] * (j + 0.5) + matrix[1] * (i + 0.5) + matrix[2]
    v = matrix[3] * (j + 0.5) + matrix[4] * (i + 0.5) + matrix[5]
    return u, v


@helper
def bilinear(x, left, top, right, down, c, zero):
    """2 x 2 pixels mixed. Adding ``zero``, of the type of the sum, makes whole numbers with a sign of bytes."""
    H, W = x.shape[:2]
    l, r = max(left, 0), min(left + 1, W - 1)
    t, b = max(top, 0), min(top + 1, H - 1)
    upper = line(x[t, l, c] + zero, x[t, r, c] + zero, right)
    lower = line(x[b, l, c] + zero, x[b, r, c] + zero, right)
    return line(upper, lower, down)


@helper
def bicubic(x, left, top, right, down, c, zero):
    """4 x 4 pixels mixed."""
    H = x.shape[0]
    return cubic(
        cubic_of_row(x[min(max(top - 1, 0), H - 1)], left, right, c, zero),
        cubic_of_row(x[max(top, 0)], left, right, c, zero),
        cubic_of_row(x[min(top + 1, H - 1)], left, right, c, zero),
        cubic_of_row(x[min(top + 2, H - 1)], left, right, c, zero), down)


@helper
def cubic_of_row(row, left, right, c, zero):
    W = row.shape[0]
    return cubic(row[max(left - 1, 0), c] + zero, row[max(left, 0), c] + zero, row[min(left + 1, W - 1), c] + zero,
                 row[min(left + 2, W - 1), c] + zero, right)


@helper
def line(p, q, t):
    return p + (q - p) * t


@helper
def cubic(p, q, r, s, t):
    two = (p - q) + (p - q) + r - s
    three = q - p - r + s
    return q + t * (r - p + t * (two + t * three))
