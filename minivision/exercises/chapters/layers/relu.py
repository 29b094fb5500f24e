"""ReLU and its kink.

    y = max(x, 0)

Half of all the numbers in a network pass through this function unchanged, the other half become zero. It has replaced
smooth functions such as tanh since its slope does not fade: where it is open it hands the gradient back whole, however
many layers follow (Glorot, Bordes and Bengio 2011, "Deep sparse rectifier neural networks").

At x = 0 it has no derivative: from the left the slope is 0, from the right 1. Some number must be returned, and any
between 0 and 1 will do as a subgradient. This engine, like most, says 0, so that what is switched off stays switched off.
A gradient check there would measure 1/2, which is a false alarm. The checker notices and moves such inputs away.

`forward` is given. Write `backward`: it receives the upstream gradient, of the shape of y, and returns the gradient of x.
"""

import numpy as np

from minivision.exercises import Op


class ReLU(Op):
    def forward(self, x):
        self.x = x
        return np.maximum(x, 0)

    def backward(self, grad):
        #: stub
        # TODO: the gradient of x.
        raise NotImplementedError("ReLU.backward returns the gradient of x")
        #: solution
        return grad * (self.x > 0)
        #: end
