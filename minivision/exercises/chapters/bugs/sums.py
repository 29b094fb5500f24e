"""A check that sums.

To check a backward with one number per input, the output has to become one number. The obvious way is to add it up: that
is an upstream gradient of ones. More than one well-known course checks its operations like this.

Now take softmax. Its outputs are probabilities, they add up to 1 whatever the input is, and so the derivative of their sum
is 0. A backward that returns zeros agrees with it perfectly. So does batch normalisation, whose outputs add up to 0 over
the batch. Both classes below have no backward at all; `check_by_sum` is happy with both.

The check is called vacuous: it measures something that the mistake cannot change. The remedy is another upstream gradient,
for backward multiplies by it, and a check should weigh every output differently. Which weights will do? Softmax couples
the numbers of a row, batch normalisation those of a column, and each is blind in directions of its own.

Write `upstream`: it returns weights of the given shape (rows, columns) for which the derivative of the weighted sum is
not zero, neither for softmax nor for batch normalisation. `check` then exposes both. And say why `check_by_sum` cannot.
"""

import numpy as np

MISTAKES = {
    "A": "the step of the differences is too large for an exponential",
    "B": "it tests too few entries of the input",
    "C": "its tolerance is too wide",
    "D": "the sum of the outputs is the same for every input, so its derivative is 0",
    "E": "softmax and batch normalisation have no derivative",
}


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def batch_norm(x):
    return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)


def wrong_backward(x, grad):
    """What is called the backward of both functions here. Leave it as it is."""
    return np.zeros_like(x)


def check(function, backward, x, weights):
    """Is backward the derivative of the sum of weights * function(x)? Entry by entry."""
    grad, h = backward(x, weights), 1e-5
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += h
        down[place] -= h
        slope = (weights * (function(up) - function(down))).sum() / (2 * h)
        if abs(slope - grad[place]) > 1e-6 + 1e-4 * abs(slope):
            return False
    return True


def check_by_sum(function, backward, x):
    return check(function, backward, x, np.ones_like(x))


def upstream(shape):
    #: stub
    # TODO: an array of this shape.
    raise NotImplementedError("upstream returns the weights of the outputs")
    #: solution
    return np.random.default_rng(0).standard_normal(shape)
    #: end


#: stub
MISTAKE = ""      # TODO: a letter from MISTAKES
#: solution
MISTAKE = "D"
#: end
