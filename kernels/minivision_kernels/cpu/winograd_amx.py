"""The kernels of Winograd's convolution in a matrix unit; ``conv_winograd_amx.py`` says which are called when.

A panel has 32 filters, as for vectors, and arrays that are shared with ``winograd.py`` lie as they do there.
"""

from __future__ import annotations

from minivision_kernels.cpu.amx import SIDE, tiles_begin, tiles_end, watched
from minivision_kernels.cpu.amx_panels import (
    COLUMNS,
    DEEP,
    PANEL,
    ROWS,
    SUMS,
    add_products,
    added_up,
    split_left,
    split_panel,
)
from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, helper, prange
from minivision_kernels.cpu.patches import turn_filters
from minivision_kernels.cpu.simd import prefetch, room
from minivision_kernels.cpu.tile import plus, store, zeros
from minivision_kernels.cpu.winograd import POINTS, SKEW, TAPS, sized

WIDTH = COLUMNS * SIDE
FEW = 4             # rows of sums that are written together


@sized
def split_weights(w: In1, row_step: int, term_step: int, backward: bool, F: int, C: int, out: Out1, team: Team):
    """out: right panels of G w Gᵀ for all filters, place after place."""
    P = len(POINTS)
    blocks, each, step = (C + DEEP - 1) // DEEP, (F + WIDTH - 1) // WIDTH, DEEP * WIDTH + SKEW
    for item in prange(each * blocks, team):
        panel, block = item // blocks, item % blocks
        turned, terms = room(w, P * P * step), min(DEEP, C - block * DEEP)
        for f in range(panel * WIDTH, panel * WIDTH + WIDTH, SIDE):
            turn_filters(w, f * row_step + block * DEEP * term_step, row_step, term_step, max(0, min(SIDE, F - f)), terms,
                         backward, turned, f - panel * WIDTH, step, POINTS, TAPS)
        for k in range(P * P):
            split_panel(turned, k * step, k * step + SIDE, WIDTH, terms, out, ((k * each + panel) * blocks + block) * PANEL)


@helper
def multiply_matrix(left, at, row_step, rows, terms, right, rt, panels, out, to, apart, begun):
    """out (panels, rows, WIDTH), those of a panel from to + panel * apart on, = left (rows, terms) times right panels, added to
    what is there if so much has ``begun``. There is room for a multiple of FEW rows.

    Returns 0, or NaN if a sum is infinite or NaN.
    """
    blocks = (terms + DEEP - 1) // DEEP
    mine, other, piece = room(out, blocks * PANEL), room(out, blocks * PANEL), room(out, SIDE * DEEP)
    sums, wrong, split = room(out, SUMS), zeros(out, FEW, COLUMNS), False
    for r in range(0, rows, ROWS):
        high = min(ROWS, rows - r)
        if not split:
            split_left(left, at, row_step, 1, high, terms, mine, 0, piece)
        at += ROWS * row_step
        split = terms % DEEP == 0 and r + 2 * ROWS <= rows
        share = (ROWS + panels - 1) // panels if split else 0
        for p in range(panels):
            begin, goal, first, end = rt + p * blocks * PANEL, to + p * apart + r * WIDTH, p * share, min(ROWS, (p + 1) * share)
            for i in range(0, high * WIDTH, SIDE):
                prefetch(out, goal + i)
            if high > SIDE:
                add_products(mine, right, begin, blocks, sums, 0, left, at, row_step, first, end, other, 2, 2)
            else:
                add_products(mine, right, begin, blocks, sums, 0, left, at, row_step, first, end, other, 1, 2)
            for i in range(0, high * WIDTH, FEW * WIDTH):
                tile = plus(zeros(sums, FEW, COLUMNS), FEW, COLUMNS, sums, i, WIDTH)
                wrong = watched(wrong, tile)
                if begun:
                    tile = plus(tile, FEW, COLUMNS, out, goal + i, WIDTH)
                store(tile, FEW, COLUMNS, out, goal + i, WIDTH)
        mine, other = other, mine
    store(wrong, FEW, COLUMNS, sums, 0, WIDTH)
    return added_up(sums, 0)


@compiled
def multiply_places(
    turned: In1, weights: In1, places: int, C: int, F: int, parts: int, patches: int, stage: int, workers_: int,
    products: Out1, wrong: Out1, team: Team,
):
    """products (panels, places, stage, WIDTH): a matrix product for each place and part of the panels"""
    each, blocks, step = (F + WIDTH - 1) // WIDTH, (C + DEEP - 1) // DEEP, stage * WIDTH + SKEW
    items, row = places * parts, (C + SIDE - 1) // SIDE * SIDE
    for worker in prange(workers_, team):
        tiles_begin()
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            k, part = item // parts, item % parts
            first, end = each * part // parts, each * (part + 1) // parts
            wrong[worker] += multiply_matrix(
                turned, k * (stage * row + SKEW), row, patches, C, weights, (k * each + first) * blocks * PANEL, end - first,
                products, (first * places + k) * step, places * step, False)
        tiles_end()


@compiled
def correlate_places(
    turned: In1, upstream: In1, places: int, C: int, F: int, parts: int, begin: int, stop: int, stage: int, matrix: int,
    workers_: int, sums: Out1, wrong: Out1, team: Team,
):
    """sums (panels, places, C, WIDTH) += the products of both transforms"""
    each, blocks, step = (F + WIDTH - 1) // WIDTH, (stop - begin + DEEP - 1) // DEEP, stage * WIDTH + SKEW
    items, row = places * parts, (C + SIDE - 1) // SIDE * SIDE
    for worker in prange(workers_, team):
        right = room(sums, (each + parts - 1) // parts * blocks * PANEL)
        tiles_begin()
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            k, part = item // parts, item % parts
            first, end = each * part // parts, each * (part + 1) // parts
            for panel in range(first, end):
                at = (panel * places + k) * step
                split_panel(upstream, at, at + SIDE, WIDTH, stop - begin, right, (panel - first) * blocks * PANEL)
            wrong[worker] += multiply_matrix(
                turned, k * (row * stage + SKEW), stage, C, blocks * DEEP, right, 0, end - first, sums,
                (first * places + k) * matrix, places * matrix, begin > 0)
        tiles_end()
