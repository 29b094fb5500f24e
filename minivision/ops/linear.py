"""Matrix products. Like convolution, the fully connected layer is bilinear, and three forms are closed under gradients:

    y = Linear(x, w)         = x wᵀ        dx = LinearInput(y', w)     dw = LinearWeight(y', x)
    z = LinearInput(g, w)    = g w         dg = Linear(z', w)          dw = LinearWeight(g, z')
    u = LinearWeight(g, x)   = gᵀ x        dg = Linear(x, u')          dx = LinearInput(g, u')

with x (N, I), w (O, I), y and g (N, O); a prime marks the upstream gradient.
"""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels import array_module, run
from minivision_kernels.finish import Finish, run_finished

from ..autograd import Function
from .elementwise import Rectified
from .reduce import Sum


class Matmul(Function):
    """x @ y over the last two axes, with broadcasting over the others.

    ``x @ y`` of the array module would do, but the BLAS behind NumPy may give other bits with another number of threads, and
    CuPy's needs cuBLAS, a library of 500 MB that is used for nothing else here. So each pair of matrices goes through the
    kernel of `LinearInput`, which is the same product; where y is a single matrix, the rows of x are all one matrix.
    """

    def forward(self, x, y):
        if x.dtype.kind != "f" or x.dtype != y.dtype:
            return x @ y
        if y.ndim == 2:
            rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
            return run("linear_input", rows, y).reshape(x.shape[:-1] + y.shape[-1:])
        xp, stack = array_module(x), np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        out = xp.empty(stack + (x.shape[-2], y.shape[-1]), x.dtype)
        left, right = (xp.broadcast_to(a, stack + a.shape[-2:]) for a in (x, y))
        for place in np.ndindex(*stack):
            out[place] = run("linear_input", left[place], right[place])
        return out

    def backward(self, grad):
        x, y = self.inputs
        return grad @ swap(y) if self.needs_grad[0] else None, swap(x) @ grad if self.needs_grad[1] else None


def swap(x):
    """The last two axes exchanged: a stack of transposed matrices."""
    return x.transpose(-1, -2)


class Linear(Function):
    """With a third input, a bias (O,), that is added to every row."""

    keeps_inputs = 2
    relu = False

    def forward(self, x, w, *bias):
        return run_finished("linear_forward", x, w, Finish(bias[0], self.relu)) if bias else run("linear_forward", x, w)

    def backward(self, grad):
        _, _, *bias = self.inputs
        return *self.products(grad), *(Sum.apply(grad, axes=(0,), keepdim=False) if self.needs_grad[2] else None for _ in bias)

    def products(self, grad):
        """The gradients to x and w."""
        x, w, *_ = self.inputs
        return LinearInput.apply(grad, w) if self.needs_grad[0] else None, \
            LinearWeight.apply(grad, x) if self.needs_grad[1] else None


class LinearRelu(Rectified, Linear):
    """With bias and ReLU."""


class LinearInput(Function):
    def forward(self, g, w):
        return run("linear_input", g, w)

    def backward(self, grad):
        g, w = self.inputs
        return Linear.apply(grad, w) if self.needs_grad[0] else None, \
            LinearWeight.apply(g, grad) if self.needs_grad[1] else None


class LinearWeight(Function):
    def forward(self, g, x):
        return run("linear_weight", g, x)

    def backward(self, grad):
        g, x = self.inputs
        return Linear.apply(x, grad) if self.needs_grad[0] else None, \
            LinearInput.apply(g, grad) if self.needs_grad[1] else None
