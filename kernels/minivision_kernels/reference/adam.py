"""One step of Adam; the same formulas for the arrays of NumPy and of CuPy."""

from __future__ import annotations

import numpy as np

from minivision_kernels.ladder import array_module, rung
from minivision_kernels.reference.sgd import check_arrays
from minivision_kernels.several import one_by_one


@rung("adam_update", name="cupy", device="cuda")
@rung("adam_update", name="numpy", device="cpu")
@one_by_one
def adam_update(
    param: np.ndarray, grad: np.ndarray, m: np.ndarray, v: np.ndarray, lr: float, beta1: float, beta2: float, eps: float,
    weight_decay: float, step: int,
) -> None:
    """Update ``param``, ``m`` and ``v`` in place; all four arrays have one shape. Returns nothing. Steps count from 1.

        g = grad + weight_decay * param
        m = beta1 * m + (1 - beta1) * g         v = beta2 * v + (1 - beta2) * g * g
        param = param - lr * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)

    (Kingma and Ba 2015, algorithm 1; PyTorch, ``torch.optim.Adam``.)
    """
    check_arrays(param, grad, m=m, v=v)
    g = grad + weight_decay * param if weight_decay else grad
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * (g * g)
    size = array_module(v).sqrt(v) * (1 / (1 - beta2 ** step) ** 0.5) + eps
    param -= (lr / (1 - beta1 ** step)) * m / size
