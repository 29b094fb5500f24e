"""Broadcasting, backward.

NumPy adds an array of shape (4,) to one of shape (2, 3, 4) as if it were written out six times. That is broadcasting: axes
that are missing on the left are added, and axes of length 1 are repeated until the lengths agree. Nothing is copied, but
each number is used several times, and you know from [[accumulate]] what that means: its gradient is the sum over all of its
uses.

An operation whose inputs were broadcast gets its upstream gradient in the large shape. The gradient of an input must have
the small shape, the input's own. So go the way back: sum over the axes that were added, and sum over the axes that were
repeated, keeping them with length 1.

    shape of the gradient    shape of the input    what is summed
    (2, 3, 4)                (4,)                  the first two axes
    (2, 3, 4)                (3, 1)                the first axis, and the last, which is kept
    (2, 3, 4)                ()                    everything

The bias of a layer is the standard case: shape (features,), added to (batch, features), so its gradient is a sum over the
batch. Forget the sum and you get a gradient of the wrong shape; that is the friendly case. Take the mean, or only the first
row, and the shape is right and the numbers are not.

Write `unbroadcast(grad, shape)`: it sums ``grad`` so that it has this shape.
"""
import numpy as np


def unbroadcast(grad, shape):
    #: stub
    # TODO: sum over the axes that shape lacks on the left, and over those that have length 1 in it.
    raise NotImplementedError("unbroadcast returns an array of the given shape")
    #: solution
    grad = np.sum(grad, axis=tuple(range(grad.ndim - len(shape))))
    for axis, length in enumerate(shape):
        if length == 1:
            grad = grad.sum(axis=axis, keepdims=True)
    return grad
    #: end
