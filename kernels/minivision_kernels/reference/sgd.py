"""One step of stochastic gradient descent."""

from __future__ import annotations

import numpy as np

from minivision_kernels.ladder import rung
from minivision_kernels.several import one_by_one


@rung("sgd_update", name="numpy", device="cpu")
@one_by_one
def sgd_update(
    param: np.ndarray, grad: np.ndarray, velocity: np.ndarray | None, lr: float, momentum: float, dampening: float,
    weight_decay: float, nesterov: bool, first: bool,
) -> None:
    """Update ``param`` and ``velocity`` in place; all three arrays have one shape. Returns nothing.

        d = grad + weight_decay * param
        velocity = d if first else momentum * velocity + (1 - dampening) * d
        d = d + momentum * velocity if nesterov else velocity
        param = param - lr * d

    ``velocity`` may be None when there is no momentum; the two middle lines then fall away. ``first`` marks the first
    step of this parameter, which is not dampened (PyTorch, ``torch.optim.SGD``).
    """
    check_update(param, grad, velocity, momentum)
    d = grad + weight_decay * param if weight_decay else grad
    if velocity is not None and momentum:
        velocity[...] = d if first else momentum * velocity + (1 - dampening) * d
        d = d + momentum * velocity if nesterov else velocity
    param -= lr * d


def check_update(param: np.ndarray, grad: np.ndarray, velocity: np.ndarray | None, momentum: float) -> None:
    if momentum and velocity is None:
        raise ValueError(f"momentum is {momentum} but velocity is None; pass an array like param, or momentum 0")
    check_arrays(param, grad, **({} if velocity is None else {"velocity": velocity}))


def check_arrays(param: np.ndarray, grad: np.ndarray, **state: np.ndarray) -> None:
    """The arrays of an update share one shape and dtype, and the ones written can be."""
    shape, dtype = param.shape, param.dtype
    for name, array in (("param", param), ("grad", grad), *state.items()):
        if array.shape != shape or (array.dtype is not dtype and array.dtype != dtype):
            raise ValueError(f"{name} is {array.dtype} {array.shape}; expected {dtype} {shape}, the same as param")
        flags = array.flags
        if name != "grad" and not (flags.carray if hasattr(flags, "carray") else flags.c_contiguous):    # CuPy's are writable
            base = getattr(array.base, "flags", None)
            held = not getattr(flags, "writeable", True) and getattr(base, "writeable", False)
            raise ValueError(f"{name} is updated in place and must be writable and contiguous; pass a plain copy of it" + (
                " (it is a view made while a pending backward needed the memory, and stayed read-only)" if held else ""))
