"""Histograms of oriented gradients on the GPU (``hog.cu``): a block of threads for each cell, or for each block of cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivision_kernels.cuda.launch import Kernel, empty, floats, ready
from minivision_kernels.ladder import array_module, rung
from minivision_kernels.reference.hog import ARCTAN, blocks_in
from minivision_kernels.shapes import Pair

THREADS = 128
MOST_BINS = 360
MOST_ROWS = 65_535              # of blocks, along the second axis of a grid
NORMS = ("L1", "L1-sqrt", "L2", "L2-Hys", "OpenCV")
_CELLS, _VOTES, _BLOCKS = (Kernel("hog.cu", name) for name in ("hog_cells", "hog_votes", "hog_blocks"))


def cells_fit(image: Any, pixels_per_cell: Pair, orientations: int) -> bool:
    """As many bins as shared memory has room for, and no more rows of cells than a grid."""
    return floats(image) and orientations <= MOST_BINS and image.shape[0] // pixels_per_cell[0] <= MOST_ROWS


def few_rows(image: Any, *_: Any, **__: Any) -> bool:
    return floats(image) and len(image) <= MOST_ROWS


@rung("hog_cells", name="blocks", device="cuda", accepts=cells_fit)
def hog_cells(image: Any, pixels_per_cell: Pair, orientations: int) -> Any:
    """A block of threads for each cell: a thread finds the vote of a pixel, then one goes through all votes for each bin."""
    (CH, CW), (H, W, C) = pixels_per_cell, image.shape
    rows, columns = H // CH, W // CW
    cells = empty(image, (rows, columns, orientations))
    _CELLS.launch((columns, rows), THREADS, ready(image), cells, (H, W, C), CH, CW, columns, orientations)
    return cells


@rung("hog_votes", name="blocks", device="cuda", accepts=few_rows)
def hog_votes(
    image: Any, window_rows: Any, window_columns: Any, pixels_per_cell: Pair, block_stride: Pair, start: Pair,
    orientations: int, signed: bool, polynomial: bool,
) -> Any:
    """A block of threads for each block of cells. A pixel is looked at by every block that it is part of, usually four: the
    gradients cost less than bringing blocks together would."""
    (H, W, C), (CH, CW) = image.shape, pixels_per_cell
    rows, columns = blocks_in((H, W), (len(window_rows), len(window_columns)), block_stride, start)
    cells = len(window_rows) // CH, len(window_columns) // CW
    votes = empty(image, (rows, columns, *cells, orientations))
    powers = array_module(image).asarray(ARCTAN.astype(np.dtype(image.dtype.name)))
    _VOTES.launch((columns, rows), THREADS, ready(image), ready(window_rows), ready(window_columns), powers, votes, (H, W, C),
                  (CH, CW, *cells, columns, *block_stride, *start, orientations, int(signed), int(polynomial)))
    return votes


@rung("hog_blocks", name="blocks", device="cuda", accepts=few_rows)
def hog_blocks(cells: Any, cells_per_block: Pair, norm: str) -> Any:
    """A block of threads for each block of cells; their sums meet by shuffles, and the cells are read again from the cache."""
    (R, C, L), (BR, BC) = cells.shape, cells_per_block
    rows, columns = R - BR + 1, C - BC + 1
    result = empty(cells, (rows, columns, BR, BC, L))
    _BLOCKS.launch((columns, rows), THREADS, ready(cells), result, (columns, BR, BC, L, C), NORMS.index(norm))
    return result
