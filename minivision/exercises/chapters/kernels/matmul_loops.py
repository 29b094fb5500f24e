"""The order of loops.

    c[i, j] = sum over k of a[i, k] * b[k, j]

Three loops give six orders. All form the same products and add them in the same sequence, so the results are equal to the
last bit. Their times are not: on a large matrix the best order is ten times as fast as the worst.

The reason is how memory is read. It comes in lines of 64 bytes, 8 numbers of float64 that lie side by side. Who walks along
a row uses all 8; who walks down a column uses one of them and, if the column is long, finds the line thrown out of the cache
when the next column needs it. Arrays lie row by row here (C order), as in NumPy.

Write `matmul` so that its innermost loop walks along rows in both b and c. The check counts the lines that a cache of 32
lines must fetch; the clock comes afterwards. c holds nothing sensible when you get it.
"""

import numba


@numba.njit
def matmul(a, b, c):
    """c (M, N) = a (M, K) times b (K, N)."""
    M, K = a.shape
    N = b.shape[1]
    #: stub
    # TODO: three loops, in the right order, and c set to zero first.
    raise NotImplementedError("matmul fills c")
    #: solution
    for i in range(M):
        for j in range(N):
            c[i, j] = 0.0
        for k in range(K):
            for j in range(N):
                c[i, j] += a[i, k] * b[k, j]
    #: end
