"""Pooling. Max pooling picks one pixel per window, average pooling mixes all of them; both are linear once that choice
is made, so each gradient is the adjoint map, and the adjoint's gradient is the map itself.

Max pooling pads with -inf (padding never wins) and gives a tie to the first pixel of the window in reading order.
"""

from __future__ import annotations

from minivision_kernels import run

from ..autograd import Function
from .reduce import TakeAlong


class MaxPool2d(Function):
    """(N, C, H, W) -> (N, C, OH, OW). ``index`` remembers the winner's place h * W + w for the way back, if there is to be one,
    or a list ``winners`` that takes it; otherwise it is None."""

    keeps_inputs = False

    def forward(self, x, kernel_size, stride, padding, dilation, ceil_mode, winners=None):
        self.window = dict(kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)
        self.shape = x.shape
        out, self.index = run("max_pool2d_forward", x, ceil_mode=ceil_mode, with_index=self._record or winners is not None,
                              **self.window)
        if winners is not None:
            winners.append(self.index)
        return out

    def backward(self, grad):
        return MaxPool2dInput.apply(grad, index=self.index, shape=self.shape, **self.window)


class MaxPool2dInput(Function):
    """Each output's gradient goes to the pixel that won; a pixel that won several windows gets the sum."""

    keeps_inputs = False

    def forward(self, grad, index, shape, **window):
        self.index = index
        return run("max_pool2d_backward", grad, index, shape, **window)

    def backward(self, grad):
        n, c, h, w = grad.shape
        places = self.index.reshape(n, c, self.index.shape[2] * self.index.shape[3])
        taken = TakeAlong.apply(grad.reshape(n, c, h * w), index=places, axis=2)
        return taken.reshape(self.index.shape)


class AvgPool2d(Function):
    keeps_inputs = False

    def forward(self, x, **window):
        self.window, self.shape = window, x.shape
        return run("avg_pool2d_forward", x, **window)

    def backward(self, grad):
        return AvgPool2dInput.apply(grad, shape=self.shape, **self.window)


class AvgPool2dInput(Function):
    """Every pixel gets its share of the gradient of each window it was in."""

    keeps_inputs = False

    def forward(self, grad, shape, **window):
        self.window = window
        return run("avg_pool2d_backward", grad, shape, **window)

    def backward(self, grad):
        return AvgPool2d.apply(grad, **self.window)
