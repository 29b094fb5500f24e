"""From scores to probabilities to a loss, in forms that neither overflow nor lose small probabilities.

With p = softmax(x) the derivative of the loss -log p[label] is p - onehot(label): what the network believed minus what
was true. Computing softmax, then log, then the pick would divide by p and multiply by it again; `CrossEntropy` does the
three in one pass over the scores.
"""

from __future__ import annotations

from minivision_kernels import array_module, run

from ..autograd import Function
from ..tensor import Tensor
from .reduce import top


class Softmax(Function):
    """exp(x) / sum(exp(x)) along one axis; the maximum is subtracted first, which changes nothing but the overflow."""

    floats_only, keeps_inputs, keeps_output = True, False, True

    def forward(self, x, axis):
        xp = array_module(x)
        self.axis = axis
        out = xp.exp(x - top(x, (axis,)))
        out /= out.sum(axis=axis, keepdims=True)
        return out

    def backward(self, grad):
        y = self.output
        return y * (grad - (grad * y).sum(self.axis, keepdim=True))


class LogSoftmax(Function):
    """x - log(sum(exp(x))) along one axis."""

    floats_only, keeps_inputs, keeps_output = True, False, True

    def forward(self, x, axis):
        xp = array_module(x)
        self.axis = axis
        shifted = x - top(x, (axis,))
        return shifted - xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True))

    def backward(self, grad):
        return grad - self.output.exp() * grad.sum(self.axis, keepdim=True)


class CrossEntropy(Function):
    """The loss -log softmax(x)[label] of each row of x (N, C), given labels (N,)."""

    def forward(self, x, labels):
        self.labels = self.keep(labels)
        return run("cross_entropy_forward", x, labels)

    def backward(self, grad):
        x, = self.inputs
        return CrossEntropyInput.apply(x, grad, labels=self.labels)


class CrossEntropyInput(Function):
    """(softmax(x) - onehot) g for each row: the gradient above as an operation of its own, so that it has gradients."""

    def forward(self, x, g, labels):
        self.labels = self.keep(labels)
        return run("cross_entropy_backward", x, labels, g)

    def backward(self, grad):
        x, g = self.inputs                                       # grad (N, C), g (N,)
        p = Softmax.apply(x, axis=1)
        xp = array_module(x._data)
        onehot = xp.zeros(x.shape, x.dtype)
        onehot[xp.arange(x.shape[0]), self.labels] = 1
        dx = g.unsqueeze(1) * p * (grad - (grad * p).sum(1, keepdim=True))
        dg = (grad * (p - Tensor(onehot))).sum(1)
        return dx, dg
