"""Boxes drawn into an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import checks

ORANGE = (255, 106, 0)


def draw_boxes(image: np.ndarray, boxes: Any, color: Sequence[int] = ORANGE, thickness: int = 2) -> np.ndarray:
    """The image in colour with the outlines of boxes in it.

    The outline lies inside its box: with thickness 1 it covers columns x and x + width - 1, rows y and y + height - 1. What
    lies outside the image is not drawn.

    Args:
        image: H x W or H x W x 3, uint8 or float in 0..1.
        boxes: n boxes x, y, width, height, an array (n, 4) or a list; fractions are rounded.
        color: red, green, blue in 0..255, for floats too.
        thickness: in pixels, at least 1.

    Returns:
        H x W x 3, a new array of the dtype of the image.
    """
    checks.image(image, "draw_boxes", unit=True)
    checks.whole(thickness, "draw_boxes", "thickness", 1)
    if len(color) != 3:
        raise ValueError(f"draw_boxes: got color={color!r}, expected red, green, blue in 0..255")
    ink: np.ndarray = np.array([checks.whole(level, "draw_boxes", "color", 0, 255) for level in color], np.uint8)
    if image.dtype != np.uint8:
        ink = (ink / 255).astype(image.dtype)
    drawn = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image.copy()
    H, W = image.shape[:2]
    for x, y, width, height in np.rint(checks.boxes(boxes, "draw_boxes")).astype(np.int64).tolist():
        left, right = max(x, 0), max(min(x + width, W), 0)
        top, bottom = max(y, 0), max(min(y + height, H), 0)
        inner_left, inner_right = max(x + thickness, left), min(x + width - thickness, right)
        inner_top, inner_bottom = max(y + thickness, top), min(y + height - thickness, bottom)
        if inner_left >= inner_right or inner_top >= inner_bottom:         # nothing inside but the outline
            drawn[top:bottom, left:right] = ink
            continue
        drawn[top:inner_top, left:right] = ink
        drawn[inner_bottom:bottom, left:right] = ink
        drawn[inner_top:inner_bottom, left:inner_left] = ink
        drawn[inner_top:inner_bottom, inner_right:right] = ink
    return drawn
