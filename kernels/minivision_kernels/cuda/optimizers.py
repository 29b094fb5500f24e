"""The steps of SGD and Adam on the GPU (``optimizers.cu``): one kernel for a parameter, one pass over its memory."""

from __future__ import annotations

from typing import Any

from minivision_kernels.cuda.launch import Kernel, aligned, array_module, blocks, floats
from minivision_kernels.ladder import rung
from minivision_kernels.reference.sgd import check_arrays, check_update
from minivision_kernels.several import of_first, one_by_one

THREADS = 256
_SGD, _ADAM = Kernel("optimizers.cu", "sgd_update"), Kernel("optimizers.cu", "adam_update")


@rung("sgd_update", name="vectors", device="cuda", accepts=of_first(floats))
@one_by_one
def sgd_update(
    param: Any, grad: Any, velocity: Any, lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool,
    first: bool,
) -> None:
    """Four numbers for each thread: three arrays are read and two written, once."""
    check_update(param, grad, velocity, momentum)
    velocity = velocity if momentum else None
    grad = array_module(grad).array(grad, order="C") if not grad.flags.c_contiguous else grad
    arrays = [param, grad] if velocity is None else [param, grad, velocity]
    _SGD.launch(blocks(param.size, 4 * THREADS), THREADS, param, grad, velocity, lr, momentum, dampening, weight_decay,
                nesterov, first, param.size, aligned(*arrays))


@rung("adam_update", name="vectors", device="cuda", accepts=of_first(floats))
@one_by_one
def adam_update(
    param: Any, grad: Any, m: Any, v: Any, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, step: int,
) -> None:
    """One kernel instead of a dozen: four arrays are read and three written, once."""
    check_arrays(param, grad, m=m, v=v)
    grad = array_module(grad).array(grad, order="C") if not grad.flags.c_contiguous else grad
    _ADAM.launch(blocks(param.size, 4 * THREADS), THREADS, param, grad, m, v, lr / (1 - beta1 ** step), beta1, 1 - beta1, beta2,
                 1 - beta2, (1 - beta2 ** step) ** -0.5, eps, weight_decay, param.size, aligned(param, grad, m, v))
