"""The largest takes it all.

    y = max over an axis of x

Raise the largest number a little, and y rises as much. Change any other a little, and y does not notice. So the whole
gradient goes to the largest, and the others get 0. The maximum is a switch: which way the gradient takes depends on the data,
and all that backward needs to know is where the maximum was.

And if two are equally large? Then y has a kink, as ReLU has at zero, and there is a choice to make. This engine gives all to
the first, as argmax does. Some share it evenly among the tied. What must not happen is what the obvious code does:

    (x == x.max(axis, keepdims=True)) * grad

gives the full gradient to each of the tied, so that it is counted twice. With random floats there are no ties, every gradient
check passes, and the mistake waits for real data: images have large areas of one colour, and after a ReLU many inputs of a
max pooling are exactly 0. So check kinks by hand, with numbers that are exactly equal.

`forward` is given. Write `backward`: grad has the shape of y, where the axis is gone. np.put_along_axis(array, places, values,
axis) writes along an axis, if `places` and `values` have that axis with length 1.
"""

import numpy as np

from minivision.exercises import Op


class Largest(Op):
    def forward(self, x, axis):
        self.x, self.axis = x, axis
        return x.max(axis=axis)

    def backward(self, grad):
        #: stub
        # TODO: zeros, but grad where the (first) maximum was.
        raise NotImplementedError("Largest.backward returns the gradient of x")
        #: solution
        result = np.zeros(self.x.shape)
        place = np.expand_dims(self.x.argmax(axis=self.axis), self.axis)
        np.put_along_axis(result, place, np.expand_dims(grad, self.axis), self.axis)
        return result
        #: end
