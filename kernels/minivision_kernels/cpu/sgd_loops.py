"""One step of stochastic gradient descent, in one pass over the parameters."""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import In1, Out1, compiled, contiguous, floats, helper
from minivision_kernels.ladder import rung
from minivision_kernels.reference.sgd import check_update
from minivision_kernels.several import of_first, one_by_one


@rung("sgd_update", name="loops", device="cpu", accepts=of_first(floats))
@one_by_one
def sgd_update(
    param: np.ndarray, grad: np.ndarray, velocity: np.ndarray | None, lr: float, momentum: float, dampening: float,
    weight_decay: float, nesterov: bool, first: bool,
) -> None:
    """The formula for one parameter after another.

    Each is read and written once, but LLVM does not vectorise the loop, with its three arrays and two conditions: it
    works on one number at a time, and takes as long as NumPy's several vectorised passes, or longer.
    """
    check_update(param, grad, velocity, momentum)
    moving = velocity if velocity is not None and momentum else np.empty(0, param.dtype)
    _update(
        param.reshape(-1), contiguous(grad).reshape(-1), moving.reshape(-1), lr, momentum, 1 - dampening, weight_decay,
        nesterov, first)


@compiled
def _update(
    param: Out1, grad: In1, velocity: Out1, lr: float, momentum: float, keep: float, weight_decay: float,
    nesterov: bool, first: bool,
):
    for i in range(param.shape[0]):
        update_one(param, grad, velocity, i, lr, momentum, keep, weight_decay, nesterov, first)


@helper
def update_one(param, grad, velocity, i, lr, momentum, keep, weight_decay, nesterov, first):
    """Move one parameter; an empty ``velocity`` means that there is no momentum."""
    d = grad[i]
    if weight_decay != 0:
        d += weight_decay * param[i]
    if velocity.shape[0] != 0:
        velocity[i] = d if first else momentum * velocity[i] + keep * d
        d = d + momentum * velocity[i] if nesterov else velocity[i]
    param[i] -= lr * d
