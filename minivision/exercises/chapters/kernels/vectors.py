"""Vectors.

A register holds more than one number: 8 of float32 with AVX2, 16 with AVX-512, 4 elsewhere. One instruction adds or multiplies
all of them. Compilers find such instructions in simple loops, and give up where it matters, so the kernels of this engine say
what they mean, with a few words that numba learns from `simd` and `tile` in `minivision_kernels.cpu`:

    lanes(b)                                    how many numbers of b's type a register holds
    zeros(b, 1, 1)                              a vector of zeros (a tile of 1 x 1 vectors)
    outer(v, 1, 1, a, at, 1, b, bt)             v + a[at] * (the vector of b's numbers from the flat place bt on)
    store(v, 1, 1, y, at, step)                 put v into y, from y[at] on

The places are flat: b[k, j] of a matrix with N columns is number k * N + j, and `flat` below is b seen so.

Write y = a times b, where a is a row of K numbers: for each whole vector of y, keep its sums in a register while k runs, and
store it once. The last N % lanes numbers do not fill a vector; do them one by one. Nothing may be written beyond the end of y:
the check has put numbers there, and looks at them afterwards.
"""

import numba

from minivision_kernels.cpu.simd import lanes
from minivision_kernels.cpu.tile import outer, store, zeros


@numba.njit
def row_times_matrix(a, b, y):
    """y (N,) = a (K,) times b (K, N), float32, with vectors."""
    K, N = b.shape
    L = lanes(b)
    flat = b.reshape(-1)
    #: stub
    # TODO: the whole vectors, then the numbers that are left.
    raise NotImplementedError("row_times_matrix fills y")
    #: solution
    for j in range(0, N - N % L, L):
        sums = zeros(b, 1, 1)
        for k in range(K):
            sums = outer(sums, 1, 1, a, k, 1, flat, k * N + j)
        store(sums, 1, 1, y, j, N)
    for j in range(N - N % L, N):
        total = b.dtype.type(0)
        for k in range(K):
            total += a[k] * b[k, j]
        y[j] = total
    #: end
