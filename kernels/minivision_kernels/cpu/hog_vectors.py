"""Histograms of oriented gradients by whole rows of pixels, shared between threads.

What a pixel needs before it votes, gradient, magnitude and bin, is the same arithmetic for all; done for a row at a time,
in loops without branches, LLVM makes vectors of it. Only the votes themselves go where they will, one by one. Neighbouring
cells take turns at that: two additions to one number would have to wait for each other.
"""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels.cpu.compile import In1, In2, Out3, Out4, compiled, contiguous, floats, helper, prange
from minivision_kernels.cpu.hog_loops import NORMS, angle_of, bin_of, normalise
from minivision_kernels.cpu.rows import add_row
from minivision_kernels.cpu.simd import lanes, load, none, vectors
from minivision_kernels.cpu.stream import multiply_add, total
from minivision_kernels.ladder import rung
from minivision_kernels.reference.hog import ARCTAN, ARCTAN_EPS, CLIP, EPS, blocks_in, profiles
from minivision_kernels.shapes import Pair

BAND = 8                        # rows of blocks that a thread takes at a time; they share the rows of pixels between them


@rung("hog_cells", name="vectors", device="cpu", accepts=floats)
def hog_cells(image: np.ndarray, pixels_per_cell: Pair, orientations: int) -> np.ndarray:
    """Bins without an arctangent, whole rows in vectors, the rows of cells shared between threads.

    A gradient lies beyond the edge of a bin if its cross product with the edge's direction is positive: a handful of
    multiply-adds for all edges together. Where rounding could decide, and only there, the arctangent is asked.
    """
    (CH, CW), (H, W, channels) = pixels_per_cell, image.shape
    cells = np.empty((H // CH, W // CW, orientations), image.dtype)
    edges = np.pi / orientations * np.arange(orientations)
    _cells(contiguous(image).reshape(H, W * channels), channels, cells, CH, CW, np.cos(edges).astype(image.dtype),
           np.sin(edges).astype(image.dtype), work=image.size * orientations // 8)
    return cells


@rung("hog_votes", name="vectors", device="cpu", accepts=floats)
def hog_votes(
    image: np.ndarray, window_rows: np.ndarray, window_columns: np.ndarray, pixels_per_cell: Pair, block_stride: Pair,
    start: Pair, orientations: int, signed: bool, polynomial: bool,
) -> np.ndarray:
    """First along each row of pixels, then down: blocks share the sums of a row.

    The weight of a pixel in a cell is a product of one that depends on its column and one on its row. So a row of pixels is
    summed with the first into the cells it crosses, by all blocks above and below at once; and a block's cell is a weighted
    sum of such rows, which is plain arithmetic in vectors. A pixel in four blocks votes 6 times in two bins, not 18 times.
    """
    down, right = profiles(window_rows, pixels_per_cell[0]), profiles(window_columns, pixels_per_cell[1])
    H, W, channels = image.shape
    rows, columns = blocks_in((H, W), (down.shape[1], right.shape[1]), block_stride, start)
    votes = np.empty((rows, columns, len(down), len(right), orientations), image.dtype)
    _votes(contiguous(image).reshape(H, W * channels), channels, down, right,
           votes.reshape(rows, columns, len(down), len(right) * orientations), *block_stride, *start, signed, polynomial,
           ARCTAN.astype(image.dtype), work=image.size * 8)
    return votes


@rung("hog_blocks", name="vectors", device="cpu", accepts=vectors)
def hog_blocks(cells: np.ndarray, cells_per_block: Pair, norm: str) -> np.ndarray:
    """Squares are summed in vectors, numbers divided by multiplying, and the rows of blocks shared between threads."""
    (BR, BC), (R, C, L) = cells_per_block, cells.shape
    blocks = np.empty((R - BR + 1, C - BC + 1, BR, BC, L), cells.dtype)
    _blocks(contiguous(cells).reshape(R, C * L), L, blocks.reshape(len(blocks), -1, BR * BC * L), BR, BC, NORMS.index(norm),
            work=blocks.size)
    return blocks


# ---------------------------------------------------------------------------------------------- cells


@compiled(parallel=True)
def _cells(image: In2, channels: int, cells: Out3, CH: int, CW: int, cosines: In1, sines: In1):
    rows, columns, orientations = cells.shape
    W = image.shape[1] // channels
    for row in prange(rows):
        gradient, edges = np.empty((2, W), image.dtype), np.empty((3, W), image.dtype)
        differences = np.empty((3, W * channels), image.dtype)
        magnitude, bins = np.empty(W, np.float64), np.empty(W, np.int32)
        sums = np.zeros(columns * (orientations + 1), np.float32)           # the last of each: votes that are in no bin
        for y in range(row * CH, row * CH + CH):
            gradient_row(image, y, channels, True, differences, gradient[0], gradient[1])
            magnitude_row(gradient[0], gradient[1], magnitude)
            bins_row(gradient[0], gradient[1], cosines, sines, edges, bins)
            settle_row(gradient[0], gradient[1], magnitude, edges[2], bins, orientations)
            for j in range(CW):
                whole_votes_row(sums, np.uint64(orientations + 1), columns, np.uint64(j), np.uint64(CW), magnitude, bins)
        for column in range(columns):
            for o in range(orientations):
                cells[row, column, o] = sums[column * (orientations + 1) + o] / np.float32(CH * CW)


@helper
def whole_votes_row(sums, length, columns, x, step, magnitude, bins):
    """Every ``step``-th pixel of a row votes in its own cell. Unsigned places need no question whether they are negative."""
    at = np.uint64(0)
    for _ in range(columns):
        place = at + np.uint64(bins[x])
        sums[place] = np.float32(np.float64(sums[place]) + magnitude[x])
        at += length
        x += step


@helper
def gradient_row(image, y, channels, exactly, differences, down, right):
    """The gradients of row y; of several channels' the longest, by their squares, or exactly; the first of equals.

    ``differences`` is room for those of all channels: three rows as long as the image's.
    """
    W = down.shape[0]
    above, below = image[y], image[y]
    if 0 < y < image.shape[0] - 1:
        above, below = image[y - 1], image[y + 1]
    downs, rights, squares = differences[0], differences[1], differences[2]
    for k in range(downs.shape[0]):
        downs[k] = below[k] - above[k]
        rights[k] = image[y, k] - image[y, k]
    before, after = image[y, :max(W - 2, 0) * channels], image[y, min(2, W) * channels:]
    inner = rights[channels:]
    for k in range(before.shape[0]):
        inner[k] = after[k] - before[k]
    if channels == 1:
        for x in range(W):
            down[x], right[x] = downs[x], rights[x]
        return
    for k in range(squares.shape[0]):
        squares[k] = rights[k] * rights[k] + downs[k] * downs[k]
    for x in range(W):
        longest = x * channels
        for k in range(x * channels + 1, x * channels + channels):
            if exactly and is_near(squares[k], squares[longest]):
                longest = k if is_longer(downs[k], rights[k], downs[longest], rights[longest]) else longest
            else:
                longest = k if squares[k] > squares[longest] else longest
        down[x], right[x] = downs[longest], rights[longest]


@helper
def is_near(a, b):
    """Whether rounding may have decided which of two squares is larger, or both are too small or too large to tell."""
    return abs(a - b) <= 1e-5 * a or not 1e-30 < b < 1e30


@helper
def is_longer(a, b, c, d):
    """hypot(a, b) > hypot(c, d); gradients that are mirrored have one length."""
    return (abs(a) != abs(c) or abs(b) != abs(d)) and math.hypot(a, b) > math.hypot(c, d)


@helper
def magnitude_row(down, right, magnitude):
    """The lengths of the gradients, in float64."""
    for x in range(magnitude.shape[0]):
        high, wide = np.float64(down[x]), np.float64(right[x])
        magnitude[x] = math.sqrt(wide * wide + high * high)


@helper
def bins_row(down, right, cosines, sines, edges, bins):
    """How many edges each direction is beyond; edges[2] is how near it comes to one, as a share of the magnitude's scale.

    Opposite directions are one: gradients that point up are turned round.
    """
    up, across, near = edges[0], edges[1], edges[2]
    zero = up.dtype.type(0)
    for x in range(up.shape[0]):
        up[x] = abs(down[x])
        across[x] = right[x] if down[x] > zero else -right[x] if down[x] < zero else abs(right[x])
        near[x] = up[x] if up[x] > zero else up.dtype.type(np.inf)
        bins[x] = 0
    for k in range(1, cosines.shape[0]):
        c, s = cosines[k], sines[k]
        for x in range(up.shape[0]):
            beyond = up[x] * c - across[x] * s
            bins[x] += beyond >= zero
            near[x] = min(near[x], abs(beyond))


@helper
def settle_row(down, right, magnitude, near, bins, orientations):
    """Ask the arctangent where a cross product is so near to 0 that rounding decides its sign."""
    eps = 1e-6 if near.itemsize == 4 else 2e-15
    tiny = 1e-37 if near.itemsize == 4 else 1e-307
    for x in range(bins.shape[0]):
        if near[x] <= eps * magnitude[x] + tiny and magnitude[x] > 0:
            bins[x] = bin_of(angle_of(down[x], right[x]), orientations)


# ---------------------------------------------------------------------------------------------- votes


@compiled(parallel=True)
def _votes(
    image: In2, channels: int, down: In2, right: In2, votes: Out4, step_down: int, step_right: int, top: int, left: int,
    signed: bool, polynomial: bool, arctan: In1,
):
    rows, columns, BR, length = votes.shape
    BC = right.shape[0]
    orientations, W = length // BC, image.shape[1] // channels
    for band in prange((rows + BAND - 1) // BAND):
        first, last = band * BAND, min(rows, band * BAND + BAND)
        sums = np.zeros((BAND * BR, columns * length), image.dtype)
        line, pixels = np.empty(columns * length, image.dtype), np.empty((4, W), image.dtype)
        differences = np.empty((3, W * channels), image.dtype)
        lower, upper = np.empty(W, np.int32), np.empty(W, np.int32)
        for y in range(top + first * step_down, top + (last - 1) * step_down + down.shape[1]):
            if (y - top) % step_down >= down.shape[1]:
                continue                                    # between two blocks
            gradient_row(image, y, channels, False, differences, pixels[0], pixels[1])
            shared_row(pixels[0], pixels[1], arctan, polynomial, signed, orientations, pixels[2], pixels[3], lower, upper)
            line[:] = 0
            for cell in range(BC):
                for j in range(right.shape[1]):
                    if right[cell, j] != 0:
                        vote_row(line[cell * orientations:], length, columns, left + j, step_right, right[cell, j], pixels[2],
                                 pixels[3], lower, upper)
            for row in range(first, last):
                i = y - top - row * step_down
                if 0 <= i < down.shape[1]:
                    for cell in range(BR):
                        if down[cell, i] != 0:
                            add_row(sums[(row - first) * BR + cell], down[cell, i], line)
        for row in range(first, last):
            for column in range(columns):
                for cell in range(BR):
                    at = column * length
                    copy_row(sums[(row - first) * BR + cell, at:at + length], votes[row, column, cell])


@helper
def vote_row(line, length, columns, left, step, weight, first, second, lower, upper):
    """Every ``step``-th pixel of a row from ``left`` on votes in the histogram of one cell, ``length`` numbers apart.

    The places are unsigned: Numba then need not ask whether they count from the end.
    """
    at, x = np.uint64(0), np.uint64(left)
    for _ in range(columns):
        line[at + np.uint64(lower[x])] += weight * first[x]
        line[at + np.uint64(upper[x])] += weight * second[x]
        at += np.uint64(length)
        x += np.uint64(step)


@helper
def shared_row(down, right, arctan, polynomial, signed, orientations, first, second, lower, upper):
    """What each pixel of a row gives to its two bins, and which those are."""
    number = arctan.dtype.type
    p1, p3, p5, p7 = arctan[0], arctan[1], arctan[2], arctan[3]
    quarter, half, whole, eps = number(90), number(180), number(360), number(ARCTAN_EPS)
    radians, zero = number(math.pi / 180), number(0)
    if polynomial:
        for x in range(first.shape[0]):
            across, along = abs(right[x]), abs(down[x])
            c = min(across, along) / (max(across, along) + eps)
            c2 = np.float64(c * c)                          # in float64: each step is rounded once
            angle = number(number(number(p7 * c2 + p5) * c2 + p3) * c2 + p1) * c
            angle = quarter - angle if along > across else angle
            angle = half - angle if right[x] < zero else angle
            angle = whole - angle if down[x] < zero else angle
            second[x] = angle * radians
    else:
        for x in range(first.shape[0]):
            second[x] = math.atan2(down[x], right[x])
            if second[x] < 0:
                second[x] += number(2 * math.pi)
    scale, middle = number(orientations / (2 * math.pi if signed else math.pi)), number(0.5)
    most = np.int32(orientations - 1)
    for x in range(first.shape[0]):
        place = second[x] * scale - middle
        below = np.floor(place)
        magnitude = np.sqrt(right[x] * right[x] + down[x] * down[x])
        second[x] = magnitude * (place - below)
        first[x] = magnitude * (number(1) - (place - below))
        at = np.int32(below)
        at = at + np.int32(orientations) if at < 0 else at - np.int32(orientations) if at > most else at
        at = min(max(at, np.int32(0)), most)                # what is not a number must not vote outside its cell
        lower[x] = at
        upper[x] = at + np.int32(1) if at < most else np.int32(0)


# ---------------------------------------------------------------------------------------------- blocks


@compiled(parallel=True)
def _blocks(cells: In2, L: int, blocks: Out3, BR: int, BC: int, norm: int):
    run = BC * L
    for row in prange(blocks.shape[0]):
        for column in range(blocks.shape[1]):
            block = blocks[row, column]
            for i in range(BR):
                copy_row(cells[row + i, column * L:column * L + run], block[i * run:i * run + run])
            if norm < 2:
                normalise(block, norm)
            else:
                scale(block, norm)


@helper
def copy_row(source, target):
    for k in range(target.shape[0]):
        target[k] = source[k]


@helper
def scale(v, norm):
    """Divide a block by its size: "L2", "L2-Hys" or "OpenCV"."""
    number = v.dtype.type
    inside = number(0 if norm == 4 else EPS * EPS)
    size = number(math.sqrt(squares(v) + inside)) + number(0.1 * v.shape[0] if norm == 4 else 0)
    part, clip = number(1) / size, number(CLIP)
    if norm == 2:
        for k in range(v.shape[0]):
            v[k] *= part
    else:
        for k in range(v.shape[0]):
            v[k] = min(v[k] * part, clip)
        size = number(math.sqrt(squares(v) + inside)) + number(1e-3 if norm == 4 else 0)
        part = number(1) / size
        for k in range(v.shape[0]):
            v[k] *= part


@helper
def squares(v):
    """The sum of the squares."""
    sums, at, step = none(v), 0, lanes(v)
    while at + step <= v.shape[0]:
        x = load(v, at)
        sums = multiply_add(x, x, sums)
        at += step
    result = total(v, sums)
    while at < v.shape[0]:
        result += v[at] * v[at]
        at += 1
    return result
