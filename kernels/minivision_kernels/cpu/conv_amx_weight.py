"""The gradient to filters in a matrix unit (``amx.py``): to those of 1 x 1, and to larger ones by ``conv_amx_taps_weight.py``.

    dw[f, c] = the sum over the pixels p of all images of g[f, p] * x[c, p]

is a product of two matrices whose terms lie side by side in both (``conv_packed.py``). Rows of a left panel are used as they
lie, and split while others are multiplied; columns of a right one have to be turned over first. So the side with fewer planes
is on the right, all of it in one block if it fits, unless there are so few terms that it is not worth a result that has to be
turned over, too. A stretch is a part of an image, or several small ones, each from a new block of terms on.

There are few sums, and many terms of each. They are added up in two parts, the images or lines of each by itself, unless
there are sums enough for all threads.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu import amx_panels, conv_amx_taps_weight, conv_direct_weight, conv_packed
from minivision_kernels.cpu.amx import SIDE, again, takes, tiles_begin, tiles_end
from minivision_kernels.cpu.amx_panels import COLUMNS, DEEP, PANEL, ROWS, SUMS, multiply_several, pack_right
from minivision_kernels.cpu.bands import workers
from minivision_kernels.cpu.compile import In1, Out1, Team, compiled, contiguous, prange
from minivision_kernels.cpu.conv_direct import direct_cost
from minivision_kernels.cpu.conv_packed import meeting
from minivision_kernels.cpu.linear_amx import WEIGHT, turned_over
from minivision_kernels.cpu.simd import entry, evens, lanes, lanes_of, load_between, room
from minivision_kernels.cpu.stream import put_first
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

MANY = 64                   # panels of rows times panels of columns for which sums are not divided into two parts
TURN = 45                   # multiply-adds that take as long as it takes to turn a vector of columns over and to split it


def _worth(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
           dilation: Pair = (1, 1), groups: int = 1) -> bool:
    """Whether the unit does sooner what vectors do."""
    if shape[2:] != (1, 1):
        (F, C, KH, KW), outputs = shape, len(g) * math.prod(g.shape[2:])
        return (outputs >= conv_amx_taps_weight.LEAST
                and conv_amx_taps_weight.fits(x.shape[:2], F, g.shape[2:], groups)
                and conv_amx_taps_weight.price(x.shape[:2], F, g.shape[2:], (KH, KW), stride, dilation)
                < direct_cost(x, outputs, F, C * KH * KW))
    rows, columns, terms = shape[1], g.shape[1] // groups, len(g) * g.shape[2] * g.shape[3]
    if not terms:
        return False
    rows, columns = max(rows, columns), min(rows, columns)
    vectors, filled = -(-columns // SIDE), -(-g.shape[2] * g.shape[3] // DEEP) * DEEP / (g.shape[2] * g.shape[3])
    mine = filled * (amx_panels.price(rows, vectors, terms, WEIGHT) + TURN * vectors)
    L = lanes_of(x)
    return mine < min(conv_packed.price(rows, columns, L), conv_packed.price(columns, rows, L)) / L


@rung("conv2d_weight", name="amx", device="cpu", accepts=takes, worth=_worth)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """Six products of bfloat16 for one of float32: 1 x 1 layers of ResNet-50 take 1 / 1.05 to 1 / 1.6 of the time of
    ``packed``, at stride 2 of 1 / 1.05 to 1 / 1.3, with half the error; filters of several taps (``conv_amx_taps_weight.py``)
    1 / 1.05 to 1 / 1.6 of that of ``direct``. Without a unit, and for float64, this is ``packed`` or ``direct``.
    """
    if shape[2:] != (1, 1):
        dw = None
        if takes(x) and conv_amx_taps_weight.fits(x.shape[:2], shape[0], g.shape[2:], groups):
            dw = conv_amx_taps_weight.conv2d_weight(x, g, shape, stride, padding, dilation)
        return conv_direct_weight.conv2d_weight(x, g, shape, stride, padding, dilation, groups) if dw is None else dw
    if not takes(x):
        return conv_packed.conv2d_weight(x, g, shape, stride, padding, dilation, groups)
    seen, met, stride = meeting(x, g, stride, padding)
    (N, F, OH, OW), channels = met.shape, shape[1]
    if not seen.size * met.size * channels:
        return np.zeros(shape, x.dtype)
    if seen.shape[2:] != (OH, OW):
        picked = empty((N, seen.shape[1], OH, OW), x.dtype)
        _pick(contiguous(seen).reshape(-1), N * seen.shape[1], *seen.shape[2:], *stride, OH, OW, picked.reshape(-1),
              work=picked.size)
        seen = picked
    filters, pixels = F // groups, OH * OW
    turned = (channels - filters) * N * pixels > filters * channels       # x is on the left, and the result is turned over
    rows, columns = (channels, filters) if turned else (filters, channels)
    a, b = (contiguous(side).reshape(-1) for side in ((seen, met) if turned else (met, seen)))
    threads = workers()
    how = plan(N, pixels, rows, columns, groups, threads)
    sums, wrong = empty((how.parts, groups, rows, columns), x.dtype), np.zeros(threads, x.dtype)
    _sum_products(a, b, N, pixels, rows, columns, groups, *how, threads, sums.reshape(-1), wrong,
                  work=F * channels * N * pixels // SIDE)
    if again(wrong):
        return conv_packed.conv2d_weight(x, g, shape, stride, padding, dilation, groups)
    dw = sums[0] if how.parts == 1 else sums.sum(axis=0)
    return (turned_over(dw.reshape(-1), groups, channels) if turned else dw).reshape(shape)


@compiled
def _pick(
    x: In1, planes: int, H: int, W: int, stride_h: int, stride_w: int, OH: int, OW: int, out: Out1, team: Team,
):
    """out (planes, OH, OW): every stride-th pixel of x (planes, H, W)."""
    L = lanes(x)
    for plane in prange(planes, team):
        for h in range(OH):
            at, to = (plane * H + h * stride_h) * W, (plane * OH + h) * OW
            for w in range(0, OW, L):
                pixel, rest = at + w * stride_w, W - w * stride_w
                if stride_w == 1:
                    put_first(out, to + w, load_between(x, pixel, 0, rest), OW - w)
                elif stride_w == 2:
                    near, far = load_between(x, pixel, 0, rest), load_between(x, pixel + L, 0, rest - L)
                    put_first(out, to + w, evens(near, far), OW - w)
                else:
                    for k in range(w, min(OW, w + L)):
                        out[to + k] = entry(x, at + k * stride_w)


class Plan(NamedTuple):
    """How the work is divided."""

    images: int                 # of a stretch, and
    stretch: int                # terms of each of them
    parts: int                  # of the stretches, each summed by itself
    blocks: int                 # of columns, and
    shares: int                 # of rows


@functools.lru_cache(maxsize=1024)
def plan(N: int, pixels: int, rows: int, columns: int, groups: int, workers: int) -> Plan:
    """For sums over all pixels of N images. What is summed in which order depends on shapes alone."""
    stretch = amx_panels.stretches(pixels)
    deep = -(-stretch // DEEP) * DEEP
    images = max(1, min(N, amx_panels.TERMS // deep)) if stretch >= pixels else 1
    stretches = -(-N // images) * -(-pixels // stretch)
    parts = 2 if stretches > 1 and -(-rows // ROWS) * -(-columns // (COLUMNS * SIDE)) < MANY else 1
    blocks, shares = amx_panels.division(-(-columns // SIDE), images * deep, rows, groups * parts, workers)
    return Plan(images, stretch, parts, blocks, shares)


@compiled
def _sum_products(
    a: In1, b: In1, N: int, pixels: int, rows: int, columns: int, groups: int, images: int, stretch: int, parts: int,
    blocks: int, shares: int, workers_: int, y: Out1, wrong: Out1, team: Team,
):
    """y[part, group, r, c] = the sum of a[n, group, r, p] * b[n, group, c, p] over the pixels of a part."""
    wide = COLUMNS * SIDE
    all_panels, bands = (columns + wide - 1) // wide, (rows + ROWS - 1) // ROWS
    most, deep = (all_panels + blocks - 1) // blocks, (stretch + DEEP - 1) // DEEP
    of_image = (pixels + stretch - 1) // stretch
    stretches, items = (N + images - 1) // images * of_image, parts * groups * blocks * shares
    for worker in prange(workers_, team):
        right = room(a, most * images * deep * PANEL)
        sums = room(a, ((bands + shares - 1) // shares * most + 1) * SUMS)
        start, count = np.empty(most * COLUMNS, np.int64), np.empty(most * COLUMNS, np.int64)
        nothing = a[:0]
        tiles_begin()
        for item in range(items * worker // workers_, items * (worker + 1) // workers_):
            block, share, other = item % blocks, item // blocks % shares, item // (blocks * shares)
            group, part = other % groups, other // groups
            first, top = all_panels * block // blocks, bands * share // shares
            panels = all_panels * (block + 1) // blocks - first
            high = min(rows, bands * (share + 1) // shares * ROWS) - top * ROWS
            vectors = min(panels * COLUMNS, (columns + SIDE - 1) // SIDE - first * COLUMNS)
            for v in range(vectors):
                start[v], count[v] = v * SIDE, min(SIDE, columns - first * wide - v * SIDE)
            begin, end = stretches * part // parts, stretches * (part + 1) // parts
            to = ((part * groups + group) * rows + top * ROWS) * columns + first * wide
            for k in range(begin, end):
                n, pixel = k // of_image * images, k % of_image * stretch
                some, terms = min(images, N - n), min(stretch, pixels - pixel)
                each = (terms + DEEP - 1) // DEEP
                for i in range(some):
                    at = ((n + i) * groups + group) * columns * pixels + pixel
                    for p in range(panels):
                        c = (first + p) * wide
                        pack_right(b, at + c * pixels, 1, pixels, columns - c, terms, right, (p * some + i) * each * PANEL)
                from_ = ((n * groups + group) * rows + top * ROWS) * pixels + pixel
                wrong[worker] += multiply_several(
                    a, (from_, ROWS * pixels, pixels, 1), some, groups * rows * pixels, high, terms, right, vectors, sums,
                    k > begin, k + 1 == end, y, to, columns, start, count, start, False, nothing, 0, False)
        tiles_end()
