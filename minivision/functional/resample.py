"""Enlarging and shrinking images inside a network."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..device import move
from ..ops import shape as ops
from ..tensor import Tensor
from . import checks


def interpolate(input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
                align_corners: bool | None = None) -> Tensor:
    """Resample (N, C, H, W) to another size, without antialiasing.

    Output pixel i lies at input coordinate (i + 0.5) H / OH - 0.5, or at i (H - 1) / (OH - 1) with ``align_corners``.
    ``"nearest"`` takes pixel floor(i H / OH); ``"bilinear"`` mixes the two pixels around it along each axis, repeating
    the edge. Given ``scale_factor``, OH = floor(H scale) and H / OH is 1 / scale, as in PyTorch.

    Args:
        size: OH = OW, or an (OH, OW) pair.
        scale_factor: a number or a (height, width) pair, instead of ``size``.
        mode: ``"nearest"`` or ``"bilinear"``.
        align_corners: for ``"bilinear"`` only.
    """
    x = checks.images(checks.tensor(input, "interpolate"), "interpolate")
    checks.chosen(mode, ("nearest", "bilinear"), "interpolate: mode")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either size or scale_factor, not both and not neither")
    if align_corners is not None and mode == "nearest":
        raise ValueError("interpolate: align_corners means nothing with mode='nearest'; leave it out")
    h, w = x.shape[2:]
    if size is not None:
        out = checks.pair(size, "interpolate: size", 1)
        steps = (h / out[0], w / out[1])
    else:
        factors = tuple(scale_factor) if isinstance(scale_factor, (tuple, list)) else (scale_factor, scale_factor)
        if len(factors) != 2 or not all(isinstance(f, (int, float)) and f > 0 for f in factors):
            raise ValueError(f"interpolate: got scale_factor={scale_factor!r}, expected a number > 0 or a pair of such")
        out = (int(h * factors[0]), int(w * factors[1]))
        steps = (1 / factors[0], 1 / factors[1])
    if min(h, w, *out) < 1:
        raise ValueError(f"interpolate: from {h} x {w} to {out[0]} x {out[1]} pixels; expected at least one each way")
    if mode == "nearest":
        rows, cols = (move(_nearest(n, m, s), x.device) for n, m, s in zip((h, w), out, steps))
        return ops.GetItem.apply(x, index=(slice(None), slice(None), rows[:, None], cols[None, :]))
    down, across = (move(_bilinear(n, m, s, bool(align_corners)).astype(x.dtype), x.device)
                    for n, m, s in zip((h, w), out, steps))
    return Tensor(down) @ x @ Tensor(across.T)                   # linear along each axis: a matrix on each side


def _nearest(n: int, m: int, step: float) -> np.ndarray:
    """The pixel among n that each of m takes; counted in float32, and exact where m = n or 2 n, both as in PyTorch."""
    step = n / m if m in (n, 2 * n) else step
    return np.minimum((np.arange(m, dtype=np.float32) * np.float32(step)).astype(np.int64), n - 1)


def _bilinear(n: int, m: int, step: float, align_corners: bool) -> np.ndarray:
    """The (m, n) matrix that interpolates n pixels to m."""
    if n == m:                                # exactly the same pixels, whatever the scale factor was
        return np.eye(n)
    if align_corners:
        places = np.arange(m) * ((n - 1) / (m - 1) if m > 1 else 0.0)
    else:
        places = np.maximum((np.arange(m) + 0.5) * step - 0.5, 0.0)
    left = np.minimum(places.astype(np.int64), n - 1)
    right = np.minimum(left + 1, n - 1)
    share = places - left
    matrix = np.zeros((m, n))
    matrix[np.arange(m), left] += 1 - share
    matrix[np.arange(m), right] += share
    return matrix
