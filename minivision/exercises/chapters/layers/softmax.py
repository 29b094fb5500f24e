"""From scores to probabilities.

    y[j] = exp(x[j]) / sum over k of exp(x[k])

A network that tells ten classes apart ends in ten numbers of any size. Softmax makes probabilities of them: positive, with
sum 1, in the same order (Bridle 1990). It works along the last axis; everything before that is a batch.

Its backward is the first where each output depends on every input of its row. To raise one score lowers the probabilities of
all the others, as they have the same denominator:

    dy[j] / dx[i] = y[j] (1 if i == j else 0)  -  y[j] y[i]

Multiply by the upstream gradient, sum over j, and two terms are left:

    gradient of x[i] = y[i] (grad[i] - sum over j of grad[j] y[j])

The sum is a single number for each row. Keep only the diagonal, where i == j, and you get grad * y * (1 - y), the derivative
of the sigmoid, which many have written here, for it looks so much like it. And if grad is the same for all j, the gradient is
0: the sum of all probabilities is 1 and cannot change. That is why [[compare]] needed a random upstream.

One thing about forward: exp(1000) is inf, and inf / inf is no number. Subtract the row's maximum from x first. It cancels in
the fraction, and then no exponent is larger than 0. Write both methods.
"""

import numpy as np

from minivision.exercises import Op


class Softmax(Op):
    def forward(self, x):
        #: stub
        # TODO: the probabilities along the last axis; keep what backward will need.
        raise NotImplementedError("Softmax.forward returns probabilities, of the shape of x")
        #: solution
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        self.y = e / e.sum(axis=-1, keepdims=True)
        return self.y
        #: end

    def backward(self, grad):
        #: stub
        # TODO: the gradient of x, with all its cross terms.
        raise NotImplementedError("Softmax.backward returns the gradient of x")
        #: solution
        return self.y * (grad - (grad * self.y).sum(axis=-1, keepdims=True))
        #: end
