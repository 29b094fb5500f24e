"""Integral images: the sum over any rectangle from four numbers."""

from __future__ import annotations

import numpy as np

from minivision_kernels import run

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

    Raises:
        TypeError, ValueError: it is no grey image, or ``kind`` is unknown.
    """
    checks.image(image, "integral_image", color=False)
    checks.chosen(kind, KINDS, "integral_image", "kind")
    return run("integral_tilted", image) if kind == "tilted" else run("integral", image, squared=kind == "squared")
