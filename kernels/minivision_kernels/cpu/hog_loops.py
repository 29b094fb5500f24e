"""Histograms of oriented gradients, one pixel at a time."""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels.cpu.compile import In1, In2, In3, Out2, Out3, compiled, contiguous, floats, helper
from minivision_kernels.ladder import rung
from minivision_kernels.reference.hog import ARCTAN, ARCTAN_EPS, CLIP, EPS, blocks_in, profiles
from minivision_kernels.shapes import Pair

NORMS = ("L1", "L1-sqrt", "L2", "L2-Hys", "OpenCV")         # by number: kernels know no strings


@rung("hog_cells", name="loops", device="cpu", accepts=floats)
def hog_cells(image: np.ndarray, pixels_per_cell: Pair, orientations: int) -> np.ndarray:
    """A pixel finds its bin and adds to it, and is done; no array holds gradients or angles.

    NumPy goes over the image a dozen times, and picks up and puts down a histogram for every place in a cell.
    """
    (CH, CW), (H, W) = pixels_per_cell, image.shape[:2]
    cells = np.zeros((H // CH, W // CW, orientations), image.dtype)
    _cells(contiguous(image), cells, CH, CW)
    return cells


@rung("hog_votes", name="loops", device="cpu", accepts=floats)
def hog_votes(
    image: np.ndarray, window_rows: np.ndarray, window_columns: np.ndarray, pixels_per_cell: Pair, block_stride: Pair,
    start: Pair, orientations: int, signed: bool, polynomial: bool,
) -> np.ndarray:
    """Block by block, pixel by pixel: each adds to up to four cells, in two bins each.

    The angle of a pixel is computed anew for every block that it lies in.
    """
    down, right = profiles(window_rows, pixels_per_cell[0]), profiles(window_columns, pixels_per_cell[1])
    rows, columns = blocks_in(image.shape[:2], (down.shape[1], right.shape[1]), block_stride, start)
    votes = np.zeros((rows, columns, len(down), len(right), orientations), image.dtype)
    _votes(contiguous(image), down, right, votes.reshape(-1, orientations), rows, columns, *block_stride, *start, signed,
           polynomial, ARCTAN.astype(image.dtype))
    return votes


@rung("hog_blocks", name="loops", device="cpu", accepts=floats)
def hog_blocks(cells: np.ndarray, cells_per_block: Pair, norm: str) -> np.ndarray:
    """A block is copied, measured and divided while it is in the cache nearest to the core."""
    (BR, BC), (R, C, L) = cells_per_block, cells.shape
    blocks = np.empty((R - BR + 1, C - BC + 1, BR, BC, L), cells.dtype)
    _blocks(contiguous(cells), blocks.reshape(-1, BR * BC * L), BR, BC, NORMS.index(norm))
    return blocks


@helper
def difference(image, y, x, c):
    """The gradient at a pixel, down and to the right; 0 across the border."""
    down = right = image[y, x, c] - image[y, x, c]
    if 0 < y < image.shape[0] - 1:
        down = image[y + 1, x, c] - image[y - 1, x, c]
    if 0 < x < image.shape[1] - 1:
        right = image[y, x + 1, c] - image[y, x - 1, c]
    return down, right


@compiled
def _cells(image: In3, cells: Out3, CH: int, CW: int):
    rows, columns, orientations = cells.shape
    sums = np.empty(orientations, np.float32)
    for row in range(rows):
        for column in range(columns):
            sums[:] = 0
            for y in range(row * CH, row * CH + CH):
                for x in range(column * CW, column * CW + CW):
                    down, right = difference(image, y, x, 0)
                    for c in range(1, image.shape[2]):
                        d, r = difference(image, y, x, c)
                        if math.hypot(d, r) > math.hypot(down, right):
                            down, right = d, r
                    at = bin_of(angle_of(down, right), orientations)
                    if at < orientations:
                        sums[at] = np.float32(np.float64(sums[at]) + math.hypot(np.float64(right), np.float64(down)))
            for o in range(orientations):
                cells[row, column, o] = sums[o] / np.float32(CH * CW)


@helper
def angle_of(down, right):
    """The angle of a gradient in degrees, from 0 to 180: opposite directions are one."""
    angle = math.atan2(np.float64(down), np.float64(right)) * (180 / math.pi)
    if angle < 0:
        return angle + 180                                  # from -1e-17 this makes 180
    return angle - 180 if angle >= 180 else angle


@helper
def bin_of(angle, orientations):
    """The bin with width o <= angle < width (o + 1), width = 180 / orientations; ``orientations`` if it is in none."""
    width = 180 / orientations
    if not angle <= 180:                                    # NaN
        return orientations
    at = min(int(angle / width), orientations - 1)
    if width * at > angle:                                  # the quotient was rounded up
        at -= 1
    elif width * (at + 1) <= angle:                         # or down; or rounding has made the angle 180
        at += 1
    return at


@compiled
def _votes(
    image: In3, down: In2, right: In2, votes: Out2, rows: int, columns: int, step_down: int, step_right: int, top: int,
    left: int, signed: bool, polynomial: bool, arctan: In1,
):
    BR, BC, orientations = down.shape[0], right.shape[0], votes.shape[1]
    for block in range(rows * columns):
        y0, x0 = top + block // columns * step_down, left + block % columns * step_right
        for i in range(down.shape[1]):
            for j in range(right.shape[1]):
                d, r = strongest(image, y0 + i, x0 + j)
                magnitude = math.sqrt(r * r + d * d)
                lower, share = place_of(d, r, orientations, signed, polynomial, arctan)
                upper = lower + 1 if lower + 1 < orientations else 0
                for cell_row in range(BR):
                    for cell_column in range(BC):
                        weight = down[cell_row, i] * right[cell_column, j] * magnitude
                        if weight != 0:
                            at = (block * BR + cell_row) * BC + cell_column
                            votes[at, lower] += weight * (1 - share)
                            votes[at, upper] += weight * share


@helper
def strongest(image, y, x):
    """The longest gradient among the channels of a pixel, the first of equals."""
    down, right = difference(image, y, x, 0)
    for c in range(1, image.shape[2]):
        d, r = difference(image, y, x, c)
        if r * r + d * d > right * right + down * down:
            down, right = d, r
    return down, right


@helper
def place_of(down, right, orientations, signed, polynomial, arctan):
    """The bin below a gradient's angle, and how far on the way to the next one the angle lies."""
    number = arctan.dtype.type
    if polynomial:
        across, along = abs(right), abs(down)
        c = min(across, along) / (max(across, along) + number(ARCTAN_EPS))
        c2, angle = np.float64(c * c), arctan[3]
        for k in range(2, -1, -1):                              # in float64: each step is rounded once
            angle = number(angle * c2 + arctan[k])
        angle = angle * c
        if along > across:
            angle = number(90) - angle
        if right < 0:
            angle = number(180) - angle
        if down < 0:
            angle = number(360) - angle
        angle = angle * number(math.pi / 180)
    else:
        angle = number(math.atan2(down, right))
        if angle < 0:
            angle = angle + number(2 * math.pi)
    place = angle * number(orientations / (2 * math.pi if signed else math.pi)) - number(0.5)
    below = math.floor(place)
    return int(below) % orientations, number(place - below)


@compiled
def _blocks(cells: In3, blocks: Out2, BR: int, BC: int, norm: int):
    columns, L = cells.shape[1] - BC + 1, cells.shape[2]
    for b in range(blocks.shape[0]):
        row, column = b // columns, b % columns
        at = 0
        for i in range(BR):
            for j in range(BC):
                for k in range(L):
                    blocks[b, at] = cells[row + i, column + j, k]
                    at += 1
        normalise(blocks[b], norm)


@helper
def normalise(v, norm):
    """Divide a block by its size: ``NORMS[norm]``."""
    number = v.dtype.type
    size = number(0)
    if norm < 2:
        for x in v:
            size += abs(x)
        for k in range(v.shape[0]):
            v[k] /= size + number(EPS)
            if norm == 1:
                v[k] = math.sqrt(v[k])
        return
    inside = number(0 if norm == 4 else EPS * EPS)
    for x in v:
        size += x * x
    size = number(math.sqrt(size + inside)) + number(0.1 * v.shape[0] if norm == 4 else 0)
    for k in range(v.shape[0]):
        v[k] /= size
    if norm > 2:
        size = number(0)
        for k in range(v.shape[0]):
            v[k] = min(v[k], number(CLIP))
            size += v[k] * v[k]
        size = number(math.sqrt(size + inside)) + number(1e-3 if norm == 4 else 0)
        for k in range(v.shape[0]):
            v[k] /= size
