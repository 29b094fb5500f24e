"""Matrix products. Like convolution, the fully connected layer is bilinear, and three forms are closed under gradients:

    y = Linear(x, w)         = x wᵀ        dx = LinearInput(y', w)     dw = LinearWeight(y', x)
    z = LinearInput(g, w)    = g w         dg = Linear(z', w)          dw = LinearWeight(g, z')
    u = LinearWeight(g, x)   = gᵀ x        dg = Linear(x, u')          dx = LinearInput(g, u')

with x (N, I), w (O, I), y and g (N, O); a prime marks the upstream gradient.
"""

from __future__ import annotations

from minivision_kernels import run

from ..autograd import Function


class Matmul(Function):
    """x @ y over the last two axes, with broadcasting over the others."""

    def forward(self, x, y):
        return x @ y

    def backward(self, grad):
        x, y = self.inputs
        return grad @ swap(y) if self.needs_grad[0] else None, swap(x) @ grad if self.needs_grad[1] else None


def swap(x):
    """The last two axes exchanged: a stack of transposed matrices."""
    return x.transpose(-1, -2)


class Linear(Function):
    def forward(self, x, w):
        return run("linear_forward", x, w)

    def backward(self, grad):
        x, w = self.inputs
        return LinearInput.apply(grad, w) if self.needs_grad[0] else None, \
            LinearWeight.apply(grad, x) if self.needs_grad[1] else None


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
