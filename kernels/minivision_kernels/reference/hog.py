"""Histograms of oriented gradients (Dalal and Triggs 2005): votes of pixels in cells, and blocks of cells at one scale.

Two ways of voting, since the libraries differ. ``hog_cells`` is scikit-image's: a pixel gives its whole vote to one bin of
its own cell. ``hog_votes`` is the paper's and OpenCV's: a vote is shared between the two nearest bins and the nearest cells,
and counts less towards the edge of the block. ``hog_blocks`` divides what either gives by its size.
"""

from __future__ import annotations

import numpy as np

from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair

EPS = 1e-5                      # of every norm but OpenCV's
CLIP = 0.2                      # where "L2-Hys" cuts
# OpenCV's arctan(c) in degrees for 0 <= c <= 1: odd powers of c, right to 0.01 degrees.
ARCTAN = np.array([0.9997878412794807, -0.3258083974640975, 0.1555786518463281, -0.04432655554792128], np.float32) * (
    np.float32(180 / np.pi))
ARCTAN_EPS = 2.2204460492503131e-16


@rung("hog_cells", name="numpy", device="cpu")
def hog_cells(image: np.ndarray, pixels_per_cell: Pair, orientations: int) -> np.ndarray:
    """Histograms of the gradient's direction, one for each cell of the image (H, W, C); (H // CH, W // CW, orientations).

    The gradient is the difference of the two neighbours, 0 across the image's border; of several channels the one with the
    longest gradient counts, the first of equals. Bin o holds the sum of magnitudes with an angle in
    [180 o, 180 (o + 1)) / orientations degrees, divided by the pixels of a cell. Pixels right and below of the last whole
    cell vote nowhere.

    As in scikit-image the sums are kept in float32, row by row, whatever the image's dtype: each addition is rounded.
    """
    (CH, CW), (H, W) = pixels_per_cell, image.shape[:2]
    rows, columns = H // CH, W // CW
    down, right = gradient(image)
    strongest = np.hypot(down, right).argmax(2)[:, :, None]
    down, right = (np.take_along_axis(g, strongest, 2)[:, :, 0].astype(np.float64) for g in (down, right))
    magnitude, angle = np.hypot(right, down), np.rad2deg(np.arctan2(down, right)) % 180
    width = 180 / orientations
    edges = width * np.arange(orientations + 1)
    bins = np.searchsorted(edges, angle, side="right") - 1                  # 180, which rounding can give: in none
    sums = np.zeros((rows, columns, orientations + 1), np.float32)
    for i in range(CH):
        for j in range(CW):
            seen = slice(i, rows * CH, CH), slice(j, columns * CW, CW)
            at = bins[seen][:, :, None]
            voted = np.take_along_axis(sums, at, 2) + magnitude[seen][:, :, None]      # in float64
            np.put_along_axis(sums, at, voted.astype(np.float32), 2)
    return np.ascontiguousarray(sums[:, :, :-1] / np.float32(CH * CW)).astype(image.dtype, copy=False)


@rung("hog_votes", name="numpy", device="cpu")
def hog_votes(
    image: np.ndarray, window_rows: np.ndarray, window_columns: np.ndarray, pixels_per_cell: Pair, block_stride: Pair,
    start: Pair, orientations: int, signed: bool, polynomial: bool,
) -> np.ndarray:
    """Votes for the cells of every block that lies in the image (H, W, C): (rows, columns, BR, BC, orientations).

    A block is len(window_rows) x len(window_columns) pixels, BR x BC cells; the first begins at ``start``, the others
    ``block_stride`` apart. A pixel of a block votes with the magnitude of its gradient times ``window_rows`` and
    ``window_columns`` at its place, shared linearly between the two bins whose middles are nearest in angle and the up to
    four cells of the block whose middles surround the pixel. What falls outside the block is lost.

    Args:
        window_rows, window_columns: (BR CH,) and (BC CW,), a window over the block, in the image's dtype.
        signed: the bins cover 360 degrees and not 180, where opposite gradients count as one direction.
        polynomial: angles by OpenCV's polynomial for the arctangent and not exactly.
    """
    first, second, lower, upper = shared_votes(image, orientations, signed, polynomial)
    BR, BC = len(window_rows) // pixels_per_cell[0], len(window_columns) // pixels_per_cell[1]
    rows, columns = blocks_in(image.shape[:2], (len(window_rows), len(window_columns)), block_stride, start)
    down, right = profiles(window_rows, pixels_per_cell[0]), profiles(window_columns, pixels_per_cell[1])
    votes = np.zeros((rows, columns, BR, BC, orientations), image.dtype)
    block_row, block_column = np.ogrid[:rows, :columns]
    for i in range(len(window_rows)):
        for j in range(len(window_columns)):
            seen = tuple(slice(s + offset, s + offset + count * step, step) for s, offset, count, step in zip(
                start, (i, j), (rows, columns), block_stride))
            for cell_row in np.flatnonzero(down[:, i]):
                for cell_column in np.flatnonzero(right[:, j]):
                    weight = down[cell_row, i] * right[cell_column, j]
                    for bins, share in ((lower, first), (upper, second)):
                        votes[block_row, block_column, cell_row, cell_column, bins[seen]] += weight * share[seen]
    return votes


@rung("hog_blocks", name="numpy", device="cpu")
def hog_blocks(cells: np.ndarray, cells_per_block: Pair, norm: str) -> np.ndarray:
    """Every block of neighbouring cells, divided by its size, from cells (R, C, L); (R - BR + 1, C - BC + 1, BR, BC, L).

    ``norm`` says what the size of a block v is; eps is 1e-5:

        "L1"        |v|_1 + eps
        "L1-sqrt"   as L1, and then the square root of each number
        "L2"        sqrt(|v|_2^2 + eps^2)
        "L2-Hys"    as L2, then numbers above 0.2 become 0.2, and again as L2 (Lowe's hysteresis)
        "OpenCV"    as L2-Hys, but |v|_2 + 0.1 len(v) the first time and |v|_2 + 1e-3 the second
    """
    blocks = np.lib.stride_tricks.sliding_window_view(cells, cells_per_block, axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    size = blocks.shape[2] * blocks.shape[3] * blocks.shape[4]

    def length(v: np.ndarray) -> np.ndarray:
        return np.sqrt((v ** 2).sum((2, 3, 4), keepdims=True) + zero)

    zero = cells.dtype.type(EPS ** 2 if norm != "OpenCV" else 0)
    if norm in ("L1", "L1-sqrt"):
        scaled = blocks / (np.abs(blocks).sum((2, 3, 4), keepdims=True) + cells.dtype.type(EPS))
        return np.ascontiguousarray(np.sqrt(scaled) if norm == "L1-sqrt" else scaled)
    more, again = (size * 0.1, 1e-3) if norm == "OpenCV" else (0.0, 0.0)
    scaled = blocks / (length(blocks) + cells.dtype.type(more))
    if norm != "L2":
        cut = np.minimum(scaled, cells.dtype.type(CLIP))
        scaled = cut / (length(cut) + cells.dtype.type(again))
    return np.ascontiguousarray(scaled)


@rung("hog_scores", name="numpy", device="cpu")
def hog_scores(blocks: np.ndarray, weights: np.ndarray, far: Pair, apart: Pair) -> np.ndarray:
    """What a linear detector says to every window of a grid of blocks (R, C, L): float64 (rows, columns).

    A window has as many blocks as there are ``weights`` (down, across, L), ``far`` from each other in the grid, and its
    score is the sum of all their numbers times the weights'. Windows begin ``apart``, at the first block.
    """
    rows, columns = windows_in(blocks.shape, weights.shape, far, apart)
    scores = np.zeros((rows, columns))
    for i, j in np.ndindex(weights.shape[:2]):
        seen = tuple(slice(at * f, at * f + (count - 1) * a + 1, a) for at, f, count, a in zip(
            (i, j), far, (rows, columns), apart))
        scores += np.einsum("ijk,k->ij", blocks[seen], weights[i, j])
    return scores


# ---------------------------------------------------------------------------------------------- what rungs have in common


def windows_in(blocks: tuple[int, ...], weights: tuple[int, ...], far: Pair, apart: Pair) -> Pair:
    """How many windows lie in a grid of blocks, down and across."""
    rows, columns = ((n - 1 - (count - 1) * f) // a + 1 for n, count, f, a in zip(blocks, weights, far, apart))
    return rows, columns


def gradient(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The differences of the neighbours below and above, and to the right and left; 0 across the border."""
    down, right = np.zeros_like(image), np.zeros_like(image)
    down[1:-1] = image[2:] - image[:-2]
    right[:, 1:-1] = image[:, 2:] - image[:, :-2]
    return down, right


def shared_votes(image: np.ndarray, orientations: int, signed: bool, polynomial: bool) -> tuple[np.ndarray, ...]:
    """What each pixel gives to its two bins, and which those are: four arrays (H, W)."""
    down, right = gradient(image)
    strongest = (right * right + down * down).argmax(2)[:, :, None]
    down, right = (np.take_along_axis(g, strongest, 2)[:, :, 0] for g in (down, right))
    number = image.dtype.type
    if polynomial:
        across, along = np.abs(right), np.abs(down)
        c = np.minimum(across, along) / (np.maximum(across, along) + number(ARCTAN_EPS))
        angle = ARCTAN[3].astype(image.dtype)
        for term in ARCTAN[2::-1]:                                  # x * y + z rounded once, as OpenCV's instructions do
            angle = (angle * (c * c).astype(np.float64) + np.float64(term)).astype(image.dtype)
        angle = angle * c
        angle = np.where(along > across, 90 - angle, angle)
        angle = np.where(right < 0, 180 - angle, angle)
        angle = np.where(down < 0, 360 - angle, angle) * number(np.pi / 180)
    else:
        angle = np.arctan2(down, right)
        angle = np.where(angle < 0, angle + number(2 * np.pi), angle)
    place = angle * number(orientations / (2 * np.pi if signed else np.pi)) - number(0.5)
    below = np.floor(place)
    share, lower = place - below, below.astype(np.int64) % orientations
    magnitude = np.sqrt(right * right + down * down)
    return magnitude * (1 - share), magnitude * share, lower, (lower + 1) % orientations


def profiles(window: np.ndarray, cell: int) -> np.ndarray:
    """How much each place along a block counts for each of its cells: (cells, len(window)).

    The window there, times 1 in the middle of the cell, falling linearly to 0 in the middle of its neighbours.
    """
    place = (np.arange(len(window)) + 0.5) / cell - 0.5
    distance = np.abs(place - np.arange(len(window) // cell)[:, None])
    return (np.maximum(0, 1 - distance) * window).astype(window.dtype)


def blocks_in(size: Pair, block: Pair, block_stride: Pair, start: Pair) -> Pair:
    """How many blocks lie in an image of ``size``, down and across."""
    rows, columns = (max(0, (n - s - b) // step + 1) for n, b, step, s in zip(size, block, block_stride, start))
    return rows, columns
