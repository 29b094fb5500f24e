"""How Winograd's convolution is carried out: by blocks, by panels or by stages (``conv_winograd.py``), of how many patches."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu.patches import CROSS_ROWS, LOW
from minivision_kernels.cpu.tile import TALL_COLUMNS, TALL_ROWS
from minivision_kernels.cpu.winograd import PIECE, SKEW, Size
from minivision_kernels.cpu.writer import BYTES
from minivision_kernels.shapes import Pair

NEAR = 704 * 1024   # bytes of transformed pixels that a thread keeps near
SMALL = (12 if BYTES == 64 else 4) * 2**20      # bytes of transformed weights that may be fetched for every block
STAGE = 3 * 2**20, 24 * 2**20       # at least and at most this many bytes go through a step together
FEW, FEW_THIRD = 384, 120   # patches, at most, to go by panels, and for the gradient to filters,
MORE = 1.5          # times as many numbers as usual, at stride 2,
CHANNELS = 64       # and the channels whose weights are transformed at a time
# Bytes of sums, and of what is transformed for them, that a thread keeps near.
MINE, BESIDE = (640 * 1024, 540 * 1024) if BYTES == 64 else (320 * 1024, 270 * 1024)
ALL, MOST_PARTS = 8 * 2**20, 16     # bytes, at most, of the sums of all parts of the patches, and how many parts there are


class Plan(NamedTuple):
    """How a convolution is carried out; lengths in numbers."""

    way: str                # "panels", "blocks" or "stages"
    patches: int
    together: int           # patches of a block or stage; by panels all of them, and as many more as tiles need
    row: int                # channels, whole vectors of them
    steps: np.ndarray       # where the rows of a tile begin, in a matrix with such rows
    each: int               # panels of filters
    weights: int            # once they are transformed


@functools.lru_cache(maxsize=1024)
def plan(N: int, C: int, F: int, OH: int, OW: int, size: Size, lanes: int, workers: int) -> Plan:
    width, places, row, itemsize = TALL_COLUMNS * lanes, size.places, whole(C, lanes), BYTES // lanes
    each, patches = -(-F // width), size.patches(N, OH, OW)
    weights = each * size.kinds * (C * width + SKEW)
    if by_panels(lanes, patches, F, C, size, False):
        way, together = "panels", whole(patches, max(lanes, LOW))
    elif weights * itemsize <= SMALL:
        way, together = "blocks", block_size(NEAR, patches, row * itemsize, 1, places, workers)
    else:
        way, together = "stages", stage_size(patches, places * (C + F) * itemsize, weights * itemsize)
    steps = np.arange(TALL_ROWS) * row
    steps.flags.writeable = False
    return Plan(way, patches, together, row, steps, each, weights)


class GradientPlan(NamedTuple):
    """How a gradient to filters is carried out; lengths in numbers."""

    way: str                # "panels", "blocks" or "stages"
    patches: int
    together: int           # patches of a block or stage
    row: int                # channels, whole vectors of them
    width: int              # filters of a panel
    each: int               # panels
    sums: int               # of all places
    parts: int              # of the patches, each summed by itself


@functools.lru_cache(maxsize=1024)
def gradient_plan(N: int, C: int, F: int, OH: int, OW: int, size: Size, lanes: int) -> GradientPlan:
    width, itemsize = TALL_COLUMNS * lanes, BYTES // lanes
    patches, places = size.patches(N, OH, OW), size.places
    each, row = -(-F // width), whole(C, lanes)
    sums, parts = each * places * (whole(C, CROSS_ROWS) * width + SKEW), 1
    if by_panels(lanes, patches, F, C, size, True):
        way, together, sums = "panels", patches, 0
    elif sums * itemsize <= MINE:
        way, together = "blocks", block_size(BESIDE, patches, row * itemsize, each, places, 1)
        parts = min(MOST_PARTS, -(-patches // PIECE), max(2, ALL // (sums * itemsize) // 2 * 2))
    else:
        way, together = "stages", stage_size(patches, places * (C + F) * itemsize, sums * itemsize)
    return GradientPlan(way, patches, together, row, width, each, sums, parts)


def by_panels(lanes: int, patches: int, F: int, C: int, size: Size, third: bool) -> bool:
    """Whether each thread should transform weights as it needs them: there are more of them than numbers of patches, all of
    which every panel reads, and the products of few patches with a panel stay near. Weights that are transformed before leave
    the caches and come back: 512 channels of 14 x 14, 8 images, took 1.3 times as long."""
    numbers = patches * (C + F) / (MORE if size.strided else 1)
    return patches <= (FEW_THIRD if third else FEW) and numbers <= C * F and TALL_COLUMNS * lanes < F


def whole(count: int, of: int) -> int:
    """The multiple of ``of`` with room for ``count``."""
    return -(-count // of) * of


def block_size(near: int, patches: int, row: int, panels: int, places: int, workers: int) -> int:
    """Patches of a block, a whole number of tiles: as large as fits in ``near`` bytes, and all threads busy to the end.

    A patch takes ``row`` bytes for each place, and those of so many panels of filters.
    """
    tiles = -(-patches // TALL_ROWS)
    most = max(1, min(near // (places * (row + panels * TALL_COLUMNS * BYTES) * TALL_ROWS), tiles))

    def time(size: int) -> float:
        blocks = -(-tiles // size)
        return -(-blocks // workers) * (size + 0.2)             # until the last thread is done with its last block

    return TALL_ROWS * min(range(max(1, most // 2), most + 1), key=lambda size: (time(size), -size))


def stage_size(patches: int, row: int, weights: int, limits: Pair = STAGE, high: int = TALL_ROWS) -> int:
    """Patches that go through the steps together: twice as many numbers as there are transformed weights, within ``limits``.

    ``row`` is the size in bytes of what a patch needs, ``weights`` that of the weights, and a tile is so many patches ``high``.
    """
    room = min(max(2 * weights, limits[0]), limits[1])
    most = max(1, room // (row * high))
    stages = max(1, -(-patches // (most * high)))
    return -(-patches // (stages * high)) * high
