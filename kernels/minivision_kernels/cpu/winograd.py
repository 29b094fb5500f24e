"""The kernels of Winograd's convolution, for patches of all sizes; ``conv_winograd.py`` says which are called when.

There are three ways through the three steps, transform, multiply, transform back:

    by blocks       a thread takes a block of patches through all of them: ``convolve_blocks``, ``correlate_blocks``
    by panels       a thread takes a panel of filters through the last two: ``turn_across`` and ``convolve_panels``, or
                    ``turn_places``, ``spread_places`` and ``correlate_panels``
    by stages       all threads take many patches through one step after the other: the rest

A *panel* is as many filters as a tile has lanes, ``width`` of them. Matrices of places lie ``SKEW`` numbers further apart than
they need to, since all of them are written at once and should not meet in one set of the cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, prange, rebuilt
from minivision_kernels.cpu.formulas import STRIDED, kinds
from minivision_kernels.cpu.patches import (
    CROSS_ROWS,
    blank,
    correlate,
    fold_filters,
    fold_patches,
    kind_of,
    multiply,
    multiply_panel,
    spread_patches,
    turn_filters,
    turn_patches,
)
from minivision_kernels.cpu.simd import add, lanes, load, put, room, turn_whole
from minivision_kernels.cpu.tile import TALL_COLUMNS, TALL_ROWS

SKEW = 16
PIECE = 4 * TALL_ROWS       # patches of a stage that one thread transforms at a time


class Size(NamedTuple):
    """F(outputs x outputs, taps x taps), at any stride; all along one side of a patch."""

    outputs: int
    taps: int
    seen: int               # pixels
    apart: int              # pixels from one patch to the next
    points: int             # of the transformed patch

    @property
    def strided(self) -> bool:
        return self.apart != self.outputs

    @property
    def backward(self) -> bool:
        """Whether it is of the gradient to an image at stride 2: more outputs than pixels."""
        return self.outputs > self.apart

    @property
    def places(self) -> int:
        """Of a patch, and so how many multiplications make its outputs."""
        return self.points ** 2

    @property
    def kinds(self) -> int:
        """Of places, by their weights."""
        return kinds(self.points) ** 2

    def patches(self, N: int, OH: int, OW: int) -> int:
        """For so many results."""
        return N * -(-OH // self.outputs) * -(-OW // self.outputs)


F2_3, F4_3, F2_5 = Size(2, 3, 4, 2, 4), Size(4, 3, 6, 4, 6), Size(2, 5, 6, 2, 6)
# Stride 2, by taps: a convolution, and the gradient to its image.
HALVED = {taps: Size(4, taps, 6 + taps, 8, points) for taps, (_, points) in STRIDED.items()}
DOUBLED = {taps: Size(8, taps, seen, 4, points) for taps, (seen, points) in STRIDED.items()}

# As long as a line of each, and as many; `sized` puts in those of each size.
POINTS, OUTPUTS, TAPS, SEEN, APART, KINDS = (0,) * 6, (0,) * 4, (0,) * 3, (0,) * 6, 4, 6


def sized(function: Any) -> dict[Size, Any]:
    """A kernel for each size of patches: the same function with other constants, for which columns of vectors are laid out."""
    kernels, kernel = {}, compiled(function)
    for size in (F2_3, F4_3, F2_5, *HALVED.values(), *DOUBLED.values()):
        constants = {"POINTS": (0,) * size.points, "OUTPUTS": (0,) * size.outputs, "TAPS": (0,) * size.taps,
                     "SEEN": (0,) * size.seen, "APART": size.apart, "KINDS": kinds(size.points)}
        kernels[size] = rebuilt(kernel, constants, f"_{size.outputs}_{size.taps}_{size.points}")
    return kernels


@sized
def turn_weights(w: In1, row_step: int, term_step: int, backward: bool, F: int, C: int, out: Out1, team: Team):
    """out (panels, kinds, C, width): G w Gᵀ; zeros for filters that only fill a panel"""
    L = lanes(w)
    width = TALL_COLUMNS * L
    step, pieces = C * width + SKEW, (C + L - 1) // L
    for item in prange((F + width - 1) // width * TALL_COLUMNS * pieces, team):
        f, c = item // pieces * L, item % pieces * L
        turn_filters(w, f * row_step + c * term_step, row_step, term_step, max(0, min(L, F - f)), min(L, C - c), backward, out,
                     f // width * KINDS * KINDS * step + c * width + f % width, step, POINTS, TAPS)


@sized
def convolve_blocks(
    x: In1, N: int, C: int, H: int, W: int, pad_h: int, pad_w: int, weights: In1, place: IntIn1, y: Out1, y_step: int,
    bias: In1, relu: bool, F: int, OH: int, OW: int, block: int, team: Team,
):
    """A thread takes a block of patches through all three steps."""
    L, P, M = lanes(x), len(POINTS), len(OUTPUTS)
    width, places = TALL_COLUMNS * L, P * P
    patches, each = N * ((OH + M - 1) // M) * ((OW + M - 1) // M), (F + width - 1) // width
    for item in prange((patches + block - 1) // block, team):
        first, end = item * block, min(patches, item * block + block)
        row = (C + L - 1) // L * L
        step, out_step = block * row + SKEW, block * width + SKEW
        turned, products = room(x, places * step), room(x, places * out_step)
        rows = (end - first + TALL_ROWS - 1) // TALL_ROWS * TALL_ROWS
        for c in range(0, C, L):
            turn_patches(x, C, H, W, pad_h, pad_w, OH, OW, c, first, end, turned, c, row, step, SEEN, APART, POINTS,
                         OUTPUTS)
        blank(turned, (end - first) * row, step, POINTS, rows - (end - first), row, row)
        for panel in range(each):
            for k in range(places):
                kind = panel * KINDS * KINDS + kind_of(k, P, KINDS)
                multiply(turned, k, step, rows, C, weights, kind * (C * width + SKEW), F - panel * width, place, products,
                         k * out_step)
            for f in range(panel * width, min(F, panel * width + width), L):
                fold_patches(products, f - panel * width, out_step, first, end, y, y_step, bias, relu, F, f, OH, OW, POINTS,
                             OUTPUTS)


@sized
def turn_across(
    x: In1, N: int, C: int, H: int, W: int, pad_h: int, pad_w: int, OH: int, OW: int, first: int, end: int, stage: int,
    turned: Out1, team: Team,
):
    """turned (places, C, stage): Bᵀ d B, with the patches side by side, and zeros for those from ``end`` on. By panels, or by
    stages with a matrix unit (``winograd_amx.py``)."""
    L, P = lanes(x), len(POINTS)
    row, pieces = (C + L - 1) // L * L * stage + SKEW, stage // L
    for item in prange((C + L - 1) // L * pieces, team):
        c, begin = item // pieces * L, item % pieces * L
        step, count = L * L + SKEW, max(0, min(L, end - first - begin))
        square = room(x, P * P * step)
        turn_patches(x, C, H, W, pad_h, pad_w, OH, OW, c, first + begin, first + begin + count, square, 0, L, step, SEEN, APART,
                     POINTS, OUTPUTS)
        blank(square, count * L, step, POINTS, L - count, L, L)
        for k in range(P * P):
            turn_whole(square, k * step, L, turned, k * row + c * stage + begin, stage)


@sized
def convolve_panels(
    turned: In1, C: int, stage: int, w: In1, row_step: int, term_step: int, backward: bool, block: int, y: Out1,
    y_step: int, bias: In1, relu: bool, F: int, OH: int, OW: int, patches: int, team: Team,
):
    """A thread takes a panel of filters through the last two steps, transforming their weights a few channels at a time."""
    L, P = lanes(turned), len(POINTS)
    width, places, row = TALL_COLUMNS * L, P * P, (C + L - 1) // L * L * stage + SKEW
    for panel in prange((F + width - 1) // width, team):
        step, out_step = block * width + SKEW, stage * width + SKEW
        weights, products = room(turned, KINDS * KINDS * step), room(turned, places * out_step)
        for c in range(0, C, block):
            terms = min(block, C - c)
            for f in range(panel * width, panel * width + width, L):
                turn_filters(w, f * row_step + c * term_step, row_step, term_step, max(0, min(L, F - f)), terms, backward,
                             weights, f - panel * width, step, POINTS, TAPS)
            for k in range(places):
                multiply_panel(turned, k * row + c * stage, stage, row, patches, terms, weights, kind_of(k, P, KINDS) * step,
                               products, k * out_step, c > 0)
        for f in range(panel * width, min(F, panel * width + width), L):
            fold_patches(products, f - panel * width, out_step, 0, patches, y, y_step, bias, relu, F, f, OH, OW, POINTS,
                         OUTPUTS)


@sized
def correlate_panels(C: int, F: int, patches: int, turned: In1, upstream: In1, block: int, dw: Out1, team: Team):
    """dw = Gᵀ sums G, for a panel of filters and a few channels at a time, whose sums stay near until they are transformed."""
    L, P = lanes(turned), len(POINTS)
    width, row, places = TALL_COLUMNS * L, (C + L - 1) // L * L, P * P
    step, g_step, matrix = patches * row + SKEW, patches * width + SKEW, (block + CROSS_ROWS) * width + SKEW
    blocks = (C + block - 1) // block
    for item in prange((F + width - 1) // width * blocks, team):
        panel, c = item // blocks, item % blocks * block
        sums, end = room(turned, places * matrix), min(C, c + block)
        for k in range(places):
            correlate(turned, k * step + c, row, patches, end - c, upstream, (panel * places + k) * g_step,
                      F - panel * width, sums, k * matrix, False)
        for f in range(panel * width, min(F, panel * width + width), L):
            fold_filters(sums, f - panel * width, matrix, min(L, F - f), end - c, dw, (f * C + c) * len(TAPS) ** 2, C, POINTS,
                         TAPS)


# All threads take many patches, those from ``first`` to ``end``, through one step after the other:

@sized
def turn_places(
    x: In1, N: int, C: int, H: int, W: int, pad_h: int, pad_w: int, OH: int, OW: int, first: int, end: int, stage: int,
    turned: Out1, team: Team,
):
    """turned (places, stage, C), each place ``SKEW`` numbers apart: Bᵀ d B"""
    L = lanes(x)
    row = (C + L - 1) // L * L
    step, pieces = stage * row + SKEW, (end - first + PIECE - 1) // PIECE
    for item in prange(row // L * pieces, team):
        c, begin = item // pieces * L, item % pieces * PIECE
        count = min(PIECE, end - first - begin)
        turn_patches(x, C, H, W, pad_h, pad_w, OH, OW, c, first + begin, first + begin + count, turned, begin * row + c, row,
                     step, SEEN, APART, POINTS, OUTPUTS)
        empty = min(stage - begin, (count + TALL_ROWS - 1) // TALL_ROWS * TALL_ROWS) - count        # rows of the last tile
        blank(turned, (begin + count) * row + c, step, POINTS, empty, row, L)


@sized
def multiply_places(
    turned: In1, weights: In1, place: IntIn1, C: int, F: int, each: int, patches: int, stage: int, products: Out1, team: Team,
):
    """products (panels, places, stage, width): a matrix product for each place and panel of filters"""
    L, P = lanes(turned), len(POINTS)
    width, places, row = TALL_COLUMNS * L, P * P, (C + L - 1) // L * L
    rows = (patches + TALL_ROWS - 1) // TALL_ROWS * TALL_ROWS
    for item in prange(places * each, team):
        k, panel = item // each, item % each
        kind = panel * KINDS * KINDS + kind_of(k, P, KINDS)
        multiply(turned, k, stage * row + SKEW, rows, C, weights, kind * (C * width + SKEW), F - panel * width, place, products,
                 (panel * places + k) * (stage * width + SKEW))


@sized
def fold_places(
    products: In1, y: Out1, y_step: int, bias: In1, relu: bool, F: int, OH: int, OW: int, first: int, end: int, stage: int,
    team: Team,
):
    """Patches of y: Aᵀ products A"""
    L, P = lanes(products), len(POINTS)
    width, places = TALL_COLUMNS * L, P * P
    step = stage * width + SKEW
    pieces = (end - first + PIECE - 1) // PIECE
    for item in prange((F + L - 1) // L * pieces, team):
        f, begin = item // pieces * L, item % pieces * PIECE
        fold_patches(products, f // width * places * step + begin * width + f % width, step, first + begin,
                     min(end, first + begin + PIECE), y, y_step, bias, relu, F, f, OH, OW, POINTS, OUTPUTS)


@sized
def spread_places(
    g: In1, F: int, OH: int, OW: int, first: int, end: int, stage: int, upstream: Out1, team: Team,
):
    """upstream (panels, places, stage, width): A g Aᵀ"""
    L, P = lanes(g), len(POINTS)
    width, places = TALL_COLUMNS * L, P * P
    step = stage * width + SKEW
    pieces = (end - first + PIECE - 1) // PIECE
    for item in prange((F + width - 1) // width * TALL_COLUMNS * pieces, team):
        f, begin = item // pieces * L, item % pieces * PIECE
        to, count = f // width * places * step + begin * width + f % width, min(PIECE, end - first - begin)
        if f < F:
            spread_patches(g, F, OH, OW, f, first + begin, first + begin + count, upstream, to, step, POINTS, OUTPUTS)
        else:
            blank(upstream, to, step, POINTS, count, width, L)


@sized
def correlate_places(C: int, F: int, first: int, end: int, stage: int, turned: In1, upstream: In1, sums: Out1, team: Team):
    """sums (panels, places, C, width) += the products of both transforms; they begin with the first stage"""
    L, P = lanes(sums), len(POINTS)
    width, row, places, each = TALL_COLUMNS * L, (C + L - 1) // L * L, P * P, (F + TALL_COLUMNS * L - 1) // (TALL_COLUMNS * L)
    matrix = (C + CROSS_ROWS - 1) // CROSS_ROWS * CROSS_ROWS * width + SKEW
    for item in prange(places * each, team):
        k, panel = item // each, item % each
        correlate(turned, k * (stage * row + SKEW), row, end - first, C, upstream,
                  (panel * places + k) * (stage * width + SKEW), F - panel * width, sums, (panel * places + k) * matrix,
                  first > 0)


@sized
def correlate_blocks(
    x: In1, N: int, C: int, H: int, W: int, pad_h: int, pad_w: int, g: In1, F: int, OH: int, OW: int, parts: int, block: int,
    sums: Out1, team: Team,
):
    """The same for few sums: each part of the patches has its own, so that all a thread works on stays near. There are as many
    parts for any number of threads."""
    L, P, M = lanes(x), len(POINTS), len(OUTPUTS)
    width, places = TALL_COLUMNS * L, P * P
    patches, each = N * ((OH + M - 1) // M) * ((OW + M - 1) // M), (F + width - 1) // width
    row = (C + L - 1) // L * L
    step, g_step = block * row + SKEW, block * width + SKEW
    matrix = (C + CROSS_ROWS - 1) // CROSS_ROWS * CROSS_ROWS * width + SKEW
    total = each * places * matrix
    for part in prange(parts, team):
        begin, stop = patches * part // parts, patches * (part + 1) // parts
        turned, upstream = room(x, places * step), room(x, each * places * g_step)
        for first in range(begin, stop, block):
            end = min(stop, first + block)
            for c in range(0, C, L):
                turn_patches(x, C, H, W, pad_h, pad_w, OH, OW, c, first, end, turned, c, row, step, SEEN, APART, POINTS,
                             OUTPUTS)
            for f in range(0, each * width, L):
                to = f // width * places * g_step + f % width
                if f < F:
                    spread_patches(g, F, OH, OW, f, first, end, upstream, to, g_step, POINTS, OUTPUTS)
                else:
                    blank(upstream, to, g_step, POINTS, end - first, width, L)
            for k in range(each * places):
                correlate(turned, k % places * step, row, end - first, C, upstream, k * g_step,
                          F - k // places * width, sums, part * total + k * matrix, first > begin)


@compiled
def add_parts(sums: Out1, parts: int, total: int, team: Team):
    """The sums of all parts, in the place of the first's."""
    for item in prange(total // lanes(sums), team):
        at = item * lanes(sums)
        sum_ = load(sums, at)
        for part in range(1, parts):
            sum_ = add(sum_, load(sums, part * total + at))
        put(sums, at, sum_)


@sized
def fold_sums(sums: In1, dw: Out1, F: int, C: int, team: Team):
    """dw = Gᵀ sums G"""
    L, P = lanes(sums), len(POINTS)
    width, places = TALL_COLUMNS * L, P * P
    matrix = (C + CROSS_ROWS - 1) // CROSS_ROWS * CROSS_ROWS * width + SKEW
    pieces = (C + L - 1) // L
    for item in prange((F + L - 1) // L * pieces, team):
        f, c = item // pieces * L, item % pieces * L
        at = f // width * places * matrix + c * width + f % width
        fold_filters(sums, at, matrix, min(L, F - f), min(L, C - c), dw, (f * C + c) * len(TAPS) ** 2, C, POINTS, TAPS)
