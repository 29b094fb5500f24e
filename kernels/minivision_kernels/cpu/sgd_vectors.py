"""One step of stochastic gradient descent in one pass, in vectors."""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import In1, Out1, compiled, contiguous, prange
from minivision_kernels.cpu.sgd_loops import update_one
from minivision_kernels.cpu.simd import lanes, load, put, vectors
from minivision_kernels.cpu.stream import PIECE, mul, multiply_add, pieces, spread, whole
from minivision_kernels.ladder import rung
from minivision_kernels.reference.sgd import check_update


@rung("sgd_update", name="vectors", device="cpu", accepts=vectors)
def sgd_update(
    param: np.ndarray, grad: np.ndarray, velocity: np.ndarray | None, lr: float, momentum: float, dampening: float,
    weight_decay: float, nesterov: bool, first: bool,
) -> None:
    """The conditions are asked once for a vector, and the vectors are explicit: with three arrays, LLVM checks first whether
    they overlap, and goes through a piece number by number if it cannot tell.
    """
    check_update(param, grad, velocity, momentum)
    flat = param.reshape(-1)
    moving = velocity.reshape(-1) if velocity is not None and momentum else flat[:0]
    _update(
        flat, contiguous(grad).reshape(-1), moving, lr, momentum, 1 - dampening, weight_decay, nesterov, first,
        work=param.size)


@compiled(parallel=True)
def _update(
    param: Out1, grad: In1, velocity: Out1, lr: float, momentum: float, keep: float, weight_decay: float,
    nesterov: bool, first: bool,
):
    for piece in prange(pieces(param.shape[0])):
        start, end = piece * PIECE, min(piece * PIECE + PIECE, param.shape[0])
        last = whole(param, start, end)
        for at in range(start, last, lanes(param)):
            p = load(param, at)
            d = multiply_add(p, spread(param, weight_decay), load(grad, at))
            if velocity.shape[0] != 0:
                v = d if first else multiply_add(load(velocity, at), spread(param, momentum), mul(d, spread(param, keep)))
                put(velocity, at, v)
                d = multiply_add(v, spread(param, momentum), d) if nesterov else v
            put(param, at, multiply_add(d, spread(param, -lr), p))
        for i in range(last, end):
            update_one(param, grad, velocity, i, lr, momentum, keep, weight_decay, nesterov, first)
