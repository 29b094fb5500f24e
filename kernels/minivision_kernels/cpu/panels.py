"""Panels: both sides of a matrix product laid out in the order in which tiles read them.

A tile of sums, ROWS rows x COLUMNS vectors, takes ROWS numbers of the left matrix and COLUMNS vectors of the right one for
every term of its sum. If they lie far apart, a processor spends its time finding them: each number is in another cache line,
often on another page. So both matrices are copied first, the left one to panels of ROWS rows and the right one to panels of
COLUMNS vectors, and within a panel term after term (Goto and van de Geijn 2008, section 4):

    left      panel[k * ROWS + i]                     row i of the panel
    right     panel[k * WIDTH + j]                    column j, WIDTH = COLUMNS * lanes

A copy costs about as much as one multiply-add for each number, and every number is used for many. Only a left matrix whose rows
are whole, ROWS of them to a panel, and lie side by side term after term is sooner used as it lies: its numbers are taken one by
one, from ROWS lines of the cache at a time, and each thread has what it needs without waiting for the others to pack. One image
of ResNet-50's layers takes 0.75 to 0.9 of the time for it, large ones 0.98 to 1.02.

A packed panel is one run of lines, of which the processor foresees a few; eight rows are eight runs, and it foresees a few of
each. So while one packed left panel is used, the next one is asked for: where all of them are larger than the second-level
cache, products take 0.87 to 0.93 of the time (1536 and 2048 rows, Zen 5), gradients to 32 images of 512 channels of 14 x 14 at
stride 2 0.88.

What makes the product fast is where the pieces are while they are used: the left panel of a stretch of terms, 8 or 16 KiB, in
the first-level cache, and a block of right panels, `BLOCK` bytes, in the second-level cache, where it serves all rows. The sums
of a stretch leave the registers only to be added to those of the next one.

Packing waits for memory, and a product does not. Rows of the right matrix are therefore read in the longest runs there are,
across all panels of a block, so that the processor sees where they go and reads ahead: 5 to 20 % of layers with 64 to 256
channels of 56 x 56. Other ways were tried. To ask for the next block while this one is used helps as much where the matrix
lies in memory and costs 3 to 10 % where it lies in a cache. To pack a panel on the way, in the tile that uses it first, looks
like packing for nothing, but then each multiply-add waits for its own row: a tenth of a layer's time is lost from memory, or
a third, though rows are asked for 32 or 64 terms before (AVX-512). To use the right matrix as it lies gains as
much as packing costs, a tenth, where it fits a cache, and loses up to half elsewhere, unless what is needed next is asked for
in time: ``conv_pixels.py`` does that for 1 x 1 filters.

What was tried on a core with AVX2 and 512 KiB of second-level cache: reading pixels with a shift instead of packing them
gives 50 to 70 % of the speed, since every load is off the grid of cache lines and every page is new; stretches of 256 to 512
terms differ by 5 %; blocks of 256 KiB are 3 % slower than ones of 160, because the sums of a stretch push them out. A panel
at a time, used for all rows while it is in the first-level cache, is slower where rows lie far apart in the result (a tile then
writes to other pages than the one before) and no faster elsewhere; to ask for the lines of the result before the sum makes no
difference; 6 rows of 2 vectors are as fast as 4 of 3. Processors with AVX-512 have 1 MiB or more of second-level cache, and
there blocks of 400 KiB are 5 to 10 % faster.

Every sum is formed in the order of its terms, in stretches that depend on their number alone. So its bits do not depend on
how the work is divided. A stretch is summed by itself before it is added to those before it, which is more accurate: a term is
rounded to what a sum of hundreds can hold, not one of thousands.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu.compile import helper, inlined
from minivision_kernels.cpu.simd import (
    entries,
    entry,
    fetch,
    lanes,
    load,
    load_between,
    prefetch,
    put,
    put_between,
    turn,
    turn_whole,
)
from minivision_kernels.cpu.tile import (
    AHEAD,
    OUTER_COLUMNS,
    OUTER_ROWS,
    ask,
    finish_rows,
    interleave,
    load_at,
    outer,
    plus,
    store,
    store_to,
    zeros,
)
from minivision_kernels.cpu.writer import BYTES

ROWS, COLUMNS = OUTER_ROWS, OUTER_COLUMNS
TERMS = 512                 # of a stretch, at most
TOGETHER = 8                # left panels that a thread packs together
SOON = 8                    # terms ahead of the packing for which memory is asked
BLOCK = (400 if BYTES == 64 else 160) * 1024    # bytes of right panels that are used together; as much again is needed for sums


def stretches(terms: int, whole: int = 1) -> int:
    """How many terms a stretch has: about equal ones, and a multiple of ``whole``."""
    count = -(-terms // max(TERMS, whole))
    return -(-terms // (max(1, count) * whole)) * whole


@functools.lru_cache(maxsize=1024)
def division(vectors: int, stretch: int, rows: int, others: int, workers: int, shares: int = 1) -> tuple[int, int]:
    """Into how many blocks right panels are divided, and into how many parts the left ones, for each of ``others`` products of
    ``rows`` rows and so many vectors of columns.

    Blocks have `BLOCK` bytes at most, which fit the cache, or less if there are more ``shares``. The pieces, all blocks for the
    first part, then all for the next, are dealt to the threads in that order, and all should have the same to do: five panels,
    which are two blocks, are shared as halves of the rows. Who shares a block packs it again, at about the price of eight rows.
    """
    least = -(-vectors // COLUMNS) * COLUMNS * stretch * BYTES * shares / BLOCK
    return fairest(math.ceil(least), vectors, COLUMNS, rows, ROWS, others, workers, 8, 0)


def fairest(
    least: int, vectors: int, columns: int, rows: int, high: int, others: int, workers: int, again: int, left: int,
) -> tuple[int, int]:
    """The division of ``vectors`` in panels of ``columns`` and ``rows`` in panels of ``high`` of which the thread with the most
    to do has the least, into ``least`` blocks or more. To pack a right panel takes as long as so many rows, ``again``, and to
    pack a left one, if that is done for each block, as so many vectors."""
    panels, bands = -(-vectors // columns), -(-rows // high)
    least = max(1, least)

    def time(choice: tuple[int, int]) -> int:
        blocks, parts = choice
        cuts = [others * blocks * parts * worker // workers for worker in range(workers + 1)]
        before = [cut // blocks * vectors + min(cut % blocks * panels // blocks * columns, vectors) for cut in cuts]
        mine, pieces = (max(b - a for a, b in itertools.pairwise(at)) for at in (before, cuts))
        part = -(-bands // parts) * high
        return mine * (part + again) + pieces * (1 + part * left)

    shares = [parts for parts in range(1, min(bands, workers) + 1) if workers % parts == 0]
    choices = [(blocks, parts) for blocks in range(least, min(panels, least + 2 * workers) + 1) for parts in shares]
    return min(choices, key=time, default=(least, 1))


class Unit(NamedTuple):
    """What products are made with, as those must know who divide them."""

    columns: int                        # vectors of a right panel
    stretches: Callable[..., int]
    division: Callable[..., tuple[int, int]]


VECTORS = Unit(COLUMNS, stretches, division)


@helper
def begin_products():
    """What has to be done before `multiply_panels`: nothing, with vectors."""


@helper
def end_products():
    """And after it."""


@helper
def panel_at(number, terms, lanes_):
    """Where right panel ``number`` of a block begins, if a stretch has so many terms; or how much room so many panels need.

    One term lies unused between them. Without it, panels of 64 terms begin a whole number of pages apart, and as a term of all
    of them is written in turn, they push each other out of the first cache: 64 channels of 56 x 56 took 1.2 times as long.
    """
    return number * (terms + 1) * COLUMNS * lanes_


@helper
def pack_left(a, at, row_step, term_step, rows, terms, out, to):
    """One left panel: out[to + k * ROWS + i] = a[at + i * row_step + k * term_step], zeros from row ``rows`` on."""
    L = lanes(a)
    k = 0
    if term_step == 1 and rows >= ROWS:
        steps = np.empty(ROWS, np.int64)
        for i in range(ROWS):
            steps[i] = i * row_step
        place = entries(steps, 0, ROWS)
        while k + L <= terms:
            interleave(load_at(a, at + k, place), out, to + k * ROWS)
            k += L
    while k < terms:
        for i in range(ROWS):
            out[to + k * ROWS + i] = entry(a, at + i * row_step + k * term_step) if i < rows else 0
        k += 1


@helper
def pack_bands(a, at, row_step, term_step, rows, first, end, terms, out, to):
    """Left panels ``first`` to ``end`` of a matrix of ``rows`` rows that begins at ``at``, one behind the other from ``to`` on.

    Where rows lie side by side, those of a term are read in one go, though the panels are far apart. One panel after the other
    reads each line of the cache for two or more of them, and where terms are a power of two apart it is gone in between.
    """
    L = lanes(a)
    whole = min(end, rows // ROWS) if row_step == 1 else first
    last = max(0, terms - (L + ROWS - 1) // ROWS + 1)       # from here on a vector would write beyond its panel
    for k in range(terms):
        for band in range(first, whole):
            from_, goal = at + k * term_step + band * ROWS, to + (band * terms + k) * ROWS
            if k < last:
                for i in range(0, ROWS, L):
                    prefetch(a, from_ + SOON * term_step + i)
                    put(out, goal + i, load(a, from_ + i))
            else:
                for i in range(ROWS):
                    out[goal + i] = entry(a, from_ + i)
    for band in range(whole, end):
        pack_left(a, at + band * ROWS * row_step, row_step, term_step, rows - band * ROWS, terms, out, to + band * terms * ROWS)


@helper
def pack_right(b, at, term_step, column_step, columns, terms, out, to):
    """One right panel: out[to + k * WIDTH + j] = b[at + k * term_step + j * column_step], zeros from column ``columns`` on.

    One of the steps is 1. Panels whose rows are whole are sooner packed by `pack_rows`, many of them together.
    """
    L = lanes(b)
    width = COLUMNS * L
    for j in range(0, width, L):
        if term_step > 1:
            for k in range(terms):
                put(out, to + k * width + j, load_between(b, at + k * term_step + j, 0, columns - j))
            continue
        count = max(0, min(L, columns - j))
        for k in range(0, terms, L):
            here = min(L, terms - k)
            if here == L and count == L:
                turn_whole(b, at + j * column_step + k, column_step, out, to + k * width + j, width)
            else:
                turn(b, at + j * column_step + k, column_step, 0, here, count, out, to + k * width + j, width, here, L)


@helper
def pack_rows(b, at, place, terms, first, panels, out, to):
    """So many right panels whose vectors lie in b as they are: vector v of term k from at + place[k] + first[v] on.

    ``place`` has SOON entries more than terms, of any places.
    """
    L = lanes(b)
    for k in range(terms):
        here, later = at + entry(place, k), at + entry(place, k + SOON)
        for p in range(panels):
            goal = to + panel_at(p, terms, L) + k * COLUMNS * L
            for j in range(COLUMNS):
                begin = entry(first, p * COLUMNS + j)
                prefetch(b, later + begin)
                put(out, goal + j * L, load(b, here + begin))


@helper
def find_left(as_it_lies, group, rows, terms, band, begin, stretch):
    """Where the left panels of a stretch lie from ``band`` on: at, and how far it is from panel to panel, row and term.

    A left matrix of (groups, rows, terms) is used as it lies, or was packed, for each group one stretch after the other.
    """
    if as_it_lies:
        return (group * rows + band * ROWS) * terms + begin, ROWS * terms, terms, 1
    bands = (rows + ROWS - 1) // ROWS
    return ((group * terms + begin) * bands + band * stretch) * ROWS, stretch * ROWS, 1, ROWS


@helper
def multiply_panels(
    left, where, rows, terms, right, vectors, sums, begun, ended, y, to, y_step, start, count, target, loose, bias, row, relu,
):
    """A stretch of ``terms`` for some rows and a block of right panels, added to ``sums`` or, if it is the last, put into y.

    Left panels are found as `find_left` says. Vector v of the columns of row r goes to y[to + r * y_step + start[v]],
    its first ``count[v]`` numbers. If ``loose``, number i of those with a count of 0 goes to target[i] instead of start[v], or
    nowhere if that is negative. The last panel may have fewer vectors than others, and then so have its tiles.

    If there is a bias, number row + r of it is added to row r before that, and ReLU follows if ``relu``.

    Returns what is to be added up for each thread, and is not 0 if the products have to be computed again in another way.
    """
    at, band_step, row_step, _ = where
    L = lanes(right)
    width = COLUMNS * L
    size, panels = ROWS * width, (vectors + COLUMNS - 1) // COLUMNS
    last = sums.shape[0] - size
    edge = sums[last:]                                  # room for the results of a tile
    finish = ended and bias.shape[0] > 0
    for r in range(0, rows, ROWS):
        high = min(ROWS, rows - r)
        for p in range(panels):
            bt, keep = panel_at(p, terms, L), (r // ROWS * panels + p) * size
            some = min(COLUMNS, vectors - p * COLUMNS)
            if some < COLUMNS:
                result = last if ended else keep
                if some == 1:
                    add_narrow(left, at, row_step, terms, right, bt, sums, keep, begun, result, 1, finish, bias,
                               row + r, relu)
                else:
                    add_narrow(left, at, row_step, terms, right, bt, sums, keep, begun, result, 2, finish, bias,
                               row + r, relu)
            else:
                tile = zeros(right, ROWS, COLUMNS)
                if row_step == 1:                       # packed; steps that are constants are worth 5 %
                    for k in range(terms):
                        tile = outer(tile, ROWS, COLUMNS, left, at + k * ROWS, 1, right, bt + k * width)
                        ask(right, bt + (k + AHEAD) * width, COLUMNS)
                        fetch(left, at + band_step + k * ROWS)              # the next panel
                else:
                    for k in range(terms):
                        tile = outer(tile, ROWS, COLUMNS, left, at + k, row_step, right, bt + k * width)
                        ask(right, bt + (k + AHEAD) * width, COLUMNS)
                if begun:
                    tile = plus(tile, ROWS, COLUMNS, sums, keep, width)
                if not ended:
                    store(tile, ROWS, COLUMNS, sums, keep, width)
                    continue
                if finish:
                    tile = finish_rows(tile, ROWS, COLUMNS, bias, row + r, relu)
                whole = high == ROWS
                for j in range(COLUMNS):
                    whole = whole and entry(count, p * COLUMNS + j) == L
                if whole:
                    store_to(tile, ROWS, COLUMNS, y, to + r * y_step, y_step, entries(start, p * COLUMNS, COLUMNS))
                    continue
                store(tile, ROWS, COLUMNS, edge, 0, width)
            if not ended:
                continue
            for j in range(some):
                v = p * COLUMNS + j
                here = entry(count, v)
                if here == L:
                    for i in range(high):
                        put(y, to + (r + i) * y_step + start[v], load(edge, (i * some + j) * L))
                elif here > 0:
                    for i in range(high):
                        put_between(y, to + (r + i) * y_step + start[v], load(edge, (i * some + j) * L), 0, here)
                elif loose:
                    lane = 0
                    while lane < L:                     # results that follow each other are written together
                        place, end = target[v * L + lane], lane + 1
                        while end < L and target[v * L + end] == place + end - lane:
                            end += 1
                        if place >= 0:
                            for i in range(high):
                                put_between(y, to + (r + i) * y_step + place - lane, load(edge, (i * some + j) * L), lane, end)
                        lane = end
        at += band_step
    return 0


@inlined
def add_narrow(
    left, at, row_step, terms, right, bt, sums, keep, begun, result, columns, finish, bias, row, relu,
):
    """The sums of a panel of fewer columns, those at ``keep`` included if ``begun``; they go to ``result``."""
    tile, width = zeros(right, ROWS, columns), COLUMNS * lanes(right)
    if row_step == 1:
        for k in range(terms):
            tile = outer(tile, ROWS, columns, left, at + k * ROWS, 1, right, bt + k * width)
            ask(right, bt + (k + AHEAD) * width, columns)
    else:
        for k in range(terms):
            tile = outer(tile, ROWS, columns, left, at + k, row_step, right, bt + k * width)
            ask(right, bt + (k + AHEAD) * width, columns)
    if begun:
        tile = plus(tile, ROWS, columns, sums, keep, columns * lanes(right))
    if finish:
        tile = finish_rows(tile, ROWS, columns, bias, row, relu)
    store(tile, ROWS, columns, sums, result, columns * lanes(right))
