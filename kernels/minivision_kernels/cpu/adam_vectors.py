"""One step of Adam in one pass, in vectors."""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels.cpu.compile import TOGETHER, In1, Ins1, Out1, Outs1, Team, compiled, contiguous, helper, prange
from minivision_kernels.cpu.several import update_several
from minivision_kernels.cpu.simd import lanes, load, put, sub, vectors
from minivision_kernels.cpu.stream import PIECE, div, mul, multiply_add, pieces, root, spread, whole
from minivision_kernels.ladder import rung
from minivision_kernels.reference.sgd import check_arrays
from minivision_kernels.several import of_first, tuples


@rung("adam_update", name="vectors", device="cpu", accepts=of_first(vectors))
def adam_update(
    param: np.ndarray, grad: np.ndarray, m: np.ndarray, v: np.ndarray, lr: float, beta1: float, beta2: float, eps: float,
    weight_decay: float, step: int,
) -> None:
    """Four arrays are read and three written, once. NumPy makes fourteen passes for the same, with eight temporaries.

    The pieces are shared between the threads. The root and the quotient take longer than memory does only while all of the
    arrays are in the caches. Eight small parameters share one call.
    """
    params, grads, ms, vs = tuples(param, grad, m, v)
    for each in zip(params, grads, ms, vs):
        check_arrays(each[0], each[1], m=each[2], v=each[3])
    kinds = params, [contiguous(g) for g in grads], ms, vs
    update_several(_update_many, _update_large, kinds, lr / (1 - beta1 ** step), beta1, 1 - beta1, beta2, 1 - beta2,
                   1 / (1 - beta2 ** step) ** 0.5, eps, weight_decay, weight=4)


@compiled
def _update_many(
    like: In1, params: Outs1, grads: Ins1, ms: Outs1, vs: Outs1, rate: float, keep_m: float, take_m: float, keep_v: float,
    take_v: float, stretch: float, eps: float, weight_decay: float,
):
    for k in range(TOGETHER):
        _update(params[k], grads[k], ms[k], vs[k], 0, params[k].shape[0], rate, keep_m, take_m, keep_v, take_v, stretch, eps,
                weight_decay)


@compiled
def _update_large(
    param: Out1, grad: In1, m: Out1, v: Out1, rate: float, keep_m: float, take_m: float, keep_v: float, take_v: float,
    stretch: float, eps: float, weight_decay: float, team: Team,
):
    for piece in prange(pieces(param.shape[0]), team):
        start, end = piece * PIECE, min(piece * PIECE + PIECE, param.shape[0])
        _update(param, grad, m, v, start, end, rate, keep_m, take_m, keep_v, take_v, stretch, eps, weight_decay)


@helper
def _update(param, grad, m, v, start, end, rate, keep_m, take_m, keep_v, take_v, stretch, eps, weight_decay):
    """The numbers from ``start`` to ``end``; ``rate`` and ``stretch`` hold the corrections of m and v for the first steps."""
    last = whole(param, start, end)
    for at in range(start, last, lanes(param)):
        p = load(param, at)
        g = multiply_add(p, spread(param, weight_decay), load(grad, at))
        mean = multiply_add(load(m, at), spread(param, keep_m), mul(g, spread(param, take_m)))
        square = multiply_add(load(v, at), spread(param, keep_v), mul(mul(g, g), spread(param, take_v)))
        size = multiply_add(root(square), spread(param, stretch), spread(param, eps))
        put(m, at, mean)
        put(v, at, square)
        put(param, at, sub(p, div(mul(mean, spread(param, rate)), size)))
    for i in range(last, end):
        g = grad[i] + weight_decay * param[i]
        m[i] = keep_m * m[i] + take_m * g
        v[i] = keep_v * v[i] + take_v * (g * g)
        param[i] -= rate * m[i] / (math.sqrt(v[i]) * stretch + eps)
