"""The gradient to filters with a lane for each group; ``conv_groups.py`` tells how pixels lie then.

A pixel of the image meets one of g, vectors of L groups, and the gradients of 2 filters x up to 9 taps are summed in registers
over the results of some lines. Nothing is added up over lanes: each is a group with weights of its own.
"""

from __future__ import annotations

import math

import numpy as np

from minivision_kernels.cpu.bands import window, workers
from minivision_kernels.cpu.compile import In1, IntIn1, Out1, Team, compiled, contiguous, inlined, prange, rebuilt
from minivision_kernels.cpu.conv_depthwise import words_fit
from minivision_kernels.cpu.conv_groups import NEAR, few_enough, turn_back, turn_lines
from minivision_kernels.cpu.conv_images_weight import reaching
from minivision_kernels.cpu.conv_images_weight import worth as images_worth
from minivision_kernels.cpu.simd import entry, lanes, lanes_of, vectors
from minivision_kernels.cpu.stream import ask_lines
from minivision_kernels.cpu.tile import MANY, inner, plus, store, zeros
from minivision_kernels.ladder import rung
from minivision_kernels.memory import empty, scratch
from minivision_kernels.shapes import Pair

TOGETHER = (9, 7, 5, 4, 3, 2, 1)    # taps of a tile, as many as leave none over
MANY_PLANES, SHORT = 4096, 8        # planes, and outputs in a line of them
PARTS = 8           # of the images, at least, if there are few groups, each with sums of its own
ROWS, TAPS = 1, 1   # filters and taps of a tile, until the kernel is rebuilt for others


def _accepts(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
             dilation: Pair = (1, 1), groups: int = 1) -> bool:
    return vectors(x) and groups >= lanes_of(x)


def _worth(x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair = (1, 1), padding: Pair = (0, 0),
           dilation: Pair = (1, 1), groups: int = 1) -> bool:
    """As for the forward; only that the words for depthwise windows of 3 x 3 and 5 x 5 do better here, unless there are many of
    them, of short lines (3 x 3 with 32 registers only: 0.8 with 16); and two filters of a channel, and one pixel that a window
    sees. Where images fill the lanes, they do as well, with longer sums."""
    filters, channels, KH, KW = shape[0] // groups, *shape[1:]
    if (KH * KW == 1 and stride == (1, 1)) or images_worth(x, g, shape, stride, padding, dilation, groups):
        return False
    if not few_enough(groups, channels, filters, KH * KW, g.shape[3], stride, lanes_of(x)):
        return False
    planes = len(x) * groups
    return channels > 1 or not words_fit(x, (KH, KW), stride, dilation) or (KH >= 7 and planes >= 256) or (
        planes >= MANY_PLANES and g.shape[3] <= SHORT and stride == (1, 1) and (MANY or KH >= 5))


@rung("conv2d_weight", name="groups", device="cpu", accepts=_accepts, worth=_worth)
def conv2d_weight(
    x: np.ndarray, g: np.ndarray, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> np.ndarray:
    """A lane for each group, whose gradients are turned back at the end.

    32 groups of 4 to 16 channels take 0.65 to 0.95 of the time of the rung chosen before, depthwise windows of 7 x 7 0.25 to
    0.85; for smaller ones the words are better, which sum in registers over all images.
    """
    if groups < lanes_of(x):
        raise ValueError(f"this rung takes {lanes_of(x)} groups or more, got {groups}; call the rung 'direct'")
    if not x.size * g.size * math.prod(shape):
        return np.zeros(shape, x.dtype)
    N, _, H, W = x.shape
    (F, channels, KH, KW), (OH, OW), L = shape, g.shape[2:], lanes_of(x)
    filters, blocks = F // groups, -(-groups // L)
    taps = window((KH, KW), padding, dilation)
    rows = min(2 if MANY else 1, filters)
    width = taps.left + max(W, (OW - 1) * stride[1] + taps.right[-1] + 1 - taps.left)
    bands, lines = -(-filters // rows) * rows, OH

    def near(lines: int) -> int:
        return L * (channels * ((lines - 1) * stride[0] + taps.down[-1] + 1) * width + bands * lines * OW)

    while lines > 1 and x.itemsize * near(lines) > NEAR:
        lines = -(-lines // 2)
    high = (lines - 1) * stride[0] + taps.down[-1] + 1
    size = near(lines) + L * (max(high * W, lines * OW) + bands * channels * KH * KW)
    parts = min(N * -(-OH // lines), -(-PARTS // blocks))
    down, right = np.array(taps.down, np.int64), np.array(taps.right, np.int64)
    place = ((down[:, None] * width + right) * L).ravel()
    threads = min(workers(), parts * blocks)
    dw = empty((parts, *shape), x.dtype)
    CORRELATE[rows, next(count for count in TOGETHER if KH * KW % count == 0)](
        contiguous(x).reshape(-1), N, groups, channels, H, W, contiguous(g).reshape(-1), filters, OH, OW, down, place, taps.top,
        taps.left, *stride, lines, high, width, parts, dw.reshape(-1), scratch(threads * size, x.dtype), threads,
        work=g.size * channels * KH * KW // L)
    return dw[0] if parts == 1 else dw.sum(axis=0)


@inlined
def sum_results(rows, taps, g, at, far, OW, pixels, seen, line, step, place, first, lines, sums, to, K):
    """A tile of so many filters and taps from ``first`` on: sums over the results of ``lines``, added to ``sums``."""
    L = lanes(g)
    tile = zeros(g, rows, taps)
    for h in range(lines[0], lines[1]):
        a, b = at + h * OW * L, seen + h * line
        for _ in range(OW):
            tile = inner(tile, rows, taps, g, a, far, pixels, b, place, first)
            a += L
            b += step
    tile = plus(tile, rows, taps, sums, to, K)
    store(tile, rows, taps, sums, to, K)


@compiled
def _correlate_groups(
    x: In1, N: int, groups: int, channels: int, H: int, W: int, g: In1, filters: int, OH: int, OW: int, down: IntIn1,
    place: IntIn1, top: int, left: int, stride_h: int, stride_w: int, lines: int, high: int, width: int, parts: int, dw: Out1,
    memory: Out1, workers_: int, team: Team,
):
    L, taps, KW = lanes(x), place.shape[0], place.shape[0] // down.shape[0]
    blocks, chunks, bands = (groups + L - 1) // L, (OH + lines - 1) // lines, (filters + ROWS - 1) // ROWS
    K, plane, far, line, step = channels * taps, high * width * L, lines * OW * L, stride_h * width * L, stride_w * L
    items, shares, image, result = N * chunks, blocks * parts, channels * H * W, filters * OH * OW
    for worker in prange(workers_, team):
        mine = memory[memory.shape[0] // workers_ * worker:]
        pixels, mine = mine[:channels * plane], mine[channels * plane:]
        upstream, mine = mine[:bands * ROWS * far], mine[bands * ROWS * far:]
        sums, flat = mine[:bands * ROWS * K * L], mine[bands * ROWS * K * L:]
        pixels[:] = 0
        upstream[:] = 0                                 # for filters that only fill a tile
        for share in range(shares * worker // workers_, shares * (worker + 1) // workers_):
            block, part = share % blocks, share // blocks
            group = min(block * L, groups - L)
            sums[:] = 0
            for item in range(items * part // parts, items * (part + 1) // parts):
                n, begin = item // chunks, item % chunks * lines
                count, first = min(lines, OH - begin), begin * stride_h - top
                turn_lines(x, (n * groups + group) * image, image, channels, H, W, first, high, left, width, flat, pixels)
                turn_lines(g, (n * groups + group) * result, result, filters, OH, OW, begin, lines, 0, OW, flat, upstream)
                if item + 1 < items and chunks == 1:    # the next image's pixels
                    ask_lines(x, ((n + 1) * groups + group) * image, L * image)
                    ask_lines(g, ((n + 1) * groups + group) * result, L * result)
                for band in range(bands):
                    at, row = band * ROWS * far, band * ROWS * K
                    for c in range(channels):
                        for tap in range(0, taps, TAPS):
                            upper, lower = first + entry(down, tap // KW), first + entry(down, (tap + TAPS - 1) // KW)
                            under, to = reaching(upper, lower, stride_h, count, H), (row + c * taps + tap) * L
                            sum_results(ROWS, TAPS, upstream, at, far, OW, pixels, c * plane, line, step, place, tap, under,
                                        sums, to, K * L)
            turn_back(sums, 0, filters * K, dw, (part * groups + group) * filters * K, filters * K)


CORRELATE = {(rows, taps): rebuilt(_correlate_groups, {"ROWS": rows, "TAPS": taps}, f"_{rows}_by_{taps}")
             for rows in (1, 2) for taps in TOGETHER}
