"""Patches of images for Winograd's convolution: transformed as they are read, and transformed back as they are written.

The lanes are channels: a few lines of as many channels as a vector holds are turned over as they are read, so that a pixel is a
vector, and turned back as results are written. Patches need not fill vectors then, and an image of 14 x 14 costs no more per
patch than one of 224 x 224.

Everywhere ``points`` is a tuple as long as a patch is high, 6 or 4, and ``outputs`` one as long as its piece of the result,
4 or 2; what they hold does not matter. Places of a patch are numbered line by line, points² of them.
"""

from __future__ import annotations

from minivision_kernels.cpu.compile import helper
from minivision_kernels.cpu.simd import (
    TALL_COLUMNS,
    TALL_ROWS,
    add,
    entries,
    lanes,
    load,
    none,
    outer_at,
    put,
    room,
    store,
    turn,
    zeros,
)
from minivision_kernels.cpu.transforms import column, folded, folded_weights, put_column, spread, turned, turned_weights

SEGMENT = 8         # patches of a line that are transformed together: 34 pixels of 16 channels stay in the first-level cache


@helper
def turn_filter(panels, at, tap, half, out, to, step, points, taps):
    """G w Gᵀ of a vector of filters, tap k of which is at + k * tap in panels: place k goes to out[to + k * step]."""
    L, P = lanes(panels), len(points)
    for j in range(3):
        put_column(half, j * L, 3 * L, turned_weights(column(panels, at + j * tap, 3 * tap, taps), points))
    for i in range(P):
        put_column(out, to + P * i * step, step, turned_weights(column(half, 3 * i * L, L, taps), points))


@helper
def turn_patches(x, N, C, H, W, pad_h, pad_w, OH, OW, c, first, end, out, at, step, points, outputs):
    """Bᵀ d B of the patches ``first`` ... ``end`` - 1, for a vector of channels from c on: place k of patch t goes to
    out[at + k * step + (t - first) * row + c], a row being a whole number of vectors."""
    L, P, M = lanes(x), len(points), len(outputs)
    row = (C + L - 1) // L * L
    down, across = (OH + M - 1) // M, (OW + M - 1) // M
    span = (M * SEGMENT + 2 + L) * L
    lines, half = room(x, P * span), room(x, P * span)
    channels = min(L, C - c)
    t = first
    while t < end:
        n, top, left = t // (down * across), t // across % down * M - pad_h, t % across * M - pad_w
        count = min(SEGMENT, min(across - t % across, end - t))
        for i in range(P):
            h = top + i
            if 0 <= h < H:
                from_ = ((n * C + c) * H + h) * W + left
                for j in range(0, M * count + 2, L):
                    turn(x, from_ + j, H * W, -left - j, W - left - j, channels, lines, i * span + j * L, L, L, L)
            else:
                for j in range(M * count + 2):
                    put(lines, i * span + j * L, none(x))
        for j in range(M * count + 2):
            put_column(half, j * L, span, turned(column(lines, j * L, span, points)))
        for j in range(count):
            to = at + (t - first + j) * row + c
            for i in range(P):
                put_column(out, to + P * i * step, step, turned(column(half, i * span + M * j * L, L, points)))
        t += count


@helper
def multiply(turned_, k, step, count, C, weights, at, place, out, to):
    """out (count, width) = the matrix of place k, (count, C), times the weights (C, width) from ``at`` on."""
    L = lanes(turned_)
    width, row = TALL_COLUMNS * L, (C + L - 1) // L * L
    steps = entries(place, 0, TALL_ROWS)
    for t in range(0, count, TALL_ROWS):
        tile = zeros(turned_, TALL_ROWS, TALL_COLUMNS)
        for c in range(C):
            tile = outer_at(tile, TALL_ROWS, TALL_COLUMNS, turned_, k * step + t * row + c, steps, weights, at + c * width)
        store(tile, TALL_ROWS, TALL_COLUMNS, out, to + t * width, width)


@helper
def fold_patches(products, at, step, first, end, y, F, f, OH, OW, points, outputs):
    """y of the patches ``first`` ... ``end`` - 1, for a vector of filters from f on: Aᵀ m A of their products, of which
    place k of patch t is at + k * step + (t - first) * width."""
    L, P, M = lanes(products), len(points), len(outputs)
    width = TALL_COLUMNS * L
    down, across = (OH + M - 1) // M, (OW + M - 1) // M
    span = (M * SEGMENT + L) * L
    half, out = room(products, P * M * L), room(products, M * span)
    filters = min(L, F - f)
    t = first
    while t < end:
        n, top, left = t // (down * across), t // across % down * M, t % across * M
        count = min(SEGMENT, min(across - t % across, end - t))
        for p in range(count):
            for j in range(P):
                m = at + j * step + (t - first + p) * width
                put_column(half, j * L, P * L, folded(column(products, m, P * step, points)))
            for i in range(M):
                put_column(out, i * span + M * p * L, L, folded(column(half, P * i * L, L, points)))
        right = min(M * count, OW - left)
        for i in range(min(M, OH - top)):
            to = ((n * F + f) * OH + top + i) * OW + left
            for j in range(0, right, L):
                turn(out, i * span + j * L, L, 0, filters, L, y, to + j, OH * OW, filters, min(L, right - j))
        t += count


@helper
def spread_patches(g, F, OH, OW, f, first, end, out, at, step, points, outputs):
    """A g Aᵀ of the patches ``first`` ... ``end`` - 1, for a vector of filters from f on: place k of patch t goes to
    out[at + k * step + (t - first) * width]."""
    L, P, M = lanes(g), len(points), len(outputs)
    width = TALL_COLUMNS * L
    down, across = (OH + M - 1) // M, (OW + M - 1) // M
    span = (M * SEGMENT + L) * L
    lines, half = room(g, M * span), room(g, P * M * L)
    filters = min(L, F - f)
    t = first
    while t < end:
        n, top, left = t // (down * across), t // across % down * M, t % across * M
        count = min(SEGMENT, min(across - t % across, end - t))
        for i in range(M):
            if top + i < OH:
                from_ = ((n * F + f) * OH + top + i) * OW + left
                for j in range(0, M * count, L):
                    turn(g, from_ + j, OH * OW, 0, OW - left - j, filters, lines, i * span + j * L, L, L, L)
            else:
                for j in range(M * count):
                    put(lines, i * span + j * L, none(g))
        for p in range(count):
            for j in range(M):
                put_column(half, j * L, M * L, spread(column(lines, (M * p + j) * L, span, outputs)))
            to = at + (t - first + p) * width
            for i in range(P):
                put_column(out, to + P * i * step, step, spread(column(half, M * i * L, L, outputs)))
        t += count


@helper
def fold_filter(sums, m, step, dw, C, F, f, c, points):
    """dw = Gᵀ m G of filters f and on and channel c, place k of which is at m + k * step in ``sums``."""
    L, P = lanes(sums), len(points)
    half, out = room(sums, 3 * P * L), room(sums, 9 * L)
    for j in range(P):
        put_column(half, j * L, P * L, folded_weights(column(sums, m + j * step, P * step, points)))
    for i in range(3):
        put_column(out, 3 * i * L, L, folded_weights(column(half, P * i * L, L, points)))
    filters = min(L, F - f)
    for k in range(0, 9, L):                            # 9 taps of each filter; a vector may hold fewer
        taps = min(L, 9 - k)
        turn(out, k * L, L, 0, filters, taps, dw, (f * C + c) * 9 + k, 9 * C, filters, taps)


@helper
def correlate(turned_, upstream, k, place, step, count, C, at, sums, to, begun):
    """sums (C, width) from ``to`` on (+)= the product of place k of both transforms, (count, C) and (count, width)."""
    L = lanes(turned_)
    width, row = TALL_COLUMNS * L, (C + L - 1) // L * L
    edge, steps = room(turned_, TALL_ROWS * width), entries(place, 0, TALL_ROWS)
    for c in range(0, C, TALL_ROWS):
        tile = zeros(turned_, TALL_ROWS, TALL_COLUMNS)
        for t in range(count):
            tile = outer_at(tile, TALL_ROWS, TALL_COLUMNS, turned_, k * step + t * row + c, steps, upstream, at + t * width)
        store(tile, TALL_ROWS, TALL_COLUMNS, edge, 0, width)
        for j in range(0, min(TALL_ROWS, C - c) * width, L):        # no rows beyond the last channel
            sum_ = load(edge, j)
            put(sums, to + c * width + j, add(sum_, load(sums, to + c * width + j)) if begun else sum_)
