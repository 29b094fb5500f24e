"""Integral images: the sum over any rectangle from four numbers."""

from __future__ import annotations

import numpy as np

from . import checks

KINDS = ("plain", "squared", "tilted")


def integral_image(image: np.ndarray, kind: str = "plain") -> np.ndarray:
    """Sums over all rectangles that begin at the top left corner, with a row and a column of zeros before them.

    "plain"     S[Y, X] = sum of image[y, x] over y < Y and x < X
    "squared"   the same of image[y, x]^2; with S it gives the variance of any window
    "tilted"    T[Y, X] = sum of image[y, x] over y < Y and |x - X + 1| <= Y - y - 1: a triangle that stands on its tip

    The sum over rows y .. y + h - 1 and columns x .. x + w - 1 is S[y + h, x + w] - S[y, x + w] - S[y + h, x] + S[y, x],
    whatever the size of the rectangle. Source: Viola and Jones 2001, section 2.1; the tilted one: Lienhart and Maydt 2002.
    The numbers are those of OpenCV's ``integral3``; scikit-image's ``integral_image`` is the plain one without its first
    row and column.

    Args:
        image: H x W, uint8 or float.
        kind: "plain", "squared" or "tilted".

    Returns:
        (H + 1) x (W + 1), int64 for uint8 images and float64 for floats.
    """
    checks.image(image, "integral_image", color=False)
    checks.chosen(kind, KINDS, "integral_image", "kind")
    wide = image.astype(np.int64 if image.dtype == np.uint8 else np.float64)
    if kind == "tilted":
        return _tilted(wide)
    sums = np.zeros((image.shape[0] + 1, image.shape[1] + 1), wide.dtype)
    np.cumsum(np.cumsum(wide * wide if kind == "squared" else wide, 0), 1, out=sums[1:, 1:])
    return sums


def _tilted(image: np.ndarray) -> np.ndarray:
    """T, row by row: the triangle of a row is that of the row above, widened by a pixel at either side.

    A row's triangle holds two columns' worth more than the sum of the diagonals; with margins of H columns at both sides no
    triangle is cut off.
    """
    H, W = image.shape
    wide = np.zeros((H, W + 2 * H), image.dtype)
    wide[:, H:H + W] = image
    sums = np.zeros((H + 1, W + 1), image.dtype)
    rows = np.zeros((H + 1, W + 2 * H + 1), image.dtype)
    np.cumsum(wide, 1, out=rows[:-1, 1:])                # rows[y, x]: the sum of the first x pixels of row y
    tips = np.arange(W + 1) - 1 + H
    for Y in range(1, H + 1):
        for reach in range(Y):                          # the row `reach` above the tip spans 2 reach + 1 pixels
            sums[Y] += rows[Y - 1 - reach, tips + reach + 1] - rows[Y - 1 - reach, tips - reach]
    return sums
