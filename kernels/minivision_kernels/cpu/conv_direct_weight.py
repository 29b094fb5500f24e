"""Direct convolution, the third direction: the gradient to the filters, with filters in the lanes and taps as rows.

The tile is that of ``conv_direct.py``, and so is the sum, over other things: 14 taps x 2 vectors of filters are in registers
while the pixels of all images pass by.

    tile[tap, f] += x[where the tap sees pixel p] * g[f, p]            for every pixel p

What is turned over is g, since its filters have to lie side by side; x is read where it lies.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu.bands import BUFFER, copy_band
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, helper, prange
from minivision_kernels.cpu.conv_direct import TERMS, find_rows
from minivision_kernels.cpu.simd import entries, entry, lanes, lanes_of, room, turn, turn_whole, vectors
from minivision_kernels.cpu.tile import TALL_COLUMNS, TALL_ROWS, outer_at, plus, store, store_turned, zeros
from minivision_kernels.cpu.writer import BYTES
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty
from minivision_kernels.shapes import Pair

TOGETHER = 144              # rows of taps that share numbers of g, turned over, of
UPSTREAM = 128 * 1024       # bytes at most
SHORT = 96                  # channels, or filters
OUTPUTS = 3000              # of all images


def _weight_worth(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
                  dilation: Pair = (1, 1), groups: int = 1) -> bool:
    """Not for few filters and taps, which leave most of a panel empty, or are turned over for little (``conv_tiles.py``).

    Both in multiply-adds of vectors for each pixel, of which those of `tile`, with a load for every two or three, take twice as
    long, or more with AVX-512, which makes less of tiles of a single vector of filters. It took 0.4 to 0.7 of the time for 6
    filters of 5 x 5 or, with AVX2, 16 of 3 x 3 x 3, and twice for 16 of 5 x 5 x 6. With a stride `tile` has to deal out the
    pixels first, which takes up to 28 times as long as all this.
    """
    if stride != (1, 1) or short_side_pays(g, shape, stride, padding, groups):
        return True
    filters, K, across = g.shape[1] // groups, shape[1] * shape[2] * shape[3], max(1, g.shape[3])
    L = lanes_of(x)
    mine = -(-filters // L) * (-(-K // TALL_ROWS) * TALL_ROWS + 30) * (1.4 if BYTES == 64 and filters <= L else 1)
    return mine <= (2.1 if BYTES == 64 else 2) * filters * K * -(-across // L) / across


@rung("conv2d_weight", name="direct", device="cpu", accepts=vectors, worth=_weight_worth)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """The same with taps as rows, summing over the pixels of all images; g is what is turned over.

    Some panels and some rows share the pixels that are near, and both images are read from memory as seldom as their sums
    let them. With one panel at a time, layers of ResNet-50 with 3 x 3 filters took 1.1 to 1.7 times as long at batch 32. Up to
    a vector of filters takes tiles of one column, 1.2 to 1.3 times as fast for 16. Of 1 x 1 filters a few channels that many
    filters see are turned over instead of g: 0.8 to 0.95 of the time of ``conv_packed.py`` for 256 filters of 64 channels.
    """
    F, C, KH, KW = shape
    OH, OW = g.shape[2:]
    if not g.size * math.prod(shape):
        return np.zeros(shape, x.dtype)
    if slender(shape, stride, padding, groups) and _channels_in_lanes(shape, lanes_of(x)):      # then g is read where it lies
        return contiguous(conv2d_weight(g, x, (C, F, 1, 1), stride, padding, dilation, groups).reshape(C, F).T).reshape(shape)
    how = division(x.shape, shape, (OH, OW), stride, padding, dilation, groups, x.itemsize, lanes_of(x))
    dw = empty((how.parts, *shape), x.dtype)
    _sum_pixels(
        contiguous(x).reshape(-1), *x.shape, *padding, stride[0], contiguous(g).reshape(-1), F, OH, OW, groups, KH, dilation[0],
        KW, dilation[1], *how, dw.reshape(-1), work=g.size // F * math.prod(shape) // lanes_of(x))
    return dw[0] if how.parts == 1 else dw.sum(axis=0)


def slender(shape: tuple[int, ...], stride: Pair, padding: Pair, groups: int) -> bool:
    """Whether a gradient to 1 x 1 filters has a long side and a short one, so that to turn over the short one alone takes
    little (``conv_packed.py`` turns over both)."""
    short, long = sorted(shape[:2])
    return shape[2:] == (1, 1) and stride == (1, 1) and padding == (0, 0) and groups == 1 and (
        0 < short <= SHORT and long >= 2.5 * short)


def short_side_pays(g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, groups: int) -> bool:
    """Whether that promises to be faster than to turn over both sides: the short one is more than a vector, and there are many
    pixels."""
    return slender(shape, stride, padding, groups) and min(shape[:2]) > lanes_of(g) and (
        len(g) * g.shape[2] * g.shape[3] >= OUTPUTS)


def _channels_in_lanes(shape: tuple[int, ...], lanes: int) -> bool:
    """Whether the short side is channels, which fill two thirds of their panels."""
    F, C = shape[:2]
    panel = TALL_COLUMNS * lanes
    return C < F and 2 * -(-C // panel) * panel <= 3 * C


class Division(NamedTuple):
    """How the gradient to the filters is divided into pieces of work."""

    images: int             # of a stretch of pixels, and
    lines: int              # of each of them; all its lines, if there is more than one
    height: int             # of the buffer for what is seen of an image, or of the image if nothing is copied
    width: int
    image_step: int
    in_place: bool
    place: np.ndarray       # of each pixel of a stretch, from the first
    parts: int              # stretches are shared between so many sums, each by itself
    chunk: int              # tiles of rows, and
    strips: int             # of panels of filters


@functools.lru_cache(maxsize=1024)
def division(
    x_shape: tuple[int, ...], shape: tuple[int, ...], output: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int,
    itemsize: int, lanes: int,
) -> Division:
    """A block of the result, rows and panels, shares what is near: some pixels of g, turned over, and the piece of x that the
    taps see there. If there are few blocks and many pixels, these are summed in parts, each by itself.
    """
    (N, C, H, W), (F, _, KH, KW), (OH, OW) = x_shape, shape, output
    K, filters = C // groups * KH * KW, F // groups
    panel, rows = TALL_COLUMNS * lanes, TALL_ROWS
    tiles, panels = -(-K // rows), -(-filters // panel)
    strips, chunks = -(-panels // max(1, UPSTREAM // (TERMS * panel * itemsize))), -(-K // TOGETHER)
    width, reach = (OW - 1) * stride[1] + (KW - 1) * dilation[1] + 1, (KH - 1) * dilation[0] + 1
    most = BUFFER // (2 * itemsize * width * min(C // groups, TOGETHER // (KH * KW) + 2))
    lines = max(1, min(OH, TERMS // OW, (most - reach) // stride[0] + 1))
    bands = -(-OH // lines)
    lines = -(-OH // bands)
    height = (lines - 1) * stride[0] + reach
    images = max(1, min(N, TERMS // (OH * OW), most // height)) if bands == 1 else 1
    parts = max(1, min(-(-N // images) * bands, -(-16 // (chunks * strips * groups)), N * OH * OW // (4 * TERMS)))
    parts = 1 << parts.bit_length() - 1                 # so that two or four threads have the same to do
    chunks = min(tiles, max(chunks, -(-8 // (strips * groups * parts))))
    chunk = -(-tiles // chunks)
    in_place = padding == (0, 0)                        # nothing to copy: taps find their pixels in x
    if in_place:
        height, width, image_step = H, W, C * H * W
    else:
        image_step = min(C // groups, chunk * rows // (KH * KW) + 2) * height * width
    return Division(images, lines, height, width, image_step, in_place,
                    places(images, lines, OW, image_step, stride[0] * width, stride[1]), parts, chunk, strips)


def places(images: int, height: int, width: int, image_step: int, line_step: int, column_step: int) -> np.ndarray:
    """Where the points of a grid lie."""
    lines = np.arange(images)[:, None, None] * image_step + np.arange(height)[:, None] * line_step
    place = (lines + np.arange(width) * column_step).ravel()
    place.flags.writeable = False
    return place


@compiled
def _sum_pixels(
    x: In1, N: int, C: int, H: int, W: int, top: int, left: int, stride_h: int,
    g: In1, F: int, OH: int, OW: int, groups: int, KH: int, down: int, KW: int, right: int,
    images: int, lines: int, height: int, width: int, image_step: int, in_place: bool, place: IntIn1,
    parts: int, chunk: int, strips: int, dw: Out1, team: Team,
):
    """dw[part, f, c, i, j] = the sum over a part's pixels of all images of g times what tap (i, j) of channel c sees there."""
    L = lanes(x)
    rows, panel = TALL_ROWS, TALL_COLUMNS * L
    channels, filters = C // groups, F // groups
    K = channels * KH * KW
    tiles, each = (K + rows - 1) // rows, (filters + panel - 1) // panel
    chunks = (tiles + chunk - 1) // chunk
    image, band_ = (C, H, W, top, left), (images, lines, height, width, stride_h, image_step, in_place)
    outputs, taps = (F, OH, OW), (KH, down, KW, right)
    for item in prange(parts * groups * strips * chunks, team):
        first, other = item % chunks * chunk, item // chunks
        strip, group, part = other % strips, other // strips % groups, other // (strips * groups)
        lane, end_lane = each * strip // strips * panel, min(filters, each * (strip + 1) // strips * panel)
        end = min(tiles, first + chunk)
        begin = first * rows // (KH * KW)               # the first channel that these rows see
        seen_here = min(channels, (min(K, end * rows) - 1) // (KH * KW) + 1) - begin
        mine = group * channels + begin, seen_here, group * filters + lane, end_lane - lane
        skip, total = first * rows - begin * KH * KW, min(K, end * rows) - first * rows
        to = (part * F + group * filters + lane) * K + first * rows
        stretches = (N + images - 1) // images * ((OH + lines - 1) // lines)
        between = N, stretches * part // parts, stretches * (part + 1) // parts
        sum_part(x, g, dw, place, image, band_, outputs, taps, between, mine, (to, K, skip, total))


@helper
def sum_part(x, g, dw, place, image, band_, outputs, taps, between, mine, where):
    """Some rows of taps for some panels of filters, over the stretches of pixels of a part."""
    L = lanes(x)
    C, H, W, top, left = image
    images, lines, height, width, stride_h, image_step, in_place = band_
    F, OH, OW = outputs
    KH, down, KW, right = taps
    N, begin, end = between
    channel, channels, filter_, filters = mine          # the first and how many
    target, step, skip, total = where                   # where rows go; ``total`` of them, from row ``skip`` of the channels on
    rows, panel = TALL_ROWS, TALL_COLUMNS * L
    tiles, panels = (total + rows - 1) // rows, (filters + panel - 1) // panel
    row = np.empty(tiles * rows, np.int64)
    find_rows(row, skip, channels, KH, KW, height * width, down * width, right)
    sums = room(x, panels * tiles * rows * panel)
    buffer = np.empty(0 if in_place else images * image_step + L, x.dtype)
    source, at = (x if in_place else buffer), 0
    most, bands = place.shape[0], (OH + lines - 1) // lines
    upstream = room(x, panels * most * panel)
    for stretch in range(begin, end):
        n, line = stretch // bands * images, stretch % bands * lines
        count, pixels = min(images, N - n), min(lines, OH - line) * OW      # of each image
        if in_place:
            at = (n * C + channel) * H * W + line * stride_h * W
        for m in range(count):
            if not in_place:
                copy_band(x, ((n + m) * C + channel) * H * W, channels, H, W, line * stride_h - top, height, left, width, 1,
                          buffer, m * image_step)
            for lane in range(0, filters, L):
                from_ = (((n + m) * F + filter_ + lane) * OH + line) * OW
                to, exist = (lane // panel * most + m * pixels) * panel + lane % panel, min(L, filters - lane)
                for p in range(0, pixels, L):
                    here = min(L, pixels - p)
                    if here == exist == L:
                        turn_whole(g, from_ + p, OH * OW, upstream, to + p * panel, panel)
                    else:
                        turn(g, from_ + p, OH * OW, 0, here, exist, upstream, to + p * panel, panel, here, L)
        for k in range(panels):
            exist = min(panel, filters - k * panel)
            for t in range(tiles):
                mine, keep = entries(row, t * rows, TALL_ROWS), (k * tiles + t) * rows * panel
                if exist <= L:
                    slim_tile(source, at, mine, place, count * pixels, upstream, k * most * panel, sums, keep, stretch > begin)
                    if stretch + 1 == end:
                        to = target + k * panel * step + t * rows
                        for i in range(min(rows, total - t * rows)):
                            for j in range(exist):
                                dw[to + j * step + i] = sums[keep + i * L + j]
                    continue
                tile = zeros(x, TALL_ROWS, TALL_COLUMNS)
                for p in range(count * pixels):
                    tile = outer_at(tile, TALL_ROWS, TALL_COLUMNS, source, at + entry(place, p), mine, upstream,
                                    (k * most + p) * panel)
                if stretch > begin:
                    tile = plus(tile, TALL_ROWS, TALL_COLUMNS, sums, keep, panel)
                if stretch + 1 < end:
                    store(tile, TALL_ROWS, TALL_COLUMNS, sums, keep, panel)
                    continue
                store_turned(tile, TALL_ROWS, TALL_COLUMNS, dw, target + k * panel * step + t * rows, step,
                             min(rows, total - t * rows), exist)


@helper
def slim_tile(source, at, mine, place, count, upstream, start, sums, keep, begun):
    """A tile of one column, enough for a vector of filters, added to what ``sums`` holds if anything."""
    tile, panel = zeros(source, TALL_ROWS, 1), TALL_COLUMNS * lanes(source)
    for p in range(count):
        tile = outer_at(tile, TALL_ROWS, 1, source, at + entry(place, p), mine, upstream, start + p * panel)
    if begun:
        tile = plus(tile, TALL_ROWS, 1, sums, keep, lanes(source))
    store(tile, TALL_ROWS, 1, sums, keep, lanes(source))
