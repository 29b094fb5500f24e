"""One step of stochastic gradient descent, the parameters shared between threads."""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, contiguous, floats, prange
from minivision_kernels.cpu.sgd_loops import update_one
from minivision_kernels.ladder import rung
from minivision_kernels.reference.sgd import check_update
from minivision_kernels.several import of_first, one_by_one


@rung("sgd_update", name="parallel", device="cpu", accepts=of_first(floats))
@one_by_one
def sgd_update(
    param: np.ndarray, grad: np.ndarray, velocity: np.ndarray | None, lr: float, momentum: float, dampening: float,
    weight_decay: float, nesterov: bool, first: bool,
) -> None:
    """One pass over memory, where NumPy makes one for each operation of the formula, and shared between the threads.

    Within a thread's piece LLVM does vectorise the loop, which by itself is worth a factor of several.
    """
    check_update(param, grad, velocity, momentum)
    moving = velocity if velocity is not None and momentum else np.empty(0, param.dtype)
    _update(
        param.reshape(-1), contiguous(grad).reshape(-1), moving.reshape(-1), lr, momentum, 1 - dampening, weight_decay,
        nesterov, first, work=param.size)


@compiled
def _update(
    param: Out1, grad: In1, velocity: Out1, lr: float, momentum: float, keep: float, weight_decay: float,
    nesterov: bool, first: bool, team: Team,
):
    for i in prange(param.shape[0], team):
        update_one(param, grad, velocity, i, lr, momentum, keep, weight_decay, nesterov, first)
