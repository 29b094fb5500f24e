"""The first operation.

From here on you write real operations of the engine. Each is a class with two methods. `forward` is given arrays, returns
one, and keeps on ``self`` what backward will need. `backward` is given the upstream gradient, an array of the output's shape
that says how fast the loss changes with each number of the output, and returns one gradient for each input, in the order of
the inputs, each of the shape of its input.

    z = x * y,  number by number:    dz/dx = y,    dz/dy = x

So the gradient of x is grad * y, and the other way round. That is the product of [[product]] again, with one addition: x and
y may have been broadcast, and then grad * y has the shape of z, not that of x. Bring your function from [[unbroadcast]].

Multiply first, sum afterwards. The uses of a number that was repeated have different partners in y, so each use has a slope
of its own, and the sum must run over the products. And do not write `grad *= y`: the array belongs to the caller, who may
still need it. In-place changes of a gradient are a mistake that shows up somewhere else, later (in DeZero the two inputs of a
sum share one array as their gradient, and a weight decay applied to the one changes the other).
"""

import numpy as np

from minivision.exercises import Op


def unbroadcast(grad, shape):
    #: stub
    # TODO: bring your function from the exercise before.
    raise NotImplementedError("unbroadcast is missing; copy yours from the exercise before")
    #: solution
    grad = np.sum(grad, axis=tuple(range(grad.ndim - len(shape))))
    for axis, length in enumerate(shape):
        if length == 1:
            grad = grad.sum(axis=axis, keepdims=True)
    return grad
    #: end


class Multiply(Op):
    def forward(self, x, y):
        self.x, self.y = x, y
        return x * y

    def backward(self, grad):
        #: stub
        # TODO: the gradients of x and y, in their shapes.
        raise NotImplementedError("Multiply.backward returns two gradients")
        #: solution
        return unbroadcast(grad * self.y, self.x.shape), unbroadcast(grad * self.x, self.y.shape)
        #: end
