"""Histograms of oriented gradients by whole rows of pixels, shared between threads.

What a pixel needs before it votes, gradient, magnitude and bin, is the same arithmetic for all; done for a row at a time,
in loops without branches, LLVM makes vectors of it. Only the votes themselves go where they will, one by one. Neighbouring
cells take turns at that: two additions to one number would have to wait for each other.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minivision_kernels.cpu.compile import Float64Out2, In1, In2, Out3, Out4, Team, compiled, contiguous, helper, prange
from minivision_kernels.cpu.hog_loops import NORMS, angle_of, bin_of, normalise
from minivision_kernels.cpu.rows import add_row
from minivision_kernels.cpu.simd import entry, lanes, load, none, put, sub, vectors
from minivision_kernels.cpu.stream import larger, mul, multiply_add, spread, total
from minivision_kernels.cpu.writer import INT32, Vector, Writer, int_, word
from minivision_kernels.ladder import rung
from minivision_kernels.reference.hog import ARCTAN, ARCTAN_EPS, CLIP, EPS, blocks_in, profiles, windows_in
from minivision_kernels.shapes import Pair

BAND = 8                        # rows of blocks that a thread takes at a time; they share the rows of pixels between them


@rung("hog_cells", name="vectors", device="cpu", accepts=vectors)
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


@rung("hog_votes", name="vectors", device="cpu", accepts=vectors)
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


@rung("hog_scores", name="vectors", device="cpu", accepts=vectors)
def hog_scores(blocks: np.ndarray, weights: np.ndarray, far: Pair, apart: Pair) -> np.ndarray:
    """Four windows at a time, so that a vector of weights is read once for four; their rows are shared between threads.

    Where the blocks of a window are neighbours in the grid, a whole row of them is one run of numbers.
    """
    down, across, L = weights.shape
    scores = np.empty(windows_in(blocks.shape, weights.shape, far, apart))
    run = across * L if far[1] == 1 else L
    _scores(contiguous(blocks).reshape(len(blocks), -1), contiguous(weights).reshape(down, -1), run, far[0], far[1] * L,
            apart[0], apart[1] * L, scores, work=scores.size * weights.size // 8)
    return scores


# ---------------------------------------------------------------------------------------------- cells


@compiled
def _cells(image: In2, channels: int, cells: Out3, CH: int, CW: int, cosines: In1, sines: In1, team: Team):
    rows, columns, orientations = cells.shape
    W = image.shape[1] // channels
    for row in prange(rows, team):
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
    if channels == 3:
        longest_of_three(downs, rights, squares, down, right)
        if exactly:
            settle_longest(downs, rights, squares, down, right)
        return
    for x in range(W):
        longest = x * channels
        for k in range(x * channels + 1, x * channels + channels):
            if exactly and is_near(squares[k], squares[longest]):
                longest = k if is_longer(downs[k], rights[k], downs[longest], rights[longest]) else longest
            else:
                longest = k if squares[k] > squares[longest] else longest
        down[x], right[x] = downs[longest], rights[longest]


@helper
def longest_of_three(downs, rights, squares, down, right):
    """Without a branch, in vectors: pixels are taken apart into channels, and what is longer is chosen lane by lane.

    The beginning of ``squares``, which has been read by then, is overwritten: how far the longest is ahead of the next, less
    what rounding may have done to it.
    """
    W, step, x = down.shape[0], lanes(down), 0
    near, tiny = spread(down, down.dtype.type(1e-5)), spread(down, down.dtype.type(1e-30))
    while x + step <= W:
        d, r, q = parted(downs, 3 * x), parted(rights, 3 * x), parted(squares, 3 * x)
        high, wide = where_above(q[1], q[0], d[1], d[0]), where_above(q[1], q[0], r[1], r[0])
        square, other = larger(q[0], q[1]), where_above(q[0], q[1], q[1], q[0])
        put(down, x, where_above(q[2], square, d[2], high))
        put(right, x, where_above(q[2], square, r[2], wide))
        most = larger(square, q[2])
        second = larger(other, where_above(q[2], square, square, q[2]))
        put(squares, x, sub(sub(sub(most, second), mul(near, most)), tiny))
        x += step
    for k in range(x, W):
        longest = 3 * k + 1 if squares[3 * k + 1] > squares[3 * k] else 3 * k
        longest = 3 * k + 2 if squares[3 * k + 2] > squares[longest] else longest
        down[k], right[k] = downs[longest], rights[longest]
        squares[k] = 0                                  # of these few, all are settled


@helper
def settle_longest(downs, rights, ahead, down, right):
    """Choose again, by lengths and not by squares, where rounding may have decided."""
    for x in range(down.shape[0]):
        if not ahead[x] > 0:
            longest = 3 * x
            for k in range(3 * x + 1, 3 * x + 3):
                longest = k if is_longer(downs[k], rights[k], downs[longest], rights[longest]) else longest
            down[x], right[x] = downs[longest], rights[longest]


@word
def parted(typing, a, at):
    """The vectors a[at], a[at + 3], ...; a[at + 1], a[at + 4], ...; a[at + 2], ...: what lies there in threes."""
    kind = types.UniTuple(Vector(a.dtype), 3)

    def write(context, builder, signature, args):
        w = Writer(context, builder, signature.args[0])
        start, L = w.pointer(signature.args[0], args[0], args[1]), w.lanes
        x, y, z = (w.load(w.beyond(start, k * L)) for k in range(3))
        order, found = ir.VectorType(INT32, L), []
        for first in range(3):
            places = range(first, 3 * L, 3)
            low = ir.Constant(order, [k if k < 2 * L else 0 for k in places])
            all_ = ir.Constant(order, [i if k < 2 * L else k - L for i, k in enumerate(places)])
            found.append(builder.shuffle_vector(builder.shuffle_vector(x, y, low), z, all_))
        return cgutils.pack_array(builder, found)

    return kind(a, int_), write


@word
def where_above(typing, x, y, a, b):
    """a where x > y, else b, for vectors."""
    return a(x, y, a, b), lambda context, builder, signature, args: builder.select(
        builder.fcmp_ordered(">", args[0], args[1]), args[2], args[3])


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


@compiled
def _votes(
    image: In2, channels: int, down: In2, right: In2, votes: Out4, step_down: int, step_right: int, top: int, left: int,
    signed: bool, polynomial: bool, arctan: In1, team: Team,
):
    rows, columns, BR, length = votes.shape
    BC = right.shape[0]
    orientations, W = length // BC, image.shape[1] // channels
    for band in prange((rows + BAND - 1) // BAND, team):
        first, last = band * BAND, min(rows, band * BAND + BAND)
        sums = np.zeros((BAND * BR, columns * length), image.dtype)
        line, pixels = np.empty(columns * length, image.dtype), np.empty((3, W), image.dtype)
        differences = np.empty((3, W * channels), image.dtype)
        shares, bins = np.empty(2 * W, image.dtype), np.empty(2 * W, np.int32)      # two for each pixel
        for y in range(top + first * step_down, top + (last - 1) * step_down + down.shape[1]):
            if (y - top) % step_down >= down.shape[1]:
                continue                                    # between two blocks
            gradient_row(image, y, channels, False, differences, pixels[0], pixels[1])
            shared_row(pixels[0], pixels[1], arctan, polynomial, signed, orientations, pixels[2], shares, bins)
            line[:] = 0
            for cell in range(BC):
                for j in range(right.shape[1]):
                    if right[cell, j] != 0:
                        vote_row(line[cell * orientations:], length, columns, left + j, step_right, right[cell, j], shares,
                                 bins)
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
def vote_row(line, length, columns, left, step, weight, shares, bins):
    """Every ``step``-th pixel of a row from ``left`` on votes in the histogram of one cell, ``length`` numbers apart.

    The places are unsigned: Numba then need not ask whether they count from the end.
    """
    at, x = np.uint64(0), np.uint64(2 * left)
    for _ in range(columns):
        line[at + np.uint64(bins[x])] += weight * shares[x]
        line[at + np.uint64(bins[x + np.uint64(1)])] += weight * shares[x + np.uint64(1)]
        at += np.uint64(length)
        x += np.uint64(2 * step)


@helper
def shared_row(down, right, arctan, polynomial, signed, orientations, angles, shares, bins):
    """What each pixel of a row gives to its two bins, and which those are, one beside the other; ``angles`` is room."""
    number = arctan.dtype.type
    p1, p3, p5, p7 = arctan[0], arctan[1], arctan[2], arctan[3]
    quarter, half, whole, eps = number(90), number(180), number(360), number(ARCTAN_EPS)
    radians, zero = number(math.pi / 180), number(0)
    if polynomial:
        for x in range(angles.shape[0]):
            across, along = abs(right[x]), abs(down[x])
            c = min(across, along) / (max(across, along) + eps)
            c2 = c * c
            angle = fused(fused(fused(p7, c2, p5), c2, p3), c2, p1) * c
            angle = quarter - angle if along > across else angle
            angle = half - angle if right[x] < zero else angle
            angle = whole - angle if down[x] < zero else angle
            angles[x] = angle * radians
    else:
        for x in range(angles.shape[0]):
            angles[x] = math.atan2(down[x], right[x])
            if angles[x] < 0:
                angles[x] += number(2 * math.pi)
    scale, middle = number(orientations / (2 * math.pi if signed else math.pi)), number(0.5)
    most = np.int32(orientations - 1)
    for x in range(angles.shape[0]):
        place = angles[x] * scale - middle
        below = np.floor(place)
        magnitude = np.sqrt(right[x] * right[x] + down[x] * down[x])
        shares[2 * x] = magnitude * (number(1) - (place - below))
        shares[2 * x + 1] = magnitude * (place - below)
        at = np.int32(below)
        at = at + np.int32(orientations) if at < 0 else at - np.int32(orientations) if at > most else at
        at = min(max(at, np.int32(0)), most)                # what is not a number must not vote outside its cell
        bins[2 * x] = at
        bins[2 * x + 1] = at + np.int32(1) if at < most else np.int32(0)


@word
def fused(typing, x, y, z):
    """x * y + z for numbers, rounded once, as OpenCV's instructions do it; in a loop, LLVM makes vectors of it."""
    def write(context, builder, signature, args):
        return builder.fma(*args)

    return x(x, x, x), write


# ---------------------------------------------------------------------------------------------- blocks


@compiled
def _blocks(cells: In2, L: int, blocks: Out3, BR: int, BC: int, norm: int, team: Team):
    run = BC * L
    for row in prange(blocks.shape[0], team):
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


# ---------------------------------------------------------------------------------------------- scores


@compiled
def _scores(
    blocks: In2, weights: In2, run: int, far_down: int, far_right: int, apart_down: int, apart_right: int, scores: Float64Out2,
    team: Team,
):
    """The numbers of a window lie in runs of ``run``; all distances but those down are in numbers."""
    rows, columns = scores.shape
    for y in prange(rows, team):
        for x in range(0, columns, 4):
            first, last = x * apart_right, (columns - 1) * apart_right
            second, third = min(first + apart_right, last), min(first + 2 * apart_right, last)
            fourth = min(first + 3 * apart_right, last)
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for i in range(weights.shape[0]):
                row = blocks[y * apart_down + i * far_down]
                p, q, r, s = four_products(weights[i], run, far_right, row[first:], row[second:], row[third:], row[fourth:])
                a, b, c, d = a + p, b + q, c + r, d + s
            # Beyond the last column the last window stands again: its score is written, again, where it belongs.
            scores[y, min(x + 3, columns - 1)] = d
            scores[y, min(x + 2, columns - 1)] = c
            scores[y, min(x + 1, columns - 1)] = b
            scores[y, x] = a


@helper
def four_products(w, run, far, p, q, r, s):
    """The inner products of w with four others, which have a run of their numbers every ``far`` places."""
    a, b, c, d, step = none(w), none(w), none(w), none(w), lanes(w)
    e, f, g, h = w.dtype.type(0), w.dtype.type(0), w.dtype.type(0), w.dtype.type(0)
    place = 0
    for start in range(0, w.shape[0], run):
        whole = start + run // step * step
        for at in range(start, whole, step):
            v, k = load(w, at), place + at - start
            a, b = multiply_add(v, load(p, k), a), multiply_add(v, load(q, k), b)
            c, d = multiply_add(v, load(r, k), c), multiply_add(v, load(s, k), d)
        for at in range(whole, start + run):
            v, k = entry(w, at), place + at - start
            e, f, g, h = e + v * entry(p, k), f + v * entry(q, k), g + v * entry(r, k), h + v * entry(s, k)
        place += far
    return total(w, a) + e, total(w, b) + f, total(w, c) + g, total(w, d) + h
