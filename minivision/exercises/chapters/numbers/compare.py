"""Are two gradients the same?

Yours and the measured one never agree to the last digit, so the question is how far apart they may be. 0.001 is nothing
if the entries are in the thousands, and everything if they are 0.002. Hence the relative error, entry by entry, of which
the largest counts:

    error = max over i of  |a[i] - b[i]| / max(1e-8, |a[i]| + |b[i]|)

The 1e-8 is there for entries that are zero in both: 0 / 0 is no number (the formula is that of the assignments of Stanford's
course cs231n). Then a verdict: "right" if the error is at most 1e-6, "kink?" if it is at most 1e-3 (a step across the kink of a
ReLU gives such errors), else "wrong". Beware of nan: every comparison with it is false, so an `if error > 1e-3` lets it
through. It is "wrong". And where there are no entries, nothing is wrong: the error is 0.

Last, what to measure. An operation has many outputs, a gradient belongs to one number. The obvious number is their sum, and
checkers of several libraries use it. But the outputs of softmax always sum to 1. That sum is constant, its true gradient
is 0, and a softmax whose backward returns nothing but zeros passes. So weigh the outputs with random numbers, and give
backward the same ones as its upstream gradient. Call backward before you measure: an operation remembers its last forward,
and measuring calls forward again and again.

Write the three functions. `measure(f, x)`, which the check hands to you, is a [[numeric_gradient]] for a function of x.
"""

import numpy as np


def relative_error(a, b):
    #: stub
    # TODO: the largest relative error of the entries, a number.
    raise NotImplementedError("relative_error returns a number")
    #: solution
    scale = np.maximum(1e-8, np.abs(a) + np.abs(b))
    return float(np.max(np.abs(a - b) / scale, initial=0.0))
    #: end


def verdict(error):
    #: stub
    # TODO: "right", "kink?" or "wrong".
    raise NotImplementedError("verdict returns one of three words")
    #: solution
    if error <= 1e-6:
        return "right"
    if error <= 1e-3:
        return "kink?"
    return "wrong"
    #: end


def check(op, x, measure, random):
    """The relative error of op.backward at x. ``random`` is a np.random.Generator."""
    y = op.forward(x)
    #: stub
    # TODO: a random upstream gradient of y's shape; op.backward of it; measure what it claims to be; compare both.
    raise NotImplementedError("check returns the relative error of op.backward")
    #: solution
    upstream = random.standard_normal(y.shape)
    claimed = op.backward(upstream)
    measured = measure(lambda x: np.sum(op.forward(x) * upstream), x)
    return relative_error(claimed, measured)
    #: end
