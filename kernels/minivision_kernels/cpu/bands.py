"""Bands: a few lines of output at a time, and the piece of padded image that their windows see.

Every fast convolution here works on one band after another. The lines of the image that a band's windows see, zeros
around the image included, are copied to a small buffer that stays in the second-level cache, and are used there for all
filters. So padding costs next to nothing, windows never have to ask whether a pixel exists, and a tap is a fixed distance
from the beginning of its window: tap k of the window that begins at p is ``buffer[p + place[k]]``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minivision_kernels.cpu import threads
from minivision_kernels.cpu.compile import contiguous, helper
from minivision_kernels.cpu.goal import aim
from minivision_kernels.cpu.planes import Phase, Weights, phases
from minivision_kernels.cpu.simd import evens, lanes, load_between, none, odds, prefetch, put
from minivision_kernels.cpu.stream import put_first
from minivision_kernels.shapes import Pair, conv_output_size

BUFFER = 320 * 1024         # bytes of a band's buffer, so that it shares a second-level cache of 512 KiB with weights
IN_PLACE = 16               # panels of filters at most for which pixels are taken from where they lie
FAR = 4                     # channels ahead of the copying for which memory is asked
NEAR = 512 * 1024           # bytes of weights that do
PIXELS = 256                # outputs of a band, about; enough to use weights many times once they are near


class Taps(NamedTuple):
    """The taps of a window along both axes: how far each lies from the window's first pixel, in pixels of the image."""

    down: tuple[int, ...]
    right: tuple[int, ...]
    top: int                # the first window begins this far above the image,
    left: int               # and this far to its left


def window(size: Pair, padding: Pair, dilation: Pair) -> Taps:
    """The taps of an ordinary window."""
    down, right = (tuple(i * d for i in range(k)) for k, d in zip(size, dilation))
    return Taps(down, right, *padding)


class Forward(NamedTuple):
    """A convolution as a sum over taps."""

    shape: tuple[int, int, int, int]    # of its result
    taps: Taps
    weights: Weights                    # a row for each filter, its taps as they lie


@functools.lru_cache(maxsize=4096)
def forward(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> Forward:
    """What there is to know of a convolution before there are images and filters."""
    (N, _, H, W), (F, _, KH, KW) = x_shape, w_shape
    shape = (N, F, *conv_output_size((H, W), (KH, KW), stride, padding, dilation))
    rows, size = F // groups, math.prod(w_shape[1:])
    order = np.arange(size)
    order.flags.writeable = False
    return Forward(shape, window((KH, KW), padding, dilation), Weights(rows, groups, size, rows * size, order, 1))


class Band(NamedTuple):
    """How the work on N images of outputs OH x OW is divided, and how large a band's buffer is."""

    images: int             # in one band; more than one only if it has all their lines
    lines: int              # of outputs
    height: int             # of the buffer
    width: int
    in_place: bool          # there is no buffer, and height and width are those of the image
    splits: int             # parts into which the filters are split,
    by_filters: bool        # and whether a thread takes all bands of one part, or all parts of one band, in turn


@functools.lru_cache(maxsize=4096)
def band(
    N: int, channels: int, OH: int, OW: int, stride: Pair, taps: Taps, itemsize: int, tile: int, panels: int, weights: int,
    workers: int, phases: int = 1, image: Pair | None = None,
) -> tuple[Band, np.ndarray]:
    """A division into bands, and the place of every tap of every channel in the buffer.

    ``tile`` outputs are computed together, for each of ``panels`` panels of filters, ``weights`` bytes in all. What is
    weighed: tiles left partly empty, lines copied for two bands, and how often weights are fetched from afar.

    If ``image``, its height and width, is given, and every window lies within it, and there are few panels, nothing is
    copied. A line may be dealt out to ``phases``: its first, third, fifth, ... pixel and then its second, fourth, ... for two.
    """
    part = -(-((OW - 1) * stride[1] + max(taps.right) + 1) // phases)
    width = part * phases
    far = weights > NEAR
    each = channels * len(taps.down) * len(taps.right) * tile * 2 * panels      # about the cycles of a tile for all panels

    def copying(images: int, lines: int) -> int:
        return images * channels * ((lines - 1) * stride[0] + max(taps.down) + 1) * width

    def cost(size: Pair) -> float:
        images, lines = size
        (whole, rest), (all_, some) = divmod(OH, lines), divmod(N, images)
        if images > 1:
            tiles, bands = all_ * -(-images * OH * OW // tile) + -(-some * OH * OW // tile), -(-N // images)
        else:
            tiles, bands = N * (whole * -(-lines * OW // tile) + -(-rest * OW // tile)), N * -(-OH // lines)
        return tiles * each + bands * (copying(images, lines) + weights / (4 if far else 64))

    sizes = [(1, n) for n in range(1, OH + 1)] + [(m, OH) for m in range(2, N + 1) if m * OH * OW <= 2 * PIXELS]
    images, lines = min((s for s in sizes if s == (1, 1) or (
        s[0] * s[1] * OW <= 2 * PIXELS and copying(*s) * itemsize <= BUFFER)), key=cost, default=(1, 1))
    height = (lines - 1) * stride[0] + max(taps.down) + 1
    bands = -(-N // images) * -(-OH // lines) if OH else 0
    splits = -(-4 * workers // max(1, bands))
    if far:                                 # as many parts as the copies that each of them makes allow
        splits = max(splits, int(0.05 * each * -(-images * lines * OW // tile) / copying(images, lines)))
    while splits < panels and bands * splits % workers and bands * splits < 8 * workers:
        splits += 1                         # few pieces of work should be as many for each thread
    in_place = image is not None and taps.top == taps.left == 0 and panels <= IN_PLACE and (
        (OH - 1) * stride[0] + max(taps.down) < image[0] and width <= image[1])
    if in_place and image:
        height, width = image
    found = Band(images, lines, height, width, in_place, min(panels, splits), far)
    plane = np.arange(channels)[:, None, None] * height + np.array(taps.down, np.int64)[:, None]
    right = np.array(taps.right, np.int64)
    place = (plane * width + right % phases * part + right // phases).ravel()
    place.flags.writeable = False
    return found, place


class Part(NamedTuple):
    """One phase of the gradient to the image, a convolution of g: which pixels it gives, and through which taps."""

    row: Phase
    column: Phase
    taps: Taps | None       # of g; None if no window sees these pixels
    weights: Weights        # a row for each channel, its weights in the order of filters and taps
    number: np.ndarray      # of the weights, among all of a channel's


@functools.lru_cache(maxsize=1024)
def input_phases(
    w_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> list[Part]:
    """The gradient to images of ``size`` as convolutions of g, one for every phase of an image.

    Every stride-th pixel sees g through the same taps; at stride 1 there is one phase, and its taps are those of w turned
    round.
    """
    F, channels, KH, KW = w_shape
    filters = np.arange(F // groups)[:, None]
    parts = []
    for row in phases(size[0], KH, stride[0], padding[0], dilation[0]):
        for column in phases(size[1], KW, stride[1], padding[1], dilation[1]):
            used = (row.taps[:, None] * KW + column.taps).ravel()
            weights = Weights(channels, groups, KH * KW, F // groups * channels * KH * KW,
                              (filters * (channels * KH * KW) + used).ravel(), channels * KH * KW if used.size == 1 else 0)
            taps = None
            if used.size:
                top, left = -int(row.shifts.min()), -int(column.shifts.min())
                taps = Taps(tuple((row.shifts + top).tolist()), tuple((column.shifts + left).tolist()), top, left)
            parts.append(Part(row, column, taps, weights, (filters * (KH * KW) + used).ravel()))
    return parts


def phase_by_phase(
    sum_taps: Callable[..., None], g: np.ndarray, w: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair,
    dilation: Pair, groups: int,
) -> np.ndarray:
    """The gradient to an image of ``shape``, each phase of it by the ``sum_taps`` of a rung."""
    parts = input_phases(w.shape, shape[2:], stride, padding, dilation, groups)
    (dx, goal), flat = aim(shape, g.dtype), contiguous(w).reshape(-1)
    if any(part.taps is None for part in parts):
        dx.fill(0)                                      # no window sees these pixels
    for phase in parts:
        row, column = phase.row, phase.column
        if phase.taps:
            sum_taps(g, phase.taps, (1, 1), flat, phase.weights, dx, goal, (row.first, column.first), stride, row.length,
                     column.length)
    return dx


workers = threads.get_num_threads       # to divide work for; results do not depend on it


@helper
def copy_band(x, at, channels, H, W, first, height, left, width, phases, buffer, to):
    """Lines ``first`` to first + height of ``channels`` planes (H, W) of x, with zeros where they leave the image.

    The last vector of a line may reach into the next line of the buffer, which is written after it.
    """
    L = lanes(x)
    for c in range(channels):
        for h in range(first, first + height):
            if phases > 1:
                line, part, here = at + (c * H + h) * W - left, width // phases, W + left if 0 <= h < H else 0
                if phases == 2:
                    for j in range(0, part, L):
                        near, far = 2 * j, 2 * j + L
                        some, more = load_between(x, line + near, left - near, here - near), load_between(
                            x, line + far, left - far, here - far)
                        put_first(buffer, to + j, evens(some, more), part - j)
                        put_first(buffer, to + part + j, odds(some, more), part - j)
                else:
                    for phase in range(phases):
                        for j in range(part):
                            w = j * phases + phase
                            buffer[to + phase * part + j] = x[line + w] if left <= w < here else 0
            elif 0 <= h < H:
                line = at + (c * H + h) * W - left
                for j in range(0, width, L):
                    prefetch(x, line + j + FAR * H * W)
                    put(buffer, to + j, load_between(x, line + j, left - j, W + left - j))
            else:
                for j in range(0, width, L):
                    put(buffer, to + j, none(x))
            to += width
