"""Integral images: every entry the sum of the pixels in a corner of the image, or in a triangle that stands on its tip."""

from __future__ import annotations

import numpy as np

from minivision_kernels.ladder import rung


@rung("integral", name="numpy", device="cpu")
def integral(x: np.ndarray, squared: bool) -> np.ndarray:
    """S (H + 1, W + 1) of an image x (H, W): S[Y, X] is the sum of x[y, x], or of its squares, over y < Y and x < X.

    int64 for bytes, float64 for floats.
    """
    wide: np.ndarray = x.astype(sum_dtype(x))
    sums = np.zeros((x.shape[0] + 1, x.shape[1] + 1), wide.dtype)
    np.cumsum(np.cumsum(wide * wide if squared else wide, 1), 0, out=sums[1:, 1:])
    return sums


@rung("integral_tilted", name="numpy", device="cpu")
def integral_tilted(x: np.ndarray) -> np.ndarray:
    """T (H + 1, W + 1) of an image x (H, W): T[Y, X] is the sum of x[y, x] over y < Y and |x - X + 1| <= Y - y - 1.

    Two triangles a row higher, one to the left and one to the right, cover it, up to two pixels; what both cover is
    the triangle two rows higher. At the edges one of the two lies outside, and the other one covers all that is inside.
    """
    H, W = x.shape
    wide: np.ndarray = x.astype(sum_dtype(x))
    sums = np.zeros((H + 1, W + 1), wide.dtype)
    if not x.size:
        return sums
    sums[1, 1:] = wide[0]
    for Y in range(2, H + 1):
        above, tips = sums[Y - 1], wide[Y - 1] + wide[Y - 2]
        sums[Y, 0] = above[1]
        sums[Y, 1:W] = above[:W - 1] + above[2:] - sums[Y - 2, 1:W] + tips[:W - 1]
        sums[Y, W] = above[W - 1] + tips[W - 1]
    return sums


def sum_dtype(x: np.ndarray) -> type:
    return np.int64 if x.dtype == np.uint8 else np.float64
