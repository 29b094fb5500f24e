"""The words of ``panels.py`` for a matrix unit: both sides of a product split into bfloat16 and laid out as tiles.

Kernels that multiply panels are told of them by the names of ``panels.py``, and so can be built with these instead
(``rebuilt`` in ``compile.py``): the same text, and panels are

    right       two tiles of columns, for one block of 32 terms after the other [piece][half]: 3 pieces of the numbers, each for
                the first and for the second 16 columns
    left        the same with rows. Rows lie in memory as they are, and are split when they are needed, for each block of right
                panels: to have one thread split them for the other takes longer, and so does reading 6 bytes for a number of 4

Two by two tiles of sums are formed at a time, and the other four of the unit's eight registers hold tiles of the two sides. A
tile that does not begin with a line of the cache is loaded at a third of the speed, since each of its rows lies in two.

What was measured on two cores of a processor with 2 MiB of second-level cache: six products for one are made at twice the
speed of AVX-512's measured peak while tiles lie in the first-level cache, at 0.9 of that from the second-level cache, and 1.2
times as fast if most numbers are 0: the unit is limited by the heat it makes. Rows of the right side are asked for eight
terms before they are split, or 256 channels of 56 x 56 pixels that come from memory take 1.5 times as long; to ask for the
next block while this one is multiplied made that worse. Lines of the results are asked for before their sums are formed, up to
1.14 times as fast.
"""

from __future__ import annotations

import functools
import math

from minivision_kernels.cpu.amx import (
    PIECES,
    SIDE,
    TILE,
    put_split,
    tiles_add_products,
    tiles_begin,
    tiles_end,
    tiles_store,
    tiles_zero,
    watched,
)
from minivision_kernels.cpu.columns import READ, pack_torn
from minivision_kernels.cpu.compile import helper, inlined
from minivision_kernels.cpu.panels import SOON, Unit, fairest
from minivision_kernels.cpu.simd import entry, load, load_between, none, prefetch, put, room, turn, turn_whole
from minivision_kernels.cpu.tile import finish_rows, plus, store, zeros

COLUMNS = 2                         # tiles beside each other in a panel, and so vectors of its columns
ROWS = COLUMNS * SIDE
DEEP = 2 * SIDE                     # terms of a block
PANEL = PIECES * COLUMNS * TILE     # words of a block of a panel
SUMS = ROWS * COLUMNS * SIDE        # of a panel of rows and one of columns
FEW = 8                             # rows of sums of a vector that are written together, and
HALF = FEW // COLUMNS               # of all vectors of a panel
TERMS = 576                         # of a stretch, at most: terms whose panels are used together
ANEW = 16                           # terms that take as long as it takes to put sums away and take them up again
BLOCK = 800 * 1024                  # bytes of right panels that are used together, in a second-level cache of 2 MiB
AGAIN, LEFT = 32, 4                 # rows, or vectors, that are multiplied while a right panel, or a left one, is split


@functools.lru_cache(maxsize=1024)
def stretches(terms: int, whole: int = 1) -> int:
    """How many terms a stretch has: a multiple of ``whole``, and such that few tiles are partly empty."""
    unit = DEEP if whole == 1 else whole

    def filled(count: int) -> int:
        return -(-count // DEEP) * DEEP + ANEW if count else 0

    most = min(max(unit, TERMS // unit * unit), -(-terms // unit) * unit)
    return min(range(unit, most + 1, unit), default=unit,
               key=lambda size: (terms // size * filled(size) + filled(terms % size), size))


@functools.lru_cache(maxsize=1024)
def division(vectors: int, stretch: int, rows: int, others: int, workers: int, shares: int = 1) -> tuple[int, int]:
    """As in ``panels.py``."""
    bytes_ = -(-vectors // COLUMNS) * -(-stretch // DEEP) * PANEL * 4
    return fairest(math.ceil(bytes_ * shares / BLOCK), vectors, COLUMNS, rows, ROWS, others, workers, AGAIN, LEFT)


# What a product costs, in multiply-adds of vectors of AVX-512: to call the kernel, more than one that packs for vectors; a
# product of tiles in float32, which takes six; to split a vector; to write one of results, more than others do.
START, PRODUCT, SPLIT, WRITE = 100_000, 320, 18, 10
GAIN = 1.1          # how much faster it must promise to be, to be chosen: half as much again is read and written


def price(rows: int, vectors: int, terms: int, weight: float) -> float:
    """What a product of so many rows and vectors of columns costs, for each term, but for the packing of the vectors;
    ``weight`` is what a number of the left side costs. From 6,000 random products and convolutions of 3e5 to 6e8
    multiply-adds, whose times it tells within a fifth."""
    tiles = -(-rows // SIDE) * vectors * -(-terms // DEEP)
    return GAIN * ((START + PRODUCT * tiles + WRITE * rows * vectors) / max(1, terms) + SPLIT * vectors + weight * rows)


TILES = Unit(COLUMNS, stretches, division)


@helper
def panel_at(number, terms, lanes_):
    """Where right panel ``number`` of a block begins, if a stretch has so many terms; or how much room so many panels need."""
    return number * ((terms + DEEP - 1) // DEEP) * PANEL


@helper
def pack_rows(b, at, place, terms, first, count, out, to):
    """So many right panels whose vectors lie in b as they are: vector v of term k from at + place[k] + first[v] on.

    Two terms are read in the longest runs there are, across all panels.
    """
    blocks = (terms + DEEP - 1) // DEEP
    for k in range(0, blocks * DEEP, DEEP):
        for i in range(k, k + SIDE):
            goal = to + k // DEEP * PANEL + (i - k) * SIDE
            if i + SIDE < terms:
                low, high = at + entry(place, i), at + entry(place, i + SIDE)
                later, last = at + entry(place, i + SOON), at + entry(place, i + SIDE + SOON)
                for v in range(count * COLUMNS):
                    here = entry(first, v)
                    prefetch(b, later + here)
                    prefetch(b, last + here)
                    put_split(load(b, low + here), load(b, high + here), out,
                              goal + v // COLUMNS * blocks * PANEL + v % COLUMNS * TILE)
            else:
                low = at + entry(place, min(i, terms - 1))
                for v in range(count * COLUMNS):
                    pixels = load(b, low + entry(first, v)) if i < terms else none(b)
                    put_split(pixels, none(b), out, goal + v // COLUMNS * blocks * PANEL + v % COLUMNS * TILE)


@helper
def split_piece(piece, first, terms, out, to):
    """A tile of each piece of 16 columns, from term ``first`` on; the columns of term k lie from k * SIDE on."""
    for k in range(first, first + SIDE):
        low = load(piece, k * SIDE) if k < terms else none(piece)
        high = load(piece, (k + SIDE) * SIDE) if k + SIDE < terms else none(piece)
        put_split(low, high, out, to + (k - first) * SIDE)


@helper
def pack_seen(source, at, place, terms, seen, read, stride, count, right):
    """So many right panels of what windows see: term k of column j from source[at + place[k] + seen[j]] (``columns.py``).

    Panels whose vectors lie in one line each are packed together, as far as they follow each other.
    """
    blocks, begin, piece = (terms + DEEP - 1) // DEEP, seen[::SIDE].copy(), room(source, terms * SIDE)
    p = 0
    while p < count:
        run = 0
        while stride == 1 and p + run < count and _lies(read, p + run):
            run += 1
        if run > 0:
            pack_rows(source, at, place, terms, begin[p * COLUMNS:], run, right, p * blocks * PANEL)
            p += run
            continue
        for v in range(p * COLUMNS, (p + 1) * COLUMNS):
            if read[v * READ] == 0:
                for k in range(terms):
                    for j in range(SIDE):
                        piece[k * SIDE + j] = entry(source, at + entry(place, k) + entry(seen, v * SIDE + j))
            elif read[v * READ] == 1 and stride == 1:
                for k in range(terms):
                    put(piece, k * SIDE, load(source, at + entry(place, k) + entry(begin, v)))
            else:
                pack_torn(source, at, place, terms, read, v * READ, stride, piece, 0, SIDE)
            for block in range(blocks):
                split_piece(piece, block * DEEP, terms, right, (p * blocks + block) * PANEL + v % COLUMNS * TILE)
        p += 1


@helper
def _lies(read, panel):
    """Whether both vectors of a panel lie in one line."""
    return read[panel * COLUMNS * READ] == 1 and read[(panel * COLUMNS + 1) * READ] == 1


@helper
def pack_right(b, at, term_step, column_step, columns, terms, out, to):
    """One right panel: term k of column j from b[at + k * term_step + j * column_step], zeros from column ``columns`` on.

    One of the steps is 1.
    """
    piece = room(b, DEEP * SIDE)
    for k in range(0, terms, DEEP):
        some = min(DEEP, terms - k)
        for half in range(COLUMNS):
            count, from_ = max(0, min(SIDE, columns - half * SIDE)), at + half * SIDE * column_step + k * term_step
            if term_step > 1:
                for i in range(some):
                    put(piece, i * SIDE, load_between(b, from_ + i * term_step, 0, count))
            else:
                for i in range(0, some, SIDE):
                    here = min(SIDE, some - i)
                    if here == SIDE and count == SIDE:
                        turn_whole(b, from_ + i, column_step, piece, i * SIDE, SIDE)
                    else:
                        turn(b, from_ + i, column_step, 0, here, count, piece, i * SIDE, SIDE, here, SIDE)
            split_piece(piece, 0, some, out, to + k // DEEP * PANEL + half * TILE)


@helper
def split_panel(x, at, beside, step, terms, out, to):
    """A right panel: term k of its vectors from x[at + k * step] and from x[beside + k * step] on."""
    for k in range(0, terms, DEEP):
        for i in range(k, k + SIDE):
            for half in range(COLUMNS):
                here = (beside if half else at) + i * step
                low = load(x, here) if i < terms else none(x)
                high = load(x, here + SIDE * step) if i + SIDE < terms else none(x)
                put_split(low, high, out, to + k // DEEP * PANEL + half * TILE + (i - k) * SIDE)


@helper
def find_left(as_it_lies, group, rows, terms, band, begin, stretch):
    """Where the rows of a stretch lie from ``band`` on: at, and how far it is from panel to panel, row and term. The left
    matrix is (groups, rows, terms) if it is used ``as_it_lies``, else (groups, terms, rows), which is turned over on the
    way."""
    if as_it_lies:
        return (group * rows + band * ROWS) * terms + begin, ROWS * terms, terms, 1
    return (group * terms + begin) * rows + band * ROWS, ROWS, 1, rows


@helper
def split_left(a, at, row_step, term_step, rows, terms, out, begin, piece):
    """A left panel: number k of row i from a[at + i * row_step + k * term_step]. A second tile of which there is no row is left
    as it is."""
    for k in range(0, terms, DEEP):
        some, to, from_ = min(DEEP, terms - k), begin + k // DEEP * PANEL, at + k * term_step
        for half in range(min(COLUMNS, (rows + SIDE - 1) // SIDE)):
            high, goal, here = min(SIDE, rows - half * SIDE), to + half * TILE, from_ + half * SIDE * row_step
            if term_step == 1 and some == DEEP:
                for i in range(high):
                    put_split(load(a, here + i * row_step), load(a, here + i * row_step + SIDE), out, goal + i * SIDE)
            elif term_step == 1:
                for i in range(high):
                    put_split(load_between(a, here + i * row_step, 0, some),
                              load_between(a, here + i * row_step + SIDE, 0, some - SIDE), out, goal + i * SIDE)
            else:
                for j in range(0, DEEP, SIDE):
                    if high == SIDE and some >= j + SIDE:
                        turn_whole(a, here + j * term_step, term_step, piece, j, DEEP)
                    else:
                        turn(a, here + j * term_step, term_step, 0, high, max(0, min(SIDE, some - j)), piece, j, DEEP, high,
                             SIDE)
                for i in range(high):
                    put_split(load(piece, i * DEEP), load(piece, i * DEEP + SIDE), out, goal + i * SIDE)
            for i in range(high, SIDE):
                put_split(none(a), none(a), out, goal + i * SIDE)


@helper
def multiply_panels(
    left, where, rows, terms, right, vectors, sums, begun, ended, y, to, y_step, start, count, target, loose, bias, row, relu,
):
    """A stretch of ``terms`` for some rows and a block of right panels, added to ``sums`` or, if it is the last, put into y, as
    in ``panels.py``.

    Returns 0, or NaN if a sum is infinite or NaN.
    """
    return multiply_several(left, where, 1, 0, rows, terms, right, vectors, sums, begun, ended, y, to, y_step, start, count,
                            target, loose, bias, row, relu)


@helper
def multiply_several(
    left, where, pieces, apart, rows, terms, right, vectors, sums, begun, ended, y, to, y_step, start, count, target, loose,
    bias, row, relu,
):
    """The same for a stretch of so many ``pieces``, each of ``terms`` and blocks for them, which lie ``apart`` in ``left``."""
    at, band_step, row_step, term_step = where
    each = (terms + DEEP - 1) // DEEP
    panels_, blocks = (vectors + COLUMNS - 1) // COLUMNS, pieces * each
    last = sums.shape[0] - SUMS                         # room for the results of a tile
    mine, other, piece = room(sums, blocks * PANEL), room(sums, blocks * PANEL), room(sums, SIDE * DEEP)
    wrong, split = zeros(sums, FEW, 1), False
    for r in range(0, rows, ROWS):
        high = min(ROWS, rows - r)
        if not split:
            for i in range(pieces):
                split_left(left, at + i * apart, row_step, term_step, high, terms, mine, i * each * PANEL, piece)
        at += band_step
        split = pieces == 1 and term_step == 1 and terms % DEEP == 0 and r + 2 * ROWS <= rows
        share = (ROWS + panels_ - 1) // panels_ if split else 0
        for p in range(panels_):
            some, rt, keep = min(COLUMNS, vectors - p * COLUMNS), p * blocks * PANEL, (r // ROWS * panels_ + p) * SUMS
            goal, first, end = last if begun or ended else keep, p * share, min(ROWS, (p + 1) * share)
            for i in range(high if ended else 0):
                for v in range(p * COLUMNS, p * COLUMNS + some):
                    prefetch(y, to + (r + i) * y_step + entry(start, v))
            if high > SIDE and some == COLUMNS:
                add_products(mine, right, rt, blocks, sums, goal, left, at, row_step, first, end, other, 2, 2)
            elif high > SIDE:
                add_products(mine, right, rt, blocks, sums, goal, left, at, row_step, first, end, other, 2, 1)
            elif some == COLUMNS:
                add_products(mine, right, rt, blocks, sums, goal, left, at, row_step, first, end, other, 1, 2)
            else:
                add_products(mine, right, rt, blocks, sums, goal, left, at, row_step, first, end, other, 1, 1)
            if begun:                                   # sums of a stretch are formed by themselves, which is more accurate
                there = last if ended else keep
                for i in range(0, (high + SIDE - 1) // SIDE * SIDE * some * SIDE, FEW * SIDE):
                    tile = plus(zeros(sums, FEW, 1), FEW, 1, sums, last + i, SIDE)
                    store(plus(tile, FEW, 1, sums, keep + i, SIDE), FEW, 1, sums, there + i, SIDE)
            if not ended:
                continue
            # In a helper this would take as long again: it counts references to its arrays at each call.
            if some == COLUMNS and high % HALF == 0 and _adjoin(start, count, p * COLUMNS):
                for i in range(0, high, HALF):
                    tile = plus(zeros(sums, HALF, COLUMNS), HALF, COLUMNS, sums, last + i * COLUMNS * SIDE, COLUMNS * SIDE)
                    wrong = watched(wrong, tile)
                    if bias.shape[0] > 0:
                        tile = finish_rows(tile, HALF, COLUMNS, bias, row + r + i, relu)
                    store(tile, HALF, COLUMNS, y, to + (r + i) * y_step + entry(start, p * COLUMNS), y_step)
                continue
            for j in range(some):
                v, step = p * COLUMNS + j, some * SIDE
                here = entry(count, v)
                for i in range(0, high, FEW):
                    from_, goal = last + i * step + j * SIDE, to + (r + i) * y_step
                    tile = plus(zeros(sums, FEW, 1), FEW, 1, sums, from_, step)
                    wrong = watched(wrong, tile)
                    if bias.shape[0] > 0:
                        tile = finish_rows(tile, FEW, 1, bias, row + r + i, relu)
                    if here == SIDE and i + FEW <= high:
                        store(tile, FEW, 1, y, goal + entry(start, v), y_step)
                        continue
                    store(tile, FEW, 1, sums, from_, step)
                    for line in range(min(FEW, high - i)):
                        if here == SIDE:
                            put(y, goal + line * y_step + start[v], load(sums, from_ + line * step))
                        elif here > 0 or loose:
                            for lane in range(SIDE):
                                place = start[v] + lane if lane < here else -1
                                if loose and here == 0:
                                    place = target[v * SIDE + lane]
                                if place >= 0:
                                    y[goal + line * y_step + place] = sums[from_ + line * step + lane]
        mine, other = other, mine
    store(wrong, FEW, 1, sums, last, SIDE)
    return added_up(sums, last)


@helper
def added_up(sums, at):
    """The sum of all numbers that are `watched`, as many as FEW vectors have: 0, or NaN."""
    total = entry(sums, at)
    for i in range(1, FEW * SIDE):
        total += entry(sums, at + i)
    return total


@helper
def _adjoin(start, count, v):
    """Whether the results of vectors v and v + 1 lie side by side."""
    return entry(count, v) == SIDE and entry(count, v + 1) == SIDE and entry(start, v + 1) == entry(start, v) + SIDE


@inlined
def add_products(left, right, rt, blocks, sums, goal, a, at, row_step, first, end, other, rows, columns):
    """rows x columns tiles of sums over a stretch, which go to ``goal``.

    Meanwhile the vector units split rows ``first`` to ``end`` of the next left panel, which lies in a from ``at`` on, into
    ``other``: the unit does not need them, so it costs no time.
    """
    tiles_zero(rows, columns)
    for block in range(blocks):
        tiles_add_products(rows, columns, left, block * PANEL, right, rt + block * PANEL)
        for i in range(first, end):
            here = at + i * row_step + block * DEEP
            put_split(load(a, here), load(a, here + SIDE), other, block * PANEL + i // SIDE * TILE + i % SIDE * SIDE)
    tiles_store(rows, columns, sums, goal)


# What these names mean in a kernel that is rebuilt.
WORDS = {word.__name__: word for word in (panel_at, pack_rows, pack_seen, pack_right, find_left, multiply_panels)} | {
    "ROWS": ROWS, "COLUMNS": COLUMNS, "begin_products": tiles_begin, "end_products": tiles_end}
