"""The register tile.

Even when all numbers are in the nearest cache, a sum of products does one multiply-add for two reads, and a core can read
about as many numbers in a cycle as it can multiply. So at best half of its arithmetic is used. What is nearer than the
nearest cache? The registers, of which there are 16 or 32.

Compute a small block of c at once, two rows times two columns: in each step of k, two numbers of a and two of b are read, and
four products are formed from them. Four multiply-adds for four reads. With a block of 6 x 16, as fast libraries have it, there
are 96 for 22 (Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication", section 4). This is the one idea
that separates a fast matrix product from a slow one; tiles for the caches come second.

Write the loop over pairs of rows and pairs of columns, with the four sums in variables of their own. What is left, an odd last
row or column, is yours as well: `dot` gives one number of c. The check counts how often a and b are read.
"""

import numba

TWO = 2


@numba.njit
def dot(a, b, i, j, K):
    total = 0.0
    for k in range(K):
        total += a[i, k] * b[k, j]
    return total


@numba.njit
def matmul(a, b, c):
    """c (M, N) = a (M, K) times b (K, N)."""
    M, K = a.shape
    N = b.shape[1]
    #: stub
    # TODO: two rows and two columns at a time; then what is left.
    raise NotImplementedError("matmul fills c")
    #: solution
    if TWO == 1:
        for i in range(M):
            for j in range(N):
                c[i, j] = dot(a, b, i, j, K)
        return
    for i in range(0, M - M % TWO, TWO):
        for j in range(0, N - N % TWO, TWO):
            c00 = c01 = c10 = c11 = 0.0
            for k in range(K):
                a0, a1 = a[i, k], a[i + 1, k]
                b0, b1 = b[k, j], b[k, j + 1]
                c00 += a0 * b0
                c01 += a0 * b1
                c10 += a1 * b0
                c11 += a1 * b1
            c[i, j], c[i, j + 1] = c00, c01
            c[i + 1, j], c[i + 1, j + 1] = c10, c11
    for i in range(M - M % TWO):
        for j in range(N - N % TWO, N):
            c[i, j] = dot(a, b, i, j, K)
    for i in range(M - M % TWO, M):
        for j in range(N):
            c[i, j] = dot(a, b, i, j, K)
    #: end
