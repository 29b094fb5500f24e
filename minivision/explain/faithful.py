"""Which map is right? Take the pixels away in its order, or give them back, and watch the probability.

If a map knows what counts, taking away its first pixels soon makes the network forget the class, and giving them back to
an empty image soon makes it see the class (Petsiuk, Das and Saenko 2018, section 4.1).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..nn import Module
from .inside import (
    Progress,
    check_counts,
    check_images,
    check_labels,
    check_model,
    check_numbers,
    check_range,
    scores,
    softmax,
)


class Curve(NamedTuple):
    """The probability of the class against the share of pixels, and the area below the curve."""

    shares: np.ndarray              # from 0 to 1
    probabilities: np.ndarray
    area: float


def deletion(
    model: Module, image: Any, target: int, heat: np.ndarray, baseline: float = 0.5, steps: int = 50, *,
    batch_size: int = 32, progress: Progress | None = None,
) -> Curve:
    """Pixels are replaced by ``baseline``, those with the largest ``heat`` (H, W) first. A small area is a good map."""
    return _curve(model, image, target, heat, baseline, steps, batch_size, progress, delete=True)


def insertion(
    model: Module, image: Any, target: int, heat: np.ndarray, baseline: float = 0.5, steps: int = 50, *,
    batch_size: int = 32, progress: Progress | None = None,
) -> Curve:
    """Pixels appear on a ground of ``baseline``, those with the largest ``heat`` first. A large area is a good map."""
    return _curve(model, image, target, heat, baseline, steps, batch_size, progress, delete=False)


def _curve(
    model: Module, image: Any, target: int, heat: np.ndarray, baseline: float, steps: int, batch_size: int,
    progress: Progress | None, delete: bool,
) -> Curve:
    check_model(model)
    x = check_images(image, "image", single=True)
    labels, heat = check_labels(target, 1, "target"), np.asarray(heat)
    if heat.shape != x.shape[2:]:
        raise ValueError(f"heat has shape {heat.shape}; expected {x.shape[2:]}, a number for each pixel (see to_map)")
    check_counts(steps=steps, batch_size=batch_size)
    check_numbers(1, baseline=baseline)
    rank = np.empty(heat.size, np.int64)
    rank[np.argsort(-heat, axis=None, kind="stable")] = np.arange(heat.size)
    counts = np.linspace(0, heat.size, steps + 1).round().astype(int)
    rows = []
    for start in range(0, len(counts), batch_size):
        first = rank.reshape(1, 1, *heat.shape) < counts[start:start + batch_size].reshape(-1, 1, 1, 1)
        shown = np.where(first != delete, x, x.dtype.type(baseline))
        rows.append(scores(model, shown, batch_size, progress))
    probabilities = softmax(np.concatenate(rows))
    check_range(labels, probabilities, "target")
    found, shares = probabilities[:, labels[0]], counts / heat.size
    return Curve(shares, found, float(((found[1:] + found[:-1]) / 2 * np.diff(shares)).sum()))
