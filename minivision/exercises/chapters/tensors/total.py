"""The sum over an axis.

A sum forgets which number came from where. Each of them had slope 1, so each receives the upstream gradient of the sum that
it went into, unchanged. Summing is the reverse of repeating, and so its backward is repeating: broadcasting and sums are each
other's gradient.

    y[i, k] = sum over j of x[i, j, k]        gradient of x[i, j, k] = grad[i, k]

What is left is book-keeping, and that is where it goes wrong. The axis over which you summed is gone from grad, and NumPy
cannot guess where it was. If x has shape (2, 3, 4) and grad has (2, 4), then broadcasting fails loudly, which is good luck.
If x is square, (3, 3) summed over axis 1, it lines up grad with the wrong axis and says nothing. So put the axis back first,
with length 1, where it was.

There are four variants: an axis may be None (all of them), a number, a negative number that counts from the end, or a tuple
of those. With keepdims=True the axes have stayed, with length 1. NumPy's `np.expand_dims(grad, axis)` takes numbers and
tuples, negative ones as well, and `np.broadcast_to(grad, shape)` repeats without copying.

`forward` is given. Write `backward`.
"""

import numpy as np

from minivision.exercises import Op


class Total(Op):
    def forward(self, x, axis=None, keepdims=False):
        self.shape, self.axis, self.keepdims = x.shape, axis, keepdims
        return np.sum(x, axis=axis, keepdims=keepdims)

    def backward(self, grad):
        #: stub
        # TODO: put back the axes that are gone, then repeat.
        raise NotImplementedError("Total.backward returns the gradient of x")
        #: solution
        if self.axis is not None and not self.keepdims:
            grad = np.expand_dims(grad, self.axis)
        return np.broadcast_to(grad, self.shape)
        #: end
