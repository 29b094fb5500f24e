"""Tiles of a matrix product: which of them suits a product, and in how many slices its terms are summed (``tile.cuh``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minivision_kernels.cuda.launch import Facts, Kernel, blocks

LEAST_TERMS = 256               # of a slice: shorter ones spend their time on filling the stages and on adding up
THREADS = 256
_ADD_SLICES = Kernel("gemm.cu", "add_slices")


@dataclass(frozen=True)
class Tile:
    """The part of the result that a block of threads computes, and the kernels that do."""

    rows: int
    columns: int
    depth: int                  # terms of a step
    stages: int
    threads: int
    speed: float                # of a multiprocessor that is full of such blocks, as a share of the best tile's
    kernels: dict[str, Kernel]

    def shared(self, along_k: tuple[int, int], itemsize: int) -> int:
        """Bytes of shared memory of a block: the strides of ``Panel``. ``along_k``: whether terms are side by side."""
        numbers = 0
        for rows, along in zip((self.rows, self.columns), along_k):
            numbers += rows * (self.depth + 16 // itemsize) if along else self.depth * (rows + 8)
        return self.stages * numbers * itemsize


def plan(
    tiles: tuple[Tile, ...], M: int, N: int, K: int, about: Facts, products: int = 1, splits: bool = True,
) -> tuple[Tile, int]:
    """The tile for ``products`` products of M x K and K x N, and into how many slices of its terms a product is cut.

    A multiprocessor has a block's time for each tile that it gets, so a product takes as many rounds as there are tiles for
    each multiprocessor, rounded up: 133 tiles on 132 multiprocessors take two. Terms are cut in slices as long as a round
    is not full and slices keep LEAST_TERMS terms. The choice is that of least rounds x work of a tile / its speed;
    adding up s slices counts as s steps more.
    """
    best: tuple[float, Tile, int] | None = None
    for tile in tiles:
        count = products * blocks(M, tile.rows) * blocks(N, tile.columns)
        slices = max(1, min(about.multiprocessors // max(count, 1), K // LEAST_TERMS)) if splits else 1
        rounds = blocks(count * slices, about.multiprocessors)
        time = rounds * tile.rows * tile.columns * (blocks(K, slices) + slices * tile.depth) / tile.speed
        if best is None or time < best[0]:
            best = time, tile, slices
    assert best is not None
    return best[1], best[2]


def slices_of(K: int, slices: int, depth: int) -> tuple[int, int]:
    """How many terms each of about so many slices has, a multiple of ``depth``, and how many slices that makes."""
    terms = max(1, blocks(blocks(K, slices), depth)) * depth
    return terms, max(1, blocks(K, terms))


def add_slices(parts: Any, total: Any) -> None:
    """The slices along the first axis of ``parts``, added in order."""
    _ADD_SLICES.launch(blocks(total.size, THREADS), THREADS, parts, total, total.size, len(parts))
