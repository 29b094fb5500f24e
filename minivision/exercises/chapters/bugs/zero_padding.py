"""The perfect derivative of the wrong function.

Max pooling with padding, as at least two engines shipped it. Run a gradient check on it: it passes, in any shape, as long
as there is a gradient to measure. Backward is the exact derivative of what forward computes. Only, forward does not
compute max pooling.

A gradient check compares a function with itself. It says that backward belongs to this forward, never that this forward
is the one that was meant. For that there must be somebody else to ask: a second implementation that shares no line with
the first, a case worked out by hand, a property that must hold (the maximum over a window is one of its pixels). That is
why every exercise of this track tests forward before backward.

Behind a ReLU nobody sees the mistake, since there all numbers are positive or zero. After a batch normalisation half of
them are negative, and borders of feature maps start to glow. The weights of another library then give other answers, at
the border, a little. Such things take weeks to find.

Write `inputs`: it returns an image (H, W), size, stride and padding (at most half the size) for which the output of the
class is not that of max pooling. Then give the letter of the mistake.
"""

import numpy as np

from minivision.exercises import Op

MISTAKES = {
    "A": "where pixels tie, the wrong one wins",
    "B": "padding counts as 0, and wins against negative pixels",
    "C": "the stride is ignored",
    "D": "the gradient of overlapping windows is assigned, and not added up",
    "E": "the last row and column of windows are missing",
}


class MaxPool2d(Op):
    """Max pooling with a mistake. Leave it as it is."""

    def forward(self, x, size, stride, padding):
        H, W = x.shape[2:]
        OH, OW = (H + 2 * padding - size) // stride + 1, (W + 2 * padding - size) // stride + 1
        padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        taps = [padded[:, :, i:i + stride * OH:stride, j:j + stride * OW:stride] for i in range(size) for j in range(size)]
        self.winner, self.options = np.argmax(taps, axis=0), (padded.shape, size, stride, padding)
        return np.max(taps, axis=0)

    def backward(self, grad):
        shape, size, stride, padding = self.options
        padded = np.zeros(shape, grad.dtype)
        OH, OW = grad.shape[2:]
        for k in range(size * size):
            i, j = divmod(k, size)
            padded[:, :, i:i + stride * OH:stride, j:j + stride * OW:stride] += grad * (self.winner == k)
        return padded[:, :, padding:shape[2] - padding, padding:shape[3] - padding]


def inputs():
    #: stub
    # TODO: return image, size, stride, padding; the image is an array (H, W).
    raise NotImplementedError("inputs returns image, size, stride and padding that expose the mistake")
    #: solution
    return np.array([[-1.0, -2.0, -3.0], [-4.0, 5.0, -6.0], [-7.0, -8.0, -9.0]]), 2, 1, 1
    #: end


#: stub
MISTAKE = ""      # TODO: a letter from MISTAKES
#: solution
MISTAKE = "B"
#: end
