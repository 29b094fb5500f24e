"""Many boxes on one face become one: OpenCV's way of merging the raw finds of a cascade."""

from __future__ import annotations

from typing import Any

import numpy as np


def group_rectangles(rectangles: Any, group_threshold: int, eps: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Merge boxes that are nearly the same, and drop those that too few others support (OpenCV's groupRectangles).

    Two boxes are similar if each of their four sides differs by at most eps / 2 times the sum of the smaller width and the
    smaller height. Chains of similar boxes form a group, which becomes its mean box. A group of n boxes is kept if
    n > ``group_threshold``, unless it lies within a larger group: within its box grown by eps on each side, where that
    group has more than max(3, n) boxes, or n < 3.

    Args:
        rectangles: whole numbers (n, 4) of x, y, width, height.
        group_threshold: a group needs more boxes than this; 0 or less leaves everything as it is.
        eps: how different similar boxes may be, at least 0.

    Returns:
        boxes int (m, 4), in the order of each group's first box; counts int (m,), how many boxes each group had (1 each
        where nothing was merged).
    """
    boxes = np.asarray(rectangles)
    if boxes.size == 0:
        boxes = np.zeros((0, 4), np.int64)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "iu":
        raise ValueError(f"rectangles are {boxes.dtype} {boxes.shape}; expected whole numbers (n, 4): x, y, width, height")
    boxes = boxes.astype(np.int64)
    if isinstance(group_threshold, bool) or not isinstance(group_threshold, (int, np.integer)):
        raise TypeError(f"group_threshold is {group_threshold!r}; expected a whole number")
    if not 0 <= eps < float("inf"):
        raise ValueError(f"eps is {eps}; expected a number of at least 0")
    if group_threshold <= 0 or not len(boxes):
        return boxes, np.ones(len(boxes), np.int64)
    groups = similar_groups(boxes, eps)
    counts = np.array([len(group) for group in groups])
    totals = np.array([boxes[group].sum(0) for group in groups])
    share = np.float32(1) / counts.astype(np.float32)
    means = np.rint(totals.astype(np.float32) * share[:, None]).astype(np.int64)
    means, counts = means[counts > group_threshold], counts[counts > group_threshold]
    kept = np.array([not swallowed(i, means, counts, eps) for i in range(len(means))], np.bool_)
    return means[kept], counts[kept]


def similar_groups(boxes: np.ndarray, eps: float) -> list[np.ndarray]:
    """The indices of the boxes of each group: all that a chain of similar boxes leads to."""
    edges = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    left = np.arange(len(boxes))
    groups = []
    while len(left):
        group, waiting, left = [left[0]], [left[0]], left[1:]
        while waiting:
            one = waiting.pop()
            smaller = np.minimum(boxes[left, 2:], boxes[one, 2:]).sum(1)
            near = (np.abs(edges[left] - edges[one]) <= (eps * smaller * 0.5)[:, None]).all(1)
            group += (found := left[near].tolist())
            waiting += found
            left = left[~near]
        groups.append(np.array(group))
    return groups


def swallowed(i: int, boxes: np.ndarray, counts: np.ndarray, eps: float) -> bool:
    """Whether box i lies within another one that is better supported."""
    others = np.arange(len(boxes)) != i
    margin = np.rint(boxes[:, 2:] * eps)
    begins = (boxes[i, :2] >= boxes[:, :2] - margin).all(1)
    ends = (boxes[i, :2] + boxes[i, 2:] <= boxes[:, :2] + boxes[:, 2:] + margin).all(1)
    stronger = (counts > max(3, counts[i])) | (counts[i] < 3)
    return bool((others & begins & ends & stronger).any())
