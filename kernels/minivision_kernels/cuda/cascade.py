"""A cascade at every window of an image, on the GPU (``cascade.cu``): a thread for each window."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivision_kernels.cascades import LBP, Haar, Trees
from minivision_kernels.cuda.launch import Kernel, blocks, empty, ready
from minivision_kernels.ladder import array_module, rung
from minivision_kernels.shapes import Pair

THREADS = 64
MOST_ROWS = 65_535              # of windows, along the second axis of a grid
_HAAR, _LBP = ([Kernel("cascade.cu", f"{kind}_{part}", reals=("float32",)) for part in ("first", "rest")]
               for kind in ("haar", "lbp"))
_SKIP = Kernel("cascade.cu", "skip_neighbours", reals=("float32",))


def haar_fits(
    sums: Any, squares: Any, features: Haar, trees: Trees, size: Pair, step: int, rows: int,
) -> bool:
    """Whether 32 bits count the sums, and a grid the rows."""
    return rows <= MOST_ROWS and sums.size < 1 << 31


def lbp_fits(sums: Any, features: LBP, trees: Trees, size: Pair, step: int, rows: int) -> bool:
    return rows <= MOST_ROWS and sums.size < 1 << 31


@rung("cascade_haar", name="windows", device="cuda", accepts=haar_fits)
def cascade_haar(
    sums: Any, squares: Any, features: Haar, trees: Trees, size: Pair, step: int, rows: int,
) -> Any:
    """One thread for each window. Which windows are skipped is known after the first stage, so that is a kernel of its own."""
    given = ready(sums), ready(squares), *_there(sums, features.rects, features.weights, features.tilted.view(np.uint8),
                                                 trees.thresholds)
    return _stages(_HAAR, given, sums, trees, size, step, rows)


@rung("cascade_lbp", name="windows", device="cuda", accepts=lbp_fits)
def cascade_lbp(sums: Any, features: LBP, trees: Trees, size: Pair, step: int, rows: int) -> Any:
    """As for Haar's features."""
    return _stages(_LBP, (ready(sums), *_there(sums, features.rects, trees.subsets)), sums, trees, size, step, rows)


def _stages(kernels: list[Kernel], given: tuple[Any, ...], sums: Any, trees: Trees, size: Pair, step: int, rows: int) -> Any:
    """The first stage, who is skipped, and the other stages."""
    (_, H, W), (height, width) = sums.shape, size
    columns = len(range(0, max(W - width, 0), step))
    passed = empty(sums, (rows, columns), np.int32)
    of = rows, columns, step, height, width, W, H * W, len(trees.stage_thresholds)
    nodes = _there(sums, trees.nodes, trees.leaves, trees.roots, trees.stages, trees.stage_thresholds)
    for kernel in kernels:
        kernel.launch((blocks(columns, THREADS), rows), THREADS, *given, *nodes, passed, of)
        if kernel is kernels[0]:
            _SKIP.launch(blocks(rows, THREADS), THREADS, passed, rows, columns)
    return passed


def _there(like: Any, *arrays: np.ndarray) -> tuple[Any, ...]:
    """The arrays of a cascade, beside the sums."""
    return tuple(ready(array_module(like).asarray(array)) for array in arrays)
