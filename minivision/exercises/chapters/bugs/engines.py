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


class Value:
    """A scalar engine whose `backward` can be called again and again; only x, the leaf, adds up."""

    def __init__(self, data: float, sources: tuple[Any, ...] = (), slopes: tuple[float, ...] = ()):
        self.data, self.sources, self.slopes, self.grad = data, sources, slopes, 0.0

    def __add__(self, other: Any) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other: Any) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    __radd__, __rmul__ = __add__, __mul__

    def backward(self, upstream: float = 1.0) -> None:
        """Down every path from here, one by one; what a path brings is the product of its slopes."""
        if not self.sources:
            self.grad += upstream
        for source, slope in zip(self.sources, self.slopes):
            source.backward(upstream * slope)
