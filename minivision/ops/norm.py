"""Normalisation to mean 0 and variance 1, the heart of batch norm and instance norm."""

from __future__ import annotations

from minivision_kernels import array_module

from ..autograd import Function


class Standardize(Function):
    """z = (x - mean) / sqrt(var + eps), with mean and biased variance taken over ``axes``.

    Both statistics depend on every x they were taken from, so a change of one x moves all of z. What remains of the
    gradient is its part that neither shifts nor stretches (Ioffe and Szegedy 2015, section 3):

        dx = (g - mean(g) - z mean(g z)) / sqrt(var + eps)
    """

    keeps_output = True

    def forward(self, x, axes, eps):
        xp = array_module(x)
        self.axes, self.eps = axes, eps
        centred = x - x.mean(axis=axes, keepdims=True)
        var = xp.square(centred).mean(axis=axes, keepdims=True)
        centred *= (1 / xp.sqrt(var + x.dtype.type(eps)))
        return centred

    def backward(self, grad):
        (x,), z = self.inputs, self.output
        spread = (x.var(self.axes, keepdim=True, correction=0) + self.eps).sqrt()
        shift = grad.mean(self.axes, keepdim=True)
        stretch = (grad * z).mean(self.axes, keepdim=True)
        return (grad - shift - z * stretch) / spread
