"""A test that cannot fail.

A course tests the derivatives of its functions like this: draw a number, compare the backward with a measured slope, accept
a difference of 0.01. Two of the functions are

    exp(a - 200)        log(a + 100000)

with a between -100 and 100. Somebody had shifted them, quite sensibly, so that exp would not overflow and log would not
be asked for a negative number. But between -100 and 100 the slope of the first is at most 4e-44, that of the second 1e-5.
Both are zero to this test. It accepts the derivative, it accepts 0, it accepts the derivative with the wrong sign; it has
been green for years, and would be for any backward.

A tolerance has a meaning only beside the size of what is compared. So a checker must say how much it could have seen: this
engine's calls it power, the share of entries that are large enough to be told from zero, and refuses to pass a check without
any. `accepts` below is the course's test. Its tolerance cannot be changed, but what it is given can.

Write `ranges`: it returns two pairs (low, high), one for each function, such that for every a from low to high the right slope
is accepted and the slopes 0 and -(right slope) are not. Make high - low at least 1. Then say what was wrong with the test.
"""

import numpy as np

MISTAKES = {
    "A": "the slopes it measures are far smaller than its tolerance",
    "B": "its step h is too small for float64",
    "C": "exp and log are not differentiable so far from 0",
    "D": "it draws too few numbers",
}


def shifted_exp(a):
    return np.exp(a - 200.0)


def exp_slope(a):
    return np.exp(a - 200.0)


def shifted_log(a):
    return np.log(a + 100000.0)


def log_slope(a):
    return 1 / (a + 100000.0)


def accepts(function, slope, a):
    """The test: is ``slope`` the derivative of ``function`` at ``a``? Leave it as it is."""
    h = 1e-6
    measured = (function(a + h) - function(a - h)) / (2 * h)
    return bool(abs(slope(a) - measured) <= 0.01 + 0.01 * abs(measured))


def ranges():
    #: stub
    # TODO: (low, high) for shifted_exp, and (low, high) for shifted_log.
    raise NotImplementedError("ranges returns two pairs (low, high)")
    #: solution
    return (198.0, 202.0), (-99999.5, -99990.0)
    #: end


#: stub
MISTAKE = ""      # TODO: a letter from MISTAKES
#: solution
MISTAKE = "A"
#: end
