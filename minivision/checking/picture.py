"""A gradient's errors as a small picture made of characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .report import InputResult

SHADES = "·░▒▓█"         # right, then ever more wrong
ROWS, COLUMNS = 10, 40


def error_map(result: InputResult, room: int) -> list[str]:
    """The errors of one input in at most ``room`` lines (the first is a caption).

    The last two axes become rows and columns; of the others, and of entries that share a character, the worst shows.
    """
    error = np.where(result.wrong, np.nan_to_num(result.error, nan=np.inf, posinf=np.inf), 0.0)
    plane = error.reshape(-1, *error.shape[-2:]).max(axis=0) if error.ndim > 2 else np.atleast_2d(error)
    rows, columns = plane.shape
    plane = _coarser(_coarser(plane, min(ROWS, room - 1), 0), COLUMNS, 1)
    finite = plane[np.isfinite(plane)]
    top = float(finite.max(initial=0.0)) or 1.0
    caption = f"  {result.name} ({SHADES[0]} right, {SHADES[1]} to {SHADES[-1]} wrong; {rows} x {columns}"
    if error.size > rows * columns:
        caption += f", worst of {error.size // (rows * columns)} planes"
    return [caption + ")", *("    " + "".join(_shade(e, top) for e in row) for row in plane)]


def _coarser(plane: np.ndarray, length: int, axis: int) -> np.ndarray:
    """At most ``length`` along ``axis``, each the worst of its neighbourhood."""
    n = plane.shape[axis]
    if n <= length:
        return plane
    return np.maximum.reduceat(plane, np.arange(length) * n // length, axis=axis)


def _shade(error: float, top: float) -> str:
    if error == 0:
        return SHADES[0]
    return SHADES[-1] if not np.isfinite(error) else SHADES[1 + min(int(error / top * 4), 3)]
