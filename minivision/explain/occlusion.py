"""Occlusion: cover a part of the image, ask the network again, and see what the part was worth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..functional.checks import pair
from ..nn import Module
from .inside import (
    Progress,
    check_baseline,
    check_counts,
    check_images,
    check_labels,
    check_model,
    check_numbers,
    check_range,
    scores,
    softmax,
)

Window = tuple[slice, slice]


def occlusion_map(
    model: Module, image: Any, target: int, window: int | tuple[int, int] = 32, stride: int | tuple[int, int] = 8,
    fill: float = 0.5, *, batch_size: int = 32, progress: Progress | None = None,
) -> np.ndarray:
    """The probability of a class, with a patch at each position (Zeiler and Fergus 2014, section 4.2).

    Where the patch hides what the network goes by, the probability falls.

    Args:
        image: (C, H, W) with values in [0, 1].
        target: the class.
        window: the patch's side, or (height, width).
        stride: from one position to the next. The last patch of a row or column is cut off at the edge.
        fill: the value of the patch, in [0, 1]; 0.5 is grey.
        batch_size: positions per forward pass.
        progress: called with the number of positions that are done since the last call.

    Returns:
        float32 (rows, columns): [i, j] is the probability with the patch's upper left corner at (i, j) times the stride.

    Raises:
        ValueError: the patch is larger than the image, or the image or the class is not one for the model.
    """
    x, windows, grid = _prepare(model, image, window, stride, batch_size)
    check_numbers(1, fill=fill)
    labels = check_labels(target, 1, "target")
    rows = _covered(model, x, windows, np.full_like(x[0], fill), batch_size, progress)
    return _probability(rows, labels, grid)


def occlusion(
    model: Module, image: Any, target: int, window: int | tuple[int, int] = 32, stride: int | tuple[int, int] = 8,
    baseline: float | np.ndarray = 0.0, *, batch_size: int = 32, progress: Progress | None = None,
) -> np.ndarray:
    """How much each pixel adds to the score of a class: the score less the score with the pixel covered, averaged over
    the patches that cover it (the definition of captum's ``Occlusion``).

        attribution = sum over patches (score - score with patch) * patch / sum over patches of patch

    Args:
        image: (C, H, W) with values in [0, 1].
        target, window, batch_size, progress: as in `occlusion_map`; a patch covers all channels.
        stride: at most the window, so that every pixel is covered.
        baseline: what a patch shows, a number or an image like ``image``.

    Returns:
        (C, H, W), the image's shape; positive where the pixels speak for the class.
    """
    return occlude(model, image, target, window, stride, baseline, batch_size=batch_size, progress=progress).attribution


class Occluded(NamedTuple):
    """What both looks find, from one walk of the patch over the image."""

    probability: np.ndarray         # as `occlusion_map` returns it
    attribution: np.ndarray         # as `occlusion` does


def occlude(
    model: Module, image: Any, target: int, window: int | tuple[int, int] = 32, stride: int | tuple[int, int] = 8,
    baseline: float | np.ndarray = 0.0, *, batch_size: int = 32, progress: Progress | None = None,
) -> Occluded:
    """`occlusion_map` and `occlusion` of the same patches, for the price of one. The arguments are those of `occlusion`."""
    x, windows, grid = _prepare(model, image, window, stride, batch_size)
    labels = check_labels(target, 1, "target")
    if any(step > size for step, size in zip(pair(stride, "stride", 1), pair(window, "window", 1))):
        raise ValueError(f"stride is {stride}, more than the window {window}; pixels between patches would never be covered")
    shown = check_baseline(baseline, x)[0]
    whole = scores(model, x)
    check_range(labels, whole, "target")
    rows = _covered(model, x, windows, shown, batch_size, progress)
    label, (total, count) = labels[0], np.zeros((2, *x.shape[2:]))
    for (rows_at, columns_at), score in zip(windows, rows[:, label]):
        total[rows_at, columns_at] += float(whole[0, label]) - float(score)
        count[rows_at, columns_at] += 1
    attribution = np.broadcast_to((total / count).astype(x.dtype), x.shape[1:]).copy()
    return Occluded(_probability(rows, labels, grid), attribution)


def positions(length: int, window: int, stride: int) -> list[tuple[int, int]]:
    """Where patches start and end along an axis: ceil((length - window) / stride) + 1 of them, the last cut at the edge."""
    count = -(-(length - window) // stride) + 1
    return [(i * stride, min(i * stride + window, length)) for i in range(count)]


def _probability(rows: np.ndarray, labels: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    check_range(labels, rows, "target")
    return softmax(rows)[:, labels[0]].astype(np.float32).reshape(grid)


def _prepare(
    model: Module, image: Any, window: Any, stride: Any, batch_size: int,
) -> tuple[np.ndarray, list[Window], tuple[int, int]]:
    check_model(model)
    check_counts(batch_size=batch_size)
    x = check_images(image, "image", single=True)
    (height, width), steps = pair(window, "window", 1), pair(stride, "stride", 1)
    H, W = x.shape[2:]
    if height > H or width > W:
        raise ValueError(f"window is {height} x {width}, larger than the image of {H} x {W}; take a smaller one")
    down, across = positions(H, height, steps[0]), positions(W, width, steps[1])
    windows = [(slice(*rows), slice(*columns)) for rows in down for columns in across]
    return x, windows, (len(down), len(across))


def _covered(
    model: Module, x: np.ndarray, windows: list[Window], shown: np.ndarray, batch_size: int, progress: Progress | None,
) -> np.ndarray:
    """The scores (positions, classes) of the image with ``shown`` in each of the windows."""
    return np.concatenate([scores(model, batch, batch_size, progress) for batch in _batches(x, windows, shown, batch_size)])


def _batches(x: np.ndarray, windows: list[Window], shown: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(windows), batch_size):
        part = windows[start:start + batch_size]
        batch = np.repeat(x, len(part), axis=0)
        for image, (rows, columns) in zip(batch, part):
            image[:, rows, columns] = shown[:, rows, columns]
        yield batch
