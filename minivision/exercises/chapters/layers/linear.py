"""The fully connected layer.

    y = x wᵀ + b,    that is    y[n, o] = sum over i of x[n, i] w[o, i]  +  b[o]

x is a batch of N inputs with I numbers each, shape (N, I). w has a row of weights for each of the O outputs, shape (O, I),
and b one number for each output, shape (O,). Such a layer was nearly all of a neural network in 1986, and it is still the
last layer of most of them.

Its backward is the one of [[matmul]] with a transposed w, together with the one of a broadcast sum:

    gradient of x    (N, I)    grad times w: each output sends back along its weights
    gradient of w    (O, I)    gradᵀ times x: summed over the batch, by the matrix product itself
    gradient of b    (O,)      grad summed over the batch

All inputs of the batch use the same w and the same b. So the gradients of w and b are sums over the batch, and not means:
whether the loss is an average is the business of the loss, which has then divided its upstream gradient by N already. To
divide here once more is a mistake that looks like a learning rate that is too small. The sum in the gradient of w is hidden in
the matrix product; that of b has to be written out, and is forgotten in many a first attempt.

This class will be built into the engine at the finish line, so keep its name and its arguments. Write both methods.
"""

import numpy as np

from minivision.exercises import Op


class Linear(Op):
    def forward(self, x, w, b):
        self.x, self.w = x, w
        #: stub
        # TODO: the output, of shape (N, O).
        raise NotImplementedError("Linear.forward returns x wᵀ + b")
        #: solution
        return x @ w.T + b
        #: end

    def backward(self, grad):
        #: stub
        # TODO: the gradients of x, w and b, in this order.
        raise NotImplementedError("Linear.backward returns three gradients")
        #: solution
        return grad @ self.w, grad.T @ self.x, np.sum(grad, axis=0)
        #: end
