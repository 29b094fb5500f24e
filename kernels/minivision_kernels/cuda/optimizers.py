"""The steps of SGD and Adam on the GPU (``optimizers.cu``): one pass over memory, for a parameter or several at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minivision_kernels.cuda.launch import Kernel, aligned, array_module, blocks, floats, ready
from minivision_kernels.ladder import rung
from minivision_kernels.reference.sgd import check_arrays, check_update
from minivision_kernels.several import of_first, one_by_one, tuples

THREADS = 256
TOGETHER = 16                   # parameters in a launch
_SGD, _ADAM, _SGD_SEVERAL, _ADAM_SEVERAL = (
    Kernel("optimizers.cu", name) for name in ("sgd_update", "adam_update", "sgd_several", "adam_several"))


def countable(param: Any, *_: Any, **__: Any) -> bool:
    """Whether 32 bits count the numbers of each parameter."""
    params = param if type(param) is tuple else (param,)
    return floats(*params) and all(p.size < 1 << 31 for p in params)


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


@rung("sgd_update", name="several", device="cuda", accepts=countable)
def sgd_several(
    param: Any, grad: Any, velocity: Any, lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool,
    first: bool,
) -> None:
    """Sixteen parameters in a launch: the CIFAR network, which has 12, needs one instead of 12. Not measured here."""
    for p, g, v in zip(*tuples(param, grad, velocity)):
        check_update(p, g, v, momentum)
    for arrays, parts, count in _launches(*tuples(param, grad, velocity if momentum else None)):
        _SGD_SEVERAL.launch(count, THREADS, *arrays, parts, lr, momentum, dampening, weight_decay, nesterov, first)


@rung("adam_update", name="several", device="cuda", accepts=countable)
def adam_several(
    param: Any, grad: Any, m: Any, v: Any, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, step: int,
) -> None:
    """Sixteen parameters in a launch, as for SGD."""
    for p, g, mean, square in zip(*tuples(param, grad, m, v)):
        check_arrays(p, g, m=mean, v=square)
    for arrays, parts, count in _launches(*tuples(param, grad, m, v)):
        _ADAM_SEVERAL.launch(count, THREADS, *arrays, parts, lr / (1 - beta1 ** step), beta1, 1 - beta1, beta2, 1 - beta2,
                             (1 - beta2 ** step) ** -0.5, eps, weight_decay)


def _launches(params: Any, grads: Any, *others: Any) -> Iterator[tuple[list[tuple[Any, ...]], tuple[int, ...], int]]:
    """The arrays of each launch, kind by kind, the struct Parts, and how many blocks there are; each on one device."""
    places = [0 if type(p) is np.ndarray else p.device.id for p in params]
    for place in sorted(set(places)):
        mine = [(p, ready(g), *rest) for at, p, g, *rest in zip(places, params, grads, *others) if at == place]
        for start in range(0, len(mine), TOGETHER):
            group = mine[start:start + TOGETHER]
            missing = TOGETHER - len(group)
            begin = [0]
            for p, *_ in group:
                begin.append(begin[-1] + blocks(p.size, 4 * THREADS))
            kinds = [(*kind, *(None,) * missing) for kind in zip(*group)]
            sizes = [p.size for p, *_ in group] + [0] * missing
            yield kinds, (*begin[:-1], *begin[-1:] * missing, *sizes), begin[-1]
