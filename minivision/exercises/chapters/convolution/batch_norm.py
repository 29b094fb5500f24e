"""Batch normalisation and its two sums.

Each feature is brought to mean 0 and variance 1 over the batch, then stretched and moved by two numbers that are learnt
(Ioffe and Szegedy 2015):

    xhat = (x - mean) / sqrt(var + eps)         y = gamma * xhat + beta

with mean and var over the N samples of a feature, var divided by N. What makes its backward hard is that mean and var are
made of x, too: every sample has a share in them, so every output depends on every input of its column. Follow the three
ways from x to y and most of it cancels. With g = grad * gamma,

    grad_x = (g - mean(g) - xhat * mean(g * xhat)) / sqrt(var + eps)

The first sum takes away what would move the mean, the second what would change the variance: those are the two directions
that the layer does not let through. Hence the sum of grad_x over the batch is 0 whatever the upstream gradient is, and a
gradient check that sums the outputs sees nothing but zeros; see [[sums]]. Whoever treats mean and var as constants keeps
only the first term, and trains a network that seems to work and slowly blows up.

Forward is given, for x (N, C), gamma (C,), beta (C,). Write `backward`: it returns the gradients of x, gamma and beta.
"""

import numpy as np

from minivision.exercises import Op


class BatchNorm(Op):
    def forward(self, x, gamma, beta, eps):
        self.deviation = np.sqrt(x.var(axis=0) + eps)
        self.xhat = (x - x.mean(axis=0)) / self.deviation
        self.gamma = gamma
        return gamma * self.xhat + beta

    def backward(self, grad):
        #: stub
        # TODO: the gradients of x (N, C), gamma (C,) and beta (C,). You have self.xhat, self.deviation and self.gamma.
        raise NotImplementedError("BatchNorm.backward returns the gradients of x, gamma and beta")
        #: solution
        g = grad * self.gamma
        grad_x = (g - g.mean(axis=0) - self.xhat * (g * self.xhat).mean(axis=0)) / self.deviation
        grad_gamma = (grad * self.xhat).sum(axis=0)
        grad_beta = grad.sum(axis=0)
        return grad_x, grad_gamma, grad_beta
        #: end
