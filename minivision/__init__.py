"""minivision: a deep-learning engine you can read in an afternoon.

Start with ``tensor.py`` and ``autograd.py``; ARCHITECTURE.md is the map of the rest.
"""

from .tensor import Tensor  # first, since operations are made of Tensors

from . import data, functional, models, nn, optim, random  # isort: skip
from .autograd import Function, GraphError, grad, no_grad
from .checkpoint import CheckpointError, load, save
from .checking import GradcheckError, GradcheckReport, gradcheck, gradgradcheck
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
