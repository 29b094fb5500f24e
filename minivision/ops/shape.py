"""Operations that move elements without changing them. Each backward moves the gradient back the same way."""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels import array_module
from minivision_kernels.memory import empty

from ..autograd import Function

FEW = 4096      # numbers that are sooner written out than looked at through a view


def new(like, shape, dtype=None):
    """An array of the kind of ``like``, and of its dtype if no other is given, that holds anything. On the CPU it is made of
    memory used before: to get fresh memory takes longer than to write to it."""
    dtype = like.dtype if dtype is None else dtype
    return empty(shape, dtype) if isinstance(like, np.ndarray) else array_module(like).empty(shape, dtype)


class Reshape(Function):
    keeps_inputs = False

    def forward(self, x, shape):
        self.shape = x.shape
        return x.reshape(shape)

    def backward(self, grad):
        return Reshape.apply(grad, shape=self.shape)


class Permute(Function):
    """Axis i of the result is axis ``axes[i]`` of the input."""

    keeps_inputs = False

    def forward(self, x, axes):
        self.axes = axes
        return x.transpose(axes)

    def backward(self, grad):
        return Permute.apply(grad, axes=tuple(self.axes.index(i) for i in range(len(self.axes))))


class BroadcastTo(Function):
    """Repeat along axes of length 1 and new leading axes. The base class sums the gradient back, as for any operation."""

    keeps_inputs = False

    def forward(self, x, shape, view=True):
        if not view and type(x) is np.ndarray and x.size == 1 and math.prod(shape) <= FEW:
            return np.full(shape, x, x.dtype)
        return array_module(x).broadcast_to(x, shape)

    def backward(self, grad):
        return grad


class GetItem(Function):
    """x[index], for anything that NumPy accepts as an index."""

    keeps_inputs = False

    def forward(self, x, index):
        self.index, self.shape = index, x.shape
        return x[index]

    def backward(self, grad):
        return PutItem.apply(grad, index=self.index, shape=self.shape)


class PutItem(Function):
    """The adjoint of `GetItem`: zeros, with each value added where it was read. An element read twice gets both."""

    keeps_inputs = False

    def forward(self, grad, index, shape):
        self.index = index
        xp, out = array_module(grad), new(grad, shape)
        out[...] = 0
        parts = index if isinstance(index, tuple) else (index,)
        if any(hasattr(part, "dtype") and part.dtype.kind in "iu" for part in parts):
            xp.add.at(out, index, grad)                          # integers may name an element more than once
        else:
            out[index] = grad                                    # slices and masks cannot
        return out

    def backward(self, grad):
        return GetItem.apply(grad, index=self.index)


class Cat(Function):
    """Arrays laid end to end along one axis; each gets back its own stretch of the gradient."""

    keeps_inputs = False

    def forward(self, *arrays, axis):
        self.axis, self.lengths = axis, [a.shape[axis] for a in arrays]
        xp, (first, *_) = array_module(arrays[0]), arrays
        if xp is not np:
            return xp.concatenate(arrays, axis)
        shape = (*first.shape[:axis], sum(self.lengths), *first.shape[axis + 1:])
        return np.concatenate(arrays, axis, out=new(first, shape, np.result_type(*arrays)))

    def backward(self, grad):
        parts, start = [], 0
        for length in self.lengths:
            parts.append(grad[(slice(None),) * self.axis + (slice(start, start + length),)])
            start += length
        return tuple(parts)


class Pad(Function):
    """A border of ``value`` around the array: ``widths[i]`` elements before and after along axis i."""

    keeps_inputs = False

    def forward(self, x, widths, value):
        self.inside = tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape))
        y = new(x, tuple(before + n + after for (before, after), n in zip(widths, x.shape)))
        y[self.inside] = x
        for axis, (before, after) in enumerate(widths):
            for border in (slice(0, before), slice(y.shape[axis] - after, None)):
                if before or after:
                    y[(slice(None),) * axis + (border,)] = value
        return y

    def backward(self, grad):
        return grad[self.inside]
