"""Small engines, right ones and wrong ones, on which a student's test is tried."""

from __future__ import annotations

from typing import Any

import numpy as np


class Copies:
    """An engine that can add; each gradient is an array of its own."""

    def __init__(self, data: Any):
        self.data = np.array(data, float)
        self.grad: Any = None
        self.sources: tuple[Copies, ...] = ()

    def __add__(self, other: Copies) -> Copies:
        result = type(self)(self.data + other.data)
        result.sources = (self, other)
        return result

    def backward(self) -> None:
        self.grad = np.ones_like(self.data)
        for source, grad in zip(self.sources, self.handed_on(self.grad)):
            source.grad = grad

    def handed_on(self, grad: np.ndarray) -> tuple[np.ndarray, ...]:
        return grad.copy(), grad.copy()


class Shares(Copies):
    """Both inputs get the same array."""

    def handed_on(self, grad: np.ndarray) -> tuple[np.ndarray, ...]:
        return grad, grad


class Views(Copies):
    """Both inputs get arrays of their own that look at the same memory."""

    def handed_on(self, grad: np.ndarray) -> tuple[np.ndarray, ...]:
        return grad[...], grad[...]
