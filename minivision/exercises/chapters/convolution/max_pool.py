"""Max pooling: who wins gets everything.

    y[n, c, oh, ow] = the largest pixel of the window at (oh * S - P, ow * S - P)

A small step of the largest pixel moves the output by as much, a small step of any other does not move it at all. So
backward gives the upstream gradient of a window to its winner and nothing to the rest. Forward has to remember who won.
Where windows overlap, one pixel may win several times, and it is paid for each.

Two things are left to agreement, and both have bitten real users. **Ties**: in a flat patch of sky all pixels are equal.
Split the gradient, give it to all of them, or to one? This engine, like most, pays the first in reading order (a gradient
check near a tie measures something else, as at every kink). **Padding**: it must never win, so it counts as -inf. If it
counts as 0 instead, the border of a picture with negative values is wrong, and a gradient check does not notice, since
backward is the perfect derivative of the wrong function: see [[zero_padding]]. At least two libraries had it.

Write both. x is (N, C, H, W); size, stride and padding are whole numbers for both axes, with padding at most half the size.
`np.argmax` of a flat window gives the first of equals. This class goes into the engine at the finish line.
"""

import numpy as np

from minivision.exercises import Op


class MaxPool2d(Op):
    def forward(self, x, size, stride, padding):
        H, W = x.shape[2:]
        OH = (H + 2 * padding - size) // stride + 1
        OW = (W + 2 * padding - size) // stride + 1
        #: stub
        # TODO: the maxima (N, C, OH, OW); keep what backward needs on self.
        raise NotImplementedError("MaxPool2d.forward returns the maxima of the windows")
        #: solution
        widths = ((0, 0), (0, 0), (padding, padding), (padding, padding))
        padded = np.pad(x, widths, constant_values=-np.inf)
        taps = [padded[:, :, i:i + stride * OH:stride, j:j + stride * OW:stride] for i in range(size) for j in range(size)]
        winner = np.argmax(taps, axis=0)                                           # which tap, (N, C, OH, OW)
        self.won = [winner == k for k in range(size * size)]
        self.shape, self.options = x.shape, (size, stride, padding)
        return np.max(taps, axis=0)
        #: end

    def backward(self, grad):
        #: stub
        # TODO: the gradient of x.
        raise NotImplementedError("MaxPool2d.backward returns the gradient of x")
        #: solution
        N, C, H, W = self.shape
        size, stride, padding = self.options
        OH, OW = grad.shape[2:]
        padded = np.zeros((N, C, H + 2 * padding, W + 2 * padding), grad.dtype)
        for i in range(size):
            for j in range(size):
                won = grad * self.won[i * size + j]
                padded[:, :, i:i + stride * OH:stride, j:j + stride * OW:stride] += won
        return padded[:, :, padding:padding + H, padding:padding + W]
        #: end
