"""What users call: one function per operation, with its defaults, its checks and its documentation.

The names, arguments and meanings are those of ``torch.nn.functional`` and of PyTorch's Tensor methods, so that a reader
can move between the two, and one can be held against the other. The mathematics is in ``ops/``.
"""

from .conv import (
    conv2d,
    conv2d_norm,
    conv2d_relu,
    conv2d_relu_cat,
    conv2d_relu_max_pool2d,
    conv_transpose2d,
)
from .elementwise import (
    abs,
    add,
    add_relu,
    clip,
    clone,
    compare,
    cos,
    div,
    exp,
    leaky_relu,
    log,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    relu,
    sigmoid,
    sin,
    softplus,
    sqrt,
    sub,
    tanh,
    to,
    where,
)
from .linear import linear, linear_relu
from .loss import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    l1_loss,
    log_softmax,
    mse_loss,
    nll_loss,
    one_hot,
    softmax,
)
from .norm import batch_norm, batch_norm_relu, dropout, instance_norm
from .pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from .reduce import argmax, argmin, logsumexp, max, mean, min, sum, var
from .resample import interpolate
from .shape import (
    broadcast_to,
    cat,
    flatten,
    flip,
    getitem,
    matmul,
    pad,
    permute,
    reshape,
    squeeze,
    stack,
    transpose,
    unsqueeze,
    view,
)

__all__ = [name for name in dir() if not name.startswith("_")]
