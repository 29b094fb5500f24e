"""Chapter 8: kernels."""

import numpy as np

from ...checks import Cuda, Kernel
from ...checks.sizes import Sizes
from ...spec import Chapter, Exercise, Mutant

TEXT = """
A fast kernel does the same arithmetic as a slow one. What differs is where the numbers are when they are needed: in a
register, in the cache, or far away. So the score of these exercises is a count, not a clock: how many elements were read,
how many lines a small cache had to fetch, how often threads went to global memory. Fewer is faster on every machine.

The first five are for the CPU, in numba. A numba kernel is also a Python function: it is run as one first, on arrays that
see every access, so that a race or an index beyond the end is found at the line where it happens, and then compiled. The
last four are CUDA C++, without a GPU: the threads of a block are run by an emulator in several orders, and every access to
memory is seen. They run unchanged on a real one.
"""


# ---------------------------------------------------------------------------------------------- for the CPU


def product_inputs(random, m, k, n):
    return [random.standard_normal((m, k)), random.standard_normal((k, n))], [np.full((m, n), np.nan)]


def matrix(random, n, f):
    return [random.standard_normal((n, f))], [np.full(f, np.nan)]


def row_inputs(random, k, n):
    return ([random.standard_normal(k).astype(np.float32), random.standard_normal((k, n)).astype(np.float32)],
            [np.full(n, np.nan, np.float32)])


PRODUCTS = Sizes(dict(m=4, k=5, n=3), dict(m=(0, 5), k=(0, 6), n=(0, 7)))
LARGE = dict(m=200, k=200, n=200)

matmul_loops = Exercise(
    "matmul_loops",
    "a matrix product whose innermost loop walks along rows of memory",
    ("Three loops over m, k and n, and one line inside. Their order is free: every order forms the same products.",
     "Arrays lie in memory row by row. With n innermost, b[k, n] and c[m, n] walk along a row, and a[m, k] stays the same; "
     "with "
     "k innermost, b[k, n] jumps down a column, a line of the cache for each number.",
     "for i in range(M): for k in range(K): for j in range(N): c[i, j] += a[i, k] * b[k, j], with c[i, :] = 0 first"),
    Kernel("matmul", lambda a, b: a @ b, product_inputs, PRODUCTS, ("a", "b", "c"), watched=dict(m=6, k=40, n=24), fetches=1200,
           medal=LARGE, rival=lambda a, b: a @ b),
    (Mutant("the sums begin with what lay in c", "        for j in range(N):\n            c[i, j] = 0.0\n", "",
            "never written"),
     Mutant("k innermost: b is walked down its columns",
            "        for k in range(K):\n            for j in range(N):\n                c[i, j] += a[i, k] * b[k, j]",
            "        for j in range(N):\n            for k in range(K):\n                c[i, j] += a[i, k] * b[k, j]",
            "too much traffic"),
     Mutant("one column too many", "for k in range(K):", "for k in range(K + 1):", "OutOfBounds"),
     Mutant("only the last product is there", "c[i, j] += a[i, k]", "c[i, j] = a[i, k]")))

race = Exercise(
    "race",
    "the gradient of a bias, summed in parallel without a race",
    ("out has one number per column. Which loop can be parallel so that no two of its iterations write to the same number?",
     "out[f] = sum over n of grad[n, f]. All terms of out[f] must be added by the same iteration.",
     "for f in prange(F): total = 0.0; for n in range(N): total += grad[n, f]; out[f] = total"),
    Kernel("bias_gradient", lambda g: g.sum(axis=0), matrix, Sizes(dict(n=5, f=3), dict(n=(0, 6), f=(1, 9))), ("grad", "out"),
           watched=dict(n=5, f=4), medal=dict(n=2000, f=256), rival=lambda g: g.sum(axis=0)),
    (Mutant("parallel over the rows, which all add to the same numbers",
            "    for f in prange(F):\n        total = 0.0\n        for n in range(N):\n            total += grad[n, f]\n"
            "        out[f] = total",
            "    for f in range(F):\n        out[f] = 0.0\n    for n in prange(N):\n        for f in range(F):\n"
            "            out[f] += grad[n, f]", "Race"),
     Mutant("the sum is not started afresh for each column", "    for f in prange(F):\n        total = 0.0\n",
            "    total = 0.0\n    for f in range(F):\n"),
     Mutant("it averages over the batch", "out[f] = total", "out[f] = total / N", "scaled by"),
     Mutant("one row too many", "for n in range(N):", "for n in range(N + 1):", "OutOfBounds")))

tiling = Exercise(
    "tiling",
    "a matrix product in blocks that stay in the cache",
    ("Cut k and n into pieces of TILE. For one block of b, TILE x TILE, run over all rows of a before you go on to the next.",
     "A block of b of 16 x 16 numbers is 32 lines of the cache, one of 8 x 8 is 8. While all rows of a pass over it, it is "
     "fetched "
     "once, and not once for each row. The last block of a row or column may be narrower.",
     "for k0 in range(0, K, TILE): for j0 in range(0, N, TILE): for i in range(M): for k in range(k0, min(k0 + TILE, K)): "
     "for j in range(j0, min(j0 + TILE, N)): c[i, j] += a[i, k] * b[k, j]"),
    Kernel("matmul", lambda a, b: a @ b, product_inputs, PRODUCTS, ("a", "b", "c"), watched=dict(m=24, k=40, n=36),
           fetches=2400, medal=LARGE, rival=lambda a, b: a @ b),
    (Mutant("no blocks: b is fetched once for every row", "TILE = 8\n", "TILE = 1000\n", "too much traffic"),
     Mutant("what is left beyond the last whole block is forgotten", "min(j0 + TILE, N)", "j0 + TILE if j0 + TILE <= N else "
            "j0"),
     Mutant("blocks that overlap the next one", "min(k0 + TILE, K)", "min(k0 + TILE + 1, K)"),
     Mutant("no end at the border", "min(j0 + TILE, N)", "j0 + TILE", "OutOfBounds")))

register_tile = Exercise(
    "register_tile",
    "two rows times two columns at a time, so that each number read is used twice",
    ("Four sums live in four variables. In each step of k, two numbers of a and two of b are read, and four products are "
     "added.",
     "c00 += a0 * b0, c01 += a0 * b1, c10 += a1 * b0, c11 += a1 * b1: four multiply-adds for four reads, where a sum alone "
     "needs "
     "two reads for one. An odd last row or column needs loops of its own.",
     "for i in range(0, M - 1, 2): for j in range(0, N - 1, 2): c00 = c01 = c10 = c11 = 0.0; for k in range(K): ..."),
    Kernel("matmul", lambda a, b: a @ b, product_inputs, PRODUCTS, ("a", "b", "c"), watched=dict(m=6, k=10, n=8),
           reads={"a": 250, "b": 250}, medal=LARGE, rival=lambda a, b: a @ b),
    (Mutant("one sum at a time", "TWO = 2\n", "TWO = 1\n", "too much traffic"),
     Mutant("the second row is added to the first", "c10 += a1 * b0", "c00 += a1 * b0"),
     Mutant("the odd column is forgotten", "    for i in range(M - M % TWO):\n        for j in range(N - N % TWO, N):\n"
            "            c[i, j] = dot(a, b, i, j, K)\n", ""),
     Mutant("the sums are not started afresh", "            c00 = c01 = c10 = c11 = 0.0\n            for k in range(K):",
            "            if i + j == 0:\n                c00 = c01 = c10 = c11 = 0.0\n            for k in range(K):")))

vectors = Exercise(
    "vectors",
    "a row times a matrix with a vector of sums in a register",
    ("y has N numbers. L = lanes(b) of them at a time are one vector of sums; what is left of N beyond whole vectors is done "
     "one "
     "by one.",
     "sums = zeros(b, 1, 1); for every k: sums = outer(sums, 1, 1, a, k, 1, flat, k * N + j), which adds a[k] times the L "
     "numbers of "
     "b from b[k, j] on; store(sums, 1, 1, y, j, N).",
     "for j in range(0, N - L + 1, L): sums = zeros(b, 1, 1); for k in range(K): sums = outer(sums, 1, 1, a, k, 1, flat, k * "
     "N + j); "
     "store(sums, 1, 1, y, j, N)"),
    Kernel("row_times_matrix", lambda a, b: a.astype(float) @ b.astype(float), row_inputs,
           Sizes(dict(k=5, n=37), dict(k=(0, 6), n=(0, 40))), ("a", "b", "y"), medal=dict(k=512, n=2048),
           rival=lambda a, b: a @ b, atol=1e-5, rtol=1e-4),
    (Mutant("the numbers beyond the last whole vector are forgotten", "    for j in range(N - N % L, N):",
            "    for j in range(N, N):", "never written"),
     Mutant("it walks down b as if that had one row more", "k * N + j)", "k * (N + 1) + j)" ),
     Mutant("each vector adds to the one before", "        sums = zeros(b, 1, 1)\n        for k",
            "        if j == 0:\n            sums = zeros(b, 1, 1)\n        for k")),
    seconds=40)


# ---------------------------------------------------------------------------------------------- for the GPU


def numbers(random, n):
    return [random.standard_normal(n).astype(np.float32)], np.full(n, np.nan, np.float32)


def one_sum(random, n):
    inputs, _ = numbers(random, n)
    return inputs, np.full(max(1, -(-n // 64)), np.nan, np.float32)


def float_products(random, m, k, n):
    (a, b), (c,) = product_inputs(random, m, k, n)
    return [a.astype(np.float32), b.astype(np.float32)], c.astype(np.float32)


def sums_of_64(x):
    return np.array([x[i:i + 64].sum() for i in range(0, max(x.size, 1), 64)])


def mean_of_three(x):
    padded = np.pad(x, 1)
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def on_blocks_of_64(inputs, output):
    n = inputs[0].size
    return (max(1, -(-n // 64)),), (64,), [inputs[0], output, n]


first_kernel = Exercise(
    "first_kernel",
    "ReLU on the GPU: one thread for each number, and none too many",
    ("There are as many threads as numbers, rounded up to whole blocks of 64. Each computes the place of its own number.",
     "i = blockIdx.x * blockDim.x + threadIdx.x; the threads with i >= n have nothing to do, and must not touch memory.",
     "const int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) y[i] = x[i] > 0 ? x[i] : 0;"),
    Cuda("relu", lambda x: np.maximum(x, 0), numbers, on_blocks_of_64, Sizes(dict(n=150), dict(n=[1, 2, 63, 64, 65, 200])),
         ("x", "y")),
    (Mutant("no thread is one too many", "if (i < n) ", "", "out of bounds"),
     Mutant("the block is forgotten", "blockIdx.x * blockDim.x + threadIdx.x", "threadIdx.x", "race"),
     Mutant("a semicolon is missing", ": 0.0f;", ": 0.0f", "does not compile"),
     Mutant("the absolute value", ": 0.0f;", ": -x[i];"),
     Mutant("off by one", "i < n", "i <= n", "out of bounds")))

shared_memory = Exercise(
    "shared_memory",
    "the mean of three neighbours, each number fetched from global memory once",
    ("A block of 64 threads makes 64 means and needs 66 numbers: its own 64 and one on each side. They fit into shared memory.",
     "Every thread brings one number to part[threadIdx.x + 1]; two of them also bring the neighbours at the ends (0 beyond the "
     "array). Then a barrier, and each reads three numbers of part.",
     "part[t + 1] = i < n ? x[i] : 0; if (t == 0) part[0] = i > 0 && i - 1 < n ? x[i - 1] : 0; "
     "if (t == 63) part[65] = i + 1 < n ? x[i + 1] : 0; __syncthreads();"),
    Cuda("mean3", mean_of_three, numbers, on_blocks_of_64, Sizes(dict(n=150), dict(n=[1, 2, 63, 64, 65, 128, 200])), ("x", "y"),
         reads={"x": 160}),
    (Mutant("no barrier: neighbours are read before they are there", "  __syncthreads();\n", "", "race"),
     Mutant("the neighbour on the right of the block is never brought",
            "  if (t == 63) part[65] = i + 1 < n ? x[i + 1] : 0.0f;\n", "", "never written"),
     Mutant("all three from global memory", "(part[t] + part[t + 1] + part[t + 2]) / 3.0f",
            "((i > 0 ? x[i - 1] : 0.0f) + x[i] + (i + 1 < n ? x[i + 1] : 0.0f)) / 3.0f", "too much traffic"),
     Mutant("the last threads leave before the barrier", "  const int t = threadIdx.x;\n",
            "  const int t = threadIdx.x;\n  if (i >= n) return;\n"),
     Mutant("a reads beyond the array", "part[t + 1] = i < n ? x[i] : 0.0f;", "part[t + 1] = x[i];", "out of bounds")))

reduction = Exercise(
    "reduction",
    "the sum of 64 numbers by 64 threads, as a tree",
    ("Each block adds its 64 numbers and writes one sum. In every round half of the threads add a number of the other half to "
     "theirs: 32 threads, then 16, 8, 4, 2, 1.",
     "for (int half = 32; half > 0; half /= 2): a barrier, then thread t < half does part[t] += part[t + half]. The barrier "
     "is for "
     "all threads, also for those with nothing to add.",
     "part[t] = i < n ? x[i] : 0; for (int half = 32; half > 0; half /= 2) { __syncthreads(); if (t < half) part[t] += "
     "part[t + half]; } if (t == 0) sums[blockIdx.x] = part[0];"),
    Cuda("sum64", sums_of_64, one_sum, on_blocks_of_64, Sizes(dict(n=150), dict(n=[1, 2, 63, 64, 65, 128, 200])), ("x", "sums"),
         reads={"x": 150}, atol=1e-5),
    (Mutant("no barrier between the rounds", "    __syncthreads();\n", "", "race"),
     Mutant("half is made smaller by one, not halved", "half /= 2", "half -= 1"),
     Mutant("the first round is left out", "int half = 32", "int half = 16"),
     Mutant("every thread writes the sum", "if (t == 0) sums", "sums", "race"),
     Mutant("the numbers beyond the end are added too", "i < n ? x[i] : 0.0f", "x[i]", "out of bounds")))

tiled_gemm = Exercise(
    "tiled_gemm",
    "a matrix product whose blocks share what they fetch",
    ("A block of 8 x 8 threads computes 8 x 8 numbers of c. It walks along k in steps of 8; in each step its threads bring an "
     "8 x 8 "
     "tile of a and one of b into shared memory, one number each.",
     "Each number of a tile is used by 8 threads, so global memory is read 8 times less often. Two barriers in each step: one "
     "before "
     "the tiles are read, one before they are overwritten. Beyond the borders a tile holds zeros.",
     "as[ty][tx] = row < M && k0 + tx < K ? a[row * K + k0 + tx] : 0; bs[ty][tx] = k0 + ty < K && column < N ? "
     "b[(k0 + ty) * N + column] : 0; __syncthreads(); for (k) sum += as[ty][k] * bs[k][tx]; __syncthreads();"),
    Cuda("gemm", lambda a, b: a @ b, float_products,
         lambda inputs, c: ((-(-c.shape[1] // 8) or 1, -(-c.shape[0] // 8) or 1), (8, 8),
                            [*inputs, c, c.shape[0], inputs[0].shape[1], c.shape[1]]),
         Sizes(dict(m=20, k=17, n=12), dict(m=[1, 7, 8, 9], k=[1, 3, 8, 9, 16], n=[1, 5, 8, 17])), ("a", "b", "c"),
         reads={"a": 20 * 17 * 2, "b": 17 * 12 * 3}, atol=1e-5),
    (Mutant("no barrier before the tiles are read", "    __syncthreads();      // the tiles are there\n", "", "race"),
     Mutant("no barrier before the tiles are overwritten", "    __syncthreads();      // nobody reads them any more\n", "",
            "race"),
     Mutant("no zeros beyond the end of k", "row < M && k0 + tx < K ?", "row < M ?", "out of bounds"),
     Mutant("straight from global memory", "as[ty][k] * bs[k][tx]",
            "(row < M && k0 + k < K ? a[row * K + k0 + k] : 0.0f) * bs[k][tx]", "too much traffic"),
     Mutant("b's tile is read transposed", "bs[k][tx]", "bs[tx][k]")))

CHAPTER = Chapter("kernels", TEXT, (
    matmul_loops, race, tiling, register_tile, vectors, first_kernel, shared_memory, reduction, tiled_gemm))
