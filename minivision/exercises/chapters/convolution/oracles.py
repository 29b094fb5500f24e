"""What is right in the chapter on convolution, by other ways than the student's: the engine's NumPy kernels, which go tap
by tap and need no compiler, and operations on Tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivision_kernels.reference.conv import conv2d_forward, conv2d_input, conv2d_weight
from minivision_kernels.reference.pool import max_pool2d_backward, max_pool2d_forward

from ....tensor import Tensor
from ...op import Op


class Convolution(Op):
    """The engine's convolution, with its NumPy kernels."""

    def forward(self, x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
        self.x, self.w, self.options = x, w, ((stride, stride), (padding, padding), (1, 1), 1)
        return conv2d_forward(x, w, *self.options)

    def backward(self, grad: Any) -> Any:
        return (conv2d_input(grad, self.w, self.x.shape, *self.options),
                conv2d_weight(self.x, grad, self.w.shape, *self.options))


class MaxPooling(Op):
    """The engine's max pooling, with its NumPy kernels."""

    def forward(self, x: np.ndarray, size: int, stride: int, padding: int) -> np.ndarray:
        self.shape, self.options = x.shape, ((size, size), (stride, stride), (padding, padding), (1, 1))
        y, self.index = max_pool2d_forward(x, *self.options, False)
        return y

    def backward(self, grad: Any) -> Any:
        return max_pool2d_backward(grad, self.index, self.shape, *self.options)


def conv2d(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    return Convolution().forward(x, w, stride, padding)


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    """Written with operations, so that the engine finds the gradient by itself."""
    centred = x - x.mean(0, keepdim=True)
    variance = (centred * centred).mean(0, keepdim=True)
    return centred / (variance + eps).sqrt() * gamma + beta


def starts(length: int, kernel: int, stride: int, padding: int) -> list[int]:
    """Where windows begin, found by walking: each that does not leave the padded row."""
    return [start for start in range(-padding, length + padding, stride) if start + kernel <= length + padding]


def seen(start: int, length: int, kernel: int) -> list[int]:
    """The pixels under a window."""
    return [pixel for pixel in range(length) if start <= pixel < start + kernel]
