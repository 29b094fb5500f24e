"""The rectifier and the sum of two arrays on the GPU: four numbers for each thread (``elementwise.cu``)."""

from __future__ import annotations

from typing import Any

from minivision_kernels.cuda.launch import Kernel, blocks, empty, floats, ready
from minivision_kernels.ladder import rung

THREADS = 256                           # of a block; from 128 to 512 the memory is equally busy
_RELU, _RELU_BACKWARD, _ADD = (Kernel("elementwise.cu", name) for name in ("relu_forward", "relu_backward", "add"))


@rung("relu_forward", name="vectors", device="cuda", accepts=floats)
def relu_forward(x: Any) -> Any:
    """Four numbers for each thread, so that a warp asks for 512 bytes at a time; the memory is the limit."""
    x = ready(x)
    y = empty(x, x.shape)
    _RELU.launch(blocks(x.size, 4 * THREADS), THREADS, x, y, x.size)
    return y


@rung("relu_backward", name="vectors", device="cuda", accepts=floats)
def relu_backward(g: Any, y: Any) -> Any:
    """As the forward: two arrays are read and one is written."""
    g, y = ready(g), ready(y)
    dx = empty(g, g.shape)
    _RELU_BACKWARD.launch(blocks(g.size, 4 * THREADS), THREADS, g, y, dx, g.size)
    return dx


@rung("add", name="vectors", device="cuda", accepts=floats)
def add(x: Any, y: Any, relu: bool = False) -> Any:
    """As the rectifier: two arrays are read and one is written."""
    x, y = ready(x), ready(y)
    total = empty(x, x.shape)
    _ADD.launch(blocks(x.size, 4 * THREADS), THREADS, x, y, total, x.size, relu)
    return total
