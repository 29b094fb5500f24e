"""The gradient to images at stride 2 as one product whose rows are taps, folded into the image.

Pixels of even and odd lines and columns of an image see g through different taps, and so are four convolutions with as many
shifts of g (``conv_phases.py``), each of which packs g again, and weights have to be put in order for it. With all taps of all
channels as rows of one product,

    P = Wᵀ G        (C KH KW, F) (F, OH OW)

weights are packed as they lie side by side, and pixels of g once, without borders. Pixel (h, w) of a channel is then the sum of
what its taps have for it, tap (kh, kw) of pixel ((h - kh) / 2, (w - kw) / 2) of g where both are whole: im2col the other way
round, *fold*, as for few channels in ``conv_fold.py`` and in a matrix unit in ``conv_amx_fold.py``.

P is nine times as large as g for 3 x 3 filters. So some channels at a time go through both steps, and what they have is still
near when it is folded. Small images go through them together, so that a vector has pixels of two where one of them ends.

Sixty random layers, of which two thirds go this way, are 1.28 times as fast for it in geometric mean (AVX-512), twenty-six of
them 1.12 times with AVX2; ResNet-50's 1.01 to 2, most with few pixels and many filters.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.columns import READ, find_columns, pack_seen
from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, contiguous, prange
from minivision_kernels.cpu.linear_packed import pack_left_panels
from minivision_kernels.cpu.panels import (
    BLOCK,
    COLUMNS,
    ROWS,
    SOON,
    find_left,
    multiply_panels,
    panel_at,
    stretches,
)
from minivision_kernels.cpu.planes import fold_plane
from minivision_kernels.cpu.simd import lanes, lanes_of, room
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

PRODUCTS = BLOCK // 2       # bytes of P that are near, about
AGAIN = 10                  # rows that are multiplied while a vector of g is packed
ENOUGH = 128                # pixels of a set
MET = 0.6                   # of all taps of all outputs, those that must lie in the image
LEAST = 32                  # filters; with fewer, P takes as long to write and to read as to compute


class Plan(NamedTuple):
    """How the work is divided."""

    images: int             # that go together,
    channels: int           # and how many of their channels, whole panels of rows
    stretch: int            # filters that are summed together


@functools.lru_cache(maxsize=1024)
def plan(g_shape: tuple[int, ...], w_shape: tuple[int, ...], itemsize: int, lanes: int, workers: int) -> Plan:
    """The panels of g that are in use fit into the second-level cache, and so does the part of P if it has more than one panel
    of channels. Of divisions for which they do, this is the one of which the thread with the most to do has the least. Sums do
    not depend on it."""
    (N, F, OH, OW), (_, C, KH, KW) = g_shape, w_shape
    pixels, taps = OH * OW, KH * KW

    def time(images: int, channels: int) -> float:
        """In multiply-adds of vectors for each filter: all products, and what is packed."""
        lots, sets = -(-C // channels), -(-N // images)
        mine, vectors = -(-lots * sets // workers), -(-images * pixels // lanes)
        return vectors * (mine * channels * taps + -(-mine // lots) * AGAIN)

    def near(images: int) -> int:
        """How many channels of so many images."""
        rows = PRODUCTS // max(1, images * pixels * itemsize * taps)
        return max(ROWS, min(rows, C) // ROWS * ROWS)

    most = max(1, min(N, BLOCK // max(1, F * pixels * itemsize)))
    choices = [(images, channels) for images in range(1, most + 1) for channels in range(ROWS, near(images) + 1, ROWS)]
    return Plan(*min(choices, key=lambda choice: (time(*choice), -choice[0], -choice[1])), stretches(F))


@functools.lru_cache(maxsize=1024)
def fits(
    g_shape: tuple[int, ...], w_shape: tuple[int, ...], size: Pair, padding: Pair, dilation: Pair, groups: int,
    itemsize: int,
) -> bool:
    """Whether this is the way to go at stride 2: g of an image fits, and about so does P of a panel of channels; weights, which
    each set of images reads again, meet enough of g; and most taps meet the image, which is of ``size``: in P they are all.
    """
    (N, F, OH, OW), (_, C, *window) = g_shape, w_shape
    images = BLOCK // max(1, F * OH * OW * itemsize)
    products = ROWS * window[0] * window[1] * OH * OW * itemsize
    if groups != 1 or F < LEAST or C < ROWS or (images < N and images * OH * OW < ENOUGH) or products > 4 * PRODUCTS:
        return False
    met = [sum(0 <= 2 * o + k * d - p < pixels for o in range(outputs) for k in range(taps)) / max(1, outputs * taps)
           for outputs, taps, d, p, pixels in zip((OH, OW), window, dilation, padding, size)]
    return met[0] * met[1] >= MET


def conv2d_input(
    g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], padding: Pair, dilation: Pair,
) -> np.ndarray:
    """The gradient to images of ``shape``."""
    dx = empty(shape, g.dtype)
    if not g.size * w.size:
        dx.fill(0)
        return dx
    F, C, KH, KW = w.shape
    threads = workers()
    how = plan(g.shape, w.shape, g.itemsize, lanes_of(g), threads)
    rows = C * KH * KW
    left = pack_left_panels(contiguous(w).reshape(-1), 1, rows, rows, F, how.stretch)
    _fold_pixels(contiguous(g).reshape(-1), *g.shape, left, *shape[1:], KH, KW, *padding, *dilation, *how, dx.reshape(-1),
                 threads, work=g.size * rows // lanes_of(g))
    return dx


@compiled
def _fold_pixels(
    g: In1, N: int, F: int, OH: int, OW: int, left: In1, C: int, H: int, W: int, KH: int, KW: int, top: int, left_: int,
    down: int, right_: int, images: int, channels: int, stretch: int, dx: Out1, workers_: int, team: Team,
):
    """A thread takes some channels of some images after the other."""
    L = lanes(g)
    taps, pixels = KH * KW, OH * OW
    lots, sets = (C + channels - 1) // channels, (N + images - 1) // images
    panels = (images * pixels + COLUMNS * L - 1) // (COLUMNS * L)
    line, items, bands = panels * COLUMNS * L, lots * sets, channels * taps // ROWS
    room_of_stretch = panel_at(panels, stretch, L)
    for worker in prange(workers_, team):
        right = room(g, (F + stretch - 1) // stretch * room_of_stretch)
        sums = room(g, (bands * panels * (stretch < F) + 1) * ROWS * COLUMNS * L)
        products, nothing = room(g, bands * ROWS * line + L), room(g, 0)[:0]
        seen, target = np.empty(line, np.int64), np.empty(line, np.int64)
        start, count = np.empty(panels * COLUMNS, np.int64), np.empty(panels * COLUMNS, np.int64)
        read, place = np.empty(panels * COLUMNS * READ, np.int64), np.arange(stretch + SOON) * pixels
        before = -1
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            set_, channel = item // lots, item % lots * channels
            n_first = set_ * images
            here = min(images, N - n_first)
            vectors = (here * pixels + L - 1) // L
            if set_ != before:
                find_columns(0, here * pixels, 1, pixels, 0, F * pixels, 0, 1, 0, 0, 0, 0, panels * COLUMNS, L,
                             g.shape[0] - (n_first * F + F - 1) * pixels, seen, target, start, count, read)
                for v in range(panels * COLUMNS):       # results stay in the order of the panels
                    start[v], count[v] = v * L, L
                for term in range(0, F, stretch):
                    pack_seen(g, (n_first * F + term) * pixels, place, min(stretch, F - term), seen, read, 1,
                              (vectors + COLUMNS - 1) // COLUMNS, right[term // stretch * room_of_stretch:])
                before = set_
            rows = min(channels, C - channel) * taps
            for term in range(0, F, stretch):
                terms = min(stretch, F - term)
                where = find_left(False, 0, C * taps, F, channel * taps // ROWS, term, terms)
                multiply_panels(left, where, rows, terms, right[term // stretch * room_of_stretch:], vectors, sums, term > 0,
                                term + terms == F, products, 0, line, start, count, start, False, nothing, 0, False)
            for n in range(here):
                for c in range(rows // taps):
                    fold_plane(products, c * taps * line + n * pixels, line, OH, OW, KH, KW, top, left_, down, right_, dx,
                               ((n_first + n) * C + channel + c) * H * W, H, W, False)
