"""What a cascade is made of, as the kernels of the family "cascade" take it: arrays that belong together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FLAT, SKIPPED = -1, -2          # windows that were not looked at; ``reference/cascade.py`` says which


class Haar(NamedTuple):
    """Haar-like features: weighted sums of the pixels in up to three rectangles (Viola and Jones 2001).

    rects int32 (K, 3, 4): x, y, width and height of each rectangle, in the window.
    weights float32 (K, 3): what its sum is multiplied by; 0 where there is no third.
    tilted bool (K,): the rectangles are turned by 45 degrees about their corner (x, y) (Lienhart and Maydt 2002).
    """

    rects: np.ndarray
    weights: np.ndarray
    tilted: np.ndarray


class LBP(NamedTuple):
    """Multi-block local binary patterns (Liao et al. 2007).

    rects int32 (K, 4): x, y, and width and height of the first of 3 x 3 blocks.
    """

    rects: np.ndarray


class Trees(NamedTuple):
    """Decision trees in stages. Without LBP nodes ``subsets`` is empty, with them ``thresholds``.

    nodes int32 (M, 3): left and right child and the feature. A child >= 0 is a node further on in the same tree, which is all
        that keeps a walk from never ending; a child c < 0 is the leaf -1 - c.
    thresholds float32 (M,): left if the feature's value is below it.
    subsets int32 (M, 8): left if the bit of the pattern's code is set in these 256.
    leaves float32 (L,): what a window gets that arrives there.
    roots int32 (T,): the first node of each tree.
    stages int32 (S + 1,): stage s has the trees stages[s] to stages[s + 1].
    stage_thresholds float32 (S,): the window is dropped if its sum over the trees of the stage is less.
    """

    nodes: np.ndarray
    thresholds: np.ndarray
    subsets: np.ndarray
    leaves: np.ndarray
    roots: np.ndarray
    stages: np.ndarray
    stage_thresholds: np.ndarray
