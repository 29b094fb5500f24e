"""Operations that make an array smaller: sums, the log of a sum of exponentials, and picking elements by index.

A maximum is a pick: find where it is, then take the element there. The gradient goes back to that one element, so a tie
goes to the first, as argmax says.
"""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels import array_module, run

from ..autograd import Function
from .shape import BroadcastTo


def kept_shape(shape, axes):
    """``shape`` with the reduced axes as 1."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def count(shape, axes):
    """How many elements each number of the result stands for."""
    return math.prod(shape[i] for i in axes)


def top(x, axes):
    """The maximum over ``axes``, kept: what to subtract before exp. Of nothing it is 0, for nothing is subtracted from."""
    return x.max(axis=axes, keepdims=True) if x.size else array_module(x).zeros(kept_shape(x.shape, axes), x.dtype)


class Sum(Function):
    """Every element of a sum has slope 1: the gradient is copied to all of them."""

    keeps_inputs = False

    def forward(self, x, axes, keepdim):
        self.shape, self.kept = x.shape, kept_shape(x.shape, axes)
        of_channels = x.ndim > 2 and len(axes) == x.ndim - 1 and 1 not in axes
        if of_channels and x.dtype.kind == "f" and (type(x) is np.ndarray or array_module(x) is not np):
            sums = run("channel_sum", x)
            return sums.reshape(self.kept) if keepdim else sums
        return x.sum(axis=axes, dtype=None if x.dtype.kind == "f" else np.int64, keepdims=keepdim)

    def backward(self, grad):
        kept = grad if grad.shape in ((), self.kept) else grad.reshape(self.kept)
        return BroadcastTo.apply(kept, shape=self.shape, view=False)


class Mean(Sum):
    """Of n numbers, each has slope 1/n."""

    def forward(self, x, axes, keepdim):
        n = count(x.shape, axes)
        self.slope = 1 / n if n else math.nan
        return super().forward(x, axes, keepdim) * x.dtype.type(self.slope)

    def backward(self, grad):
        return super().backward(grad * self.slope)


class LogSumExp(Function):
    """log(sum(exp(x))) with the maximum taken out first, so that exp sees nothing above 0. Its slope is softmax."""

    floats_only, keeps_output = True, True

    def forward(self, x, axes, keepdim):
        xp = array_module(x)
        self.kept = kept_shape(x.shape, axes)
        most = top(x, axes)
        most = xp.where(xp.isfinite(most), most, 0)              # all -inf stays -inf, and inf - inf never happens
        with np.errstate(divide="ignore"):
            out = xp.log(xp.exp(x - most).sum(axis=axes, keepdims=True)) + most
        return out if keepdim else out.reshape(tuple(n for i, n in enumerate(x.shape) if i not in axes))

    def backward(self, grad):
        x, = self.inputs
        return grad.reshape(self.kept) * (x - self.output.reshape(self.kept)).exp()


class TakeAlong(Function):
    """out[..., j, ...] = x[..., index[..., j, ...], ...] along one axis; ``index`` has x's shape in all the others."""

    keeps_inputs = False

    def forward(self, x, index, axis):
        self.index, self.axis, self.length = self.keep(index), axis, x.shape[axis]
        return array_module(x).take_along_axis(x, index, axis)

    def backward(self, grad):
        return PutAlong.apply(grad, index=self.index, axis=self.axis, length=self.length)


class PutAlong(Function):
    """The adjoint of `TakeAlong`: zeros of ``length`` along the axis, and every value added where it was taken from."""

    keeps_inputs = False

    def forward(self, grad, index, axis, length):
        xp = array_module(grad)
        self.index, self.axis = self.keep(index), axis
        out = xp.zeros(grad.shape[:axis] + (length,) + grad.shape[axis + 1:], grad.dtype)
        if index.shape[axis] == 1:                               # nothing can be added twice
            xp.put_along_axis(out, index, grad, axis)
        else:
            places = [xp.arange(n).reshape((n,) + (1,) * (index.ndim - 1 - i)) for i, n in enumerate(index.shape)]
            places[axis] = index
            xp.add.at(out, tuple(places), grad)
        return out

    def backward(self, grad):
        return TakeAlong.apply(grad, index=self.index, axis=self.axis)
