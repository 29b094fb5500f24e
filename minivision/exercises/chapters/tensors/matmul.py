"""The product of matrices, in batches.

Nearly all the arithmetic of a network is done in this one operation, and two thirds of that in its backward.

    z[i, j] = sum over k of  x[i, k] y[k, j]

Which outputs does x[i, k] act on? On the whole row z[i, :], with the slopes y[k, :]. So its gradient is the sum over j of
grad[i, j] y[k, j]. Read as matrices:

    gradient of x = grad @ yᵀ        gradient of y = xᵀ @ grad

You need not remember this. The shapes leave no choice: grad is (I, J) and y is (K, J), and to get (I, K) there is only one
way to multiply them. Unless the matrices are square. Then the wrong transpose fits as well and gives wrong numbers, which is
why checks should use shapes with no two lengths alike.

With more than two axes, the last two are the matrices and those before them are batches, which are broadcast against each
other: (2, 1, 4, 5) @ (3, 5, 2) gives (2, 3, 4, 2). Two things follow. To transpose means to exchange the last two axes,
np.swapaxes(y, -1, -2); `y.T` reverses all of them. And gradients must be summed back over batches that were repeated. Bring
`unbroadcast` once more. All arrays have at least two axes here.

`forward` is given. Write `backward`.
"""

import numpy as np

from minivision.exercises import Op


def unbroadcast(grad, shape):
    #: stub
    # TODO: bring your function from the exercise of that name.
    raise NotImplementedError("unbroadcast is missing; copy yours from the exercise of that name")
    #: solution
    grad = np.sum(grad, axis=tuple(range(grad.ndim - len(shape))))
    for axis, length in enumerate(shape):
        if length == 1:
            grad = grad.sum(axis=axis, keepdims=True)
    return grad
    #: end


class MatMul(Op):
    def forward(self, x, y):
        self.x, self.y = x, y
        return x @ y

    def backward(self, grad):
        #: stub
        # TODO: the gradients of x and y, in their shapes.
        raise NotImplementedError("MatMul.backward returns two gradients")
        #: solution
        grad_x = grad @ np.swapaxes(self.y, -1, -2)
        grad_y = np.swapaxes(self.x, -1, -2) @ grad
        return unbroadcast(grad_x, self.x.shape), unbroadcast(grad_y, self.y.shape)
        #: end
