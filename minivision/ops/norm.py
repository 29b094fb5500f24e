"""Normalisation to mean 0 and variance 1, the heart of batch norm and instance norm; a factor and a bias for each channel."""

from __future__ import annotations

from minivision_kernels import array_module, run

from ..autograd import Function, is_recording
from ..tensor import Tensor
from .elementwise import Rectified


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
        return pulled_back(grad, x, z, self.axes, self.eps)


def pulled_back(grad, x, z, axes, eps):
    """The gradient to x where z is x standardised; see `Standardize`."""
    spread = (x.var(axes, keepdim=True, correction=0) + eps).sqrt()
    shift = grad.mean(axes, keepdim=True)
    stretch = (grad * z).mean(axes, keepdim=True)
    return (grad - shift - z * stretch) / spread


class BatchNorm(Function):
    """`Standardize` over all axes but the channels, times weight, plus bias, each (C,): x is read once and y written once.

    Backward has one kernel for its three gradients. It is plain arithmetic; when the gradients are to be differentiated
    again, the same formulas are written with operations.
    """

    def forward(self, x, weight, bias, eps, statistics=None):
        y, mean, var = run("batch_norm_forward", x, weight, bias, eps)
        self.eps, self.mean, self.var = eps, self.keep(mean), self.keep(var)
        if statistics is not None:
            statistics += mean, var
        return y

    def backward(self, grad):
        x, weight, _ = self.inputs
        if not is_recording():
            arrays = run("batch_norm_backward", grad._data, x._data, weight._data, self.mean, self.var, self.eps)
            return tuple(Tensor(array) for array in arrays)
        axes, column = (0, *range(2, x.ndim)), (-1, *(1,) * (x.ndim - 2))
        z = Standardize.apply(x, axes=axes, eps=self.eps)
        dx = pulled_back(grad * weight.reshape(column), x, z, axes, self.eps)
        return dx, (grad * z).sum(axes), grad.sum(axes)


class BatchNormEval(Function):
    """Batch norm when it is not training: mean and variance are numbers, and y = (x - mean) / sqrt(var + eps) * weight + bias.

    That is one factor and one number to add for each channel. As operations of their own, those would be seven for each layer.
    """

    keeps_inputs = 2
    relu = False

    def forward(self, x, weight, bias, mean, var, eps):
        self.scale = 1 / array_module(x).sqrt(var + x.dtype.type(eps))
        self.shift = -mean * self.scale
        return run("channel_affine", x, self.scale * weight, self.shift * weight + bias, relu=self.relu)

    def backward(self, grad):
        return *self.products(grad), grad.sum((0, *range(2, grad.ndim))) if self.needs_grad[2] else None

    def products(self, grad):
        """The gradients to x and weight."""
        (x, weight, _), scale = self.inputs, Tensor(self.scale)
        z = ChannelAffine.apply(x, scale, Tensor(self.shift)) if self.needs_grad[1] else None
        return ChannelAffine.apply(grad, weight * scale) if self.needs_grad[0] else None, \
            (grad * z).sum((0, *range(2, x.ndim))) if self.needs_grad[1] else None


class BatchNormEvalRelu(Rectified, BatchNormEval):
    """With ReLU."""


class ChannelAffine(Function):
    """weight x + bias, with one weight and one bias, each (C,), for all pixels of a channel; without a bias, weight x."""

    def forward(self, x, weight, *bias):
        return run("channel_affine", x, weight, *bias)

    def backward(self, grad):
        x, weight, *bias = self.inputs
        axes = (0, *range(2, x.ndim))
        return ChannelAffine.apply(grad, weight) if self.needs_grad[0] else None, \
            (grad * x).sum(axes) if self.needs_grad[1] else None, \
            *(grad.sum(axes) if self.needs_grad[2] else None for _ in bias)
