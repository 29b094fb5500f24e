"""Compiling ahead of time what training a model will need.

Kernels are compiled at their first call, and which ones a model calls depends on its shapes. So one step of training and
a look at an image are done for real.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import functional as F
from . import optim
from .autograd import no_grad
from .models import Model
from .tensor import Tensor

FLOAT = np.dtype(np.float32)


class Warmed(NamedTuple):
    """What a warm-up did: forms of kernels compiled, and loaded from the disk; those of before are not counted."""

    compiled: int
    loaded: int
    seconds: float


def warm_up(model: Model, image: tuple[int, int, int], batch: int,
            on_kernel: Callable[[], None] = lambda: None) -> Warmed:
    """Compile the kernels that training and using ``model`` on images of shape (C, H, W) needs, in float32.

    The model and its weights are changed by a step of training: give one that is not needed.

    Args:
        batch: the number of images in a step.
        on_kernel: called after each kernel.
    """
    from minivision_kernels.cpu import compile as compiler

    made: list[compiler.Kernel] = []

    def watch(kernel: compiler.Kernel) -> None:
        made.append(kernel)
        on_kernel()

    start = time.perf_counter()
    compiler.watchers.append(watch)
    try:
        _use(model, image, batch)
    finally:
        compiler.watchers.remove(watch)
    loaded = sum(_from_disk(kernel.forms[FLOAT]) for kernel in made)
    return Warmed(len(made) - loaded, loaded, time.perf_counter() - start)


def _use(model: Model, image: tuple[int, int, int], batch: int) -> None:
    """A step of training with each optimiser, and the scores of a batch and of one image."""
    images, labels = Tensor(np.zeros((batch, *image), FLOAT)), Tensor(np.zeros(batch, np.int64))
    for optimizer in (optim.SGD(model.parameters(), 1e-3, momentum=0.9), optim.Adam(model.parameters(), 1e-3)):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    model.eval()
    with no_grad():
        model(images)
        model(Tensor(np.zeros((1, *image), FLOAT)))


def _from_disk(form: Any) -> bool:
    """Whether Numba found a compiled form in its cache."""
    return sum(form.stats.cache_hits.values()) > 0
