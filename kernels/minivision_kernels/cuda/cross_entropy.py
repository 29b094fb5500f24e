"""Cross entropy on the GPU (``cross_entropy.cu``): a thread, then a warp, then a block for each row of scores.

Labels are not looked at before the kernels run, which would make the program wait for the GPU. A label that is no class
gives NaN, as the loss and in the gradient.
"""

from __future__ import annotations

from typing import Any

from minivision_kernels.cuda.launch import Kernel, blocks, empty, floats, ready
from minivision_kernels.ladder import rung

THREADS = 256
MANY_CLASSES = 1024         # from here on a row is work enough for a block

_LOSSES = {kind: Kernel("cross_entropy.cu", f"losses_{kind}") for kind in ("threads", "warps", "blocks")}
_GRADIENT = {kind: Kernel("cross_entropy.cu", f"gradient_{kind}") for kind in ("threads", "warps", "blocks")}


@rung("cross_entropy_forward", name="threads", device="cuda", accepts=floats)
def forward_threads(logits: Any, labels: Any) -> Any:
    """A thread for each row, which it reads once."""
    return _forward("threads", logits, labels)


@rung("cross_entropy_backward", name="threads", device="cuda", accepts=floats)
def backward_threads(logits: Any, labels: Any, g: Any) -> Any:
    """A thread for each row, which it reads twice: for the sum, and for the shares of it."""
    return _backward("threads", logits, labels, g)


@rung("cross_entropy_forward", name="warps", device="cuda", accepts=floats)
def forward_warps(logits: Any, labels: Any) -> Any:
    """A warp for each row: 32 neighbouring scores in one read, and the sums meet in registers."""
    return _forward("warps", logits, labels)


@rung("cross_entropy_backward", name="warps", device="cuda", accepts=floats)
def backward_warps(logits: Any, labels: Any, g: Any) -> Any:
    """As the forward; the second reading of the row comes from the first cache."""
    return _backward("warps", logits, labels, g)


def _many(logits: Any, *_: Any) -> bool:
    return logits.shape[1] >= MANY_CLASSES


@rung("cross_entropy_forward", name="blocks", device="cuda", accepts=floats, worth=_many)
def forward_blocks(logits: Any, labels: Any) -> Any:
    """256 threads for each row, and one barrier. A batch of few rows with many classes then keeps more of the GPU busy."""
    return _forward("blocks", logits, labels)


@rung("cross_entropy_backward", name="blocks", device="cuda", accepts=floats, worth=_many)
def backward_blocks(logits: Any, labels: Any, g: Any) -> Any:
    """As the forward; every thread then writes its part of the row."""
    return _backward("blocks", logits, labels, g)


def _forward(kind: str, logits: Any, labels: Any) -> Any:
    logits, labels, (N, C) = ready(logits), ready(labels), logits.shape
    losses = empty(logits, (N,))
    _LOSSES[kind].launch(_grid(kind, N), THREADS, logits, labels, losses, *_sizes(kind, N, C))
    return losses


def _backward(kind: str, logits: Any, labels: Any, g: Any) -> Any:
    logits, labels, g, (N, C) = ready(logits), ready(labels), ready(g), logits.shape
    dx = empty(logits, (N, C))
    _GRADIENT[kind].launch(_grid(kind, N), THREADS, logits, labels, g, dx, *_sizes(kind, N, C))
    return dx


def _grid(kind: str, N: int) -> int:
    return blocks(N, {"threads": THREADS, "warps": THREADS // 32, "blocks": 1}[kind])


def _sizes(kind: str, N: int, C: int) -> tuple[int, ...]:
    return (C,) if kind == "blocks" else (N, C)
