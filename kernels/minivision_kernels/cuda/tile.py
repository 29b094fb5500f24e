"""Tiles of a matrix product: which of them suits a product, and in how many slices its terms are summed (``tile.cuh``).

`plan` states the rule. Where `minivision bench --tune --device cuda` has measured a product, the fastest tile of that
measurement is taken instead; the table of ``tuned.py`` keeps them by the device's name.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minivision_kernels import tuned
from minivision_kernels.cuda.launch import Facts, Kernel, blocks

LEAST_TERMS = 256               # of a slice: shorter ones spend their time on filling the stages and on adding up
THREADS = 256
MOST_SLICES = 6                 # powers of two up to 32 are tried by a measurement
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
    resident: int               # how many blocks it takes to keep a multiprocessor busy, and fit on it
    kernels: dict[str, Kernel]

    def shared(self, along_k: tuple[int, int], itemsize: int) -> int:
        """Bytes of shared memory of a block: the strides of ``Panel``. ``along_k``: whether terms are side by side."""
        numbers = 0
        for rows, along in zip((self.rows, self.columns), along_k):
            numbers += rows * (self.depth + 16 // itemsize) if along else self.depth * (rows + 8)
        return self.stages * numbers * itemsize


Choice = tuple[int, int]        # which of the tiles, and the number of slices


@dataclass
class Study:
    """What a measurement wants to know of the one product that is computed meanwhile, and decides about it."""

    forced: Choice | None = None
    key: str = ""
    choices: tuple[Choice, ...] = ()
    rule: Choice = (0, 1)


_study: contextvars.ContextVar[Study | None] = contextvars.ContextVar("study", default=None)


@contextlib.contextmanager
def studied(study: Study) -> Iterator[Study]:
    """The products inside are computed as ``study.forced`` says, and what could be chosen for them is written into it."""
    token = _study.set(study)
    try:
        yield study
    finally:
        _study.reset(token)


def plan(
    tiles: tuple[Tile, ...], op: str, M: int, N: int, K: int, about: Facts, products: int = 1,
) -> tuple[Tile, int]:
    """The tile for ``products`` products of M x K and K x N, and into how many slices of its terms a product is cut.

    What was measured for this product (the kernel ``op`` of the tiles) counts first, then the rule, `by_rule`.
    """
    rule = by_rule(tiles, M, N, K, about, products)
    study = _study.get()
    if study is None and not tuned.any_tiles():
        return tiles[rule[0]], rule[1]
    key = f"{about.name}: {tiles[0].kernels[op]!r} {M} x {N} x {K}, {products} times"
    which, slices = tuned.tile(key) or rule
    if study is not None:
        most = max(1, K // LEAST_TERMS)
        study.key, study.rule = key, rule
        study.choices = tuple((i, 1 << n) for i in range(len(tiles)) for n in range(MOST_SLICES) if 1 << n <= most)
        which, slices = study.forced or rule
    if not (0 <= which < len(tiles) and slices >= 1):
        which, slices = rule                                    # a table from elsewhere, or a damaged one
    return tiles[which], slices


def by_rule(tiles: tuple[Tile, ...], M: int, N: int, K: int, about: Facts, products: int = 1) -> Choice:
    """The number of the tile, and of the slices.

    A multiprocessor has a block's time for each tile that it gets, so a product takes as many rounds as there are tiles for
    each multiprocessor, rounded up: 133 tiles on 132 multiprocessors take two. Terms are cut in slices until there are as
    many blocks as fit on the device at a time (a block of four warps alone leaves a multiprocessor three quarters of its
    time to wait), as long as slices keep LEAST_TERMS terms. The choice is that of least rounds x work of a tile / its speed;
    adding up s slices counts as s steps more.
    """
    best: tuple[float, int, int] | None = None
    for which, tile in enumerate(tiles):
        count = products * blocks(M, tile.rows) * blocks(N, tile.columns)
        slices = max(1, min(about.multiprocessors * tile.resident // max(count, 1), K // LEAST_TERMS))
        rounds = blocks(count * slices, about.multiprocessors)
        time = tile.rows * tile.columns * (rounds * blocks(K, slices) + slices * tile.depth) / tile.speed
        if best is None or time < best[0]:
            best = time, which, slices
    assert best is not None
    return best[1], best[2]


def slices_of(K: int, slices: int, depth: int) -> tuple[int, int]:
    """How many terms each of about so many slices has, a multiple of ``depth``, and how many slices that makes."""
    terms = max(1, blocks(blocks(K, slices), depth)) * depth
    return terms, max(1, blocks(K, terms))


def add_slices(parts: Any, total: Any) -> None:
    """The slices along the first axis of ``parts``, added in order."""
    _ADD_SLICES.launch(blocks(total.size, THREADS), THREADS, parts, total, total.size, len(parts))
