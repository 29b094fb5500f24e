"""The logarithm of a probability, before it is lost.

A loss needs log(softmax(x)). To compute first the one, then the other is correct on paper. On a computer a score that lies 800
below the largest has the probability exp(-800), which float64 rounds to 0 (float32 does so at 104), and log(0) is -inf. The
true answer was -800, an ordinary number. It happens where it hurts most, with the examples on which the network is confident
and wrong, and one -inf in a batch makes all weights nan at the next step.

So take the logarithm of the formula, not of its result:

    y[j] = x[j] - log(sum over k of exp(x[k]))

and, with m the row's maximum, so that no exponent is larger than 0 (log-sum-exp; Blanchard, Higham and Higham 2021):

    y[j] = (x[j] - m) - log(sum over k of exp(x[k] - m))

The sum is at least 1, as the maximum itself contributes exp(0), and so its logarithm is never in danger.

The backward is simpler than that of [[softmax]]. The first term passes grad on, the second has softmax as its slope:

    gradient of x[i] = grad[i] - softmax(x)[i] · sum over j of grad[j]

and softmax(x) is exp(y). It acts along the last axis. Write both methods.
"""

import numpy as np

from minivision.exercises import Op


class LogSoftmax(Op):
    def forward(self, x):
        #: stub
        # TODO: the stable formula; keep what backward will need.
        raise NotImplementedError("LogSoftmax.forward returns logarithms, of the shape of x")
        #: solution
        shifted = x - x.max(axis=-1, keepdims=True)
        self.y = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        return self.y
        #: end

    def backward(self, grad):
        #: stub
        # TODO: the gradient of x.
        raise NotImplementedError("LogSoftmax.backward returns the gradient of x")
        #: solution
        return grad - np.exp(self.y) * grad.sum(axis=-1, keepdims=True)
        #: end
