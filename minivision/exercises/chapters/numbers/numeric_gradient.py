"""The gradient of a function of many numbers.

A loss depends on all weights of a network, and its gradient is an array of the same shape as the weights: each entry says
how fast the loss changes if that one weight moves and all others stay. So it is measured entry by entry, with the central
difference of [[slope]]:

    g[i] = (f with x[i] + h  -  f with x[i] - h) / (2 h)

Two calls of f for each number: a million weights take two million passes through the network. A backward pass gives all of
them at about the price of one (Baur and Strassen 1983). So this is for checking, and for small arrays.

Here f takes no argument. It reads the array ``x`` itself, as the loss of a model reads its weights, so you must change x in
place and put it back. Three things go wrong with that in real libraries:

- (x + h) - h is not x. Floats round, so keep the old value and write it back.
- x.reshape(-1) is a view of x only as long as x lies in one piece; of a transposed array it is a copy, and changing a copy
  changes nothing. np.ndindex(x.shape) yields every index of an array of any shape.
- f may raise an exception half-way. A library that is used for teaching leaves x off by h then, and whoever catches the
  exception goes on with weights that are slightly wrong. Python's try / finally puts them back in any case.

Write `numeric_gradient(f, x, h)`: it returns a float64 array of x's shape.
"""

import numpy as np


def numeric_gradient(f, x, h=1e-5):
    gradient = np.zeros(x.shape)
    #: stub
    # TODO: one entry after the other: move it, call f() twice, put it back even if f raises.
    raise NotImplementedError("numeric_gradient measures every entry of the gradient")
    #: solution
    for index in np.ndindex(x.shape):
        old = x[index]
        try:
            x[index] = old + h
            above = f()
            x[index] = old - h
            below = f()
        finally:
            x[index] = old
        gradient[index] = (above - below) / (2 * h)
    #: end
    return gradient
