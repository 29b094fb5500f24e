"""Convolution with its sums in registers.

``conv_parallel.py`` adds shifted planes to a row of sums, and each multiply-add pays for loading and storing its sum. Here
a block of sums, 8 filters x 3 vectors of pixels, stays in registers while all taps are added: for every 3 vectors loaded
there are 24 multiply-adds, and nothing is stored until the end. In effect this is a matrix product with an im2col matrix
that nobody ever writes down: its rows are the lines of a small padded piece of the image, read with a shift (`bands.py`).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minivision_kernels.cpu.bands import Taps, band, copy_band, forward, phase_by_phase, workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Out3, Team, compiled, contiguous, prange, rebuilt
from minivision_kernels.cpu.goal import Goal, aim, fill
from minivision_kernels.cpu.planes import Deal, Weights, deal, dealt
from minivision_kernels.cpu.simd import entries, entry, lanes, lanes_of, load, put, room, vectors
from minivision_kernels.cpu.stream import arrived, ask_lines, from_afar, past_caches
from minivision_kernels.cpu.tile import (
    INNER_COLUMNS,
    INNER_ROWS,
    OUTER_COLUMNS,
    OUTER_ROWS,
    add_totals,
    finish_rows,
    inner,
    inner_part,
    outer_to,
    plus,
    store,
    store_past_to,
    store_to,
    zeros,
)
from minivision_kernels.finish import Finish
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

STRETCH = 256       # weights of a row that are packed before the next row has its turn
SUM = 1024          # numbers of one plane that go into an inner product before the lanes are added up: those of 4 stay near
TERMS = 1024        # products added up in registers before they are added to the rest of the sum
FILTERS = 16        # filters and
TAPS = 12 * INNER_COLUMNS       # taps of the weight gradient that one thread computes at a time
PARTS = 8           # and so many such pieces of work there are, if there are as many images
ASKS = False        # of the kernel for them, until it is rebuilt for what comes from afar


@rung("conv2d_forward", name="tile", device="cpu", accepts=vectors)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """The sums of 8 filters and 3 vectors of pixels stay in registers while all taps are added.

    Three to five times the rung below. Narrow images leave lanes empty: a line of 14 pixels fills 14 lanes of 16. Large results
    whose lines are whole vectors are written past the caches, since it is writing that first layers wait for: 1.1 to 1.6 times
    as fast from 16 MB on.
    """
    shape, taps, weights = forward(x.shape, w.shape, stride, padding, dilation, groups)
    y, goal = aim(shape, x.dtype, finish, groups)
    sum_taps(x, taps, stride, contiguous(w).reshape(-1), weights, y, goal, (0, 0), (1, 1), *shape[2:])
    return y


@rung("conv2d_input", name="tile", device="cpu", accepts=vectors)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The forward's tile over bands of g, with the channels of x as rows, once for every phase of the image."""
    return phase_by_phase(sum_taps, g, w, shape, stride, padding, dilation, groups)


@rung("conv2d_weight", name="tile", device="cpu", accepts=vectors)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """24 inner products at once: 4 filters x 6 taps, a vector of partial sums for each, all in registers.

    10 loads for 24 multiply-adds, where the rung below needs 2 for each; four to eight times as fast. Where filters and taps
    are too few to be shared by threads, the images are, and their sums added up.
    """
    N, C = x.shape[:2]
    F, _, KH, KW = shape
    OH, OW = g.shape[2:]
    how, place = _deal(C // groups, (KH, KW), (OH, OW), stride, dilation)
    planes, step = _planes(x, how, stride, padding)
    blocks = groups * -(-F // groups // FILTERS) * -(-how.place.size // TAPS)
    parts = min(N, -(-PARTS // max(1, blocks)))
    dw = np.zeros((parts, F, place.size), x.dtype)
    group_step = C // groups * len(how.rows) * len(how.columns) * how.height * how.width
    (CORRELATE_FAR if from_afar(g) else _correlate)(
        planes, step, group_step, how.width, contiguous(g).reshape(-1), N, OH, OW, place, groups, dw,
        work=g.size * place.size // lanes_of(x))
    return contiguous((dw[0] if parts == 1 else dw.sum(axis=0))[:, :how.place.size]).reshape(shape)


@functools.lru_cache(maxsize=256)
def _deal(*what: Any) -> tuple[Deal, np.ndarray]:
    """The deal, and its places for a whole number of tiles: the last tap is computed again, and dropped."""
    how = deal(*what)
    spare = -how.place.size % INNER_COLUMNS
    return how, np.pad(how.place, (0, spare), mode="edge") if spare else how.place


def _planes(x: np.ndarray, how: Deal, stride: Pair, padding: Pair) -> tuple[np.ndarray, int]:
    """The images with zero padding, dealt out, and how far it is from one to the next."""
    N, C, H, W = x.shape
    if stride != (1, 1) or padding == (0, 0):
        planes = dealt(x, how, stride, padding)
        return planes.reshape(-1), planes.shape[1]
    step = C * how.height * how.width + lanes_of(x)         # the last vector of a line may reach beyond it
    planes = empty((N * step,), x.dtype)
    _pad(contiguous(x).reshape(-1), C, H, W, *padding, how.height, how.width, planes, step, work=planes.size)
    return planes, step


@compiled
def _pad(x: In1, C: int, H: int, W: int, top: int, left: int, height: int, width: int, planes: Out1, step: int, team: Team):
    for n in prange(planes.shape[0] // step, team):
        copy_band(x, n * C * H * W, C, H, W, -top, height, left, width, 1, planes, n * step)


def panels(flat: np.ndarray, weights: Weights) -> np.ndarray:
    """Weights in the order in which tiles read them: panels of 8 rows, and in each (K, 8).

    Each group begins a new panel; places for which it has no row hold zeros.
    """
    K = weights.offset.size
    out = np.empty(weights.groups * -(-weights.rows // OUTER_ROWS) * K * OUTER_ROWS, flat.dtype)
    _pack(flat, *weights[:-1], out, work=out.size)
    return out


@compiled
def _pack(flat: In1, rows: int, groups: int, row_step: int, group_step: int, offset: IntIn1, out: Out1, team: Team):
    K = offset.shape[0]
    each = (rows + OUTER_ROWS - 1) // OUTER_ROWS
    for panel in prange(groups * each, team):
        group, first = panel // each, panel % each * OUTER_ROWS
        target = out[panel * K * OUTER_ROWS:(panel + 1) * K * OUTER_ROWS]
        for start in range(0, K, STRETCH):              # a stretch at a time: its 8 rows meet in the first-level cache
            end = min(K, start + STRETCH)
            for i in range(OUTER_ROWS):
                if first + i < rows:
                    at = group * group_step + (first + i) * row_step
                    for k in range(start, end):
                        target[k * OUTER_ROWS + i] = flat[at + offset[k]]
                else:
                    for k in range(start, end):
                        target[k * OUTER_ROWS + i] = 0


def sum_taps(
    x: np.ndarray, taps: Taps, stride: Pair, flat: np.ndarray, weights: Weights, y: np.ndarray, goal: Goal, first: Pair,
    step: Pair, OH: int, OW: int,
) -> None:
    """y[:, f, first + step * (oh, ow)] = the sum over channels and taps of the weights times what they see; ``goal`` leads to
    y."""
    N, C, H, W = x.shape
    F, out_h, out_w = y.shape[1:]
    if not N * F * OH * OW:
        return
    if not C:
        fill(y, goal)
        return
    L, each = lanes_of(x), -(-F // weights.groups // OUTER_ROWS)
    packed = panels(flat, weights)
    how, place = band(N, C // weights.groups, OH, OW, stride, taps, x.itemsize, OUTER_COLUMNS * L, each,
                      packed.nbytes // weights.groups, workers(), stride[1])
    past = step == (1, 1) and OW % L == 0 and past_caches(goal.flat)
    _sum_taps(
        contiguous(x).reshape(-1), N, C, H, W, taps.top, taps.left, *how, *stride, place, packed, OH, OW, past, *goal, F,
        out_h, out_w, *first, *step, weights.groups, work=N * F * OH * OW * place.size // L)


@compiled
def _sum_taps(
    x: In1, N: int, C: int, H: int, W: int, top: int, left: int,
    images: int, lines: int, height: int, width: int, in_place: bool, splits: int, by_filters: bool, stride_h: int, phases: int,
    place: IntIn1, weights: In1, OH: int, OW: int, past: bool,
    y: Out1, y_step: int, bias: In1, relu: bool, F: int, out_h: int, out_w: int, first_h: int, first_w: int, step_h: int,
    step_w: int, groups: int, team: Team,
):
    L = lanes(x)
    bands = (OH + lines - 1) // lines
    all_bands = (N + images - 1) // images * bands
    channels, filters, K = C // groups, F // groups, place.shape[0]
    each = (filters + OUTER_ROWS - 1) // OUTER_ROWS
    plane, across, finish = out_h * out_w, (OW + L - 1) // L, bias.shape[0] > 0
    for item in prange(all_bands * groups * splits, team):
        if by_filters:
            b, part = item % all_bands, item // all_bands
        else:
            b, part = item // (groups * splits), item % (groups * splits)
        split, group = part % splits, part // splits
        top_line, n = b % bands * lines, b // bands * images
        count, high = min(images, N - n), min(lines, OH - top_line)
        size = channels * height * width
        buffer = room(x, count * size + OUTER_COLUMNS * L)
        for m in range(count):
            copy_band(x, ((n + m) * C + group * channels) * H * W, channels, H, W, top_line * stride_h - top, height, left,
                      width, phases, buffer, m * size)
        # The vectors of outputs of this band: where each finds its pixels, where it goes, and how many lanes of it count.
        tiles = (count * high * across + OUTER_COLUMNS - 1) // OUTER_COLUMNS
        seen = np.empty(tiles * OUTER_COLUMNS, np.int64)
        target, number = np.empty_like(seen), np.zeros_like(seen)
        v = 0
        for m in range(count):
            for h in range(high):
                for begin in range(0, OW, L):
                    j = begin if step_w > 1 else max(0, min(begin, OW - L))     # the last vector overlaps the one before it
                    seen[v] = m * size + h * stride_h * width + j
                    target[v] = m * y_step + h * step_h * out_w + j * step_w
                    number[v] = min(L, OW - j)
                    v += 1
        for v in range(count * high * across, tiles * OUTER_COLUMNS):
            seen[v], target[v] = 0, 0
        full = np.empty(tiles, np.bool_)
        for t in range(tiles):
            full[t] = True
            for j in range(OUTER_COLUMNS):
                full[t] = full[t] and number[t * OUTER_COLUMNS + j] == L
        base = n * y_step + group * filters * plane + (first_h + top_line * step_h) * out_w + first_w
        sums = room(x, tiles * OUTER_ROWS * OUTER_COLUMNS * L)
        for panel in range(each * split // splits, each * (split + 1) // splits):
            to, f_count = base + panel * OUTER_ROWS * plane, min(OUTER_ROWS, filters - panel * OUTER_ROWS)
            for begin in range(0, K, TERMS):
                end = min(K, begin + TERMS)
                for t in range(tiles):
                    columns, keep = entries(seen, t * OUTER_COLUMNS, OUTER_COLUMNS), t * OUTER_ROWS * OUTER_COLUMNS * L
                    tile = zeros(x, OUTER_ROWS, OUTER_COLUMNS)
                    at = ((group * each + panel) * K + begin) * OUTER_ROWS
                    for k in range(begin, end):
                        tile = outer_to(tile, OUTER_ROWS, OUTER_COLUMNS, weights, at, 1, buffer, entry(place, k), columns)
                        at += OUTER_ROWS
                    if begin > 0:
                        tile = plus(tile, OUTER_ROWS, OUTER_COLUMNS, sums, keep, OUTER_COLUMNS * L)
                    if finish and end == K:
                        tile = finish_rows(tile, OUTER_ROWS, OUTER_COLUMNS, bias, group * filters + panel * OUTER_ROWS, relu)
                    if end == K and step_w == 1 and f_count == OUTER_ROWS and full[t]:
                        places = entries(target, t * OUTER_COLUMNS, OUTER_COLUMNS)
                        if past:
                            store_past_to(tile, OUTER_ROWS, OUTER_COLUMNS, y, to, plane, places)
                        else:
                            store_to(tile, OUTER_ROWS, OUTER_COLUMNS, y, to, plane, places)
                        continue
                    store(tile, OUTER_ROWS, OUTER_COLUMNS, sums, keep, OUTER_COLUMNS * L)
                    if end == K:
                        for j in range(OUTER_COLUMNS):
                            v = t * OUTER_COLUMNS + j
                            for i in range(f_count):
                                if step_w == 1 and number[v] == L:
                                    put(y, to + i * plane + target[v], load(sums, keep + (i * OUTER_COLUMNS + j) * L))
                                    continue
                                for lane in range(number[v]):
                                    y[to + i * plane + target[v] + lane * step_w] = sums[
                                        keep + (i * OUTER_COLUMNS + j) * L + lane]
        arrived(past)


@compiled
def _correlate(
    planes: In1, step: int, group_step: int, width: int, g: In1, N: int, OH: int, OW: int, place: IntIn1, groups: int, dw: Out3,
    team: Team,
):
    """Inner products of lines of g with lines of planes that are ``width`` numbers long, added to dw (parts, F, K), a sum for
    each part of the images; K is a whole number of tiles. If it ``ASKS``, tiles ask for the lines of g that the next ones need,
    each for some of them."""
    parts, F, K = dw.shape
    L, out, filters = lanes(g), dw.reshape(parts * F * K), F // groups
    images, lines = max(1, SUM // max(1, OH * OW)), max(1, SUM // max(1, OW))        # that go into one inner product
    f_blocks, k_blocks = (filters + FILTERS - 1) // FILTERS, (K + TAPS - 1) // TAPS
    for item in prange(parts * groups * f_blocks * k_blocks, team):
        part, group = item // (groups * f_blocks * k_blocks), item // (f_blocks * k_blocks) % groups
        f_first, k_first = item // k_blocks % f_blocks * FILTERS, item % k_blocks * TAPS
        f_end, k_end = min(filters, f_first + FILTERS), min(K, k_first + TAPS)
        whole, k_tiles = f_end - (f_end - f_first) % INNER_ROWS, (k_end - k_first) // INNER_COLUMNS
        begin, stop, to = N * part // parts, N * (part + 1) // parts, (part * F + group * filters) * K
        for first in range(begin, stop, images):
            for top in range(0, OH, lines):
                end, bottom = min(stop, first + images), min(OH, top + lines)
                for f in range(f_first, whole, INNER_ROWS):
                    if f + INNER_ROWS < whole:          # how far it is to what comes next: to other filters,
                        ahead = INNER_ROWS * OH * OW
                    else:                               # or lines further on, or the next images
                        ahead = (f_first - f) * OH * OW + (lines * OW if bottom < OH else images * F * OH * OW - top * OW)
                    for k in range(k_first, k_end, INNER_COLUMNS):
                        tile = zeros(g, INNER_ROWS, INNER_COLUMNS)
                        for n in range(first, end):
                            for h in range(top, bottom):
                                a = ((n * F + group * filters + f) * OH + h) * OW
                                b = n * step + group * group_step + h * width
                                if ASKS and h % k_tiles == (k - k_first) // INNER_COLUMNS:
                                    for i in range(INNER_ROWS):
                                        ask_lines(g, a + ahead + i * OH * OW, OW)
                                j = 0
                                while j + L <= OW:
                                    tile = inner(tile, INNER_ROWS, INNER_COLUMNS, g, a + j, OH * OW, planes, b + j, place, k)
                                    j += L
                                if j < OW:
                                    tile = inner_part(tile, INNER_ROWS, INNER_COLUMNS, g, a + j, OH * OW, planes, b + j, place,
                                                      k, OW - j)
                        add_totals(tile, INNER_ROWS, INNER_COLUMNS, out, to + f * K + k, K)
                for f in range(whole, f_end):           # the filters that do not fill a tile, one by one
                    for k in range(k_first, k_end, INNER_COLUMNS):
                        tile = zeros(g, 1, INNER_COLUMNS)
                        for n in range(first, end):
                            for h in range(top, bottom):
                                a = ((n * F + group * filters + f) * OH + h) * OW
                                b = n * step + group * group_step + h * width
                                j = 0
                                while j + L <= OW:
                                    tile = inner(tile, 1, INNER_COLUMNS, g, a + j, OH * OW, planes, b + j, place, k)
                                    j += L
                                if j < OW:
                                    tile = inner_part(tile, 1, INNER_COLUMNS, g, a + j, OH * OW, planes, b + j, place, k,
                                                      OW - j)
                        add_totals(tile, 1, INNER_COLUMNS, out, to + f * K + k, K)


CORRELATE_FAR = rebuilt(_correlate, {"ASKS": True}, "_far")
