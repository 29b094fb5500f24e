"""One step of Adam in one pass, in vectors."""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels.cpu.compile import In1, Out1, compiled, contiguous, prange
from minivision_kernels.cpu.simd import lanes, load, put, sub, vectors
from minivision_kernels.cpu.stream import PIECE, div, mul, multiply_add, pieces, root, spread, whole
from minivision_kernels.ladder import rung
from minivision_kernels.reference.sgd import check_arrays


@rung("adam_update", name="vectors", device="cpu", accepts=vectors)
def adam_update(
    param: np.ndarray, grad: np.ndarray, m: np.ndarray, v: np.ndarray, lr: float, beta1: float, beta2: float, eps: float,
    weight_decay: float, step: int,
) -> None:
    """Four arrays are read and three written, once. NumPy makes fourteen passes for the same, with eight temporaries.

    The pieces are shared between the threads. The root and the quotient take longer than memory does only while all of the
    arrays are in the caches.
    """
    check_arrays(param, grad, m=m, v=v)
    _update(param.reshape(-1), contiguous(grad).reshape(-1), m.reshape(-1), v.reshape(-1), lr / (1 - beta1 ** step), beta1,
            1 - beta1, beta2, 1 - beta2, 1 / (1 - beta2 ** step) ** 0.5, eps, weight_decay, work=4 * param.size)


@compiled(parallel=True)
def _update(
    param: Out1, grad: In1, m: Out1, v: Out1, rate: float, keep_m: float, take_m: float, keep_v: float, take_v: float,
    stretch: float, eps: float, weight_decay: float,
):
    """``rate`` and ``stretch`` hold the corrections of m and v for the first steps."""
    for piece in prange(pieces(param.shape[0])):
        start, end = piece * PIECE, min(piece * PIECE + PIECE, param.shape[0])
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
