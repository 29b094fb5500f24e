"""One step of stochastic gradient descent in one pass, in vectors."""

from __future__ import annotations

import numpy as np

from minivision_kernels.cpu.compile import TOGETHER, In1, Ins1, Out1, Outs1, Team, compiled, contiguous, helper, prange
from minivision_kernels.cpu.several import update_several
from minivision_kernels.cpu.sgd_loops import update_one
from minivision_kernels.cpu.simd import lanes, load, put, vectors
from minivision_kernels.cpu.stream import PIECE, mul, multiply_add, pieces, spread, whole
from minivision_kernels.ladder import rung
from minivision_kernels.reference.sgd import check_update
from minivision_kernels.several import of_first, tuples


@rung("sgd_update", name="vectors", device="cpu", accepts=of_first(vectors))
def sgd_update(
    param: np.ndarray, grad: np.ndarray, velocity: np.ndarray | None, lr: float, momentum: float, dampening: float,
    weight_decay: float, nesterov: bool, first: bool,
) -> None:
    """The conditions are asked once for a vector, and the vectors are explicit: with three arrays, LLVM checks first whether
    they overlap, and goes through a piece number by number if it cannot tell. Eight small parameters share one call.
    """
    params, grads, velocities = tuples(param, grad, velocity)
    for each in zip(params, grads, velocities):
        check_update(*each, momentum)
    moving = velocities if momentum else [p.reshape(-1)[:0] for p in params]
    settings = lr, momentum, 1 - dampening, weight_decay, nesterov, first
    update_several(_update_many, _update_large, (params, [contiguous(g) for g in grads], moving), *settings)


@compiled
def _update_many(
    like: In1, params: Outs1, grads: Ins1, velocities: Outs1, lr: float, momentum: float, keep: float, weight_decay: float,
    nesterov: bool, first: bool,
):
    for k in range(TOGETHER):
        _update(params[k], grads[k], velocities[k], 0, params[k].shape[0], lr, momentum, keep, weight_decay, nesterov, first)


@compiled
def _update_large(
    param: Out1, grad: In1, velocity: Out1, lr: float, momentum: float, keep: float, weight_decay: float,
    nesterov: bool, first: bool, team: Team,
):
    for piece in prange(pieces(param.shape[0]), team):
        start, end = piece * PIECE, min(piece * PIECE + PIECE, param.shape[0])
        _update(param, grad, velocity, start, end, lr, momentum, keep, weight_decay, nesterov, first)


@helper
def _update(param, grad, velocity, start, end, lr, momentum, keep, weight_decay, nesterov, first):
    """The numbers from ``start`` to ``end``."""
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
