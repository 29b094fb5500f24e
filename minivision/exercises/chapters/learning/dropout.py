"""Dropout: learning with half of the network gone.

In each training step every number is set to zero with probability p, by chance, and others another time. No unit can rely
on a particular other one being there, so that each has to be of use by itself (Srivastava et al. 2014). What is left is
divided by the share that was kept,

    y = x * mask / (1 - p)          mask: 1 with probability 1 - p, else 0

so that the mean of y is x. When the network is used, dropout does nothing: y = x. Doing the division while training is called
inverted dropout. The original paper multiplied by 1 - p in use instead, which everybody then forgot to do in one place.

To its backward, dropout is a multiplication by constants. Which constants? Those of **this** forward. The mask must be kept:
one that is drawn again in backward is a random mask of the right kind, its mean is right, the training curve looks noisy
and normal, and every gradient is that of another network.

Write both. The mask is `random.random(x.shape) >= p`, with `random = np.random.default_rng(seed)`, so that a check can ask
for the same chance twice. If `training` is False, y is x and the gradient passes unchanged.
"""

import numpy as np

from minivision.exercises import Op


class Dropout(Op):
    def forward(self, x, p, seed, training):
        #: stub
        # TODO: y; keep what backward needs on self.
        raise NotImplementedError("Dropout.forward returns an array of the shape of x")
        #: solution
        if training:
            self.factor = (np.random.default_rng(seed).random(x.shape) >= p) / (1 - p)
        else:
            self.factor = np.ones(x.shape)
        return x * self.factor
        #: end

    def backward(self, grad):
        #: stub
        # TODO: the gradient of x.
        raise NotImplementedError("Dropout.backward returns the gradient of x")
        #: solution
        return grad * self.factor
        #: end
