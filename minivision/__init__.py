"""minivision: a deep-learning engine you can read in an afternoon.

Start with ``tensor.py`` and ``autograd.py``; ARCHITECTURE.md is the map of the rest.
"""

from typing import TYPE_CHECKING

from .tensor import Tensor  # first, since operations are made of Tensors

from . import functional, nn, optim, random  # isort: skip
from .autograd import Function, GraphError, grad, no_grad
from .checkpoint import CheckpointError, load, save
from .creation import arange, full, ones, ones_like, rand, randn, tensor, zeros, zeros_like
from .device import DeviceError
from .functional import (
    abs,
    argmax,
    argmin,
    broadcast_to,
    cat,
    clip,
    cos,
    exp,
    flatten,
    flip,
    log,
    log_softmax,
    logsumexp,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    pad,
    permute,
    relu,
    reshape,
    sigmoid,
    sin,
    softmax,
    sqrt,
    squeeze,
    stack,
    sum,
    tanh,
    transpose,
    unsqueeze,
    var,
    view,
    where,
)
from .random import manual_seed
from .saved import InPlaceError

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import checking, data, explain, models, training, vision
    from .checking import GradcheckError, GradcheckReport, gradcheck, gradgradcheck

# The rest is imported when it is first asked for, so that `import minivision` stays quick.
_LATER = {"checking": "checking", "data": "data", "explain": "explain", "models": "models", "training": "training",
          "vision": "vision",
          "gradcheck": "checking", "gradgradcheck": "checking", "GradcheckError": "checking", "GradcheckReport": "checking"}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"minivision has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f".{_LATER[name]}", __name__)
    return module if name == _LATER[name] else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
