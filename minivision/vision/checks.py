"""Checks that the functions on images share. Each error says what was got, what was expected, and what to change."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
MOST_PIXELS = 1 << 28           # of a result; more is a slip of the keyboard, and would only end in a lack of memory


def image(value: Any, name: str, *, color: bool | None = None, unit: bool = False, argument: str = "image") -> np.ndarray:
    """Insist on an image: H x W or H x W x 3, at least one pixel, uint8 or finite float32 or float64.

    Args:
        color: True for H x W x 3 only, False for H x W only.
        unit: floats must lie in 0 .. 1.
    """
    if not isinstance(value, np.ndarray):
        hint = "; read a file with imread" if isinstance(value, str) else ""
        raise TypeError(f"{name}: {argument} is a {type(value).__name__}, expected a NumPy array H x W or H x W x 3{hint}")
    _shape(value.shape, name, color, argument)
    if value.dtype != np.uint8 and value.dtype not in FLOATS:
        raise TypeError(f"{name}: {argument} is {value.dtype}, expected uint8 (0..255), float32 or float64; {_remedy(value)}")
    if value.dtype != np.uint8:
        low, high = float(value.min()), float(value.max())          # NaN shows in both
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError(f"{name}: {argument} holds NaN or infinity, expected finite numbers; "
                             "numpy.nan_to_num replaces them")
        if unit and not (low >= 0 and high <= 1):
            raise ValueError(f"{name}: {argument} is {value.dtype} with values in {low:g} .. {high:g}, expected 0 .. 1; "
                             "divide by the largest possible value, or pass uint8 for 0 .. 255")
    return value


def size(value: Any, name: str, argument: str = "size") -> tuple[int, int]:
    """(height, width) from a pair of whole numbers, or from one for a square; each at least 1."""
    pair = (value, value) if isinstance(value, numbers.Integral) else value
    if (not isinstance(pair, (tuple, list, np.ndarray)) or len(pair) != 2
            or any(isinstance(side, (bool, np.bool_)) or not isinstance(side, numbers.Integral) for side in pair)):
        raise TypeError(f"{name}: got {argument}={value!r}, expected (height, width), or one whole number for a square")
    height, width = int(pair[0]), int(pair[1])
    if min(height, width) < 1:
        raise ValueError(f"{name}: got {argument}={value!r}, expected at least 1 along both axes")
    if height * width > MOST_PIXELS:
        raise ValueError(f"{name}: got {argument}={value!r}, {height * width:,} pixels, expected at most {MOST_PIXELS:,}")
    return height, width


def whole(value: Any, name: str, argument: str, least: int, most: int | None = None) -> int:
    """A whole number in least .. most."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: got {argument}={value!r}, expected a whole number")
    found = int(value)
    if found < least or (most is not None and found > most):
        limits = f"at least {least}" if most is None else f"{least} .. {most}"
        raise ValueError(f"{name}: got {argument}={value!r}, expected {limits}")
    return found


def number(value: Any, name: str, argument: str) -> float:
    """A finite number."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: got {argument}={value!r}, expected a number")
    if not np.isfinite(float(value)):
        raise ValueError(f"{name}: got {argument}={value!r}, expected a finite number")
    return float(value)


def chosen(value: Any, allowed: Sequence[str], name: str, argument: str) -> str:
    """One of the names in ``allowed``."""
    if value not in tuple(allowed):
        raise ValueError(f"{name}: got {argument}={value!r}, expected one of {', '.join(map(repr, allowed))}")
    return value


def boxes(value: Any, name: str, argument: str = "boxes") -> np.ndarray:
    """Boxes x, y, width, height as an array (n, 4), n possibly 0; finite, no negative width or height."""
    array = np.asarray(value)
    if array.size == 0:
        return np.zeros((0, 4), array.dtype if array.dtype.kind in "iuf" else np.int64)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name}: {argument} is {array.dtype}, expected numbers x, y, width, height")
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name}: {argument} has shape {array.shape}, expected (n, 4): x, y, width, height of each")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: {argument} holds NaN or infinity, expected finite numbers")
    if (array[:, 2:] < 0).any():
        bad = int(np.argmax((array[:, 2:] < 0).any(1)))
        raise ValueError(f"{name}: box {bad} is {array[bad].tolist()}, expected x, y, width, height with no side below 0")
    return array


def _shape(shape: tuple[int, ...], name: str, color: bool | None, argument: str) -> None:
    expected = {None: "H x W or H x W x 3", True: "H x W x 3", False: "H x W"}[color]
    right = (len(shape) == 2 and color is not True) or (len(shape) == 3 and shape[2] == 3 and color is not False)
    if not right:
        hint = ""
        if len(shape) == 3 and shape[2] == 3:
            hint = "; to_gray makes a grey image of it"
        elif len(shape) == 3 and shape[2] == 4:
            hint = "; imread lays transparent pictures on white, and image[..., :3] drops the transparency"
        elif len(shape) == 3 and shape[2] == 1:
            hint = "; image[..., 0] drops the last axis"
        elif len(shape) == 3 and shape[0] in (1, 3):
            hint = "; image.transpose(1, 2, 0) moves the channels to the end"
        raise ValueError(f"{name}: {argument} has shape {shape}, expected {expected}{hint}")
    if 0 in shape:
        raise ValueError(f"{name}: {argument} has shape {shape}, no pixel at all; expected at least 1 x 1")


def _remedy(value: np.ndarray) -> str:
    if value.dtype == np.uint16:
        return "image / 65535 gives floats in 0..1"
    if value.dtype == np.bool_:
        return "image.astype(np.uint8) * 255 gives black and white"
    if value.dtype.kind in "iu":
        return "convert with .astype(np.uint8) if the values are 0..255"
    return "convert with .astype(np.float32)" if value.dtype.kind == "f" else "an image holds numbers"
