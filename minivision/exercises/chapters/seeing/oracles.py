"""What is right in the chapter on seeing, by other ways than the student's, and a small reader of digits to look into."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from minivision_kernels.reference.hog import hog_cells as reference_cells

from ....data import digits
from ....explain.occlusion import positions


def hog_cells(image: np.ndarray) -> np.ndarray:
    """The engine's cells; its sums are kept in float32."""
    return reference_cells(image[:, :, None], (8, 8), 9)


def occlusion_map(probability: Callable[[np.ndarray], float], image: np.ndarray, size: int, stride: int,
                  fill: float) -> np.ndarray:
    """With the engine's positions, and patches as masks."""
    y, x = np.indices(image.shape)
    rows, columns = (positions(length, size, stride) for length in image.shape)
    return np.array([[probability(np.where((y >= top) & (y < bottom) & (x >= left) & (x < right), fill, image))
                      for left, right in columns] for top, bottom in rows])


def losses(w: np.ndarray, b: np.ndarray, x: np.ndarray, labels: np.ndarray) -> float:
    z = x @ w + b
    return float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(x)), labels]).sum())


def measured(function: Callable[[np.ndarray], float], x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """The gradient by central differences."""
    gradient = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += h
        down[place] -= h
        gradient[place] = (function(up) - function(down)) / (2 * h)
    return gradient


def input_gradient(w: np.ndarray, b: np.ndarray, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return measured(lambda moved: losses(w, b, moved, labels), x)


def fgsm(w: np.ndarray, b: np.ndarray, x: np.ndarray, labels: np.ndarray, eps: float) -> np.ndarray:
    moved = x + eps * np.sign(input_gradient(w, b, x, labels))
    return np.minimum(np.maximum(moved, 0), 1)


def energy(image: np.ndarray, filters: np.ndarray) -> float:
    """Half the sum of the squared answers, by loops."""
    K = filters.shape[1]
    total = 0.0
    for h in range(image.shape[0] - K + 1):
        for w in range(image.shape[1] - K + 1):
            answers = (filters * image[h:h + K, w:w + K]).sum(axis=(1, 2))
            total += 0.5 * float((np.maximum(answers, 0) ** 2).sum())
    return total


def dream_step(image: np.ndarray, filters: np.ndarray, step: float) -> np.ndarray:
    gradient = measured(lambda moved: energy(moved, filters), image)
    size = float(np.abs(gradient).mean())
    return np.clip(image + (step / size * gradient if size > 1e-9 else 0), 0, 1)


@functools.cache
def reader() -> tuple[np.ndarray, np.ndarray]:
    """w (64, 10) and b (10,) of a linear classifier of the digits, trained here and now."""
    data = digits("train")
    x, onehot = data.images[:600].reshape(-1, 64).astype(float), np.eye(10)[data.labels[:600]]
    w, b, vw, vb = np.zeros((64, 10)), np.zeros(10), np.zeros((64, 10)), np.zeros(10)
    for _ in range(100):
        z = x @ w + b
        p = np.exp(z - z.max(axis=1, keepdims=True))
        grad = (p / p.sum(axis=1, keepdims=True) - onehot) / len(x)
        vw, vb = 0.9 * vw + x.T @ grad, 0.9 * vb + grad.sum(axis=0)
        w, b = w - 0.2 * vw, b - 0.2 * vb
    return w, b
