"""A race.

`prange` tells numba that the iterations of a loop may run at the same time, in any order. It believes you. If two iterations
add to the same number, this happens now and then: both read the old value, both add their own, both write, and one of the two
sums is gone. The result differs from run to run, mostly in the last digits, and is right on a machine with one core, which is
how races get into released software.

The gradient of a bias invites one: it is a sum over the batch,

    out[f] = sum over n of grad[n, f]

and the batch is the axis that one would like to share out. There are three ways out of it: make the other loop parallel, give
each thread sums of its own and add those afterwards, or use atomic additions (which are slow, and add in an order that differs
from run to run). The first is the simplest, and the results are the same bit for bit with any number of threads.

Write `bias_gradient` so that no two iterations of a prange touch the same number. The check runs it as Python, watches who
touches what, and then compiles it.
"""

import numba
from numba import prange


@numba.njit(parallel=True)
def bias_gradient(grad, out):
    """out (F,) = the sum of grad (N, F) over its rows, in parallel."""
    N, F = grad.shape
    #: stub
    # TODO: a prange whose iterations write to numbers of their own.
    raise NotImplementedError("bias_gradient fills out")
    #: solution
    for f in prange(F):
        total = 0.0
        for n in range(N):
            total += grad[n, f]
        out[f] = total
    #: end
