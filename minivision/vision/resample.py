"""Images of another size, another number of pixels, another number of levels, or turned.

The lecture's two ways to spoil an image are here, `subsample` (fewer pixels) and `quantize` (fewer levels), beside the way
to do it well (`resize`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivision_kernels import run
from minivision_kernels.resample import METHODS

from . import checks

SUBSAMPLINGS = ("decimate", "box", "bilinear")
OUTPUTS = ("codes", "truncate", "full")
ROTATIONS = ("nearest", "bilinear", "bicubic")


def resize(image: np.ndarray, size: Any, method: str = "bilinear", antialias: bool = True) -> np.ndarray:
    """The image with another number of pixels, as Pillow's ``Image.resize`` computes it, to the last digit.

    Args:
        image: H x W or H x W x 3, uint8 or float.
        size: (height, width) of the result, or one number for a square. (Pillow says width first.)
        method: "nearest", "box", "bilinear", "hamming", "bicubic" or "lanczos": how much the neighbours of a place count
            for it, see ``minivision_kernels/resample.py``.
        antialias: where the image shrinks, widen the neighbourhood so that every pixel counts. Pillow always does,
            OpenCV never does: with False, fine patterns turn into false coarse ones. Of no account for "nearest", which
            looks at one pixel, and where the image grows.

    Returns:
        A new array of the dtype of the image. uint8 is rounded after each of the two passes (rows, then columns), and cut
        to 0..255; floats are summed in float64 and may overshoot their range a little by "bicubic" and "lanczos".
    """
    checks.image(image, "resize")
    checks.chosen(method, METHODS, "resize", "method")
    size = checks.size(size, "resize")
    if not isinstance(antialias, (bool, np.bool_)):
        raise TypeError(f"resize: got antialias={antialias!r}, expected True or False")
    return run("resize", _with_channels(image), size=size, method=method, antialias=bool(antialias)).reshape(
        *size, *image.shape[2:])


def subsample(image: np.ndarray, size: Any, method: str = "decimate") -> np.ndarray:
    """Fewer samples of the scene: the series 1024 -> 512 -> ... -> 32.

    Args:
        image: H x W or H x W x 3, uint8 or float.
        size: (height, width) of the result, or one number for a square; at most that of the image.
        method: "decimate" keeps one pixel of each block, the upper left: image[::s, ::s] for a whole step s. Patterns finer
            than the step come back as false ones (aliasing), which is what sampling theory says. "box" takes the mean of
            each block, "bilinear" a weighted mean that reaches over its edges; both are `resize`'s.

    Returns:
        A new array of the dtype of the image.
    """
    checks.image(image, "subsample")
    checks.chosen(method, SUBSAMPLINGS, "subsample", "method")
    OH, OW = checks.size(size, "subsample")
    H, W = image.shape[:2]
    if OH > H or OW > W:
        raise ValueError(f"subsample: got size={size!r} for an image of {H} x {W}, expected no more pixels than it has; "
                         "replicate or resize make an image larger")
    return image[_steps(H, OH)][:, _steps(W, OW)] if method == "decimate" else resize(image, (OH, OW), method)


def replicate(image: np.ndarray, size: Any) -> np.ndarray:
    """The image made larger by repeating pixels, so that few samples are seen as the squares they are.

    Pixel (i, j) of the result is pixel (floor(i H / height), floor(j W / width)) of the image. It undoes nothing: shown at
    the size they came from, subsampled images can be compared.

    Args:
        image: H x W or H x W x 3, uint8 or float.
        size: (height, width) of the result, or one number for a square; at least that of the image.
    """
    checks.image(image, "replicate")
    OH, OW = checks.size(size, "replicate")
    H, W = image.shape[:2]
    if OH < H or OW < W:
        raise ValueError(f"replicate: got size={size!r} for an image of {H} x {W}, expected no fewer pixels than it has; "
                         "subsample or resize make an image smaller")
    return image[_steps(H, OH)][:, _steps(W, OW)]


def quantize(image: np.ndarray, bits: int, output: str = "codes") -> np.ndarray:
    """Fewer grey levels: 2^bits of them, by dropping the lower bits of each pixel.

    output          a pixel v of uint8, 8 bits                    a pixel v of a float, 0..1
    "codes"         v >> (8 - bits), 0 .. 2^bits - 1              min(floor(v 2^bits), 2^bits - 1), as uint8
    "truncate"      code << (8 - bits), darker than it was        code / 2^bits
    "full"          round(255 code / (2^bits - 1)), 0 .. 255      code / (2^bits - 1), 0 .. 1

    "truncate" is what is left of the pixel (Pillow's ``ImageOps.posterize``), "full" is what to look at: black stays black
    and white stays white, down to one bit.

    Args:
        image: H x W or H x W x 3 (each channel by itself), uint8, or float in 0..1.
        bits: 1 to 8.

    Returns:
        A new array; of the dtype of the image, except that codes of floats are uint8.
    """
    checks.image(image, "quantize", unit=True)
    bits = checks.whole(bits, "quantize", "bits", 1, 8)
    checks.chosen(output, OUTPUTS, "quantize", "output")
    if image.dtype != np.uint8:
        codes = np.minimum(np.floor(image * (1 << bits)), (1 << bits) - 1)
        if output == "codes":
            return codes.astype(np.uint8)
        return codes / image.dtype.type((1 << bits) - (output == "full"))
    codes = image >> (8 - bits)
    if output == "codes":
        return codes
    return codes << (8 - bits) if output == "truncate" else np.rint(codes * (255 / ((1 << bits) - 1))).astype(np.uint8)


def rotate(image: np.ndarray, degrees: float, method: str = "nearest", expand: bool = False) -> np.ndarray:
    """The image turned counter-clockwise about its centre, as Pillow's ``Image.rotate`` does it, to the last digit.

    Args:
        image: H x W or H x W x 3, uint8 or float.
        degrees: any finite number.
        method: "nearest", "bilinear" or "bicubic": each pixel of the result looks up where it came from, and takes the pixel
            there, or mixes the 2 x 2 or 4 x 4 pixels around that place. uint8 is cut, not rounded, as Pillow has it.
        expand: make the result as large as the turned image; otherwise it has the size of the image, and corners are lost.

    Returns:
        A new array of the dtype of the image; what was outside the image is 0. Half turns, and quarter turns of squares or
        with ``expand``, only move pixels.
    """
    checks.image(image, "rotate")
    checks.chosen(method, ROTATIONS, "rotate", "method")
    angle = checks.number(degrees, "rotate", "degrees") % 360.0
    if not isinstance(expand, (bool, np.bool_)):
        raise TypeError(f"rotate: got expand={expand!r}, expected True or False")
    H, W = image.shape[:2]
    if angle % 180 == 0 or (angle % 90 == 0 and (expand or H == W)):
        return np.ascontiguousarray(np.rot90(image, round(angle / 90))).copy()
    matrix, (OH, OW) = turn(-math.radians(angle), (H, W), bool(expand))
    checks.size((OH, OW), "rotate")
    return run("affine", _with_channels(image), matrix=matrix, size=(OH, OW), method=method).reshape(
        OH, OW, *image.shape[2:])


def turn(angle: float, size: tuple[int, int], expand: bool) -> tuple[tuple[float, ...], tuple[int, int]]:
    """The map from places of the turned image to those of the image, and the size of the turned one.

    Sines and cosines are rounded to 15 digits, so that a turn by 90 degrees moves whole pixels.
    """
    H, W = size
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    minus_sin = round(-math.sin(angle), 15)

    def place(x: float, y: float, c: float, f: float) -> tuple[float, float]:
        return cos * x + sin * y + c, minus_sin * x + cos * y + f

    c, f = place(-(W / 2), -(H / 2), 0.0, 0.0)
    c, f = c + W / 2, f + H / 2
    if expand:
        corners = [place(x, y, c, f) for x, y in ((0, 0), (W, 0), (W, H), (0, H))]
        OW, OH = (math.ceil(max(axis)) - math.floor(min(axis)) for axis in zip(*corners))
        c, f = place(-(OW - W) / 2.0, -(OH - H) / 2.0, c, f)
        H, W = OH, OW
    return (cos, sin, c, minus_sin, cos, f), (H, W)


def _with_channels(image: np.ndarray) -> np.ndarray:
    return image[..., None] if image.ndim == 2 else image


def _steps(n: int, m: int) -> np.ndarray:
    return np.arange(m) * n // m
