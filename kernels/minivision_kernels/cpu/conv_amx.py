"""Convolution in a matrix unit: implicit GEMM (``conv_implicit.py``) with tiles for registers (``amx.py``).

Columns are the outputs, rows the filters, terms the taps of all channels; each thread splits the pixels that a block of outputs
sees, and the filters as it meets them. A split number has three halves of a word where it had two, and then a tap is six products of
tiles, each of which does in 16 cycles what AVX-512 does in 256.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu import conv_implicit
from minivision_kernels.cpu.amx import BLOCK_TERMS, SIDE, matrix_unit, require, tiles_begin, tiles_end
from minivision_kernels.cpu.amx_panels import (
    BLOCK,
    CHUNK,
    PAIR,
    PANEL,
    SHAPE,
    SUMS,
    WIDE,
    multiply_tiles,
    split_seen,
    stretches,
)
from minivision_kernels.cpu.bands import Taps, copy_band, forward, phase_by_phase, workers
from minivision_kernels.cpu.columns import READ, find_outputs, sort_vectors
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, prange
from minivision_kernels.cpu.conv_implicit import seen_of_block, tap_places
from minivision_kernels.cpu.goal import Goal, aim, fill
from minivision_kernels.cpu.panels import division
from minivision_kernels.cpu.planes import Weights
from minivision_kernels.cpu.simd import entry, room
from minivision_kernels.finish import Finish
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

TOGETHER = 8                # rows of weights that are gathered together


@rung("conv2d_forward", name="amx", device="cpu", accepts=matrix_unit, worth=lambda *a, **k: False)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """Tiles of a matrix unit."""
    shape, taps, weights = forward(x.shape, w.shape, stride, padding, dilation, groups)
    y, goal = aim(shape, x.dtype, finish, groups)
    sum_taps(x, taps, stride, contiguous(w).reshape(-1), weights, y, goal, (0, 0), (1, 1), *shape[2:])
    return y


@rung("conv2d_input", name="amx", device="cpu", accepts=matrix_unit, worth=lambda *a, **k: False)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same for every phase of the image, with channels of x as rows."""
    return phase_by_phase(sum_taps, g, w, shape, stride, padding, dilation, groups)


class Plan(NamedTuple):
    """How one product is carried out; see ``conv_implicit.py``."""

    stretch: int
    in_place: bool
    height: int
    width: int
    reach: int
    blocks: int
    parts: int
    place: np.ndarray


@functools.lru_cache(maxsize=4096)
def plan(
    images: int, size: Pair, channels: int, OH: int, OW: int, stride: Pair, taps: Taps, rows: int, groups: int, workers: int,
) -> Plan:
    """For sums over taps: the columns of the product are outputs."""
    each = len(taps.down) * len(taps.right)
    stretch, panels = stretches(channels * each, each), -(-images * OH * OW // WIDE)
    in_place = seen_of_block(size, OH, OW, stride, taps, 0)[0]
    deep = -(-stretch // BLOCK_TERMS) * BLOCK_TERMS
    blocks, parts = division(-(-images * OH * OW // SIDE), deep, rows, groups, workers, BLOCK, SHAPE)
    _, height, width = seen_of_block(size, OH, OW, stride, taps, -(-panels // blocks) * WIDE)
    return Plan(stretch, in_place, height, width, max(taps.down) * width + max(taps.right), blocks, parts,
                tap_places(taps, stretch // each, height, width))


def sum_taps(
    x: np.ndarray, taps: Taps, stride: Pair, flat: np.ndarray, weights: Weights, y: np.ndarray, goal: Goal, first: Pair,
    step: Pair, OH: int, OW: int,
) -> None:
    """What ``conv_implicit.sum_taps`` does."""
    require()
    N, C, H, W = x.shape
    F, out_h, out_w = y.shape[1:]
    if not N * F * OH * OW:
        return
    if not C:
        fill(y, goal)
        return
    rows, groups, row_step, group_step, offset, term_step = weights
    how = plan(N, (H, W), C // groups, OH, OW, stride, taps, rows, groups, workers())
    left, at, K = flat, int(offset[0]), offset.size
    if term_step != 1 and row_step != 1 or term_step == 0:
        left, at, row_step, group_step, term_step = empty((groups * rows * K,), x.dtype), 0, K, rows * K, 1
        _gather(flat, weights.rows, groups, weights.row_step, weights.group_step, offset, left, work=left.size)
    wrong = np.zeros(workers(), x.dtype)
    _multiply(
        contiguous(x).reshape(-1), N, C, H, W, taps.top, taps.left, *how, *stride, left, at, row_step, group_step, term_step, K,
        OH, OW, *goal, F, out_h, out_w, *first, *step, groups, wrong, workers(), work=N * F * OH * OW * K // SIDE)
    if wrong.any():
        conv_implicit.sum_taps(x, taps, stride, flat, weights, y, goal, first, step, OH, OW)


@compiled
def _gather(
    flat: In1, rows: int, groups: int, row_step: int, group_step: int, offset: IntIn1, left: Out1, team: Team,
):
    """left[(g * rows + r) * K + k] = flat[g * group_step + r * row_step + offset[k]]"""
    K, chunks = offset.shape[0], (rows + TOGETHER - 1) // TOGETHER
    for item in prange(groups * chunks, team):
        group, first = item // chunks, item % chunks * TOGETHER
        for k in range(K):
            at = group * group_step + first * row_step + entry(offset, k)
            for i in range(min(TOGETHER, rows - first)):
                left[(group * rows + first + i) * K + k] = entry(flat, at + i * row_step)


@compiled
def _multiply(
    x: In1, N: int, C: int, H: int, W: int, top: int, left_: int,
    stretch: int, in_place: bool, height: int, width: int, reach: int, blocks: int, parts: int, place: IntIn1,
    stride_h: int, stride_w: int, left: In1, left_at: int, row_step: int, group_step: int, term_step: int, K: int, OH: int,
    OW: int, y: Out1, y_step: int, bias: In1, relu: bool, F: int, out_h: int, out_w: int, first_h: int, first_w: int,
    step_h: int, step_w: int, groups: int, wrong: Out1, workers_: int, team: Team,
):
    channels, filters, plane = C // groups, F // groups, out_h * out_w
    outputs, bands = N * OH * OW, (filters + WIDE - 1) // WIDE
    all_panels, taps = (outputs + WIDE - 1) // WIDE, K // channels
    image_step = C * H * W if in_place else stretch // taps * height * width
    items, deep = groups * blocks * parts, (stretch + BLOCK_TERMS - 1) // BLOCK_TERMS
    most = (all_panels + blocks - 1) // blocks          # panels of a block, and
    images = min(N, (most * WIDE + OH * OW - 2) // (OH * OW) + 1)       # of how many images they may be
    for worker in prange(workers_, team):
        buffer = room(x, 0 if in_place else images * image_step + 2 * SIDE)
        right = room(x, most * deep * PANEL)
        sums = room(x, ((bands + parts - 1) // parts * most * (stretch < K) + 1) * SUMS)
        # Where the window of each output begins, and where its result goes.
        seen, target = np.empty(most * WIDE, np.int64), np.empty(most * WIDE, np.int64)
        start, count = np.empty(most * PAIR, np.int64), np.empty(most * PAIR, np.int64)
        read = np.empty(most * PAIR * READ, np.int64)
        band, piece = room(x, deep * PANEL), room(x, BLOCK_TERMS * CHUNK)
        source = x if in_place else buffer
        tiles_begin()
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            group, part, block = item // (blocks * parts), item // blocks % parts, item % blocks
            first = all_panels * block // blocks
            panels = all_panels * (block + 1) // blocks - first
            top_band, bottom_band = bands * part // parts, bands * (part + 1) // parts
            rows = min(filters, bottom_band * WIDE) - top_band * WIDE
            begin, end = first * WIDE, min(outputs, (first + panels) * WIDE)
            n_first, n_end = begin // (OH * OW), (end - 1) // (OH * OW) + 1
            begin_line, vectors = begin % (OH * OW) // OW, (end - begin + SIDE - 1) // SIDE
            origin = ((n_first * C + group * channels) * H - top) * W - left_ if in_place else 0
            find_outputs(begin, end, OH, OW, 0 if in_place else begin_line, image_step, stride_h * width, stride_w,
                         n_first * y_step, y_step, step_h * out_w, step_w, panels * WIDE, seen, target)
            loose = sort_vectors(seen, target, start, count, read, panels * PAIR, stride_w, SIDE,
                                 x.shape[0] - origin - (channels - 1) * H * W - reach if in_place else buffer.shape[0])
            to = (group * filters + top_band * WIDE) * plane + first_h * out_w + first_w
            weights = left_at + group * group_step + top_band * WIDE * row_step
            for term in range(0, K, stretch):
                terms = min(stretch, K - term)
                if not in_place:
                    for n in range(n_first, n_end):
                        line = begin_line if n == n_first else 0
                        copy_band(x, ((n * C + group * channels) + term // taps) * H * W, terms // taps, H, W,
                                  line * stride_h - top, height, left_, width, 1, buffer, (n - n_first) * image_step)
                split_seen(source, origin + term // taps * H * W if in_place else 0, place, terms, seen, read, stride_w, vectors,
                           right, piece, (terms + BLOCK_TERMS - 1) // BLOCK_TERMS)
                wrong[worker] += multiply_tiles(
                    left, weights + term * term_step, row_step, term_step, rows, terms, right, vectors, sums, term > 0,
                    term + terms == K, y, to, plane, start, count, target, loose, bias, group * filters + top_band * WIDE, relu,
                    band, piece)
        tiles_end()
