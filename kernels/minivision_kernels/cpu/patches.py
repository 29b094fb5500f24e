"""Patches of images for Winograd's convolution: transformed as they are read, and transformed back as they are written.

The lanes are channels: a few lines of as many channels as a vector holds are turned over as they are read, so that a pixel is a
vector, and turned back as results are written. Patches need not fill vectors then, and an image of 14 x 14 costs no more per
patch than one of 224 x 224.

Everywhere ``seen`` is a tuple as long as a patch of the image is high, and the next patch begins ``apart`` pixels further;
``points`` is one as long as the transformed patch is high, ``outputs`` as its piece of the result, and ``taps`` as a line of a
filter. What they hold does not matter (`Size` in ``winograd.py`` has the numbers). Places of a transformed patch are numbered
line by line, points² of them, of which only kinds² have weights of their own (`kind_of`).
"""

from __future__ import annotations

from minivision_kernels.cpu.compile import helper, inlined
from minivision_kernels.cpu.simd import entries, fetch, lanes, none, prefetch, put, room, turn, turn_whole
from minivision_kernels.cpu.tile import (
    TALL_COLUMNS,
    TALL_ROWS,
    finish_columns,
    outer_along,
    outer_at,
    plus,
    store,
    zeros,
)
from minivision_kernels.cpu.transforms import column, fold_taps, folded, put_column, spread, turn_taps, turned

CROSS_ROWS = 8 if TALL_ROWS == 14 else 6        # rows of the tile of `correlate`
HIGH, MIDDLE, LOW = (12, 8, 4) if TALL_ROWS == 14 else (6, 4, 2)        # and of those of `multiply_panel`
SEGMENT, PIXELS = 8, 34     # patches of a line that are transformed together, and their pixels: of 16 channels they stay in the
                            # first cache
TERMS = 256         # patches that are summed before they are added to a sum over more of them


@helper
def turn_weights(w, at, row_step, term_step, filters, count, taps, out, to):
    """A vector of filters side by side: tap k of channel c of filter f goes to out[to + (c * taps + k) * L + f], for no more
    channels than a vector has lanes."""
    L = lanes(w)
    run = taps * count if term_step == taps else taps           # so many numbers of a filter follow each other
    for r in range(taps * count // run):
        start = at + r * term_step
        for k in range(0, run, L):
            here = min(L, run - k)
            if filters == L and here == L:
                turn_whole(w, start + k, row_step, out, to + (taps * r + k) * L, L)
            else:
                turn(w, start + k, row_step, 0, here, filters, out, to + (taps * r + k) * L, L, here, L)
        # Ask for the same of the channels after these: so many filters, or the taps of all of them.
        lines, length, after = (filters, run, run) if term_step == taps else (1, filters * taps, L * term_step)
        for f in range(lines):
            for k in range(0, length, 64 // w.itemsize):
                prefetch(w, start + f * row_step + after + k)


@helper
def kind_of(k, points, kinds):
    """The number of the weights of place k: those from line or column ``kinds`` - 1 on have the same."""
    return min(k // points, kinds - 1) * kinds + min(k % points, kinds - 1)


@helper
def turn_filters(w, at, row_step, term_step, filters, terms, backward, out, to, step, points, taps):
    """G w Gᵀ of a vector of filters for so many channels: kind k of channel c goes to out[to + k * step + c * width].

    Tap k of channel c of filter f is w[at + f * row_step + c * term_step + k], or if it goes ``backward`` the k-th from the
    last."""
    L, all_ = lanes(w), len(taps) ** 2
    turned_ = room(w, all_ * L * L)
    for begin in range(0, terms, L):
        count = min(L, terms - begin)
        turn_weights(w, at + begin * term_step, row_step, term_step, filters, count, all_, turned_, 0)
        for c in range(count):
            first, tap = ((all_ - 1) * L, -L) if backward else (0, L)
            turn_taps(turned_, all_ * L * c + first, tap, out, to + (begin + c) * TALL_COLUMNS * L, step, points, taps)


@helper
def turn_line(x, at, step, left, width, channels, out, to, count):
    """out[to + j * L] = pixel left + j of a line of ``width`` pixels, for so many channels, ``step`` apart: at least ``count``
    vectors, of zeros where there is no pixel."""
    L = lanes(x)
    j = min(count, max(0, -left))
    for before in range(j):
        put(out, to + before * L, none(x))
    while j < min(count, width - left):
        if channels == L and j + L <= width - left:
            turn_whole(x, at + left + j, step, out, to + j * L, L)
        else:
            turn(x, at + left + j, step, 0, width - left - j, channels, out, to + j * L, L, L, L)
        j += L
    for behind in range(j, count):
        put(out, to + behind * L, none(x))


@helper
def segment(patch):
    """How many patches of so many pixels a line are transformed together."""
    return min(SEGMENT, PIXELS // patch)


@helper
def turn_patches(x, C, H, W, pad_h, pad_w, OH, OW, c, first, end, out, at, row, step, seen, apart, points, outputs):
    """Bᵀ d B of the patches ``first`` ... ``end`` - 1, for a vector of channels from c on: place k of patch t goes to
    out[at + k * step + (t - first) * row]."""
    L, S, P, M = lanes(x), len(seen), len(points), len(outputs)
    shared = S - apart
    down, across = (OH + M - 1) // M, (OW + M - 1) // M
    most = segment(apart)
    span = (apart * most + shared + L) * L
    lines, half = room(x, S * span), room(x, P * S * L)
    most -= across > most
    channels = min(L, C - c)
    t = first
    while t < end:
        n, top, left = t // (down * across), t // across % down * apart - pad_h, t % across * apart - pad_w
        count = min(most, min(across - t % across, end - t))
        for i in range(S):
            if 0 <= top + i < H:
                turn_line(x, ((n * C + c) * H + top + i) * W, H * W, left, W, channels, lines, i * span, apart * count + shared)
            else:
                turn_line(x, 0, 0, 0, 0, channels, lines, i * span, apart * count + shared)
        for j in range(shared):
            put_column(half, j * L, S * L, turned(column(lines, j * L, span, seen), points))
        for p in range(count):
            for j in range(shared, S):
                put_column(half, j * L, S * L, turned(column(lines, (apart * p + j) * L, span, seen), points))
            to = at + (t - first + p) * row
            for i in range(P):
                put_column(out, to + P * i * step, step, turned(column(half, i * S * L, L, seen), points))
            for j in range(shared):         # the last columns are the first of the next patch
                put_column(half, j * L, S * L, column(half, (apart + j) * L, S * L, points))
        t += count


@helper
def blank(out, at, step, points, count, row, width):
    """Zeros for the first ``width`` numbers of so many patches, ``row`` apart: for patches that only fill a tile, or filters
    that only fill a panel. Memory may happen to hold denormal numbers, and a layer with such sums took 26 times as long."""
    for k in range(len(points) ** 2):
        for t in range(count):
            for j in range(0, width, lanes(out)):
                put(out, at + k * step + t * row + j, none(out))


@helper
def multiply(turned_, k, step, count, C, weights, at, filters, place, out, to):
    """out (count, width) = the matrix of place k, (count, C), times the weights (C, width) from ``at`` on.

    Of a panel with one vector of ``filters`` only that one is computed."""
    L = lanes(turned_)
    width, row = TALL_COLUMNS * L, (C + L - 1) // L * L
    steps = entries(place, 0, TALL_ROWS)
    for t in range(0, count, TALL_ROWS):
        if filters > L:
            tile = zeros(turned_, TALL_ROWS, TALL_COLUMNS)
            for c in range(C):
                tile = outer_at(tile, TALL_ROWS, TALL_COLUMNS, turned_, k * step + t * row + c, steps, weights, at + c * width)
            store(tile, TALL_ROWS, TALL_COLUMNS, out, to + t * width, width)
        else:
            one = zeros(turned_, TALL_ROWS, 1)
            for c in range(C):
                one = outer_at(one, TALL_ROWS, 1, turned_, k * step + t * row + c, steps, weights, at + c * width)
            store(one, TALL_ROWS, 1, out, to + t * width, width)


@inlined
def add_product(rows, turned_, at, stage, next_, C, weights, begin, out, to, begun):
    """`multiply_panel` for so many patches. Those of the next place, ``next_`` numbers further, are brought near meanwhile:
    with 512 channels 1.3 times as fast."""
    L = lanes(turned_)
    width = TALL_COLUMNS * L
    tile = zeros(turned_, rows, TALL_COLUMNS)
    if begun:
        tile = plus(tile, rows, TALL_COLUMNS, out, to, width)
    for c in range(C):
        fetch(turned_, at + c * stage + next_)
        tile = outer_along(tile, rows, TALL_COLUMNS, turned_, at + c * stage, 1, weights, begin + c * width)
    store(tile, rows, TALL_COLUMNS, out, to, width)


@helper
def multiply_panel(turned_, at, stage, next_, count, C, weights, begin, out, to, begun):
    """out (count, width) from ``to`` on (+)= the patches side by side, (C, stage) from ``at`` on, times the weights (C, width).

    The last tiles are lower, so that 4 patches or 16 leave no row of a tile empty."""
    width = TALL_COLUMNS * lanes(turned_)
    t = 0
    while t < count:
        if count - t > MIDDLE:
            add_product(HIGH, turned_, at + t, stage, next_, C, weights, begin, out, to + t * width, begun)
            t += HIGH
        elif count - t > LOW:
            add_product(MIDDLE, turned_, at + t, stage, next_, C, weights, begin, out, to + t * width, begun)
            t += MIDDLE
        else:
            add_product(LOW, turned_, at + t, stage, next_, C, weights, begin, out, to + t * width, begun)
            t += LOW


@helper
def fold_patches(products, at, step, first, end, y, y_step, bias, relu, F, f, OH, OW, points, outputs):
    """y of the patches ``first`` ... ``end`` - 1, for a vector of filters from f on: Aᵀ m A of their products, of which
    place k of patch t is at + k * step + (t - first) * width; if there is a bias, it is added, and ReLU follows if ``relu``."""
    L, P, M = lanes(products), len(points), len(outputs)
    finish = bias.shape[0] > 0
    width = TALL_COLUMNS * L
    down, across = (OH + M - 1) // M, (OW + M - 1) // M
    most = segment(M)
    span = (M * most + L) * L
    half, out = room(products, P * M * L), room(products, M * span)
    filters = min(L, F - f)
    t = first
    while t < end:
        n, top, left = t // (down * across), t // across % down * M, t % across * M
        count = min(most, min(across - t % across, end - t))
        for p in range(count):
            m = at + (t - first + p) * width
            for j in range(P):
                put_column(half, j * L, P * L, folded(column(products, m + j * step, P * step, points), outputs))
            for i in range(M):
                line = folded(column(half, P * i * L, L, points), outputs)
                if finish:
                    line = finish_columns(line, M, 1, bias, f, relu)
                put_column(out, i * span + M * p * L, L, line)
        right = min(M * count, OW - left)
        for i in range(min(M, OH - top)):
            to = n * y_step + (f * OH + top + i) * OW + left
            for j in range(0, right, L):
                if filters == L and j + L <= right:
                    turn_whole(out, i * span + j * L, L, y, to + j, OH * OW)
                else:
                    turn(out, i * span + j * L, L, 0, filters, L, y, to + j, OH * OW, filters, min(L, right - j))
        t += count


@helper
def spread_patches(g, F, OH, OW, f, first, end, out, at, step, points, outputs):
    """A g Aᵀ of the patches ``first`` ... ``end`` - 1, for a vector of filters from f on: place k of patch t goes to
    out[at + k * step + (t - first) * width]."""
    L, P, M = lanes(g), len(points), len(outputs)
    width = TALL_COLUMNS * L
    down, across = (OH + M - 1) // M, (OW + M - 1) // M
    most = segment(M)
    span = (M * most + L) * L
    lines, half = room(g, M * span), room(g, P * M * L)
    filters = min(L, F - f)
    t = first
    while t < end:
        n, top, left = t // (down * across), t // across % down * M, t % across * M
        count = min(most, min(across - t % across, end - t))
        for i in range(M):
            if top + i < OH:
                turn_line(g, ((n * F + f) * OH + top + i) * OW, OH * OW, left, OW, filters, lines, i * span, M * count)
            else:
                turn_line(g, 0, 0, 0, 0, filters, lines, i * span, M * count)
        for p in range(count):
            for j in range(M):
                put_column(half, j * L, M * L, spread(column(lines, (M * p + j) * L, span, outputs), points))
            to = at + (t - first + p) * width
            for i in range(P):
                put_column(out, to + P * i * step, step, spread(column(half, M * i * L, L, outputs), points))
        t += count


@helper
def fold_filters(sums, m, step, filters, terms, dw, at, C, points, taps):
    """dw = Gᵀ m G of a vector of filters for so many channels: place k of channel c is at m + k * step + c * width in ``sums``,
    tap k of channel c of filter f at + (f * C + c) * taps² + k in dw."""
    L, all_ = lanes(sums), len(taps) ** 2
    turned_ = room(sums, all_ * L * L)
    for begin in range(0, terms, L):
        count = min(L, terms - begin)
        for c in range(count):
            fold_taps(sums, m + (begin + c) * TALL_COLUMNS * L, step, turned_, all_ * c * L, L, points, taps)
        for k in range(0, all_ * count, L):
            here, to = min(L, all_ * count - k), at + all_ * begin + k
            if filters == L and here == L:
                turn_whole(turned_, k * L, L, dw, to, all_ * C)
            else:
                turn(turned_, k * L, L, 0, filters, here, dw, to, all_ * C, filters, here)


@helper
def correlate(turned_, at, row, count, C, upstream, begin, filters, sums, to, begun):
    """sums (C, width) from ``to`` on (+)= the product of both transforms, (count, C) with lines of ``row`` and (count, width).

    There is room for a whole number of tiles. The tile is low, so that it has no empty rows with 16, 32 or 64 channels. Of a
    panel with one vector of ``filters`` only that one is computed; nobody reads the others.

    Some patches are summed by themselves before they are added to all before them: of thousands, one by one, each is rounded to
    what the whole sum can hold, and what is transformed back was off by up to eight times as much."""
    L = lanes(turned_)
    width = TALL_COLUMNS * L
    for first in range(0, count, TERMS):
        end = min(count, first + TERMS)
        for c in range(0, C, CROSS_ROWS):
            if filters > L:
                tile = zeros(turned_, CROSS_ROWS, TALL_COLUMNS)
                for t in range(first, end):
                    seen = at + t * row + c
                    tile = outer_along(tile, CROSS_ROWS, TALL_COLUMNS, turned_, seen, 1, upstream, begin + t * width)
                if begun or first > 0:
                    tile = plus(tile, CROSS_ROWS, TALL_COLUMNS, sums, to + c * width, width)
                store(tile, CROSS_ROWS, TALL_COLUMNS, sums, to + c * width, width)
            else:
                one = zeros(turned_, CROSS_ROWS, 1)
                for t in range(first, end):
                    one = outer_along(one, CROSS_ROWS, 1, turned_, at + t * row + c, 1, upstream, begin + t * width)
                if begun or first > 0:
                    one = plus(one, CROSS_ROWS, 1, sums, to + c * width, width)
                store(one, CROSS_ROWS, 1, sums, to + c * width, width)
