"""Both sides of a matrix product split into bfloat16 and laid out as tiles, and the product of such panels.

As in ``panels.py``, both sides are copied first, in the order in which they will be used: the left one in *bands* of two tiles of
rows, the right one in *panels* of two tiles of columns. Two by two tiles of sums are formed at a time; the other four registers
hold tiles of the two sides. Of a band as of a panel there is, for one block of 32 terms after the other,

    tile [piece][half]          3 pieces of the numbers, each for the first and the second 16 rows, or columns

A tile that begins anywhere but at a line of the cache is loaded at a third of the speed, since each of its rows lies in two.
"""

from __future__ import annotations

import functools

from minivision_kernels.cpu.amx import (
    BLOCK_TERMS,
    PIECES,
    SIDE,
    TILE,
    put_split,
    tiles_add_products,
    tiles_load,
    tiles_store,
    tiles_zero,
    watched,
)
from minivision_kernels.cpu.columns import READ, pack_torn
from minivision_kernels.cpu.compile import helper, inlined
from minivision_kernels.cpu.panels import COLUMNS, Shape
from minivision_kernels.cpu.simd import entry, load, load_between, none, put, turn, turn_whole
from minivision_kernels.cpu.tile import finish_rows, plus, store, zeros

PAIR = 2                            # tiles beside each other in a band or a panel
WIDE = PAIR * SIDE                  # rows of a band, columns of a panel
PANEL = PIECES * PAIR * TILE        # words of a block of terms of either
SUMS = WIDE * WIDE
TERMS = 576                         # of a stretch, at most: terms whose panels are used together
ANEW = 16                           # terms that take as long as it takes to put sums away and take them up again
BLOCK = 800 * 1024                  # bytes of right panels that are used together, in a second-level cache of 2 MiB
SHAPE = Shape(WIDE, PAIR, PIECES * SIDE * 2, 32, 4)
FEW = 8                             # rows of sums that are written together
CHUNK = COLUMNS * SIDE              # numbers of a row of a piece of the right side, before it is split


@functools.lru_cache(maxsize=1024)
def stretches(terms: int, whole: int = 1) -> int:
    """How many terms a stretch has: a multiple of ``whole``, and such that few tiles are partly empty."""
    unit = BLOCK_TERMS if whole == 1 else whole

    def cost(size: int) -> tuple[int, int]:
        (all_, rest), filled = divmod(terms, size), lambda n: -(-n // BLOCK_TERMS) * BLOCK_TERMS
        return all_ * (filled(size) + ANEW) + (filled(rest) + ANEW if rest else 0), -size

    most = min(max(unit, TERMS // unit * unit), -(-terms // unit) * unit)
    return min(range(unit, most + 1, unit), key=cost, default=unit)


@helper
def split_rows(b, at, place, terms, first, vectors, right, to, blocks):
    """Right panels whose vectors lie in b as they are: vector v of term k from at + place[k] + first[v] on.

    Two terms are read in the longest runs there are, across all panels.
    """
    for k in range(0, blocks * BLOCK_TERMS, BLOCK_TERMS):
        for i in range(k, k + SIDE):
            goal = to + k // BLOCK_TERMS * PANEL + (i - k) * SIDE
            if i + SIDE < terms:
                low, high = at + entry(place, i), at + entry(place, i + SIDE)
                for v in range(vectors):
                    here = entry(first, v)
                    put_split(load(b, low + here), load(b, high + here), right,
                              goal + v // PAIR * blocks * PANEL + v % PAIR * TILE)
            else:
                low = at + entry(place, min(i, terms - 1))
                for v in range(vectors):
                    here = goal + v // PAIR * blocks * PANEL + v % PAIR * TILE
                    put_split(load(b, low + entry(first, v)) if i < terms else none(b), none(b), right, here)


@helper
def split_piece(piece, terms, right, to):
    """A tile of each piece of 16 columns, from a piece of the right side: row k of it from k * CHUNK on."""
    for i in range(SIDE):
        low = load(piece, i * CHUNK) if i < terms else none(piece)
        high = load(piece, (i + SIDE) * CHUNK) if i + SIDE < terms else none(piece)
        put_split(low, high, right, to + i * SIDE)


@helper
def split_seen(source, at, place, terms, seen, read, stride, vectors, right, piece, blocks):
    """Right panels of what windows see: term k of column j from source[at + place[k] + seen[j]] (``columns.py``).

    Vectors that lie in one line each are read together as far as they follow each other, which often is one long run of memory.
    """
    begin = seen[::SIDE].copy()
    v = 0
    while v < vectors:
        run = 0
        while stride == 1 and v + run < vectors and read[(v + run) * READ] == 1:
            run += 1
        if run > 1 and v % PAIR == 1:           # a run begins with the first half of a panel
            run = 1
        if run > 0 and v % PAIR == 0:
            split_rows(source, at, place, terms, begin[v:], run, right, v // PAIR * blocks * PANEL, blocks)
            v += run
            continue
        for block in range(blocks):
            k = block * BLOCK_TERMS
            here, some = place[k:], min(BLOCK_TERMS, terms - k)
            if read[v * READ] == 0:
                for i in range(some):
                    for j in range(SIDE):
                        piece[i * CHUNK + j] = entry(source, at + entry(here, i) + entry(seen, v * SIDE + j))
            else:
                pack_torn(source, at, here, some, read, v * READ, stride, piece, 0)
            split_piece(piece, some, right, (v // PAIR * blocks + block) * PANEL + v % PAIR * TILE)
        v += 1


@helper
def split_turned(b, at, column_step, columns, terms, right, to, piece):
    """A right panel of columns each of which lies in b side by side: number k of column j at at + j * column_step + k."""
    for k in range(0, terms, BLOCK_TERMS):
        some = min(BLOCK_TERMS, terms - k)
        for half in range(PAIR):
            count = max(0, min(SIDE, columns - half * SIDE))
            from_ = at + half * SIDE * column_step + k
            for i in range(0, some, SIDE):
                here = min(SIDE, some - i)
                if here == SIDE and count == SIDE:
                    turn_whole(b, from_ + i, column_step, piece, i * CHUNK, CHUNK)
                else:
                    turn(b, from_ + i, column_step, 0, here, count, piece, i * CHUNK, CHUNK, here, SIDE)
            split_piece(piece, some, right, to + k // BLOCK_TERMS * PANEL + half * TILE)


@helper
def split_band(a, at, row_step, term_step, rows, terms, band, piece):
    """A left band: number k of row i from a[at + i * row_step + k * term_step], zeros from row ``rows`` on. One step is 1."""
    for k in range(0, terms, BLOCK_TERMS):
        some, to = min(BLOCK_TERMS, terms - k), k // BLOCK_TERMS * PANEL
        for half in range(PAIR):
            from_, goal, high = at + half * SIDE * row_step + k * term_step, to + half * TILE, min(SIDE, rows - half * SIDE)
            if high <= 0:
                continue                                # nobody multiplies the second tile then
            if term_step == 1 and some == BLOCK_TERMS:
                for i in range(high):
                    put_split(load(a, from_ + i * row_step), load(a, from_ + i * row_step + SIDE), band, goal + i * SIDE)
            elif term_step == 1:
                for i in range(high):
                    here = from_ + i * row_step
                    put_split(load_between(a, here, 0, some), load_between(a, here + SIDE, 0, some - SIDE), band,
                              goal + i * SIDE)
            else:
                for j in range(0, BLOCK_TERMS, SIDE):
                    if high == SIDE and some >= j + SIDE:
                        turn_whole(a, from_ + j * term_step, term_step, piece, j, BLOCK_TERMS)
                    else:
                        turn(a, from_ + j * term_step, term_step, 0, high, max(0, min(SIDE, some - j)), piece, j, BLOCK_TERMS,
                             high, SIDE)
                for i in range(high):
                    put_split(load(piece, i * BLOCK_TERMS), load(piece, i * BLOCK_TERMS + SIDE), band, goal + i * SIDE)
            for i in range(high, SIDE):
                put_split(none(a), none(a), band, goal + i * SIDE)


@helper
def multiply_tiles(
    a, at, row_step, term_step, rows, terms, right, vectors, sums, begun, ended, y, to, y_step, start, count, target, loose, bias,
    row, relu, band, piece,
):
    """A stretch of so many terms for some rows and right panels, added to ``sums`` or, if it is the last, put into y.

    The left side is found as in `split_band`, to which ``band`` and ``piece`` are room. The other arguments are those of
    `multiply_panels`. Returns 0, or NaN if a number that was put into y is not finite.
    """
    panels, blocks = (vectors + PAIR - 1) // PAIR, (terms + BLOCK_TERMS - 1) // BLOCK_TERMS
    last = sums.shape[0] - SUMS                         # room for the results of a tile
    wrong = zeros(y, FEW, 1)
    for r in range(0, rows, WIDE):
        high = min(WIDE, rows - r)
        split_band(a, at + r * row_step, row_step, term_step, high, terms, band, piece)
        for p in range(panels):
            some, rt, keep = min(PAIR, vectors - p * PAIR), p * blocks * PANEL, (r // WIDE * panels + p) * SUMS
            goal = last if ended else keep
            if high > SIDE and some == PAIR:
                add_products(band, right, rt, blocks, sums, keep, begun, goal, 2, 2)
            elif high > SIDE:
                add_products(band, right, rt, blocks, sums, keep, begun, goal, 2, 1)
            elif some == PAIR:
                add_products(band, right, rt, blocks, sums, keep, begun, goal, 1, 2)
            else:
                add_products(band, right, rt, blocks, sums, keep, begun, goal, 1, 1)
            if not ended:
                continue
            for j in range(some):
                v, step = p * PAIR + j, some * SIDE
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
                                place = start[v] + lane if lane < here else target[v * SIDE + lane] if loose and here == 0 else -1
                                if place >= 0:
                                    y[goal + line * y_step + place] = sums[from_ + line * step + lane]
    store(wrong, FEW, 1, sums, last, SIDE)
    total = entry(sums, last)
    for i in range(1, FEW * SIDE):
        total += entry(sums, last + i)
    return total


@inlined
def add_products(left, right, rt, blocks, sums, keep, begun, goal, rows, columns):
    """rows x columns tiles of sums over a stretch, those at ``keep`` included if ``begun``; they go to ``goal``."""
    if begun:
        tiles_load(rows, columns, sums, keep)
    else:
        tiles_zero(rows, columns)
    for block in range(blocks):
        tiles_add_products(rows, columns, left, block * PANEL, right, rt + block * PANEL)
    tiles_store(rows, columns, sums, goal)
