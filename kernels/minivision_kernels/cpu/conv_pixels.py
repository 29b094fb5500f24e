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
    what is no whole vector of its image, or no whole panel in the end, is packed after all, by each thread for its filters

Where channels lie whole pages apart, as those of 32 x 32 pixels do, they push each other out of the first cache; and sums of
few terms are begun and ended too often. Both are packed.
"""

from __future__ import annotations

import functools

import numpy as np

from minivision_kernels.cpu.bands import Taps, forward, phase_by_phase, workers
from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, contiguous, inlined, prange
from minivision_kernels.cpu.conv_implicit import left_matrix
from minivision_kernels.cpu.goal import Goal, aim, fill
from minivision_kernels.cpu.panels import COLUMNS, ROWS, find_left, stretches
from minivision_kernels.cpu.planes import Weights
from minivision_kernels.cpu.simd import (
    entries,
    entry,
    evens,
    lanes,
    lanes_of,
    load,
    load_between,
    none,
    prefetch,
    put,
    put_between,
    put_woven,
    room,
    vectors,
)
from minivision_kernels.cpu.stream import arrived, past_caches
from minivision_kernels.cpu.tile import finish_rows, outer_to, plus, store, store_past_to, store_to, zeros
from minivision_kernels.finish import Finish
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

PAGE = 4096         # bytes; channels that lie whole pages apart push each other out of the first cache
TERMS = 24          # of a sum, at least: shorter ones are sooner packed than begun so often
FEW = 64            # pixels; so few are not worth turning the weights over
MANY = 128          # channels, for which a kernel that picks pixels out pays


def _accepts(array: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair) -> bool:
    """Whether an image is the matrix of its windows."""
    return w.shape[2:] == (1, 1) and stride in ((1, 1), (2, 2)) and padding == (0, 0) and vectors(array)


def _worth(array: np.ndarray, pixels: int, terms: int) -> bool:
    return terms >= TERMS and pixels >= lanes_of(array) and pixels * array.itemsize % PAGE > 0


def _forward_accepts(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                     groups: int = 1) -> bool:
    return _accepts(x, w, stride, padding)


def _forward_worth(x: np.ndarray, w: np.ndarray, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
                   groups: int = 1) -> bool:
    """At stride 2 for one image, and not the smallest: of several, packing picks the pixels out as fast."""
    pixels = -(-x.shape[2] // stride[0]) * -(-x.shape[3] // stride[1])
    return _worth(x, pixels, w.shape[1]) and (stride == (1, 1) or (len(x) == 1 and w.shape[1] >= MANY))


def _input_accepts(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                   dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return _accepts(g, w, stride, padding)


def _input_worth(g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                 dilation: Pair = (1, 1), groups: int = 1) -> bool:
    pixels = g.shape[2] * g.shape[3]
    return _worth(g, pixels, len(w) // max(1, groups)) and (len(g) * pixels >= FEW or stride == (2, 2))


@rung("conv2d_forward", name="pixels", device="cpu", accepts=_forward_accepts, worth=_forward_worth)
def conv2d_forward(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int, finish: Finish | None = None,
) -> np.ndarray:
    """Nothing is packed but filters off the tile; the next pixels are asked for while these are multiplied. At stride 2 the
    pixels that are seen are picked out first."""
    _insist(w.shape[2:], stride, padding)
    if stride == (2, 2):
        x = thinned(x)
    shape, taps, weights = forward(x.shape, w.shape, (1, 1), padding, dilation, groups)
    y, goal = aim(shape, x.dtype, finish, groups)
    multiply_pixels(x, taps, (1, 1), contiguous(w).reshape(-1), weights, y, goal, (0, 0), (1, 1), *shape[2:])
    return y


@rung("conv2d_input", name="pixels", device="cpu", accepts=_input_accepts, worth=_input_worth)
def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same with the weights turned over, which are packed for it. At stride 2 the pixels that are seen are computed, and
    woven among zeros afterwards."""
    _insist(w.shape[2:], stride, padding)
    seen = phase_by_phase(multiply_pixels, g, w, (*shape[:2], *g.shape[2:]), (1, 1), padding, dilation, groups)
    return seen if stride == (1, 1) else widened(seen, shape)


def _insist(window: Pair, stride: Pair, padding: Pair) -> None:
    if window != (1, 1) or stride not in ((1, 1), (2, 2)) or padding != (0, 0):
        raise ValueError(f"this rung takes filters of 1 x 1 at stride 1 or 2 without padding, got {window} at stride {stride} "
                         f"with padding {padding}; call the rung 'implicit'")


def thinned(x: np.ndarray) -> np.ndarray:
    """Every second pixel of every second line: (N, C, (H + 1) // 2, (W + 1) // 2)."""
    N, C, H, W = x.shape
    out = empty((N, C, (H + 1) // 2, (W + 1) // 2), x.dtype)
    if out.size:
        _thin(contiguous(x).reshape(-1), H, W, out.reshape(-1), work=out.size)
    return out


def widened(seen: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The other way round: images of ``shape`` with these pixels, and zeros between them."""
    out = empty(shape, seen.dtype)
    if out.size:
        _widen(seen.reshape(-1), out.reshape(-1), *shape[2:], shape[3] % lanes_of(out) == 0 and past_caches(out), work=out.size)
    return out


@compiled
def _thin(x: In1, H: int, W: int, out: Out1, team: Team):
    L, OH, OW = lanes(x), (H + 1) // 2, (W + 1) // 2
    for plane in prange(out.shape[0] // (OH * OW), team):
        for h in range(OH):
            at, to = (plane * H + 2 * h) * W, (plane * OH + h) * OW
            for j in range(0, OW, L):
                near, rest = at + 2 * j, W - 2 * j
                pixels = evens(load_between(x, near, 0, rest), load_between(x, near + L, 0, rest - L))
                put_between(out, to + j, pixels, 0, OW - j)


@compiled
def _widen(seen: In1, out: Out1, H: int, W: int, past: bool, team: Team):
    L, OH, OW = lanes(seen), (H + 1) // 2, (W + 1) // 2
    for plane in prange(seen.shape[0] // (OH * OW), team):
        for h in range(H):
            at, to = (plane * OH + h // 2) * OW, (plane * H + h) * W
            for j in range(0, OW, L):
                pixels = none(seen) if h % 2 else load_between(seen, at + j, 0, OW - j)
                put_woven(out, to + 2 * j, pixels, none(seen), W - 2 * j, past)
    arrived(past)


def multiply_pixels(
    x: np.ndarray, taps: Taps, stride: Pair, flat: np.ndarray, weights: Weights, y: np.ndarray, goal: Goal, first: Pair,
    step: Pair, OH: int, OW: int,
) -> None:
    """The rows of weights times the pixels of x (N, C, OH, OW); ``goal`` leads to y. Taps and steps are those of one pixel."""
    N, C = x.shape[:2]
    F, pixels, K, L = y.shape[1], OH * OW, weights.offset.size, lanes_of(x)
    if not N * F * pixels:
        return
    if not C:
        fill(y, goal)
        return
    parts = shares(N * max(1, pixels // L), -(-weights.rows // ROWS), weights.groups, workers())
    past = pixels % L == 0 and past_caches(goal.flat)
    _multiply(contiguous(x).reshape(-1), N, C, pixels, *left_matrix(flat, weights, stretches(K)), stretches(K), past, *goal, F,
              weights.groups, parts, workers(), work=N * F * pixels * K // L)


@functools.lru_cache(maxsize=1024)
def shares(vectors_: int, bands: int, others: int, workers: int, reading: float = 1.5) -> int:
    """How many parts the rows are divided into, each of which meets all panels, for each of ``others`` groups.

    The unit is a band that meets a vector. To fetch a band's weights takes about as long, a vector's pixels ``reading``.
    """
    panels = others * -(-vectors_ // COLUMNS)

    def time(parts: int) -> float:
        mine = -(-panels * parts // workers)                # panels
        columns, rows = min(mine * COLUMNS, -(-mine // panels) * others * vectors_), -(-bands // parts)
        return columns * rows + rows + reading * columns

    return min((parts for parts in range(1, min(bands, workers) + 1) if workers % parts == 0), key=time)


@inlined
def meet_filters(
    x, listed, terms, step, left, as_it_lies, product, bands, place, later, asks, y, pixels, goal, past, pieces, spot, number,
    bias, relu, sums, columns,
):
    """A panel of so many columns meets the filters of some bands of a group.

    Its terms lie ``step`` apart or, if ``listed``, a constant, is 1 and not 0, where ``terms`` says.
    Results go to y in whole vectors or, if there are ``pieces``, in these: each has a spot in the panel, a goal and a number of
    pixels. Of the next panel, ``asks`` channels are asked for on the way.
    """
    (K, stretch, filters, group), (first, end) = product, bands
    here, goals, wide = entries(place, 0, columns), entries(goal, 0, columns), columns * lanes(x)
    many = (asks + end - first - 1) // (end - first)        # channels that are asked for with each band,
    run = max(1, K // max(1, many))                         # and terms between two of them
    for band in range(first, end):
        asked, last = (band - first) * many, min(asks, (band - first + 1) * many)
        for begin in range(0, K, stretch):
            stop, k = min(K, begin + stretch), begin
            at, _, row_step, _ = find_left(as_it_lies, group, filters, K, band, begin, stop - begin)
            tile = zeros(x, ROWS, columns)
            while k < stop:
                soon = min(stop, k + run)
                if as_it_lies:
                    while k < soon:
                        bt = k * step + listed * entry(terms, k * listed)
                        tile = outer_to(tile, ROWS, columns, left, at, row_step, x, bt, here)
                        at += 1
                        k += 1
                else:
                    while k < soon:
                        bt = k * step + listed * entry(terms, k * listed)
                        tile = outer_to(tile, ROWS, columns, left, at, 1, x, bt, here)
                        at += ROWS
                        k += 1
                if asked < last:
                    for j in range(COLUMNS + 1):
                        prefetch(x, later[j] + asked * step)
                    asked += 1
            if begin > 0:
                tile = plus(tile, ROWS, columns, sums, 0, wide)
            if stop < K:
                store(tile, ROWS, columns, sums, 0, wide)
                continue
            row, high = group * filters + band * ROWS, min(ROWS, filters - band * ROWS)
            if bias.shape[0] > 0:
                tile = finish_rows(tile, ROWS, columns, bias, row, relu)
            if high == ROWS and pieces == 0:
                if past:
                    store_past_to(tile, ROWS, columns, y, row * pixels, pixels, goals)
                else:
                    store_to(tile, ROWS, columns, y, row * pixels, pixels, goals)
                continue
            store(tile, ROWS, columns, sums, 0, wide)
            for i in range(high):
                if pieces == 0:
                    for j in range(columns):
                        put(y, (row + i) * pixels + goal[j], load(sums, i * wide + j * lanes(x)))
                else:
                    for j in range(pieces):
                        put_between(y, (row + i) * pixels + goal[j], load(sums, i * wide + spot[j]), 0, number[j])


@compiled
def _multiply(
    x: In1, N: int, C: int, pixels: int, left: In1, as_it_lies: bool, stretch: int, past: bool,
    y: Out1, y_step: int, bias: In1, relu: bool, F: int, groups: int, parts: int, workers_: int, team: Team,
):
    L = lanes(x)
    K, filters, bands, wide = C // groups, F // groups, (F // groups + ROWS - 1) // ROWS, COLUMNS * lanes(x)
    each, tail = pixels // L, pixels % L                # whole vectors of an image, and the pixels behind them
    panels, others = N * each // COLUMNS, groups * parts
    loose = N * each % COLUMNS * L                      # pixels of vectors that fill no panel
    rest = loose + N * tail
    for worker in prange(workers_, team):
        sums, buffer = room(x, ROWS * wide + L), room(x, (K * wide + L) * (rest > 0))
        place, later = np.empty(COLUMNS, np.int64), np.empty(COLUMNS + 1, np.int64)
        source, spot = np.empty(wide, np.int64), np.empty(wide, np.int64)
        goal, number = np.empty(wide, np.int64), np.empty(wide, np.int64)
        for item in range(others * panels * worker // workers_, others * panels * (worker + 1) // workers_):
            panel, other = item % panels, item // panels
            group, mine = other // parts, (bands * (other % parts) // parts, bands * (other % parts + 1) // parts)
            n, v = panel * COLUMNS // each, panel * COLUMNS % each
            for j in range(2 * COLUMNS):                # the vectors of this panel and of the next
                at = (n * C + group * K) * pixels + v * L
                if j < COLUMNS:
                    place[j], goal[j] = at, n * y_step + v * L
                else:
                    later[j - COLUMNS] = at
                v += 1
                if v == each:
                    n, v = min(n + 1, N - 1), 0         # behind the last image there is nothing, and nothing is looked at
            later[COLUMNS] = later[COLUMNS - 1] + L - 1         # a vector may end in another line of memory
            meet_filters(x, 0, spot, pixels, left, as_it_lies, (K, stretch, filters, group), mine, place, later, K, y, pixels,
                         goal, past, 0, spot, number, bias, relu, sums, COLUMNS)
        # The rest is packed, by every thread that has a part of the rows.
        mine = bands * worker // workers_, bands * (worker + 1) // workers_
        for j in range(COLUMNS):
            place[j] = j * L
        for item in range(groups * ((rest + wide - 1) // wide) if mine[0] < mine[1] else 0):
            begin, group, pieces = item // groups * wide, item % groups, 0
            end = min(rest, begin + wide)
            columns, c = (end - begin + L - 1) // L, begin
            while c < end:
                if c < loose:
                    v, run = panels * COLUMNS + c // L, L
                    n, at = v // each, v % each * L
                else:
                    n, at = (c - loose) // tail, each * L + (c - loose) % tail
                    run = min(pixels - at, end - c)
                source[pieces], goal[pieces] = (n * C + group * K) * pixels + at, n * y_step + at
                spot[pieces], number[pieces] = c - begin, run
                pieces += 1
                c += run
            for k in range(K):                          # what a piece writes too much, the next one writes again
                for j in range(pieces):
                    put(buffer, k * columns * L + spot[j], load_between(x, source[j] + k * pixels, 0, number[j]))
            if columns == 3:
                meet_filters(buffer, 0, spot, wide, left, as_it_lies, (K, stretch, filters, group), mine, place, later, 0, y,
                             pixels, goal, past, pieces, spot, number, bias, relu, sums, 3)
            elif columns == 2:
                meet_filters(buffer, 0, spot, 2 * L, left, as_it_lies, (K, stretch, filters, group), mine, place, later, 0, y,
                             pixels, goal, past, pieces, spot, number, bias, relu, sums, 2)
            else:
                meet_filters(buffer, 0, spot, L, left, as_it_lies, (K, stretch, filters, group), mine, place, later, 0, y,
                             pixels, goal, past, pieces, spot, number, bias, relu, sums, 1)
        arrived(past)
