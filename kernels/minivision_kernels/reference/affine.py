"""An image seen through an affine map: rotated, shifted, sheared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair

Matrix = tuple[float, float, float, float, float, float]
METHODS = ("nearest", "bilinear", "bicubic")
POINT = 16                      # bits behind the point of a place in `nearest`


@rung("affine", name="numpy", device="cpu")
def affine(x: np.ndarray, matrix: Matrix, size: Pair, method: str) -> np.ndarray:
    """The image y (OH, OW, C) whose pixel at (i, j) is that of x (H, W, C) at the place the matrix (a, b, c, d, e, f) tells:

        column u = a (j + 1/2) + b (i + 1/2) + c        row v = d (j + 1/2) + e (i + 1/2) + f

    where pixel k covers k .. k + 1. Outside of x, y is 0. "nearest" takes the pixel under the place, which it reckons in steps
    of 2^-16; "bilinear" and "bicubic" (a = -1) mix 2 x 2 and 4 x 4 pixels, those beyond the edge being copies of it. Bytes
    are cut, not rounded. All as in Pillow's ``Image.transform``, to the last digit.
    """
    H, W = x.shape[:2]
    i, j = np.arange(size[0])[:, None], np.arange(size[1])
    if method == "nearest" and in_fixed_point(matrix, size):
        a, b, c, d, e, f = fixed(matrix)
        column, row = (a * j + b * i + c) >> POINT, (d * j + e * i + f) >> POINT
        inside = (column >= 0) & (column < W) & (row >= 0) & (row < H)
        return np.where(inside[..., None], x[np.clip(row, 0, H - 1), np.clip(column, 0, W - 1)], x.dtype.type(0))
    a, b, c, d, e, f = map(np.float64, matrix)
    u = a * (j + 0.5) + b * (i + 0.5) + c
    v = d * (j + 0.5) + e * (i + 0.5) + f
    inside = ((u >= 0) & (u < W) & (v >= 0) & (v < H))[..., None]
    u, v = np.clip(u, 0, W), np.clip(v, 0, H)               # what is outside will be 0 anyway
    if method == "nearest":
        at = np.minimum(v.astype(np.int64), H - 1), np.minimum(u.astype(np.int64), W - 1)
        return np.where(inside, x[at], x.dtype.type(0))
    left, top = np.floor(u - 0.5), np.floor(v - 0.5)
    right, down = (u - 0.5 - left)[..., None], (v - 0.5 - top)[..., None]
    pixels = x.astype(np.int64) if x.dtype == np.uint8 else x
    reach = range(2) if method == "bilinear" else range(-1, 3)
    columns = [np.clip(left.astype(np.int64) + k, 0, W - 1) for k in reach]
    rows = [np.clip(top.astype(np.int64) + k, 0, H - 1) for k in reach]
    mix: Callable[..., np.ndarray] = _line if method == "bilinear" else _cubic
    mixed = mix(*[mix(*[pixels[row, column] for column in columns], right) for row in rows], down)
    if x.dtype == np.uint8:
        mixed = np.clip(mixed, 0, 255)
    return np.where(inside, mixed, 0).astype(x.dtype)


def in_fixed_point(matrix: Matrix, size: Pair) -> bool:
    """Whether all places are numbers of 16 bits before the point."""
    a, b, c, d, e, f = matrix
    corners = [(j, i) for i in (0, size[0]) for j in (0, size[1])]
    return all(abs(j * a + i * b + c) < 1 << 15 and abs(j * d + i * e + f) < 1 << 15 for j, i in corners)


def fixed(matrix: Matrix) -> tuple[int, ...]:
    """The matrix in units of 2^-16, moved by half a pixel so that it may be used with (j, i)."""
    a, b, c, d, e, f = matrix
    middle = a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5
    return tuple(int(np.floor(value * (1 << POINT) + 0.5)) for value in middle)


def _line(p: np.ndarray, q: np.ndarray, t: np.ndarray) -> np.ndarray:
    return p + (q - p) * t


def _cubic(p: np.ndarray, q: np.ndarray, r: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The cubic through q at t = 0 and r at t = 1 with slopes r - p and s - q."""
    two = (p - q) + (p - q) + r - s
    three = q - p - r + s
    return q + t * (r - p + t * (two + t * three))
