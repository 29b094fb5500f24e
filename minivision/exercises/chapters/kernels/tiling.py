"""Tiles.

The loops of [[matmul_loops]] walk along rows, and still fetch all of b once for every row of a: when a row of c is done, the
beginning of b has left the cache. M rows, M times through b.

The remedy is older than most programming languages: finish with what is in the cache before fetching anything else. Cut b into
blocks that fit, and let all rows of a pass over a block while it is there (Lam, Rothberg and Wolf 1991, "The cache performance
and optimizations of blocked algorithms"). Each block is fetched once. What it costs is that c is visited once for each block of
k, but a piece of a row of c is small.

The products are added in the same order as before, so nothing changes in the result.

Write `matmul` with blocks of TILE x TILE numbers of b. The lengths need not be multiples of TILE. The check allows a cache
of 32 lines about half of the fetches that plain loops need.
"""

import numba

TILE = 8


@numba.njit
def matmul(a, b, c):
    """c (M, N) = a (M, K) times b (K, N)."""
    M, K = a.shape
    N = b.shape[1]
    for i in range(M):
        for j in range(N):
            c[i, j] = 0.0
    #: stub
    # TODO: the blocks of b, all rows of a for each, and the three loops inside.
    raise NotImplementedError("matmul adds the products to c")
    #: solution
    for k0 in range(0, K, TILE):
        for j0 in range(0, N, TILE):
            for i in range(M):
                for k in range(k0, min(k0 + TILE, K)):
                    for j in range(j0, min(j0 + TILE, N)):
                        c[i, j] += a[i, k] * b[k, j]
    #: end
