"""What a student's operation is made of: the engine's `Function`, with a backward written in NumPy.

The engine's own operations build their gradients out of Tensors, so that gradients have gradients. A learner's first
backward should not have to think of that: here the upstream gradient is an array, and so is what comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Function
from ..tensor import Tensor


class Op(Function):
    """One differentiable operation in NumPy: ``forward(self, *arrays, **options)`` and ``backward(self, grad)``.

    ``forward`` returns one array and keeps on ``self`` what ``backward`` will read. ``backward`` is given the upstream
    gradient, an array of the output's shape, and returns one array per input, of that input's shape (a single one
    without a tuple, None for an input without a gradient). Unlike in the engine nothing is summed or cast on the way.
    """

    keeps_inputs = False

    def gradients(self, upstream: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
        """`backward` on the array of ``upstream``; its results are checked and become Tensors."""
        self.needs_grad = tuple(wanted)
        grads: Any = self.backward(upstream.numpy())  # type: ignore[arg-type]
        if not isinstance(grads, (tuple, list)):
            grads = (grads,)
        name = type(self).__name__
        if len(grads) != len(self.sources):
            raise TypeError(f"{name}.backward returned {len(grads)} gradients for {len(self.sources)} inputs; return one for "
                            "each input, in their order")
        found: list[Tensor | None] = []
        for i, (grad, (shape, dtype), need) in enumerate(zip(grads, self._specs, wanted)):
            if not need or grad is None:
                found.append(None)
                continue
            if not isinstance(grad, (np.ndarray, np.generic)):
                raise TypeError(f"{name}.backward returned {type(grad).__name__} as the gradient of input {i}; return an array")
            if grad.shape != shape:
                raise ValueError(f"{name}.backward returned shape {grad.shape} as the gradient of input {i}, which has shape "
                                 f"{shape}; a gradient has the shape of its input")
            found.append(Tensor(np.array(grad, dtype)))
        return found
