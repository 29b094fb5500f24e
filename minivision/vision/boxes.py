"""Boxes and windows: how far two overlap, which of many to keep, and all windows of an image."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import checks


def iou(a: Any, b: Any) -> np.ndarray:
    """Intersection over union of boxes: the area two have in common as a share of the area they cover together.

    Args:
        a, b: boxes x, y, width, height, arrays or lists (n, 4) and (m, 4).

    Returns:
        (n, m) float64 in 0..1, row i column j for box i of ``a`` and box j of ``b``. Two boxes without area have 0.
    """
    a, b = checks.boxes(a, "iou", "a").astype(np.float64), checks.boxes(b, "iou", "b").astype(np.float64)
    begin = np.maximum(a[:, None, :2], b[None, :, :2])
    end = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    common = np.maximum(end - begin, 0).prod(2)
    together = a[:, 2:].prod(1)[:, None] + b[:, 2:].prod(1)[None] - common
    return np.divide(common, together, out=np.zeros_like(common), where=together > 0)


def nms(boxes: Any, scores: Any, iou_threshold: float = 0.5, score_threshold: float | None = None) -> np.ndarray:
    """Non-maximum suppression: of boxes that overlap too much only the one with the highest score is kept.

    The boxes are visited from the highest score to the lowest, equal ones in the order given. One is kept unless its overlap
    (`iou`) with a box kept before exceeds the threshold. The answers are those of OpenCV's ``dnn.NMSBoxes``, which compares
    in float32.

    Args:
        boxes: x, y, width, height, (n, 4).
        scores: finite numbers (n,).
        iou_threshold: the overlap that is still allowed, in 0..1.
        score_threshold: boxes whose score is not above it are dropped; None keeps all.

    Returns:
        The indices of the boxes kept, int64, highest score first.
    """
    boxes = checks.boxes(boxes, "nms")
    values = np.asarray(scores)
    if values.size == 0:
        values = values.astype(np.float32)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"nms: scores is {values.dtype}, expected numbers")
    if values.shape != (len(boxes),):
        raise ValueError(f"nms: scores has shape {values.shape}, expected ({len(boxes)},), one for each box")
    if not np.isfinite(values).all():
        raise ValueError("nms: scores holds NaN or infinity, expected finite numbers")
    allowed = checks.number(iou_threshold, "nms", "iou_threshold")
    if not 0 <= allowed <= 1:
        raise ValueError(f"nms: got iou_threshold={iou_threshold!r}, expected 0 .. 1")
    values, allowed = values.astype(np.float32), np.float32(allowed)
    waiting = np.argsort(-values, kind="stable")
    if score_threshold is not None:
        least = np.float32(checks.number(score_threshold, "nms", "score_threshold"))
        waiting = waiting[values[waiting] > least]
    kept = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        distance = (1 - iou(boxes[best:best + 1], boxes[waiting])[0]).astype(np.float32)     # rounded where OpenCV rounds
        waiting = waiting[1 - distance <= allowed]
    return np.array(kept, np.int64)


def sliding_windows(image: np.ndarray, size: tuple[int, int], stride: int | tuple[int, int] = 1) -> np.ndarray:
    """All windows of one size that lie within the image, ``stride`` pixels apart.

    Args:
        image: H x W or H x W x 3.
        size: (height, width) of a window, at most the image's.
        stride: pixels from one window to the next, down and across, or one number for both.

    Returns:
        (rows, columns, height, width), or (rows, columns, height, width, 3): window [i, j] begins at pixel
        (i * stride, j * stride). A view of the image that cannot be written to; nothing is copied.
    """
    checks.image(image, "sliding_windows")
    height, width = checks.size(size, "sliding_windows")
    down, across = checks.size(stride, "sliding_windows", "stride")
    H, W = image.shape[:2]
    if height > H or width > W:
        raise ValueError(f"sliding_windows: image is {H} x {W}, smaller than a window of {height} x {width}; pass a larger "
                         "image or a smaller size")
    views = np.lib.stride_tricks.sliding_window_view(image, (height, width), axis=(0, 1))[::down, ::across]
    return np.moveaxis(views, 2, -1) if image.ndim == 3 else views
