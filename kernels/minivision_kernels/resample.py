"""Which pixels make a pixel of a resized image, and with which weights.

An image of n pixels in a row is to have m. The centre of new pixel o lies at c = (o + 0.5) n / m in the old row, whose pixel k
covers k .. k + 1. Each method is a bump around 0 that says how much a pixel counts at a distance:

    box       1 within half a pixel                     bicubic    the cubic of Keys 1981 with a = -1/2, two pixels wide
    bilinear  a triangle, one pixel wide                lanczos    sinc(x) sinc(x / 3), three pixels wide
    hamming   a Hamming window of a sinc, one pixel wide

To shrink, the bump is stretched by n / m, so that every old pixel counts (antialiasing). Without that, pixels that no bump
reaches are skipped, and fine patterns turn into false coarse ones. Numbers and rounding are those of Pillow's
``Image.resize``, to the last digit; in images of bytes the weights are whole numbers, in units of 2^-22.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from minivision_kernels.shapes import Pair

BITS = 22                       # of a weight behind the point: 32, less 8 of the pixel and 2 for sums beyond 0..255
NEAREST = "nearest"


def passes(size: Pair, result: Pair) -> list[int]:
    """The axes to be summed along, in order; those that keep their length are left alone.

    The columns come second, unless the image loses more than twice as many rows as columns, which Pillow does since version
    13: then there is less to do for the other sum. Bytes are rounded in between, so the order shows in the last digit.
    """
    (H, W), (OH, OW) = size, result
    order = (0, 1) if H > OH and H - OH > 2 * (W - OW) else (1, 0)
    return [axis for axis in order if size[axis] != result[axis]]


class Taps(NamedTuple):
    """For each of m new pixels: the first old one that counts, how many do, and their weights."""

    first: np.ndarray           # int64 (m,)
    number: np.ndarray          # int64 (m,)
    weights: np.ndarray         # float64 (m, K), or int32 in units of 2^-22; 0 from `number` on


@lru_cache(maxsize=64)          # pictures of one size come in numbers
def taps(n: int, m: int, method: str, antialias: bool, whole: bool) -> Taps:
    """The weights that make m pixels of n; ``whole`` ones for images of bytes."""
    bump, reach = BUMPS[method]
    scale = n / m
    stretch = max(scale, 1.0) if antialias else 1.0
    support = reach * stretch
    centre = (np.arange(m) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)       # casts cut toward 0, as in C
    count = np.minimum((centre + support + 0.5).astype(np.int64), n) - first
    place = np.arange(int(count.max()))
    weights = bump((place + first[:, None] - centre[:, None] + 0.5) * (1.0 / stretch))
    weights[place >= count[:, None]] = 0.0
    total = np.zeros(m)
    for column in weights.T:            # one after the other: a sum in another order has other last digits
        total += column
    weights /= np.where(total == 0, 1.0, total)[:, None]
    if whole:
        weights = np.trunc(weights * (1 << BITS) + np.where(weights < 0, -0.5, 0.5)).astype(np.int32)
    for array in (first, count, weights):
        array.flags.writeable = False   # others will be given the same ones
    return Taps(first, count, weights)


@lru_cache(maxsize=64)
def nearest(n: int, m: int) -> np.ndarray:
    """The old pixel, int64 (m,), under the centre of each new one. Steps are added up, as Pillow does."""
    steps = np.full(m, n / m)
    steps[0] *= 0.5
    places = np.minimum(np.cumsum(steps).astype(np.int64), n - 1)
    places.flags.writeable = False
    return places


def _box(x: np.ndarray) -> np.ndarray:
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def _triangle(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    return np.where(x < 1, 1 - x, 0.0)


def _hamming(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    a, b = float(np.float32(0.54)), float(np.float32(0.46))        # Pillow has them with 32 bits; their sum is not quite 1
    bump = np.where(x == 0, 1.0, _sinc(x) * (a + b * np.cos(x * np.pi)))
    return np.where(x < 1, bump, 0.0)


def _cubic(x: np.ndarray) -> np.ndarray:
    x, a = np.abs(x), -0.5
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where((x >= -3) & (x < 3), _sinc(x) * _sinc(x / 3), 0.0)


def _sinc(x: np.ndarray) -> np.ndarray:
    x = x * np.pi
    return np.where(x == 0, 1.0, np.sin(x) / np.where(x == 0, 1.0, x))


# Method -> its bump, and how far from 0 it reaches.
BUMPS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "box": (_box, 0.5), "bilinear": (_triangle, 1.0), "hamming": (_hamming, 1.0), "bicubic": (_cubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
METHODS = (NEAREST, *BUMPS)
