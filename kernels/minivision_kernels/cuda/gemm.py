"""The matrix products of the linear layer on the GPU (``gemm.cu``), from a thread for each number to tensor cores.

Nothing here was measured yet: the figures are those of the literature for kernels of the same kind. SGEMM_CUDA (Boehm,
"How to Optimize a CUDA Matmul Kernel", 2022) climbs the same first steps on an A6000 with matrices of 4096: 1.3 % of
cuBLAS's speed, then 8.5, 12.8, 68.7 (registers), 78.4 (wide loads) and 93.7 (warps).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minivision_kernels.cuda.launch import Kernel, blocks, empty, facts, floats, ready
from minivision_kernels.cuda.tile import Tile, add_slices, plan, slices_of
from minivision_kernels.ladder import rung, tf32

Product = Callable[[str, Any, Any], Any]
DIRECTIONS = ("linear_forward", "linear_input", "linear_weight")
# Whether the terms of a row of the left and of a column of the right operand are side by side in memory.
ALONG_K = {"linear_forward": (1, 1), "linear_input": (1, 0), "linear_weight": (0, 0)}


def _ordinary(down: int, across: int, rows: int, columns: int, depth: int, stages: int, speed: float, resident: int,
              *reals: str) -> Tile:
    """``down`` x ``across`` warps with ``rows`` x ``columns`` sums for each thread."""
    kernels = {op: Kernel("gemm.cu", "staged", *ALONG_K[op], down, across, rows, columns, depth, stages, reals=reals)
               for op in DIRECTIONS}
    return Tile(down * 4 * rows, across * 8 * columns, depth, stages, 32 * down * across, speed, resident, kernels)


def _tensor(down: int, across: int, rows: int, columns: int, depth: int, stages: int, products: int, speed: float,
            resident: int) -> Tile:
    """``down`` x ``across`` warps with ``rows`` x ``columns`` products of 16 x 8 for each."""
    kernels = {op: Kernel("gemm.cu", "tensor", *ALONG_K[op], down, across, rows, columns, depth, stages, products,
                          needs=(8, 0), reals=("float32",)) for op in DIRECTIONS}
    return Tile(down * 16 * rows, across * 8 * columns, depth, stages, 32 * down * across, speed, resident, kernels)


SINGLE, DOUBLE = "float32", "float64"
SMALL = _ordinary(2, 2, 8, 4, 8, 4, 0.7, 2, SINGLE, DOUBLE)             # 64 x 64
LARGE = _ordinary(4, 2, 8, 8, 16, 3, 1.0, 1, SINGLE)                    # 128 x 128
TWO_STAGES = {SINGLE: _ordinary(4, 2, 8, 8, 8, 2, 1.0, 1, SINGLE), DOUBLE: _ordinary(2, 2, 8, 4, 8, 2, 1.0, 2, DOUBLE)}
ORDINARY = {SINGLE: (LARGE, SMALL), DOUBLE: (SMALL,)}
# 128 x 128; 64 x 64; 32 x 128 for few rows: the gradient to an image has 3, and the layers of small networks 32 filters
SPLIT = _tensor(2, 4, 4, 4, 16, 4, 3, 1.0, 1), _tensor(2, 2, 2, 4, 16, 3, 3, 0.7, 3), _tensor(1, 4, 2, 4, 16, 3, 3, 0.6, 3)
ROUNDED = _tensor(2, 4, 4, 4, 16, 4, 1, 1.0, 1), _tensor(2, 2, 2, 4, 16, 3, 1, 0.6, 3), _tensor(1, 4, 2, 4, 16, 3, 1, 0.5, 3)


def multiply(op: str, tile: Tile, slices: int, a: Any, b: Any) -> Any:
    """The product with this tile, its terms in so many slices at most."""
    a, b = ready(a), ready(b)
    M, N, K = _sizes(op, a, b)
    terms, slices = slices_of(K, slices, tile.depth)
    y = empty(a, (M, N))
    parts = y if slices == 1 else empty(a, (slices, M, N))
    grid = blocks(M, tile.rows) * blocks(N, tile.columns), slices
    tile.kernels[op].launch(grid, tile.threads, a, b, parts, M, N, K, terms, shared=tile.shared(ALONG_K[op], a.itemsize))
    if slices > 1:
        add_slices(parts, y)
    return y


def _planned(op: str, tiles: tuple[Tile, ...], a: Any, b: Any) -> Any:
    return multiply(op, *plan(tiles, op, *_sizes(op, a, b), facts(a)), a, b)


def _sizes(op: str, a: Any, b: Any) -> tuple[int, int, int]:
    """Rows and columns of the result, and terms of each of its sums."""
    if op == "linear_forward":
        return a.shape[0], b.shape[0], a.shape[1]
    return (a.shape[0], b.shape[1], a.shape[1]) if op == "linear_input" else (a.shape[1], b.shape[1], a.shape[0])


THREADS = 256
PLAIN = {name: Kernel("gemm.cu", name) for name in ("naive", "coalesced", "shared", "registers")}


def _plain(name: str, op: str, a: Any, b: Any, side: int, threads: int) -> Any:
    """By a kernel that takes the distances of neighbours in memory as numbers; ``side``: of its square tile, 0: none."""
    a, b = ready(a), ready(b)
    M, N, K = _sizes(op, a, b)
    a_along, b_along = ALONG_K[op]
    y = empty(a, (M, N))
    grid = blocks(M, side) * blocks(N, side) if side else blocks(M * N, threads)
    PLAIN[name].launch(grid, threads, a, b, y, M, N, K, *((K, 1) if a_along else (1, M)), *((1, K) if b_along else (N, 1)))
    return y


def _for_tensor_cores(a: Any, b: Any) -> bool:
    """Whether the numbers are float32 and the device has tensor cores for TF32."""
    return a.dtype == np.float32 and facts(a).capability >= (8, 0)


def products(name: str, **options: Any) -> Callable[[Product], Product]:
    """Mark ``multiply(op, a, b)`` as a rung of all three products, under its docstring."""
    def mark(multiply: Product) -> Product:
        def linear_forward(x: Any, w: Any) -> Any:
            return multiply("linear_forward", x, w)

        def linear_input(g: Any, w: Any) -> Any:
            return multiply("linear_input", g, w)

        def linear_weight(g: Any, x: Any) -> Any:
            return multiply("linear_weight", g, x)

        for function in (linear_forward, linear_input, linear_weight):
            function.__doc__ = multiply.__doc__
            rung(function.__name__, name=name, device="cuda", **options)(function)
        return multiply

    return mark


@products("naive", accepts=floats)
def naive(op: str, a: Any, b: Any) -> Any:
    """A thread for each number of the result, which reads a row and a column from memory.

    Threads that run together have neighbouring rows, so that each load of the left operand and each store touches 32 pieces
    of memory and uses 4 bytes of each. 1.3 % of cuBLAS in SGEMM_CUDA; not measured here.
    """
    return _plain("naive", op, a, b, 0, THREADS)


@products("coalesced", accepts=floats)
def coalesced(op: str, a: Any, b: Any) -> Any:
    """Threads that run together have neighbouring columns: what they ask for is one piece of memory, or one number.

    8.5 % of cuBLAS in SGEMM_CUDA, where the right operand has its columns side by side. In ``linear_forward`` it has its
    terms side by side, and the loads stay in pieces; the next rung mends that. Not measured here.
    """
    return _plain("coalesced", op, a, b, 0, THREADS)


@products("shared", accepts=floats)
def shared(op: str, a: Any, b: Any) -> Any:
    """Tiles of 32 x 32 numbers in shared memory, so that memory is read 32 times less often, and always in order.

    Now two loads from shared memory for each multiply-add are the limit. 12.8 % of cuBLAS in SGEMM_CUDA; not measured here.
    """
    return _plain("shared", op, a, b, 32, 1024)


@products("registers", accepts=floats)
def registers(op: str, a: Any, b: Any) -> Any:
    """8 x 8 numbers of the result for each thread, in registers: 16 loads from shared memory for 64 multiply-adds.

    A tile is 128 x 128, so that memory is read a quarter as often. 68.7 % of cuBLAS in SGEMM_CUDA; not measured here.
    """
    return _plain("registers", op, a, b, 128, 256)


@products("vectors", accepts=floats)
def vectors(op: str, a: Any, b: Any) -> Any:
    """16 bytes for each load, a warp's lanes 4 x 8 in a tile of its own, and the next panels on their way meanwhile.

    Copies go from memory to shared memory by themselves (``cp.async``, from compute capability 8.0 on), while the panels
    before are multiplied: two stages. 78.4 % of cuBLAS by the wide loads and 93.7 % by the warps in SGEMM_CUDA, without such
    copies; not measured here. In float64 a tile is 64 x 64, which the registers hold.
    """
    return multiply(op, TWO_STAGES[a.dtype.name], 1, a, b)


@products("stages", accepts=floats)
def stages(op: str, a: Any, b: Any) -> Any:
    """Copies three steps ahead, a tile that suits the shape, and terms cut in slices where there are few tiles.

    On an A10 two stages gave 12.5 of 31 TFLOP/s, which is why CUTLASS has three to five (NVIDIA/cutlass, discussion 941).
    ``plan`` states the rule for tiles and slices. Steps are 16 terms deep: in the loop 80 to 81 of 100 instructions are
    multiply-adds, where 8 terms made 72 to 75 (sm_90). 98 % of cuBLAS were reached on an A100 by kernels like it; not
    measured here.
    """
    return _planned(op, ORDINARY[a.dtype.name], a, b)


@products("tf32x3", accepts=_for_tensor_cores)
def tf32x3(op: str, a: Any, b: Any) -> Any:
    """Tensor cores: float32 split in two TF32 parts, three products of parts, as accurate as float32's own.

    Tensor cores multiply TF32 about eight times as fast as the ordinary units multiply float32, and it takes three products
    for one. CUTLASS has 45 TFLOP/s of it on an A100, 2.3 times what its ordinary units can do at most; not measured here.
    An infinite operand, or one above 3.402e38, gives NaN where float32 would give infinity: the small part of it is infinity -
    infinity. Below 1e-34 the small parts have fewer digits, as numbers below 1e-38 have in float32.
    """
    return _planned(op, SPLIT, a, b)


@products("tf32", accepts=_for_tensor_cores, worth=tf32, exact=False)
def tf32_once(op: str, a: Any, b: Any) -> Any:
    """One product of operands rounded to TF32, 10 bits: off by about 1e-3 of the result's size, and asked for by ``set_tf32``.

    Three times as fast as the rung below where tensor cores are the limit. cuBLAS has 404 TFLOP/s of it on an H100, by an
    instruction (wgmma) that is not used here; this one reaches about 60 % of that. Not measured here.
    """
    return _planned(op, ROUNDED, a, b)
