"""Filters of one pixel, on pixels where they lie: a matrix product that packs nothing.

With 1 x 1 filters at stride 1 an image is the right matrix of a product already, channels down and pixels across, and a tile of
8 filters x 3 vectors of pixels can take its vectors from there. To pack them first (``panels.py``) costs as much as ten more
filters, and while a thread packs, it waits for memory and multiplies nothing.

What has to be solved without packing is when memory is read. The vectors of a tile lie in as many places as there are channels,
each some pages from the next, and no processor foresees that. But we do: while one panel of pixels meets all filters, those of
the next panel are asked for, a channel every few terms, so that memory and multiply-adds go on side by side. Without that,
nothing was gained where images lay in memory, and that is why these products were packed for so long.

    a panel is 3 vectors of pixels, of any images, so that small ones fill panels as well as large ones
    it meets all filters while it is in the first or second cache; weights come from wherever they are, in long runs
    pixels that are no whole vector of their image are packed after all (``conv_implicit.py``)

Where channels lie whole pages apart, as those of 32 x 32 pixels do, they push each other out of the first cache; and sums of
few terms are begun and ended too often. Both are packed.
"""

from __future__ import annotations

import functools

import numpy as np

from minivision_kernels.cpu.bands import Taps, forward, phase_by_phase, window, workers
from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, contiguous, helper, inlined, prange
from minivision_kernels.cpu.conv_implicit import A_PIXEL, left_matrix, multiply_taps
from minivision_kernels.cpu.goal import Goal, aim, fill
from minivision_kernels.cpu.panels import COLUMNS, ROWS, find_left, stretches
from minivision_kernels.cpu.planes import Weights
from minivision_kernels.cpu.simd import entries, lanes, lanes_of, load, prefetch, put, room, vectors
from minivision_kernels.cpu.stream import arrived, past_caches
from minivision_kernels.cpu.tile import finish_rows, outer_to, plus, store, store_past_to, store_to, zeros
from minivision_kernels.finish import Finish
from minivision_kernels.ladder import rung
from minivision_kernels.shapes import Pair

PAGE = 4096         # bytes; channels that lie whole pages apart push each other out of the first cache
TERMS = 24          # of a sum, at least: shorter ones are sooner packed than begun so often
LEAST = 8_000_000   # multiply-adds, where what is left of the images takes a second kernel
FEW = 64            # pixels; so few are not worth turning the weights over


def _accepts(array: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair) -> bool:
    """Whether an image is the matrix of its windows."""
    return w.shape[2:] == stride == (1, 1) and padding == (0, 0) and vectors(array)


def _worth(array: np.ndarray, terms: int, rows: int) -> bool:
    pixels, N = array.shape[2] * array.shape[3], len(array)
    whole = N == 1 or pixels % lanes_of(array) == 0
    return terms >= TERMS and pixels >= lanes_of(array) and pixels * array.itemsize % PAGE > 0 and (
        whole or N * pixels * terms * rows >= LEAST)


def _forward_accepts(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                     groups: int = 1) -> bool:
    return _accepts(x, w, stride, padding)


def _forward_worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                   groups: int = 1) -> bool:
    return _worth(x, w.shape[1], len(w))


def _input_accepts(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                   dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return _accepts(g, w, stride, padding)


def _input_worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                 dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return _worth(g, len(w) // max(1, groups), shape[1]) and len(g) * g.shape[2] * g.shape[3] >= FEW


@rung("conv2d_forward", name="pixels", device="cpu", accepts=_forward_accepts, worth=_forward_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """Nothing is packed but filters off the tile; the next pixels are asked for while these are multiplied."""
    shape, taps, weights = forward(x.shape, w.shape, stride, padding, dilation, groups)
    _insist(taps, stride)
    y, goal = aim(shape, x.dtype, finish, groups)
    multiply_pixels(x, taps, (1, 1), contiguous(w).reshape(-1), weights, y, goal, (0, 0), (1, 1), *shape[2:])
    return y


@rung("conv2d_input", name="pixels", device="cpu", accepts=_input_accepts, worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same with the weights turned over, which are packed for it."""
    _insist(window(w.shape[2:], padding, dilation), stride)
    return phase_by_phase(multiply_pixels, g, w, shape, stride, padding, dilation, groups)


def _insist(taps: Taps, stride: Pair) -> None:
    if taps != A_PIXEL or stride != (1, 1):
        raise ValueError("filters of one pixel, at stride 1 and without padding, are all that this rung takes; call 'implicit'")


def multiply_pixels(
    x: np.ndarray, taps: Taps, stride: Pair, flat: np.ndarray, weights: Weights, y: np.ndarray, goal: Goal, first: Pair,
    step: Pair, OH: int, OW: int,
) -> None:
    """The rows of weights times the pixels of x (N, C, OH, OW); ``goal`` leads to y."""
    N, C = x.shape[:2]
    F, pixels, K, L = y.shape[1], OH * OW, weights.offset.size, lanes_of(x)
    if not N * F * pixels:
        return
    if not C:
        fill(y, goal)
        return
    left, as_it_lies = left_matrix(flat, weights, stretches(K))
    x = contiguous(x).reshape(-1)
    each = pixels // L if N > 1 or pixels < L else -(-pixels // L)      # vectors of an image; the last of the only one overlaps
    if each:
        parts = shares(N * each, -(-weights.rows // ROWS), weights.groups, workers())
        past = pixels % L == 0 and past_caches(goal.flat)
        _multiply(x, N, C, pixels, each, left, as_it_lies, stretches(K), past, *goal, F, weights.groups, parts, workers(),
                  work=N * F * pixels * K // L)
    straight = min(pixels, each * L)
    if straight < pixels:
        multiply_taps(x, (N, C, 1, pixels), Taps((0,), (0,), 0, -straight), (1, 1), left, as_it_lies, weights, goal,
                      (F, 1, pixels), (0, straight), (1, 1), 1, pixels - straight)


@functools.lru_cache(maxsize=1024)
def shares(vectors_: int, bands: int, others: int, workers: int) -> int:
    """How many parts the rows are divided into, each of which meets all panels, for each of ``others`` groups.

    The unit is a band that meets a vector. To fetch a band's weights takes about as long, a vector's pixels half as long again.
    """
    panels = others * -(-vectors_ // COLUMNS)

    def time(parts: int) -> float:
        mine = -(-panels * parts // workers)                # panels
        columns, rows = min(mine * COLUMNS, -(-mine // panels) * others * vectors_), -(-bands // parts)
        return columns * rows + rows + 1.5 * columns

    return min((parts for parts in range(1, min(bands, workers) + 1) if workers % parts == 0), key=time)


@inlined
def meet_filters(
    x, pixels, K, left, as_it_lies, stretch, filters, group, bands, place, later, y, goal, past, bias, relu, sums,
    columns,
):
    """A panel of so many columns meets the filters of some bands of a group, and the next one is asked for on the way."""
    first, end = bands
    channels = group * K * pixels
    here, goals, wide = entries(place, 0, columns), entries(goal, 0, columns), columns * lanes(x)
    many = (K + end - first - 1) // (end - first)           # channels of the next panel that are asked for with each band,
    run = max(1, K // many)                                 # and terms between two of them
    for band in range(first, end):
        asked, last = (band - first) * many, min(K, (band - first + 1) * many)
        for begin in range(0, K, stretch):
            stop, k = min(K, begin + stretch), begin
            at, _, row_step, _ = find_left(as_it_lies, group, filters, K, band, begin, stop - begin)
            tile = zeros(x, ROWS, columns)
            while k < stop:
                soon = min(stop, k + run)
                if as_it_lies:
                    while k < soon:
                        tile = outer_to(tile, ROWS, columns, left, at, row_step, x, channels + k * pixels, here)
                        at += 1
                        k += 1
                else:
                    while k < soon:
                        tile = outer_to(tile, ROWS, columns, left, at, 1, x, channels + k * pixels, here)
                        at += ROWS
                        k += 1
                if asked < last:
                    for j in range(COLUMNS + 1):
                        prefetch(x, later[j] + channels + asked * pixels)
                    asked += 1
            if begin > 0:
                tile = plus(tile, ROWS, columns, sums, 0, wide)
            if stop < K:
                store(tile, ROWS, columns, sums, 0, wide)
                continue
            row, high = group * filters + band * ROWS, min(ROWS, filters - band * ROWS)
            if bias.shape[0] > 0:
                tile = finish_rows(tile, ROWS, columns, bias, row, relu)
            if high == ROWS and past:
                store_past_to(tile, ROWS, columns, y, row * pixels, pixels, goals)
                continue
            if high == ROWS:
                store_to(tile, ROWS, columns, y, row * pixels, pixels, goals)
                continue
            store(tile, ROWS, columns, sums, 0, wide)
            for i in range(high):
                for j in range(columns):
                    put(y, (row + i) * pixels + goal[j], load(sums, i * wide + j * lanes(x)))


@inlined
def find_panel(first, each, N, n_step, y_step, pixels, L, place, goal, later):
    """Where the vectors of a panel, the ``first`` of them and on, lie in x and in y, and in x those of the next panel."""
    n, v = first // each, first % each
    for j in range(2 * COLUMNS):
        at = min(v * L, pixels - L)
        if j < COLUMNS:
            place[j], goal[j] = n * n_step + at, n * y_step + at
        else:
            later[j - COLUMNS] = n * n_step + at
        v += 1
        if v == each:
            n, v = min(n + 1, N - 1), 0                 # beyond the last image there is nothing, and nothing is looked at
    later[COLUMNS] = later[COLUMNS - 1] + L - 1         # the last vector may end in another line of memory


@compiled
def _multiply(
    x: In1, N: int, C: int, pixels: int, each: int, left: In1, as_it_lies: bool, stretch: int, past: bool,
    y: Out1, y_step: int, bias: In1, relu: bool, F: int, groups: int, parts: int, workers_: int, team: Team,
):
    """The first ``each`` vectors of pixels of every image; the last of them ends with the image, and may overlap."""
    L = lanes(x)
    K, filters, bands = C // groups, F // groups, (F // groups + ROWS - 1) // ROWS
    panels, some, others = N * each // COLUMNS, N * each % COLUMNS, groups * parts
    for worker in prange(workers_, team):
        sums = room(x, ROWS * COLUMNS * L)
        place, goal, later = np.empty(COLUMNS, np.int64), np.empty(COLUMNS, np.int64), np.empty(COLUMNS + 1, np.int64)
        for item in range(others * panels * worker // workers_, others * panels * (worker + 1) // workers_):
            panel, other = item % panels, item // panels
            group, mine = other // parts, (bands * (other % parts) // parts, bands * (other % parts + 1) // parts)
            find_panel(panel * COLUMNS, each, N, C * pixels, y_step, pixels, L, place, goal, later)
            meet_filters(x, pixels, K, left, as_it_lies, stretch, filters, group, mine, place, later, y, goal, past, bias, relu,
                         sums, COLUMNS)
        if some > 0:                                    # the panel that is not whole, of each part of the rows
            for other in range(others * (workers_ - worker - 1) // workers_, others * (workers_ - worker) // workers_):
                group, mine = other // parts, (bands * (other % parts) // parts, bands * (other % parts + 1) // parts)
                find_panel(panels * COLUMNS, each, N, C * pixels, y_step, pixels, L, place, goal, later)
                if some == 1:
                    meet_filters(x, pixels, K, left, as_it_lies, stretch, filters, group, mine, place, later, y, goal, past,
                                 bias, relu, sums, 1)
                else:
                    meet_filters(x, pixels, K, left, as_it_lies, stretch, filters, group, mine, place, later, y, goal, past,
                                 bias, relu, sums, 2)
        arrived(past)
