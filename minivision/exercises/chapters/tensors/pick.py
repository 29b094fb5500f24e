"""Picking rows, perhaps twice.

    y = x[index]

This is how a network looks up words: x holds one row of numbers for each word of a language, index holds the words of a
text, and y their rows. The words "the" and "of" are picked again and again. Backward puts the gradients of the rows back to
where they came from, and where a row was picked several times, they add up.

It looks like one line, and the obvious one is wrong:

    result[index] += grad

In NumPy this does not add for each entry of index. It computes result[index] + grad, a new array, then assigns it to
result[index]; where an index occurs twice, the second assignment overwrites the first. Even with `+=` written there it is the
`=` of [[accumulate]]. NumPy's documentation says so in the chapter on assigning values to indexed arrays, and a function of
its own does what is meant:

    np.add.at(result, index, grad)

An average text has few different words and many repetitions, so with the wrong line most of the gradient is lost, and the
network still learns, only worse. Such mistakes live long.

`forward` is given. Write `backward`. index is an array of whole numbers of any shape, and as everywhere in NumPy negative ones
count from the end.
"""

import numpy as np

from minivision.exercises import Op


class Pick(Op):
    def forward(self, x, index):
        self.shape, self.index = x.shape, index
        return x[index]

    def backward(self, grad):
        #: stub
        # TODO: add each row of grad to the row of the result that it was picked from.
        raise NotImplementedError("Pick.backward returns the gradient of x")
        #: solution
        result = np.zeros(self.shape)
        np.add.at(result, self.index, grad)
        return result
        #: end
